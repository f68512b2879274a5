"""What is read of damaged sound and video, container by container, beside what `ffmpeg` itself reads.

    python benchmarks/containers.py > docs/results/containers.md

Second n of every sound is a tone of 500 + 250 n Hz, so a sound tells its own time. The faults: a gap in the time stamps
(seconds 4 to 6 left out), a stray block (2,048 zero bytes in the middle), junk at the end (4,096 zero bytes), a cut
(a third is missing), two files joined, and packets without bytes. Files are made by the FFmpeg of PyAV; where there is
no `ffmpeg` program, its column is empty.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from fieldmark import Item, Medium
from fieldmark.errors import MediaError
from fieldmark.media.loaders import load_segments
from fieldmark.types import AudioContent, Decoding, MediaLimits, MediaWarning

RATE = 48_000
SECONDS = 12
SOUNDS = {
    "WAV": (".wav", "pcm_s16le"),
    "AIFF": (".aiff", "pcm_s16be"),
    "CAF": (".caf", "pcm_s16le"),
    "FLAC": (".flac", "flac"),
    "WavPack": (".wv", "wavpack"),
    "TTA": (".tta", "tta"),
    "MP3": (".mp3", "libmp3lame"),
    "AAC": (".aac", "aac"),
    "AC-3": (".ac3", "ac3"),
    "Ogg Vorbis": (".ogg", None),
    "Ogg Opus": (".opus", "libopus"),
    "Ogg FLAC": (".ogg", "flac"),
    "M4A": (".m4a", "aac"),
    "M4A, index first": (".m4a", "aac"),
    "MP4 in fragments": (".mp4", "aac"),
    "MOV PCM": (".mov", "pcm_s16le"),
    "WebM Opus": (".webm", "libopus"),
    "Matroska FLAC": (".mka", "flac"),
    "Matroska AAC": (".mka", "aac"),
    "AVI MP3": (".avi", "libmp3lame"),
    "AVI PCM": (".avi", "pcm_s16le"),
    "FLV AAC": (".flv", "aac"),
    "MPEG-TS AAC": (".ts", "aac"),
}
OPTIONS = {
    "M4A, index first": {"movflags": "faststart"},
    "MP4 in fragments": {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"},
}
VIDEOS = {"MP4": ".mp4", "MOV": ".mov", "Matroska": ".mkv", "AVI": ".avi", "MPEG-TS": ".ts", "FLV": ".flv"}
WITH_TIME_STAMPS = {"M4A", "M4A, index first", "MP4 in fragments", "WebM Opus", "Matroska FLAC", "Matroska AAC"}
WITH_TIME_STAMPS |= {"FLV AAC", "MPEG-TS AAC"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was read of one file.

    Args:
        misplaced: Tenths of a second at which another second is heard.
    """

    seconds: float
    misplaced: int
    said: str


def zero_block(data: bytes) -> bytes:
    """A bad block of a memory card."""
    middle = len(data) // 2
    return data[:middle] + bytes(2_048) + data[middle + 2_048 :]


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gap": lambda data: data,  # it is written into the file
    "stray block": zero_block,
    "junk at the end": lambda data: data + bytes(4_096),
    "cut": lambda data: data[: len(data) * 2 // 3],
    "joined": lambda data: data + data,
}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    program = shutil.which("ffmpeg")
    print("# Containers and faults\n\n`python benchmarks/containers.py`\n")
    print(__doc__.split("\n\n", 2)[2])
    print(
        f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}; beside it", end=" "
    )
    print(describe_program(program) + ".\n")
    with tempfile.TemporaryDirectory() as folder:
        print_sounds(Path(folder), program)
        print_videos(Path(folder), program)


def describe_program(program: str | None) -> str:
    """The version of the ffmpeg program."""
    if program is None:
        return "no `ffmpeg` program"
    return " ".join(
        subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout.split()[:3]
    )


# ---------------------------------------------------------------- sound


def print_sounds(folder: Path, program: str | None) -> None:
    """Prints the table of sounds."""
    print(
        "## Sound\n\nMisplaced: tenths of a second, of those that are heard at all, at which another second is heard.\n"
    )
    print("| container | fault | read | misplaced | said | `ffmpeg` reads | misplaced |\n|---|---|---|---|---|---|---|")
    for name, (suffix, codec) in SOUNDS.items():
        for fault, damage in FAULTS.items():
            if fault == "gap" and name not in WITH_TIME_STAMPS:
                continue
            path = folder / f"sound{suffix}"
            write_sound(path, make_tones(SECONDS), codec=codec, options=OPTIONS.get(name, {}), has_gap=fault == "gap")
            path.write_bytes(damage(path.read_bytes()))
            own, theirs = read_sound(path), ask_ffmpeg_for_sound(path, program)
            print(f"| {name} | {fault} | {write_outcome(own)} | {own.said} | {write_outcome(theirs)} |", flush=True)


def write_outcome(outcome: Outcome | None) -> str:
    """Two cells of the table."""
    if outcome is None:
        return "| "
    return f"{outcome.seconds:.2f} s | {outcome.misplaced}" if outcome.seconds else "refused | "


