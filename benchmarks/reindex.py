"""Indexing a folder again whose files are unchanged, beside a bare walk of it with `stat`.

Run: python benchmarks/reindex.py [--files 100000] [--rounds 3]

The files are small texts, made here; their embeddings are drawn at random, since none is computed in what is measured.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fieldmark import Embeddings, Item, Medium, Runtime, index, load_config, synthesize, train
from fieldmark.build import load_model
from fieldmark.gallery.item_state import hash_states
from fieldmark.gallery.lance import LanceIndex
from fieldmark.media.loaders import hash_content

PER_FOLDER = 1_000
BLOCK = 10_000
TINY = ("model.base_width=4", "model.text_width=32", "train.epochs=1")


def make_files(folder: Path, count: int) -> list[Path]:
    """Small texts in folders of a thousand, not touched for a minute."""
    then = time.time() - 60
    paths = []
    for number in range(count):
        path = folder / f"{number // PER_FOLDER:04}" / f"{number:07}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a small brown bird, number {number}\n", encoding="utf-8")
        os.utime(path, (then, then))
        paths.append(path)
    return paths


def fill(gallery: Path, run: Path, folder: Path, paths: list[Path]) -> None:
    """A gallery that holds the files."""
    model = load_model(run, device=Runtime(device="cpu").choose_device())
    store = LanceIndex.create(gallery / "segments", fingerprint=model.fingerprint, dim=model.network.dim)
    generator = np.random.default_rng(0)
    for start in range(0, len(paths), BLOCK):
        items = tuple(
            Item(path.relative_to(folder).as_posix(), Medium.TEXT, path=path) for path in paths[start : start + BLOCK]
        )
        vectors = generator.standard_normal((len(items), model.network.dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        times = np.full(len(items), np.nan)
        states = hash_states(items, {item.item_id: hash_content(item) for item in items}, root=folder)
        store.add(Embeddings(items, times, times, vectors), content_hash_by_item_id=states, set_name="files")


def walk(folder: Path) -> int:
    """What any program has to do to look at all files once."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            total += os.stat(f"{at}{os.sep}{name}").st_size  # noqa: PTH116 - the barest there is
    return total


def measure(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home, runtime = Path(name).resolve(), Runtime(device="cpu")
        manifest = synthesize(home / "toy", class_count=3, items_per_medium=3, seed=1)
        config = load_config("tiny", overrides=TINY)
        run = train(manifest, out=home / "run", config=config, runtime=runtime).run
        folder, gallery = home / "files", home / "gallery"
        fill(gallery, run, folder, make_files(folder, chosen.files))

        def again(**options: bool) -> None:
            report = index(folder, gallery=gallery, checkpoint=run, set_name="files", runtime=runtime, **options)
            assert report.unchanged_count == chosen.files, report.to_text()

        first = measure(again)
        walks, listed = [], []
        for _ in range(chosen.rounds):
            walks.append(measure(lambda: walk(folder)))
            listed.append(measure(again))
        read = measure(lambda: again(verify_content=True))
    bare, quick = statistics.median(walks), statistics.median(listed)
    print(f"{chosen.files:,} files, {chosen.rounds} rounds in turn, median seconds")
    print(f"walk with stat           {bare:8.2f}")
    print(f"index, nothing changed   {quick:8.2f}  {quick / bare:.1f} x")
    print(f"index --verify-content   {read:8.2f}  {read / bare:.1f} x")
    print(f"first index, no times known {first:5.2f}")


if __name__ == "__main__":
    main()
