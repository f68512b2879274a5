"""The gallery in Milvus beside the one of LanceDB, side by side in one run.

    python benchmarks/milvus_gallery.py --address milvus://127.0.0.1:19530 --out DIR --sizes 100000

Makes segments as a trained space has them (classes apart, members around them, four media), with the facts of records,
stores them as `fieldmark index` adds an embeddings folder, and asks both the same queries: all items, those of one
class, those of four, and those of two months in one country. What is timed begins with a query's embedding and ends
with ten hits with all their facts. Recall is the share of the ten nearest segments, against a product with all in
double precision. With `--keep NAME` both stores stay, and the next run of the same name, size and seed asks them again.

A real standalone comes with `pip install milvus==2.3.5 pymilvus==2.3.7 'setuptools<81' 'marshmallow<4'` in an
environment of its own. It listens on all interfaces whatever it is told, so run it, and this, in a network of their
own:

    unshare -rn sh -c 'ip link set lo up; milvus-server --data DIR --proxy-port 19530 & ...'
"""

import argparse
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from search import BLOCK_ROWS, K, blocks, make_queries

from fieldmark.gallery.address import EngineAccess, MilvusAddress, parse_address
from fieldmark.gallery.facts import FactFilter
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.index import MilvusIndex
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.types import Embeddings

COUNTRIES = ("DE", "FR", "GB", "US", "BR", "ZA", "IN", "AU")
FOUR_CLASSES = frozenset({"class 007", "class 107", "class 207", "class 307"})
FILTERS = {
    "plain": Filter(),
    "one_class": Filter(class_names=frozenset({"class 007"})),
    "four_classes": Filter(class_names=FOUR_CLASSES),
    "facts": Filter(facts=FactFilter(months=frozenset({5, 6}), countries=frozenset({"DE"}))),
}


