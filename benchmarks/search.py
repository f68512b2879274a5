"""The gallery's search beside bare LanceDB and bare numpy, side by side in one run.

    python benchmarks/search.py --out DIR --sizes 10000,100000,1000000

Makes segments as a trained space has them (classes apart, members around them, four media), stores them as `fieldmark
index` does, and asks the three the same queries, some in a row of each, in another order each time, so that a busy
machine is busy for all of them. (`--in-a-row 1` shows each with caches that another left cold.) What is timed begins
with a query's embedding and ends with ten hits: of items with all their facts for the gallery, of row numbers for
numpy, of item ids for LanceDB. LanceDB is asked twice, with a scan and with an IVF_FLAT index of its own settings.

    python benchmarks/search.py --out DIR --sizes 250000 --beside CHECKOUT

times whole searches instead, of all media with margins and the open-set answer, in two processes that take turns: this
checkout and another one. It prints medians and ratios, of time and of processor time
(a busy machine spoils the first), and counts searches whose answers differ.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfFlat

from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import Filter
from fieldmark.types import MEDIA, Embeddings, Item, Medium

K, WARM_UP = 10, 20
ROWS_TO_ASK = 20_000_000
"""By all queries together, where a size is small: a fifth of a millisecond needs many to be told."""
CLASS_COUNT = 500
SPREAD = 0.8
"""Length of what sets a member apart from its class, against the class's own 1."""
BLOCK_ROWS = 4096
"""As `fieldmark index` adds an embeddings folder."""


