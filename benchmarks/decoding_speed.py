"""Time to decode clean files of the four media, beside the bare libraries that do the same work, in turns in one run.

    python benchmarks/decoding_speed.py

Both sides give the same tensors: sound in segments of 3 s at 22,050 Hz (PyAV, soxr), frames of a video at 224 pixels
(PyAV), pictures upright in RGB, whole and at 224 pixels (Pillow). Processor time; the ratio is the median of all turns.
A text is read twice: beside `charset-normalizer`, which reads the file and guesses its encoding as the loader does, and
beside Python's own reading of a file that is known to be UTF-8, which neither checks nor judges it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import charset_normalizer
import numpy as np
import soxr
import torch
from av.video.reformatter import VideoReformatter
from containers import RATE, SOUNDS, write_sound
from PIL import Image, ImageOps

from fieldmark import Item, Medium
from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, MediaLimits, Segment

HERTZ, SEGMENT_SECONDS, SIDE, FRAMES = 22_050, 3, 224, 4
NAMES = ("WAV", "FLAC", "MP3", "Ogg Vorbis", "Ogg Opus", "M4A", "AAC", "WebM Opus", "AVI MP3")
Tensors = list[torch.Tensor]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| file | loader | bare | ratio | least and most |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, own, bare in list_pairs(Path(folder)):
            compare(name, own, bare, turns=arguments.turns)


def compare(name: str, own: Callable[[], Tensors], bare: Callable[[], Tensors], *, turns: int) -> None:
    """Prints the row of one file, once both sides are shown to give the same."""
    for got, expected in zip(own(), bare(), strict=True):
        assert torch.allclose(got.float(), expected.float(), atol=1e-6), name
    pairs = [(time_call(own), time_call(bare)) for _ in range(turns)]
    ratios = [mine / theirs for mine, theirs in pairs]
    mine, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(
        f"| {name} | {1000 * mine:.1f} ms | {1000 * theirs:.1f} ms | {statistics.median(ratios):.2f} "
        f"| {min(ratios):.2f}, {max(ratios):.2f} |",
        flush=True,
    )


def time_call(call: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def load(path: Path, medium: Medium, decoding: Decoding) -> list[Segment]:
    """Reads a file with the loader."""
    return list(load_segments(Item("a", medium, path=path), decoding=decoding, limits=MediaLimits()))


def list_pairs(folder: Path) -> list[tuple[str, Callable[[], Tensors], Callable[[], Tensors]]]:
    """Writes the files; gives name, own and bare reading of each."""
    pairs = []
    generator = np.random.default_rng(0)
    for seconds in (30, 300):
        noise = generator.normal(0, 0.1, seconds * RATE).astype(np.float32)
        for name in NAMES:
            suffix, codec = SOUNDS[name]
            path = folder / f"{name}_{seconds}{suffix}"
            write_sound(path, noise, codec=codec, options={}, has_gap=False)
            pairs.append(
                (f"{name}, {seconds} s", lambda path=path: read_sound(path), lambda path=path: bare_sound(path))
            )
    picture = Image.fromarray(generator.integers(0, 255, (188, 250, 3), dtype=np.uint8)).resize((4_000, 3_000))
    for name, size in (
        ("JPEG", (4_000, 3_000)),
        ("PNG", (1_600, 1_200)),
        ("WebP", (1_600, 1_200)),
        ("TIFF", (1_600, 1_200)),
    ):
        path = folder / f"a.{name.lower()}"
        picture.resize(size).save(path, format=name)
        pairs.extend(
            (
                f"{name}, {size[0]} x {size[1]}, {'whole' if side is None else f'at {side}'}",
                lambda path=path, side=side: read_picture(path, side),
                lambda path=path, side=side: bare_picture(path, side),
            )
            for side in (None, SIDE)
        )
    write_video(folder / "a.mp4", np.asarray(picture.resize((2_560, 480))))
    pairs.append(
        ("MP4 (H.264), 640 x 480, 30 s", lambda: read_video(folder / "a.mp4"), lambda: bare_video(folder / "a.mp4"))
    )
    note = folder / "a.txt"
    note.write_text(
        "A wren was singing near the brook at dawn. Two more answered \u2013 quietly, for a long time.\n" * 12
    )
    pairs.append(
        ("note of 1 kB, 100 times, `charset-normalizer`", lambda: read_note(note), lambda: guess_encoding(note))
    )
    pairs.append(("note of 1 kB, 100 times, `read_text`", lambda: read_note(note), lambda: read_known(note)))
    return pairs


# ---------------------------------------------------------------- sound


def read_sound(path: Path) -> Tensors:
    """Reads a sound with the loader."""
    decoding = Decoding(sample_rate_hz=HERTZ, segment_seconds=float(SEGMENT_SECONDS))
    segments = load(path, Medium.AUDIO, decoding)
    whole = [segment for segment in segments if (segment.start_seconds or 0) % SEGMENT_SECONDS == 0]
    return [segment.content.waveform for segment in whole if len(segment.content.waveform) == SEGMENT_SECONDS * HERTZ]


def bare_sound(path: Path) -> Tensors:
    """Reads a sound with the libraries alone: in blocks of a second, so that no length fills the memory."""
    length = SEGMENT_SECONDS * HERTZ
    resampler = soxr.ResampleStream(RATE, HERTZ, 1, dtype="float32")
    segments, rest = [], np.zeros(0, np.float32)
    for is_last, samples in read_blocks(path):
        rest = np.concatenate([rest, np.clip(resampler.resample_chunk(samples, last=is_last), -1, 1)])
        while len(rest) >= length:
            segments.append(torch.from_numpy(rest[:length].copy()))
            rest = rest[length:]
    return segments


def read_blocks(path: Path) -> list[tuple[bool, np.ndarray]]:
    """Blocks of a second, mixed to one channel, and whether each is the last."""
    held, count = [], 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            held.append(samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T)
            count += frame.samples
            if count >= RATE:
                yield False, mix(held)
                held, count = [], 0
    yield True, mix(held) if held else np.zeros(0, np.float32)


def mix(held: list[np.ndarray]) -> np.ndarray:
    """The mean of the channels, as fractions of full scale."""
    samples = np.concatenate(held, axis=1)
    scale = 2.0 ** (8 * samples.dtype.itemsize - 1) if samples.dtype.kind == "i" else 1.0
    return (samples.astype(np.float32) / np.float32(scale)).mean(axis=0)


# ---------------------------------------------------------------- pictures, videos, texts


def read_picture(path: Path, side: int | None) -> Tensors:
    """Reads a picture with the loader."""
    [segment] = load(path, Medium.IMAGE, Decoding(side_pixels=side))
    return [segment.content.pixels]


def bare_picture(path: Path, side: int | None) -> Tensors:
    """Reads a picture with Pillow as its guide has it, `draft` included."""
    with Image.open(path) as image:
        size = image.size
        if side is not None:
            size = tuple(max(1, round(each * side / min(size))) for each in size)
            if image.format == "JPEG":
                image.draft(None, (2 * size[0], 2 * size[1]))
        upright = ImageOps.exif_transpose(image).convert("RGB")
        if upright.size != size:
            upright = upright.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return [torch.from_numpy(np.array(upright)).permute(2, 0, 1).contiguous()]


def write_video(path: Path, picture: np.ndarray) -> None:
    """Writes a pan over a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, width=640, height=480, pix_fmt="yuv420p")
        for number in range(900):
            pixels = np.ascontiguousarray(picture[:, 2 * number : 2 * number + 640])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def read_video(path: Path) -> Tensors:
    """Reads a video with the loader."""
    decoding = Decoding(side_pixels=SIDE, segment_seconds=float(SEGMENT_SECONDS), frames_per_segment=FRAMES)
    return [segment.content.frames for segment in load(path, Medium.VIDEO, decoding)]


