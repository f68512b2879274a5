"""The 16 tasks at the sizes of PKU FG-XMedia: time beside the bare matrix products and beside a Python loop; memory.

    python benchmarks/evaluation.py                 # 5,794 / 4,000 / 5,684 / 6,000 items, 200-d, 200 classes
    python benchmarks/evaluation.py --large         # then 100,000 x 100,000 items, one direction

All figures are of one process, measured in turns; each ratio is taken within one turn. The products are the
float64 scores of every pair of items once, in the same chunks; the loop ranks, for a share of the queries, every
gallery of the 16 tasks and walks down the ranking. Both give the same numbers as fieldmark, which is checked.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from fieldmark.evaluation.measurement import EvaluationContext, Measurement, measure
from fieldmark.evaluation.metrics import measure_average_precision
from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.protocol import PROTOCOLS
from fieldmark.evaluation.ranking import CHUNK_BYTES, Compute, LabeledRows
from fieldmark.types import MEDIA, Embeddings, Item, Medium, Split

COUNTS = {Medium.IMAGE: 5_794, Medium.TEXT: 4_000, Medium.VIDEO: 5_684, Medium.AUDIO: 6_000}


def make_embeddings(*, dim: int, class_count: int, seed: int) -> Embeddings:
    """Return noisy copies of class centers, so that rankings are neither perfect nor chance."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(class_count, dim))
    items = tuple(
        Item(f"{medium}-{number}", medium, class_name=f"class {number % class_count}", split=Split.TEST)
        for medium in MEDIA
        for number in range(COUNTS[medium])
    )
    label = np.concatenate([np.arange(COUNTS[medium]) % class_count for medium in MEDIA])
    rows = (centers[label] + 3.0 * generator.normal(size=(len(items), dim))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    logits = (rows @ centers.T).astype(np.float32)
    no_time = np.full(len(items), np.nan)
    return Embeddings(items, no_time, no_time, rows, logits)


def multiply(rows: np.ndarray, dtype: torch.dtype) -> None:
    """Compute the scores of every pair once, in chunks, each overwritten by the next."""
    units = torch.from_numpy(rows).to(dtype)
    chunk = CHUNK_BYTES // (units.element_size() * len(units))
    buffer = torch.empty(chunk, len(units), dtype=dtype)
    for start in range(0, len(units), chunk):
        part = units[start : start + chunk]
        torch.mm(part, units.T, out=buffer[: len(part)])


def loop_over_rankings(measured: Measurement, queries: list[int]) -> list[list[float]]:
    """Return the average precision of some queries in the 16 tasks: scores by NumPy, then a Python loop over ranks."""
    table = measured.evaluated
    units = table.rows.embedding / np.linalg.norm(table.rows.embedding, axis=1, keepdims=True)
    galleries = [np.flatnonzero(table.medium == code) for code in range(len(MEDIA))] + [np.arange(len(units))]
    values = []
    for query in queries:
        found_of_query = []
        for code, gallery in enumerate(galleries):
            if code == table.medium[query]:
                continue
            scores = units[gallery] @ units[query]
            relevant = table.rows.label[gallery] == table.rows.label[query]
            found, rank, total = 0, 0, 0.0
            for row in np.argsort(-scores, kind="stable").tolist():
                if gallery[row] == query:
                    continue
                rank += 1
                if relevant[row]:
                    found += 1
                    total += found / rank
            found_of_query.append(total / found)
        values.append(found_of_query)
    return values


def time_call(work: Callable[[], object]) -> float:
    """Return the processor time of one call; the clock would also count what else the machine does."""
    start = time.process_time()
    work()
    return time.process_time() - start


def find_largest_gap(measured: Measurement, queries: list[int], expected: list[list[float]]) -> float:
    """Return the largest difference between the loop's numbers and ours."""
    gap = 0.0
    for query, values in zip(queries, expected, strict=True):
        medium = MEDIA[measured.evaluated.medium[query]]
        tasks = [t for t in measured.tasks if t.query_medium is medium and t.gallery_medium is not medium]
        ours = [t.average_precision[np.searchsorted(t.row, query)] for t in tasks]
        gap = max(gap, float(np.abs(np.array(ours) - values).max()))
    return gap


def read_peak_gigabytes() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def benchmark_tasks(arguments: argparse.Namespace) -> None:
    """Time the 16 tasks beside the products and the loop."""
    embeddings = make_embeddings(dim=arguments.dim, class_count=arguments.classes, seed=arguments.seed)
    protocol = PROTOCOLS[arguments.protocol]
    before = read_peak_gigabytes()

    def ours() -> Measurement:
        return measure(embeddings, protocol=protocol, context=EvaluationContext())

    measured = ours()
    after = read_peak_gigabytes()
    multiply(embeddings.embedding, torch.float64)
    rounds = []
    for _ in range(arguments.rounds):
        double = time_call(lambda: multiply(embeddings.embedding, torch.float64))
        mine = time_call(ours)
        single = time_call(lambda: multiply(embeddings.embedding, torch.float32))
        rounds.append((double, mine, single))
        print(f"products {double:.2f} s, float32 {single:.2f} s; all of `measure` {mine:.2f} s: {mine / double:.2f} x")
    ratio = statistics.median(mine / double for double, mine, _ in rounds)
    mine = statistics.median(mine for _, mine, _ in rounds)
    count = len(measured.evaluated.items)
    setting = f"{arguments.dim}-d, {arguments.classes} classes, protocol {protocol.name}, seed {arguments.seed}"
    print(f"{count:,} items, {setting}")
    print(f"16 tasks with intervals, hit rates, curves, classes: median {mine:.2f} s, {ratio:.2f} x the products")
    print(f"peak memory {after:.2f} GB, of which {before:.2f} GB before the first measurement")
    if protocol.exclude_self:
        benchmark_loop(measured, arguments.loop_queries, ours=ours)


def benchmark_loop(measured: Measurement, query_count: int, *, ours: Callable[[], Measurement]) -> None:
    """Time the Python loop on some of the queries, in turn with ours on all."""
    count = len(measured.evaluated.items)
    queries = np.random.default_rng(1).choice(count, size=query_count, replace=False).tolist()
    expected: list[list[float]] = []
    looped = time_call(lambda: expected.extend(loop_over_rankings(measured, queries)))
    mine = time_call(ours)
    whole = looped * count / query_count
    gap = find_largest_gap(measured, queries, expected)
    print(
        f"Python loop {looped:.2f} s for {query_count} of {count:,} queries ({query_count / count:.1%}), so "
        f"{whole:.0f} s for all: {whole / mine:.0f} x ours, {mine:.2f} s; numbers differ by {gap:.1e} at most"
    )


def benchmark_large(arguments: argparse.Namespace) -> None:
    """Rank one direction of 100,000 x 100,000 items, and print its time and memory."""
    count, dim = arguments.large_items, arguments.dim
    generator = np.random.default_rng(arguments.seed)
    centers = generator.normal(size=(count // 100, dim)).astype(np.float32)
    label = np.arange(count) % len(centers)
    query, gallery = (
        LabeledRows(centers[label] + 3 * generator.standard_normal((count, dim), np.float32), label, codes)
        for codes in (np.arange(count), np.arange(count, 2 * count))
    )
    before = read_peak_gigabytes()
    found: list[float] = []
    took = time_call(
        lambda: found.append(
            float(
                measure_average_precision(
                    query, gallery, ties=Ties.EXPECTED, exclude_self=False, compute=Compute()
                ).mean()
            )
        )
    )
    print(
        f"{count:,} x {count:,} items: MAP {found[0]:.4f} in {took:.0f} s; peak memory {read_peak_gigabytes():.2f} GB, "
        f"of which {before:.2f} GB for the vectors and what came before"
    )


def main() -> None:
    """Run the benchmarks and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=200)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--protocol", choices=list(PROTOCOLS), default="strict")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop-queries", type=int, default=107)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--large-items", type=int, default=100_000)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    benchmark_tasks(arguments)
    if arguments.large:
        benchmark_large(arguments)


if __name__ == "__main__":
    main()