def main() -> None:
    """Measures each size and prints a table, and JSON beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the stores; they are deleted again")
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--dim", type=int, default=512, help="that of the preset 'fieldmark'")
    parser.add_argument("--queries", type=int, help="of each; 200, and up to 2,000 of a small size")
    parser.add_argument("--in-a-row", type=int, default=20, help="queries before the next is asked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beside", type=Path, help="another checkout, to time whole searches of both side by side")
    arguments = parser.parse_args()
    results = []
    for size in map(int, arguments.sizes.split(",")):
        folder = arguments.out / str(size)
        if arguments.beside is not None:
            results.append(measure_beside(folder, arguments.beside, size=size, options=arguments))
            print_result(results[-1])
            (arguments.out / "search_beside.json").write_text(json.dumps(results, indent=1))
            continue
        results.append(
            measure(
                folder,
                size=size,
                dim=arguments.dim,
                query_count=arguments.queries or max(200, ROWS_TO_ASK // size),
                seed=arguments.seed,
                in_a_row=arguments.in_a_row,
            )
        )
        print_result(results[-1])
        (arguments.out / "search.json").write_text(json.dumps(results, indent=1))
        shutil.rmtree(folder)


def measure(folder: Path, *, size: int, dim: int, query_count: int, seed: int, in_a_row: int) -> dict[str, float]:
    """Build times, latencies, memory and recall at one size."""
    shutil.rmtree(folder, ignore_errors=True)
    result: dict[str, float] = {"segments": size, "dim": dim}
    started = time.perf_counter()
    index = LanceIndex.create(folder / "gallery", fingerprint="benchmark", dim=dim)
    for embeddings in blocks(size, dim=dim, seed=seed):
        index.add(embeddings, content_hash_by_item_id={item.item_id: "0" for item in embeddings.items})
    result["gallery_add_seconds"] = time.perf_counter() - started
    started = time.perf_counter()
    index.optimize()
    result["gallery_optimize_seconds"] = time.perf_counter() - started
    result["gallery_bytes_per_vector_byte"] = size_of(folder / "gallery") / (4 * size * dim)
    matrix = np.concatenate([each.embedding for each in blocks(size, dim=dim, seed=seed)])
    scanned, indexed = bare_tables(folder / "bare", matrix, result=result)
    queries = make_queries(query_count, dim=dim, seed=seed)
    others = np.roll(queries, query_count // 2, axis=0)  # the gallery keeps its last products: no query twice in a row
    photos = Filter(media=frozenset({Medium.IMAGE}))
    asked: dict[str, Callable[[int], object]] = {
        "gallery": lambda place: index.search(queries[place], k=K),
        "gallery_filtered": lambda place: index.search(others[place], k=K, where=photos),
        "numpy": lambda place: ask_numpy(matrix, queries[place]),
        "lancedb_scan": lambda place: ask_lancedb(scanned, queries[place]),
        "lancedb_ivf": lambda place: ask_lancedb(indexed, queries[place]),
    }
    order = np.random.default_rng([seed, 3])
    seconds = time_in_turn(asked, query_count, in_a_row=in_a_row, generator=order)
    for name, times in seconds.items():
        result[f"{name}_p50_ms"], result[f"{name}_p99_ms"] = (1000 * np.percentile(times, [50, 99])).tolist()
    result["ratio"] = result["gallery_p50_ms"] / min(
        result[f"{name}_p50_ms"] for name in ("numpy", "lancedb_scan", "lancedb_ivf")
    )
    result["gallery_recall"] = np.mean([recall(index, matrix, query) for query in queries]).item()
    result["lancedb_ivf_recall"] = np.mean([bare_recall(indexed, matrix, query) for query in queries]).item()
    known = index.approximation()
    if known is not None:
        result |= {"stated_recall": known.recall, "parts": known.partition_count, "probes": known.probe_count}
    result["gallery_megabytes"] = in_a_process_of_its_own(memory_of_gallery, folder / "gallery", dim)
    return result


def measure_beside(folder: Path, other: Path, *, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Time whole searches of this checkout and of another over one store; a store that is there already is used."""
    if not (folder / "gallery").is_dir():
        index = LanceIndex.create(folder / "gallery", fingerprint="benchmark", dim=options.dim)
        for embeddings in blocks(size, dim=options.dim, seed=options.seed):
            hashes = {item.item_id: "0" for item in embeddings.items}
            index.add(embeddings, content_hash_by_item_id=hashes, set_name="benchmark")
        index.optimize()
    index = LanceIndex.open(folder / "gallery")
    marked = [stored.item.item_id for stored in index.items(limit=300)][::100]
    query_count = options.queries or 100
    np.save(folder / "queries.npy", make_queries(query_count + 1, dim=options.dim, seed=options.seed))
    kinds = {
        "whole": {},
        "one_medium": {"media": ["image"]},
        "filtered": {"where": {"class_names": [f"class {label:03d}" for label in range(CLASS_COUNT // 2)]}},
        "by_segment": {"by_segment": True},
        "two_queries": {"second": True},
        "marked": {"relevant": marked[:2], "irrelevant": marked[2:]},
    }
    sources = {"this": Path(__file__).resolve().parents[1] / "src", "other": other.resolve() / "src"}
    generator = np.random.default_rng([options.seed, 4])
    result: dict[str, float] = {"segments": size, "dim": options.dim}
    with ExitStack() as stack:
        ask = {name: stack.enter_context(searching(source, folder)) for name, source in sources.items()}
        for kind, wanted in kinds.items():
            seconds: dict[str, list[list[float]]] = {name: [] for name in ask}
            differing = 0
            for start in range(0, query_count, options.in_a_row):
                numbers = range(start, min(start + options.in_a_row, query_count))
                searches = [make_search(number, **wanted) for number in numbers]
                answers = {name: ask[name](searches) for name in generator.permutation(list(ask)).tolist()}
                for name, answered in answers.items():
                    # The first block of each kind fills caches of files and loads what is loaded once.
                    seconds[name] += [each[:2] for each in answered] if start else []
                differing += sum(
                    not is_same(first[2], second[2])
                    for first, second in zip(answers["this"], answers["other"], strict=True)
                )
            this, that = (1000 * np.median(seconds[name], axis=0) for name in ("this", "other"))
            for index, unit_name in enumerate(("ms", "processor_ms")):
                result |= {f"{kind}_{unit_name}": this[index], f"{kind}_other_{unit_name}": that[index]}
            result[f"{kind}_times_faster"], result[f"{kind}_processor_times_faster"] = (that / this).tolist()
            result[f"{kind}_differing"] = differing
    return result


def make_search(number: int, *, second: bool = False, **options: object) -> dict[str, object]:
    """Describe one search, as `search_process.py` reads it."""
    queries = [(number, MEDIA[number % 4].value)]
    if second:
        queries.append((number + 1, MEDIA[(number + 1) % 4].value))
    plain = {"media": [], "where": {}, "by_segment": False, "relevant": [], "irrelevant": []}
    return {"queries": queries, **plain, **options}


@contextmanager
def searching(source: Path, folder: Path) -> Iterator[Callable[[list[dict[str, object]]], list[list[Any]]]]:
    """Start a process that searches the gallery in a folder with the code of a checkout."""
    script = Path(__file__).with_name("search_process.py")
    command = [sys.executable, str(script), str(folder / "gallery"), str(folder / "queries.npy")]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(searches: list[dict[str, object]]) -> list[list[Any]]:
            process.stdin.write(json.dumps(searches) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def is_same(first: object, second: object) -> bool:
    """Tell whether two answers are the same; numbers may differ by rounding, in the seventh digit."""
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return all(map(is_same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return abs(first - second) < 1e-6
    return first == second


def blocks(size: int, *, dim: int, seed: int) -> Iterator[Embeddings]:
    """Segments of items, three to each sound and video, one to the others."""
    generator, centers = np.random.default_rng([seed, 1]), class_centers(dim, seed=seed)
    row = 0
    while row < size:
        items: list[Item] = []
        while len(items) < BLOCK_ROWS and row + len(items) < size:
            medium = MEDIA[generator.integers(4)]
            label = int(generator.integers(CLASS_COUNT))
            name = f"{medium}/{row + len(items):08d}"
            item = Item(name, medium, path=Path("/media") / name, class_name=f"class {label:03d}", license="CC0")
            items += [item] * (3 if medium in (Medium.AUDIO, Medium.VIDEO) else 1)
        items = items[: size - row]
        label_of_row = np.array([int(item.class_name[-3:]) for item in items if item.class_name is not None])
        start = np.arange(len(items), dtype=np.float64)
        yield Embeddings(tuple(items), start, start + 3.0, members(centers, label_of_row, generator=generator))
        row += len(items)


def class_centers(dim: int, *, seed: int) -> np.ndarray:
    """A direction of length 1 for each class."""
    return unit(np.random.default_rng([seed, 0]).normal(size=(CLASS_COUNT, dim)))


def members(centers: np.ndarray, label: np.ndarray, *, generator: np.random.Generator) -> np.ndarray:
    """Rows of length 1 around the centers of their classes."""
    noise = generator.normal(size=(len(label), centers.shape[1]), scale=SPREAD / np.sqrt(centers.shape[1]))
    return unit(centers[label] + noise)


def make_queries(count: int, *, dim: int, seed: int) -> np.ndarray:
    """Members of classes that the gallery holds, none of them stored."""
    generator = np.random.default_rng([seed, 2])
    return members(class_centers(dim, seed=seed), generator.integers(CLASS_COUNT, size=count), generator=generator)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in single precision."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def bare_tables(folder: Path, matrix: np.ndarray, *, result: dict[str, float]) -> tuple[lancedb.Table, lancedb.Table]:
    """Two tables of ids and vectors, the second with an index."""
    connection = lancedb.connect(folder)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    rows = pa.table({"item_id": pa.array([str(row) for row in range(len(matrix))]), "vector": vectors})
    started = time.perf_counter()
    scanned = connection.create_table("scanned", rows)
    result["lancedb_add_seconds"] = time.perf_counter() - started
    indexed = connection.create_table("indexed", rows)
    started = time.perf_counter()
    indexed.create_index("vector", config=IvfFlat(distance_type="cosine"))
    result["lancedb_ivf_seconds"] = time.perf_counter() - started
    return scanned, indexed


def ask_numpy(matrix: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The rows of the best scores, best first."""
    score = matrix @ query
    best = np.argpartition(score, -K)[-K:]
    return best[np.argsort(-score[best])]


def ask_lancedb(table: lancedb.Table, query: np.ndarray) -> list[str]:
    """The item ids of the nearest rows."""
    found = (
        table.search(query, vector_column_name="vector")
        .distance_type("cosine")
        .limit(K)
        .select(["item_id", "_distance"])
    )
    return list(found.to_arrow()["item_id"].to_pylist())


def time_in_turn(
    asked: dict[str, Callable[[int], object]], query_count: int, *, in_a_row: int, generator: np.random.Generator
) -> dict[str, list[float]]:
    """Seconds of each query with each of them, some in a row and then the next, in any order."""
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for start in range(0, query_count, in_a_row):
        for name in generator.permutation(list(asked)).tolist():
            for place in range(start, min(start + in_a_row, query_count)):
                started = time.perf_counter()
                asked[name](place)
                seconds[name].append(time.perf_counter() - started)
    return {name: times[WARM_UP:] for name, times in seconds.items()}


def recall(index: LanceIndex, matrix: np.ndarray, query: np.ndarray) -> float:
    """The share of the ten nearest segments that the gallery finds; equal scores count alike."""
    tenth = np.partition(matrix @ query, -K)[-K]
    hits = index.search(query, k=K, by_segment=True)
    return sum(hit.score >= tenth - 1e-6 for hit in hits) / K


def bare_recall(table: lancedb.Table, matrix: np.ndarray, query: np.ndarray) -> float:
    """The same of LanceDB's own index."""
    score = matrix @ query
    tenth = np.partition(score, -K)[-K]
    return sum(score[int(row)] >= tenth - 1e-6 for row in ask_lancedb(table, query)) / K


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def in_a_process_of_its_own(work: Callable[..., float], *arguments: object) -> float:
    """Return the result of a function that runs in a new process, where no other part of this run takes memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def memory_of_gallery(folder: Path, dim: int) -> float:
    """Megabytes that a process grows by when it opens a gallery and searches it a hundred times."""
    before = resident_megabytes()
    index = LanceIndex.open(folder)
    for query in make_queries(100, dim=dim, seed=9):
        index.search(query, k=K)
    return resident_megabytes() - before


def resident_megabytes() -> float:
    """Memory of this process that is in use."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def print_result(result: dict[str, float]) -> None:
    """One line for each figure."""
    print("\n".join(f"{name:>32}  {value:,.3f}" for name, value in result.items()), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
