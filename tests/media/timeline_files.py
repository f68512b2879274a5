"""Sound whose second n is a tone of 500 + 250 n Hz, in any container, and what time a decoded sound tells by it."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 48_000
CODECS = {
    "a.wav": "pcm_s16le",
    "a.flac": "flac",
    "a.mp3": "libmp3lame",
    "a.ogg": "vorbis",
    "a.opus": "libopus",
    "flac.ogg": "flac",
    "a.m4a": "aac",
    "a.aac": "aac",
    "a.ac3": "ac3",
    "a.webm": "libopus",
    "flac.mka": "flac",
    "a.avi": "libmp3lame",
    "pcm.avi": "pcm_s16le",
    "a.ts": "aac",
    "a.flv": "libmp3lame",
    "a.wv": "wavpack",
    "a.tta": "tta",
    "a.caf": "pcm_s16le",
    "a.aiff": "pcm_s16be",
}
Restamp = Callable[[float], float | None]


def make_tones(seconds: int, *, rate: int = RATE) -> np.ndarray:
    """Return the samples of the tones, one after another, each with a short silence before it."""
    time = np.arange(seconds * rate) / rate
    loud = np.where(time % 1 < 0.02, 0.0, 0.4)
    return (loud * np.sin(2 * np.pi * (500 + 250 * np.floor(time)) * time)).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray, *, codec: str | None = None, restamp: Restamp | None = None) -> Path:
    """Write sound; `restamp` gives each packet another time, or None to leave it out."""
    if path.name == "a.ogg" and codec is None:  # FFmpeg's own encoder of Vorbis is none to use
        soundfile.write(path, samples.T, RATE)
        return path
    samples = np.atleast_2d(samples)
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or CODECS[path.name], rate=RATE, layout=layout)
        for packet in encode_sound(stream, samples, layout=layout):
            if restamp is not None and packet.pts is not None:
                seconds = restamp(float(packet.pts * packet.time_base))
                if seconds is None:
                    continue
                packet.pts = packet.dts = round(seconds / packet.time_base)
            container.mux(packet)
    return path


def encode_sound(stream: av.AudioStream, samples: np.ndarray, *, layout: str) -> Iterator[av.Packet]:
    """Yield the packets of sound."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    size = stream.codec_context.frame_size or None
    resampler = av.AudioResampler(format=stream.format, layout=layout, rate=RATE, frame_size=size or 1024)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(part)
    yield from stream.encode(None)


def zero_block(data: bytes, *, length: int = 2_048) -> bytes:
    """Return a file with zeros in its middle, as of a bad block of a memory card."""
    middle = len(data) // 2
    return data[:middle] + bytes(length) + data[middle + length :]


def list_misplaced(samples: np.ndarray, *, rate: int, start_seconds: float = 0.0) -> list[float]:
    """Return the times, in tenths of a second, at which a tone of another second is heard."""
    misplaced = []
    for tenth in range(int(np.ceil(start_seconds * 10)), int((start_seconds + len(samples) / rate) * 10) - 1):
        first = round((tenth / 10 - start_seconds) * rate)
        part = samples[first : first + rate // 10]
        if 0 < tenth % 10 < 9 and np.abs(part).max() > 0.2:  # a silent part is in no wrong place
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 8 * len(part)))
            if abs(spectrum.argmax() * rate / (8 * len(part)) - 500 - 250 * (tenth // 10)) > 60:
                misplaced.append(tenth / 10)
    return misplaced