def make_tones(seconds: int) -> np.ndarray:
    """The samples of the tones, one after another."""
    moments = np.arange(seconds * RATE) / RATE
    return (0.4 * np.sin(2 * np.pi * (500 + 250 * np.floor(moments)) * moments)).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray, *, codec: str | None, options: dict[str, str], has_gap: bool) -> None:
    """Writes sound with PyAV, or Vorbis with libsndfile."""
    if codec is None:
        with soundfile.SoundFile(
            path, "w", RATE, 1
        ) as file:  # in blocks: libsndfile crashes at minutes of Vorbis at once
            for start in range(0, len(samples), RATE):
                file.write(samples[start : start + RATE])
        return
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        size = stream.codec_context.frame_size or 1_024
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=RATE, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(part):
                if not (has_gap and 4 <= float(packet.pts * packet.time_base) < 6):
                    container.mux(packet)


def read_sound(path: Path) -> Outcome:
    """Reads a sound with the loader."""
    try:
        [segment] = load_segments(
            Item("sound", Medium.AUDIO, path=path), decoding=Decoding(sample_rate_hz=RATE), limits=MediaLimits()
        )
    except MediaError as error:
        return Outcome(0.0, 0, shorten(str(error).split("cannot be decoded: ")[-1]))
    assert isinstance(segment.content, AudioContent)
    return measure(segment.content.waveform.numpy(), segment.start_seconds or 0.0, said=say(segment.warnings))


def say(warnings: tuple[MediaWarning, ...]) -> str:
    """The first sentence of each warning."""
    return "; ".join(each.message.split(" (seconds)")[0].split(". ")[0] for each in warnings)


def shorten(text: str) -> str:
    """The first clause."""
    return text.split(":", maxsplit=1)[0].split(". ", maxsplit=1)[0]


def ask_ffmpeg_for_sound(path: Path, program: str | None) -> Outcome | None:
    """Reads a sound with the ffmpeg program as it does by default."""
    if program is None:
        return None
    call = [program, "-v", "quiet", "-i", str(path), "-f", "f32le", "-ac", "1", "-ar", str(RATE), "-"]
    return measure(np.frombuffer(subprocess.run(call, capture_output=True, check=False).stdout, np.float32), 0.0)


def measure(samples: np.ndarray, start_seconds: float, *, said: str = "") -> Outcome:
    """Hears at what second each tenth of a second was played; of joined files, in each of them."""
    misplaced = 0
    for tenth in range(int(np.ceil(start_seconds * 10)), int((start_seconds + len(samples) / RATE) * 10) - 1):
        first = round((tenth / 10 - start_seconds) * RATE)
        part = samples[first : first + RATE // 10]
        if 0 < tenth % 10 < 9 and np.abs(part).max() > 0.2:
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 8 * len(part)))
            expected = 500 + 250 * (tenth // 10 % SECONDS)
            misplaced += abs(spectrum.argmax() * RATE / (8 * len(part)) - expected) > 60
    return Outcome(start_seconds + len(samples) / RATE, int(misplaced), said)


# ---------------------------------------------------------------- video


def print_videos(folder: Path, program: str | None) -> None:
    """Prints the table of videos: frame n is gray of brightness 2 n, so that it tells its own number."""
    print(
        "\n## Video\n\n120 frames in 12 seconds. Wrong: of 12 seconds, those whose middle frame is not within 3 of\n"
        "the right one.\n"
    )
    print("| container | fault | read | wrong | said | frames that `ffmpeg` reads |\n|---|---|---|---|---|---|")
    for name, suffix in VIDEOS.items():
        for fault in ("none", "stray block", "junk at the end", "cut"):
            path = folder / f"video{suffix}"
            write_video(path)
            path.write_bytes(FAULTS[fault](path.read_bytes()))
            seconds, wrong, said = read_video(path)
            theirs = ask_ffmpeg_for_frames(path, program)
            print(
                f"| {name} | {fault} | {f'{seconds:.2f} s' if seconds else 'refused'} | {wrong} | {said} | {theirs} |"
            )


def write_video(path: Path) -> None:
    """Writes noise around a rising brightness, so that no frame is small."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        codec = "flv1" if path.suffix == ".flv" else "mpeg4" if path.suffix == ".avi" else "libx264"
        stream = container.add_stream(codec, rate=10, width=96, height=64, pix_fmt="yuv420p")
        stream.codec_context.gop_size = 10
        for number in range(10 * SECONDS):
            pixels = (
                (2 * number + generator.integers(-8, 9, (64, 96, 1))).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
            )
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def read_video(path: Path) -> tuple[float, int, str]:
    """Reads a video second by second: its end, the wrong seconds, and what is said."""
    wrong, end, warnings = 0, 0.0, ()
    try:
        segments = list(
            load_segments(
                Item("video", Medium.VIDEO, path=path), decoding=Decoding(segment_seconds=1.0), limits=MediaLimits()
            )
        )
    except MediaError as error:
        return 0.0, 0, shorten(str(error).split("cannot be decoded: ")[-1])
    for segment in segments:
        expected = 10 * ((segment.start_seconds or 0.0) + 0.5)
        wrong += abs(float(segment.content.frames.float().mean()) / 2 - expected) > 3
        end, warnings = segment.end_seconds or end, segment.warnings
    return end, wrong, say(warnings)


def ask_ffmpeg_for_frames(path: Path, program: str | None) -> str:
    """The number of frames that the ffmpeg program decodes."""
    if program is None:
        return ""
    call = [
        program,
        "-v",
        "quiet",
        "-i",
        str(path),
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]
    return str(len(subprocess.run(call, capture_output=True, check=False).stdout) // (96 * 64))


if __name__ == "__main__":
    sys.exit(main())