def main() -> None:
    """Measures each size and prints a table, and JSON beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="of the engine, without the name of a gallery")
    parser.add_argument("--out", type=Path, required=True, help="folder for the store of LanceDB, deleted again")
    parser.add_argument("--sizes", default="100000")
    parser.add_argument("--dim", type=int, default=512, help="that of the preset 'fieldmark'")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", default="", metavar="NAME", help="begins the names of both stores, which stay")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds for the engine to load what it indexed")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for size in map(int, options.sizes.split(",")):
        results.append(measure(size, options))
        print(json.dumps(results[-1], indent=1), flush=True)
        (options.out / "milvus.json").write_text(json.dumps(results, indent=1))


def measure(size: int, options: argparse.Namespace) -> dict[str, object]:
    """Insert rates, latencies and recall of both stores at one size."""
    result: dict[str, object] = {"segments": size, "dim": options.dim, "queries": options.queries}
    result["settle_seconds"] = options.settle
    name = f"{options.keep}_{size}" if options.keep else f"benchmark_{uuid.uuid4().hex[:8]}"
    address = parse_address(f"{options.address}/{name}")
    assert isinstance(address, MilvusAddress)
    files = MilvusFiles(address, access=EngineAccess())
    folder = options.out / f"lance_{name}"
    is_there = {"milvus": files.connection.has_collection(address.name), "lance": folder.exists()}
    stores = open_stores(files, folder, is_there=is_there, dim=options.dim)
    made = [with_facts(each, seed=options.seed) for each in blocks(size, dim=options.dim, seed=options.seed)]
    for store_name, store in stores.items():
        if not is_there[store_name]:
            fill(store, made, result, store_name)
            print(f"{store_name} is filled: {result}", flush=True)
    result["milvus_index"] = asdict(files.connection.read_index_progress(address.name, "vector"))
    time.sleep(options.settle)
    queries = make_queries(options.queries, dim=options.dim, seed=options.seed)
    matrix = np.concatenate([each.embedding for each in made])
    items = [item for each in made for item in each.items]
    for kind, where in FILTERS.items():
        is_met = find_met(items, kind)
        result[f"{kind}_matching_segments"] = int(is_met.sum())
        for store_name, store in stores.items():
            measure_searches(store, queries, where, f"{store_name}_{kind}", result)
            result[f"{store_name}_{kind}_recall_at_10"] = measure_recall(store, queries, where, matrix, is_met)
    known = stores["milvus"].approximation()
    if known is not None:
        result |= {"milvus_stated_recall": known.recall, "milvus_candidates": known.probe_count}
    lance_known = stores["lance"].approximation()
    result["lance_search"] = "exact" if lance_known is None else f"ivf_flat, stated {lance_known.recall:.4f}"
    if not options.keep:
        files.connection.drop_collection(address.name)
        files.remove_all()
        shutil.rmtree(folder)
    return result


def open_stores(files: MilvusFiles, folder: Path, *, is_there: dict[str, bool], dim: int) -> dict[str, SegmentIndex]:
    """Open the stores that an earlier run kept, and make the others."""
    made: dict[str, Any] = {"fingerprint": "benchmark", "dim": dim}
    return {
        "milvus": MilvusIndex.open(files) if is_there["milvus"] else MilvusIndex.create(files, **made),
        "lance": LanceIndex.open(folder) if is_there["lance"] else LanceIndex.create(folder, **made),
    }


def with_facts(embeddings: Embeddings, *, seed: int) -> Embeddings:
    """Return embeddings whose items have a day and a country."""
    made = {}
    for item in dict.fromkeys(embeddings.items):
        generator = np.random.default_rng([seed, *item.item_id.encode()])
        day = f"2024-{generator.integers(1, 13):02}-{generator.integers(1, 29):02}"
        made[item] = replace(item, event_date=day, country_code=COUNTRIES[generator.integers(len(COUNTRIES))])
    return replace(embeddings, items=tuple(made[item] for item in embeddings.items))


def find_met(items: list, name: str) -> np.ndarray:
    """Tell which segments meet a filter, by a look at their items."""
    meets: dict[str, Callable[..., bool]] = {
        "plain": lambda item: item.item_id != "",
        "one_class": lambda item: item.class_name == "class 007",
        "four_classes": lambda item: item.class_name in FOUR_CLASSES,
        "facts": lambda item: item.event_date[5:7] in ("05", "06") and item.country_code == "DE",
    }
    return np.array([meets[name](item) for item in items])


def fill(store: SegmentIndex, made: list[Embeddings], result: dict[str, object], name: str) -> None:
    """Add all blocks, and let the store index them."""
    count = sum(len(each.items) for each in made)
    started = time.perf_counter()
    with store.loading():
        for embeddings in made:
            hashes = {item.item_id: "0" for item in embeddings.items}
            store.add(embeddings, content_hash_by_item_id=hashes, set_name="benchmark")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    store.optimize()
    result |= {
        f"{name}_insert_seconds": seconds,
        f"{name}_segments_per_second": count / seconds,
        f"{name}_optimize_seconds": time.perf_counter() - started,
        "block_rows": BLOCK_ROWS,
    }


def measure_searches(
    store: SegmentIndex, queries: np.ndarray, where: Filter, name: str, result: dict[str, object]
) -> None:
    """Time each query once, after some to warm up."""
    for query in queries[:10]:
        store.search(query, k=K, where=where)
    seconds = []
    for query in queries:
        started = time.perf_counter()
        store.search(query, k=K, where=where)
        seconds.append(time.perf_counter() - started)
    p50, p99 = (1000 * np.percentile(seconds, [50, 99])).tolist()
    result |= {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}


def measure_recall(
    store: SegmentIndex, queries: np.ndarray, where: Filter, matrix: np.ndarray, is_met: np.ndarray
) -> float:
    """Return the mean share of the ten nearest segments that are found; rows that score alike count alike."""
    rows, shares = matrix[is_met], []
    for query in queries:
        score = chunked_scores(rows, query.astype(np.float64) / np.linalg.norm(query.astype(np.float64)))
        least = np.partition(score, -K)[-K]
        hits = store.search(query, k=K, where=where, by_segment=True)
        shares.append(sum(hit.score >= least - 1e-6 for hit in hits) / K)
    return float(np.mean(shares))


def chunked_scores(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return cosines; rows are of length 1 up to single precision."""
    return np.concatenate(list(score_parts(rows, query)))


def score_parts(rows: np.ndarray, query: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the scores of some thousand rows at a time."""
    for start in range(0, len(rows), 65_536):
        yield rows[start : start + 65_536] @ query.astype(np.float32)


if __name__ == "__main__":
    main()
