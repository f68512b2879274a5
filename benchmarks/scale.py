"""The cost of a million segments: decode, encode, embed, write, index and query, in seconds of CPU, as JSON.

    python benchmarks/scale.py MANIFEST --checkpoint RUN --out scale.json --items 24 --rows 50000

A machine that others use too spoils times of the clock, so CPU seconds of this process are counted. Decoding and
encoding are those of the first items of each medium; the rest is measured on rows as a trained space has them, of the
given number of dimensions. `benchmarks/query_path.py` reads the seconds of single queries from the file.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from search import blocks, make_queries, size_of

import fieldmark
from fieldmark.build import Model, load_model
from fieldmark.data.shards import EmbeddingsWriter
from fieldmark.embedding import embed_segments
from fieldmark.gallery.lance import LanceIndex
from fieldmark.media.loaders import load_segments
from fieldmark.types import Embeddings, MediaLimits, Segment

MILLION = 1_000_000
_Result = TypeVar("_Result")


def main() -> None:
    """Measure all, and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--items", type=int, default=24, help="of each medium")
    parser.add_argument("--rows", type=int, default=50_000, help="of the index")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    media = measure_media(arguments.manifest, arguments.checkpoint, count=arguments.items)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_rows(Path(folder), count=arguments.rows, dim=arguments.dim, query_count=arguments.queries)
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    result = {"machine": machine, "media": media, "rows": rows}
    arguments.out.write_text(json.dumps(result, indent=1))
    print("| medium | segments | decode | encode | project | hours for a million segments |")
    print("|---|---|---|---|---|---|")
    for name, each in media.items():
        times = [each[step] for step in ("decode", "encode", "project")]
        cells = " | ".join(f"{1000 * seconds:.1f} ms" for seconds in times)
        print(f"| {name} | {each['segments']:.0f} | {cells} | {sum(times) * MILLION / 3600:.1f} |")
    print(json.dumps({name: value for name, value in rows.items() if not isinstance(value, list)}, indent=1))


def measure_media(manifest: Path, checkpoint: Path, *, count: int) -> dict[str, dict[str, float]]:
    """Return the CPU seconds of each step for a segment, by medium."""
    model = load_model(checkpoint, device=torch.device("cpu"))
    items = fieldmark.read_manifest(manifest)
    return {
        medium.value: measure_medium(model, medium, [item for item in items if item.medium is medium][: count + 2])
        for medium in model.media
    }


def measure_medium(model: Model, medium: fieldmark.Medium, items: list[fieldmark.Item]) -> dict[str, float]:
    """Return the CPU seconds of each step for a segment of one medium; two items warm up."""
    encoder, network = model.encoder(medium), model.network

    def decode(some: list[fieldmark.Item]) -> list[Segment]:
        return [each for item in some for each in load_segments(item, decoding=encoder.decoding, limits=MediaLimits())]

    def encode(some: list[Segment]) -> torch.Tensor:
        return torch.cat([encoder.encode(some[start : start + 32]) for start in range(0, len(some), 32)])

    embed_segments(encode(decode(items[:2])), medium=medium, network=network)
    decoding, segments = spend(lambda: decode(items[2:]))
    encoding, inputs = spend(lambda: encode(segments))
    projecting, _ = spend(lambda: embed_segments(inputs, medium=medium, network=network))
    per = len(segments)
    steps = {"decode": decoding / per, "encode": encoding / per, "project": projecting / per}
    return {"items": len(items) - 2, "segments": per, **steps}


def measure_rows(folder: Path, *, count: int, dim: int, query_count: int) -> dict[str, float | list[float]]:
    """Return the CPU seconds of writing, indexing and asking, for a row or a query."""
    made: list[Embeddings] = list(blocks(count, dim=dim, seed=0))
    result: dict[str, float | list[float]] = {"rows": count, "dim": dim}
    writer = EmbeddingsWriter(folder / "shards", fingerprint="benchmark")

    def write() -> None:
        for each in made:
            writer.add(each, content_hash_by_item_id={item.item_id: "0" for item in each.items})
        writer.finish()

    result["write_shards"] = spend(write)[0] / count
    result["shard_bytes"] = size_of(folder / "shards") / count
    index = LanceIndex.create(folder / "gallery", fingerprint="benchmark", dim=dim)

    def add() -> None:
        for each in made:
            index.add(each, content_hash_by_item_id={item.item_id: "0" for item in each.items})
        index.optimize()

    result["add_to_gallery"] = spend(add)[0] / count
    result["gallery_bytes"] = size_of(folder / "gallery") / count
    queries = make_queries(query_count, dim=dim, seed=0)
    exact, clock = [], []
    for query in queries:
        began = time.perf_counter()
        exact.append(spend(lambda query=query: index.search(query, k=10))[0])
        clock.append(time.perf_counter() - began)
    result["query"], result["query_clock"] = exact[20:], clock[20:]
    result["query_p50"], result["query_p99"] = np.percentile(exact[20:], [50, 99]).tolist()
    result["query_clock_p50"], result["query_clock_p99"] = np.percentile(clock[20:], [50, 99]).tolist()
    return result


def spend(work: Callable[[], _Result]) -> tuple[float, _Result]:
    """Return the CPU seconds of this process that some work takes, and its result."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


if __name__ == "__main__":
    main()
