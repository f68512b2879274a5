"""Near-duplicate photos: edits of photos found among all others, pairs found that nobody made, and the time for many.

    python benchmarks/near_duplicates.py ../shared/data/fgbirds/manifest.csv --out docs/results/near_duplicates.md

250 photos of the manifest are edited, and each edit is looked for among all photos of the manifest. The time for
100,000 photos is that of comparing rows of random pictures, blurred noise, all with all.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from rounds import write_lines

from fieldmark import Item, Medium, read_manifest
from fieldmark.datasets.checks.pictures import compute_picture_row, find_similar_rows, stack_picture_rows

EDITED_COUNT = 250


def encode(image: Image.Image, quality: int = 85) -> Image.Image:
    """Return a picture as JPEG gives it back."""
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def crop(image: Image.Image, share: float) -> Image.Image:
    """Cut the same share off each side."""
    left, top = round(share * image.width), round(share * image.height)
    return image.crop((left, top, image.width - left, image.height - top))


EDITS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG at quality 50": lambda image: encode(image, 50),
    "half the size": lambda image: encode(image.resize((image.width // 2, image.height // 2))),
    "cropped by 4 % on each side": lambda image: encode(crop(image, 0.04)),
    "cropped by 8 % on each side": lambda image: encode(crop(image, 0.08)),
    "gray": lambda image: encode(ImageOps.grayscale(image).convert("RGB")),
    "mirrored": lambda image: encode(ImageOps.mirror(image)),
    "mirrored, gray, cropped by 8 %": lambda image: encode(
        crop(ImageOps.mirror(ImageOps.grayscale(image).convert("RGB")), 0.08)
    ),
    "6 % cut off one side": lambda image: encode(image.crop((round(0.06 * image.width), 0, *image.size))),
    "brighter, less contrast": lambda image: encode(
        ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(1.25)).enhance(0.85)
    ),
}


def read_row(image: Image.Image) -> np.ndarray | None:
    """Return the row of a picture; None for a plain one."""
    return compute_picture_row(torch.from_numpy(np.array(image)).permute(2, 0, 1))


def format_edits(photos: Sequence[Item], rows: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yield a row of the table for each edit."""
    chosen = np.random.default_rng(0).choice(len(photos), EDITED_COUNT, replace=False)
    originals = [photos[number] for number in chosen if photos[number].item_id in rows]
    others = [name for name in rows if name not in {item.item_id for item in originals}]
    yield "| edit | found | other pairs with an edit, of one in a million |"
    yield "|---|---|---|"
    for name, edit in EDITS.items():
        edited = [read_row(edit(Image.open(item.path).convert("RGB"))) for item in originals]
        known = [number for number, row in enumerate(edited) if row is not None]
        table = [edited[number] for number in known] + [rows[originals[number].item_id] for number in known]
        table += [rows[other] for other in others]
        # Only pairs with an edit are looked for: all photos have one owner.
        owner = np.array([*range(1, len(known) + 1), *[0] * (len(table) - len(known))])
        values = stack_picture_rows(table)
        found = {(pair.first, pair.second) for pair in find_similar_rows(values, owner, is_mirrored_too=True)}
        right = sum((number, number + len(known)) in found for number in range(len(known)))
        pair_count = len(known) * (len(table) - len(known))
        wrong = 1e6 * (len(found) - right) / pair_count
        yield f"| {name} | {right / len(originals):.3f} | {wrong:.2f} |"


def format_pairs(rows: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yield the pairs among the photos themselves."""
    names = list(rows)
    values = stack_picture_rows(list(rows.values()))
    started = time.monotonic()
    found = list(find_similar_rows(values, np.arange(len(names)), is_mirrored_too=True))
    seconds = time.monotonic() - started
    yield f"{len(found)} pairs among {len(names):,} photos, in {seconds:.1f} s:"
    yield ""
    yield "| photo | photo | mirrored | agreement of details |"
    yield "|---|---|---|---|"
    for pair in found:
        yield f"| {names[pair.first]} | {names[pair.second]} | {'yes' if pair.is_mirrored else ''} | {pair.score:.2f} |"


def time_many(rows: Mapping[str, np.ndarray], count: int) -> float:
    """Return the seconds to compare as many photos: real ones, each moved and mixed with another one."""
    generator = np.random.default_rng(1)
    real = stack_picture_rows(list(rows.values())).astype(np.float32)
    values = np.empty((count, real.shape[1]), dtype=np.int8)
    for start in range(0, count, 1_000):
        one, other = generator.integers(len(real), size=(2, min(1_000, count - start)))
        values[start : start + 1_000] = 0.5 * real[one] + 0.5 * np.roll(real[other], 48 * 7 + 11, axis=1)
    started = time.monotonic()
    for _ in find_similar_rows(values, np.arange(count), is_mirrored_too=True):
        pass
    return time.monotonic() - started


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--count", type=int, default=100_000, help="photos of the timed comparison")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    photos = [item for item in read_manifest(asked.manifest) if item.medium is Medium.IMAGE]
    started = time.monotonic()
    found = {item.item_id: read_row(Image.open(item.path).convert("RGB")) for item in photos}
    rows = {name: row for name, row in found.items() if row is not None}
    lines = [f"{len(photos):,} photos read in {time.monotonic() - started:.1f} s.", "", *format_edits(photos, rows), ""]
    lines += [*format_pairs(rows), ""]
    if asked.count:
        seconds = time_many(rows, asked.count)
        lines.append(f"{asked.count:,} rows compared all with all, mirrored too, in {seconds:.0f} s.")
    write_lines(lines, asked.out)


if __name__ == "__main__":
    main()