def bare_video(path: Path) -> Tensors:
    """Decodes a video with PyAV; takes the frames that are on the screen in the middles of equal parts."""
    reformatter, pictures, before, next_one = VideoReformatter(), [], None, 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = round(float(stream.duration * stream.time_base) / SEGMENT_SECONDS) * FRAMES
        targets = [(number + 0.5) * SEGMENT_SECONDS / FRAMES for number in range(count)]
        for frame in container.decode(stream):
            while before is not None and next_one < count and targets[next_one] < frame.time:
                scale = SIDE / min(before.width, before.height)
                size = round(before.width * scale), round(before.height * scale)
                pictures.append(reformatter.reformat(before, *size, "rgb24", interpolation="BICUBIC").to_ndarray())
                next_one += 1
            before = frame
    frames = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return list(frames.split(FRAMES))


def read_note(path: Path) -> Tensors:
    """Reads a text with the loader, a hundred times."""
    for _ in range(100):
        load(path, Medium.TEXT, Decoding())
    return []


def guess_encoding(path: Path) -> Tensors:
    """Reads a text in the encoding that is guessed, a hundred times."""
    for _ in range(100):
        str(charset_normalizer.from_bytes(path.read_bytes()).best())
    return []


def read_known(path: Path) -> Tensors:
    """Reads a text that is known to be UTF-8, a hundred times."""
    for _ in range(100):
        path.read_text(encoding="utf-8")
    return []


if __name__ == "__main__":
    sys.exit(main())
