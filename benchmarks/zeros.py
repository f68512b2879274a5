"""Exact zeros put into real recordings: how many of them are told, and how many of recordings that have none.

    python benchmarks/zeros.py MANIFEST --every 8

Each recording is decoded, written as WAV of 16 bits, changed in one way at a time, and read.
"""

import argparse
import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from fieldmark.media import audio
from fieldmark.types import Decoding, MediaLimits

BLOCK_BYTES = 512
MARGIN = 1_000  # samples at both ends that stay as they are


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--every", type=int, default=8, help="Take every n-th recording")
    arguments = parser.parse_args()
    with arguments.manifest.open() as file:
        rows = [row for row in csv.DictReader(file) if row["medium"] == "audio"][:: arguments.every]
    generator = np.random.default_rng(0)
    read, told = Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            samples, rate = soundfile.read(arguments.manifest.parent / row["path"], dtype="float32")
            for name, changed in list_changes(samples, rate, generator):
                read[name] += 1
                told[name] += is_told(Path(folder) / "a.wav", changed, rate)
    print("| change | recordings | told |\n|---|---|---|")
    for name, count in read.items():
        print(f"| {name} | {count} | {told[name]} |")


def is_told(path: Path, samples: np.ndarray, rate: int) -> bool:
    """Whether zeros are told of a recording."""
    soundfile.write(path, samples, rate, subtype="PCM_16")
    *_, last = audio.load(path, decoding=Decoding(sample_rate_hz=22_050), limits=MediaLimits())
    return any(each.kind == "zeros" for each in last.warnings)


def list_changes(samples: np.ndarray, rate: int, generator: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """A recording in each of the ways."""
    yield "none", samples
    for name, count in (
        ("block of 512 bytes", 256),
        ("block of 2,048 bytes", 1_024),
        ("block of 32,768 bytes", 16_384),
        ("1.5 s", round(1.5 * rate)),
    ):
        if count < len(samples) - 3 * MARGIN:
            start = int(generator.integers(MARGIN, len(samples) - count - MARGIN)) // (BLOCK_BYTES // 2)
            yield name, blank(samples, start * (BLOCK_BYTES // 2), count)
    yield "begins and ends in silence", blank(blank(samples, 0, 5 * MARGIN), len(samples) - 5 * MARGIN, 5 * MARGIN)
    if len(samples) > 2 * rate:
        yield "fades of 100 ms around a pause of 250 ms", samples * draw_pause(len(samples), rate)
    level = np.sqrt(np.convolve(samples**2, np.full(rate // 50, 50 / rate), "same"))
    for share in (50, 80):
        is_open = spread(level > np.percentile(level, share), rate // 20)
        yield f"gate without ramps, at {share} % of the levels", samples * is_open
    is_open = spread(level > np.median(level), rate // 10)
    for milliseconds in (2, 5, 20):
        width = rate * milliseconds // 1_000
        gain = np.convolve(is_open.astype(float), np.full(width, 1 / width), "same")
        yield f"gate with ramps of {milliseconds} ms", samples * np.where(gain < 1e-9, 0, gain)


def blank(samples: np.ndarray, start: int, count: int) -> np.ndarray:
    """A recording with zeros from some sample on."""
    changed = samples.copy()
    changed[start : start + count] = 0
    return changed


def draw_pause(count: int, rate: int) -> np.ndarray:
    """The gain of a pause in the middle, with its fades."""
    middle, fade, half = count // 2, rate // 10, rate // 8
    gain = np.ones(count)
    gain[middle - half - fade : middle - half] = np.linspace(1, 0, fade)
    gain[middle - half : middle + half] = 0
    gain[middle + half : middle + half + fade] = np.linspace(0, 1, fade)
    return gain


def spread(is_loud: np.ndarray, width: int) -> np.ndarray:
    """Holds a gate open around what is loud."""
    return np.convolve(is_loud.astype(float), np.ones(width), "same") > 0


if __name__ == "__main__":
    sys.exit(main())
