"""Feed damaged files to the decoders: each gives segments or a `MediaError`, and nothing else.

    python benchmarks/fuzz_media.py audio video --count 25000

The corpus is made here, small files of every container; input n is one of them after seeded accidents: cut off, bytes
changed anywhere or in the header, bytes left out, put in or repeated, two files spliced. Inputs are read by processes
of their own, so that a codec that ends its process costs that process and is told with the number of its input; so is
one that takes longer than the limit. A medium is a function that writes its corpus, in `CORPORA`.
"""

import argparse
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
import soundfile

from fieldmark import Item, Medium
from fieldmark.errors import MediaError
from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, MediaLimits

LIMITS = MediaLimits(max_pixels=4_000_000, max_seconds=600.0, max_frames=20_000, max_bytes=2**22)
DECODING = Decoding(sample_rate_hz=16_000, segment_seconds=1.0, side_pixels=16, frames_per_segment=2)
MEMORY_BYTES = 6 * 2**30
BLOCK = 250  # inputs of one process


def write_sounds(folder: Path) -> None:
    """Writes half a second of sound in every container and codec that PyAV writes."""
    samples = (0.3 * np.sin(np.arange(24_000) / 9)).astype(np.float32)
    for name, codec in {
        "a.wav": "pcm_s16le",
        "float.wav": "pcm_f32le",
        "adpcm.wav": "adpcm_ima_wav",
        "a.aiff": "pcm_s16be",
        "a.caf": "alac",
        "a.flac": "flac",
        "a.wv": "wavpack",
        "a.tta": "tta",
        "a.mp3": "libmp3lame",
        "a.aac": "aac",
        "a.ac3": "ac3",
        "a.opus": "libopus",
        "flac.ogg": "flac",
        "a.m4a": "aac",
        "a.mov": "pcm_s16le",
        "a.webm": "libopus",
        "a.mka": "aac",
        "a.avi": "libmp3lame",
        "a.flv": "aac",
        "a.ts": "aac",
        "a.mpg": "mp2",
    }.items():
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=48_000, layout="stereo")
            size = stream.codec_context.frame_size or 1_024
            resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=48_000, frame_size=size)
            for part in [*resampler.resample(frame), *resampler.resample(None), None]:
                for packet in stream.encode(part):
                    container.mux(packet)
    soundfile.write(folder / "a.ogg", samples, 48_000)


def write_videos(folder: Path) -> None:
    """Writes a dozen small frames in every container that PyAV writes."""
    generator = np.random.default_rng(0)
    for name, codec in {
        "a.mp4": "libx264",
        "a.mov": "mpeg4",
        "a.mkv": "libx264",
        "a.webm": "libvpx",
        "a.avi": "mpeg4",
        "a.ts": "libx264",
        "a.mpg": "mpeg2video",
        "a.flv": "flv1",
        "a.wmv": "wmv2",
        "a.gif": "gif",
    }.items():
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25, width=64, height=48)
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            for number in range(12):
                pixels = (10 * number + generator.integers(0, 40, (48, 64, 3))).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))


CORPORA: dict[Medium, Callable[[Path], None]] = {Medium.AUDIO: write_sounds, Medium.VIDEO: write_videos}


def main() -> None:
    """Feeds the inputs and prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", nargs="+", type=Medium, choices=list(CORPORA))
    parser.add_argument("--count", type=int, default=1_000, help="inputs of each medium")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest-seconds", type=float, default=20.0, help="time that one input may take")
    arguments = parser.parse_args()
    for medium in arguments.media:
        with tempfile.TemporaryDirectory() as folder:
            CORPORA[medium](Path(folder))
            corpus = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
        fuzz(medium, corpus, count=arguments.count, seed=arguments.seed, longest_seconds=arguments.longest_seconds)


def fuzz(medium: Medium, corpus: list[bytes], *, count: int, seed: int, longest_seconds: float) -> None:
    """Feeds the inputs of one medium."""
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    number = 0
    while number < count:
        stop = min(count, number + BLOCK)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=read_inputs, args=(medium, corpus, seed, (number, stop), sender))
        process.start()
        sender.close()
        while number < stop:
            outcome = receive(receiver, longest_seconds)
            outcomes[outcome] += 1
            if outcome.startswith(("ended", "took", "raised")):
                print(f"{medium} input {number} of seed {seed}: {outcome}", flush=True)
            number += 1
            if outcome.startswith(("ended", "took")):
                process.kill()
                break
        process.join()
    size = sum(map(len, corpus))
    print(f"{medium}: {count:,} inputs of {len(corpus)} files ({size:,} bytes), seed {seed},", end=" ")
    print(f"{time.monotonic() - began:.0f} s: {', '.join(f'{name} {each:,}' for name, each in outcomes.most_common())}")


def receive(receiver: Connection, longest_seconds: float) -> str:
    """The outcome of the next input."""
    if not receiver.poll(longest_seconds):
        return f"took more than {longest_seconds:g} s"
    try:
        return str(receiver.recv())
    except EOFError:
        return "ended its process"


def read_inputs(medium: Medium, corpus: list[bytes], seed: int, span: tuple[int, int], sender: Connection) -> None:
    """Reads the inputs of one process and sends what came of each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        for number in range(*span):
            path.write_bytes(make_input(corpus, random.Random(f"{seed} {medium} {number}")) or b"\0")
            sender.send(read_input(medium, path, part=number % 4 == 0))


def read_input(medium: Medium, path: Path, *, part: bool) -> str:
    """Reads one input, or a part of it."""
    times = {"start_seconds": 0.1, "end_seconds": 0.4} if part else {}
    try:
        for _ in load_segments(Item("input", medium, path=path, **times), decoding=DECODING, limits=LIMITS):
            pass
    except MediaError as error:
        return error.kind
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        return f"raised {error!r}"
    return "read"


def make_input(corpus: list[bytes], chance: random.Random) -> bytes:  # noqa: C901 - a table of accidents
    """A file after one to four accidents."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(max(1, len(data)))
        stop = start + chance.choice((1, 4, 40, 400, 4_000))
        match chance.randrange(7):
            case 0:
                del data[start + 1 :]
            case 1:
                for _ in range(chance.randint(1, 20)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            case 2:  # headers are short, and most of what a decoder believes stands there
                for _ in range(chance.randint(1, 8)):
                    data[chance.randrange(min(len(data), 200))] = chance.choice((0, 1, 127, 128, 255))
            case 3:
                del data[start + 1 : stop]
            case 4:
                data[start:start] = bytes(stop - start) if chance.random() < 0.5 else chance.randbytes(stop - start)
            case 5:
                data[start:start] = data[start:stop]
            case _:
                data[start:] = chance.choice(corpus)[start:]
        data = data or bytearray(1)
    return bytes(data)


if __name__ == "__main__":
    main()
