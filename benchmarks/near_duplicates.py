"""Near duplicates: edits of photos and recordings found among all others, pairs that nobody made, the time for many.

    python benchmarks/near_duplicates.py ../shared/data/fgbirds/manifest.csv --out docs/results/near_duplicates.md

250 photos of the manifest are edited, and each edit is looked for among all photos of the manifest; 100 recordings
likewise. The time for 100,000 photos is that of comparing rows, each mixed from two real photos, all with all.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from rounds import write_lines
from scipy.signal import resample_poly

from fieldmark import Item, Medium, read_manifest
from fieldmark.datasets.checks.inspection import inspect_item
from fieldmark.datasets.checks.pictures import compute_picture_row, find_similar_rows, stack_picture_rows
from fieldmark.datasets.checks.similarity import find_similar
from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, MediaLimits

EDITED_COUNT = 250
EDITED_SOUND_COUNT = 100
RATE_HZ = 32_000


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


def write_mp3(path: Path, waveform: np.ndarray, rate_hz: int, *, bit_rate: int = 128_000) -> None:
    """Write a sound as MP3."""
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate_hz, layout="mono")
        stream.bit_rate = bit_rate
        samples = np.clip(waveform, -1.0, 1.0).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def add_noise(waveform: np.ndarray) -> np.ndarray:
    """Add white noise of a tenth of the sound's amplitude, 20 dB below it."""
    noise = np.random.default_rng(0).normal(size=len(waveform))
    return waveform + 0.1 * waveform.std() * noise


SOUND_EDITS: Mapping[str, Callable[[np.ndarray, int, Path], None]] = {
    "MP3 at 64 kbit/s": lambda wave, rate, path: write_mp3(path, wave, rate, bit_rate=64_000),
    "a quarter as loud": lambda wave, rate, path: write_mp3(path, wave / 4, rate),
    "0.3 s later": lambda wave, rate, path: write_mp3(path, np.pad(wave, (round(0.3 * rate), 0)), rate),
    "its second half": lambda wave, rate, path: write_mp3(path, wave[len(wave) // 2 :], rate),
    "at half the sample rate": lambda wave, rate, path: write_mp3(path, resample_poly(wave, 1, 2), rate // 2),
    "white noise 20 dB below": lambda wave, rate, path: write_mp3(path, add_noise(wave), rate),
}


def read_waveform(item: Item) -> np.ndarray:
    """Return a recording as one channel."""
    decoding = Decoding(sample_rate_hz=RATE_HZ)
    segment = next(load_segments(item, decoding=decoding, limits=MediaLimits()))
    return segment.content.waveform.numpy()


def format_sound_edits(recordings: Sequence[Item]) -> Iterator[str]:
    """Yield a row of the table for each edit of recordings, then the pairs among the recordings themselves."""
    started = time.monotonic()
    own = [inspect_item(item, limits=MediaLimits()).fingerprint for item in recordings]
    classes = [item.class_name for item in recordings]
    pairs = find_similar(own, classes)
    chosen = np.random.default_rng(0).choice(len(recordings), min(EDITED_SOUND_COUNT, len(recordings)), replace=False)
    yield f"{len(recordings):,} recordings; {len(chosen)} of them edited, then written as MP3:"
    yield ""
    yield "| edit | found | parts of other recordings found with an edit |"
    yield "|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edited.mp3"
        for name, edit in SOUND_EDITS.items():
            edited = []
            for number in chosen.tolist():
                edit(read_waveform(recordings[number]), RATE_HZ, path)
                edited.append(inspect_item(Item("edited", Medium.AUDIO, path=path), limits=MediaLimits()).fingerprint)
            found = {
                (each.first, each.second - len(own))
                for each in find_similar([*own, *edited], [*classes, *(classes[number] for number in chosen)])
                if each.first < len(own) <= each.second
            }
            right = sum((number, place) in found for place, number in enumerate(chosen.tolist()))
            wrong = sum(recordings[one].group != recordings[chosen[place]].group for one, place in found)
            yield f"| {name} | {right / len(chosen):.3f} | {wrong} |"
    yield ""
    items = [(recordings[pair.first], recordings[pair.second], pair.evidence) for pair in pairs]
    other = [each for each in items if each[0].group != each[1].group]
    yield f"{len(pairs)} pairs among them, {len(other)} of two groups, in {time.monotonic() - started:.0f} s in all:"
    yield ""
    for one, two, evidence in other:
        yield f"- {one.item_id} ({one.split}), {two.item_id} ({two.split}): {evidence}"


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


def format_photos(items: Sequence[Item], *, count: int) -> Iterator[str]:
    """Yield all that is measured of photos."""
    photos = [item for item in items if item.medium is Medium.IMAGE]
    started = time.monotonic()
    found = {item.item_id: read_row(Image.open(item.path).convert("RGB")) for item in photos}
    rows = {name: row for name, row in found.items() if row is not None}
    yield f"{len(photos):,} photos read in {time.monotonic() - started:.1f} s."
    yield ""
    yield from format_edits(photos, rows)
    yield ""
    yield from format_pairs(rows)
    if count:
        yield ""
        yield f"{count:,} rows compared all with all, mirrored too, in {time_many(rows, count):.0f} s."


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--count", type=int, default=100_000, help="photos of the timed comparison")
    parser.add_argument("--sounds-only", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    items = read_manifest(asked.manifest)
    lines = [] if asked.sounds_only else [*format_photos(items, count=asked.count), ""]
    lines += format_sound_edits([item for item in items if item.medium is Medium.AUDIO])
    write_lines(lines, asked.out)


if __name__ == "__main__":
    main()
