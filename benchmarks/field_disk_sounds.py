"""Sounds and videos of a field worker's disk, whole and faulty, each with what it must give."""

import io
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from field_disk_truth import Maker, Truth, draw, name_of

from fieldmark.types import Medium

_RATE = 48_000
_SECONDS = 4.0


def tone(rng: np.random.Generator, *, seconds: float = _SECONDS, rate: int = _RATE) -> tuple[np.ndarray, float]:
    """A tone of a random height."""
    hertz = float(rng.integers(8, 60) * 100)
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), hertz


def recording(
    channels: tuple[float, ...] = (1.0,), *, subtype: str = "PCM_16", offset: float = 0.0, warning: str | None = None
) -> Maker:
    """A tone as WAV; the channels hold it at several loudnesses."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        samples, hertz = tone(rng)
        soundfile.write(name_of(path, ".wav"), samples[:, None] * np.array(channels) + offset, _RATE, subtype=subtype)
        return Truth(Medium.AUDIO, hertz=hertz, seconds=_SECONDS, warning=warning)

    return make


def ultrasound(path: Path, rng: np.random.Generator) -> Truth:
    """A bat, loud, over a faint tone that can be heard."""
    samples, hertz = tone(rng, rate=384_000)
    bat = 0.5 * np.sin(2 * np.pi * 45_000 * np.arange(len(samples)) / 384_000)
    soundfile.write(name_of(path, ".wav"), 0.1 * samples + bat, 384_000)
    return Truth(Medium.AUDIO, hertz=hertz, seconds=_SECONDS, warning="ultrasound")


def encode_sound(samples: np.ndarray, *, codec: str, name: str, options: Mapping[str, str], gap: float) -> bytes:
    """Encode a tone; its second half comes `gap` seconds late."""
    file = io.BytesIO()
    with av.open(file, "w", format=name, options=dict(options)) as container:
        stream = container.add_stream(codec, rate=_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = _RATE, Fraction(1, _RATE), 0
        size = stream.codec_context.frame_size or 1_024
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=_RATE, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(part):
                if gap and float(packet.pts * packet.time_base) >= _SECONDS / 2:
                    packet.pts += round(gap / packet.time_base)
                    packet.dts = packet.pts
                container.mux(packet)
    return file.getvalue()


def compressed(
    suffix: str, codec: str, name: str, *, fault: str = "", options: Mapping[str, str] | None = None
) -> Maker:
    """A compressed recording, whole or with a fault: cut off, a bad block, a gap, zeros or another file behind it."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        samples, hertz = tone(rng)
        gap = 3.0 if fault == "gap" else 0.0
        data = encode_sound(samples, codec=codec, name=name, options=options or {}, gap=gap)
        middle = len(data) // 2
        if fault == "cut":
            data = data[: len(data) * 3 // 5]
        elif fault == "block":
            data = data[:middle] + bytes(512) + data[middle + 512 :]
        elif fault == "zeros":
            data += bytes(4_096)
        name_of(path, suffix).write_bytes(data)
        seconds = {"cut": 0.6 * _SECONDS, "gap": _SECONDS + gap}.get(fault, _SECONDS)
        silence = (_SECONDS / 2 + 0.1, _SECONDS / 2 + gap - 0.1) if gap else None
        is_short = fault == "cut" and codec == "flac"  # its bytes are not even in time
        return Truth(
            Medium.AUDIO,
            hertz=hertz,
            seconds=None if is_short else seconds,
            silence=silence,
            warning="damaged" if fault else None,
        )

    return make


def joined(path: Path, rng: np.random.Generator) -> Truth:
    """Two WAV files in one; players show the first."""
    samples, hertz = tone(rng)
    file = name_of(path, ".wav")
    soundfile.write(file, samples, _RATE)
    file.write_bytes(2 * file.read_bytes())
    return Truth(Medium.AUDIO, hertz=hertz, seconds=_SECONDS, warning="joined")


def clip(suffix: str, codec: str, *, fault: str = "", options: Mapping[str, str] | None = None) -> Maker:
    """A short video, whole or with a fault: cut off, a bad block, mirrored."""

    def make(path: Path, rng: np.random.Generator) -> Truth:
        file = name_of(path, suffix)
        name = {".mkv": "matroska", ".ts": "mpegts", ".wmv": "asf"}.get(suffix, suffix[1:])
        with av.open(str(file), "w", format=name, options=dict(options or {})) as container:
            stream = container.add_stream(codec, rate=10, width=96, height=64)
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.gop_size, stream.bit_rate = 10, 1_000_000
            picture = draw(rng).astype(int)
            for _ in range(40):
                noisy = (picture[:, :96] + rng.integers(-20, 20, (64, 96, 3))).clip(0, 255).astype(np.uint8)
                stored = noisy[:, ::-1] if fault == "mirrored" else noisy
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")))
            container.mux(stream.encode(None))
        data = file.read_bytes()
        middle, size = len(data) // 2, len(data) // 10
        if fault == "cut":
            data = data[: round(0.6 * len(data)) - 3]
        elif fault == "block":
            data = data[:middle] + bytes(size) + data[middle + size :]
        elif fault == "mirrored":
            plain = struct.pack(">5i", 1 << 16, 0, 0, 0, 1 << 16)
            at = data.index(plain, data.index(b"tkhd"))
            data = data[:at] + struct.pack(">5i", -(1 << 16), 0, 0, 0, 1 << 16) + data[at + 20 :]
        file.write_bytes(data)
        if fault == "cut" and suffix in {".mp4", ".mov"} and not options:
            return Truth(refused="'moov' box, is missing")
        warning = "damaged" if fault in {"cut", "block"} else None
        return Truth(Medium.VIDEO, shows_corners=fault != "block", seconds=None if fault else _SECONDS, warning=warning)

    return make


_INDEX_FIRST = {"movflags": "faststart"}

SOUND_MAKERS: Mapping[str, Maker] = {
    "WAV": recording(),
    "WAV, opposite channels": recording((0.8, -1.0), warning="opposite_channels"),
    "WAV, one silent channel": recording((1.0, 0.0), warning="silent_channel"),
    "WAV, floats of an integer's scale": recording((30_000.0,), subtype="FLOAT", warning="odd_scale"),
    "WAV, very quiet floats": recording((1e-5,), subtype="FLOAT", warning="odd_scale"),
    "WAV with an offset": recording((0.5,), offset=0.2, warning="dc_offset"),
    "WAV of 384 kHz, mostly ultrasound": ultrasound,
    "WAV, two joined": joined,
    "FLAC": compressed(".flac", "flac", "flac"),
    "Opus": compressed(".opus", "libopus", "opus"),
    "MP3": compressed(".mp3", "libmp3lame", "mp3"),
    "MP3 with zeros at its end": compressed(".mp3", "libmp3lame", "mp3", fault="zeros"),
    "MP3 with a bad block": compressed(".mp3", "libmp3lame", "mp3", fault="block"),
    "AAC cut off": compressed(".aac", "aac", "adts", fault="cut"),
    "FLAC cut off": compressed(".flac", "flac", "flac", fault="cut"),
    "Opus with a bad block": compressed(".opus", "libopus", "opus", fault="block"),
    "M4A with a bad block": compressed(".m4a", "aac", "ipod", fault="block"),
    "M4A with a gap": compressed(".m4a", "aac", "ipod", fault="gap"),
    "WebM with a gap": compressed(".webm", "libopus", "webm", fault="gap"),
    "FLV with a gap": compressed(".flv", "aac", "flv", fault="gap"),
    "MP4": clip(".mp4", "libx264"),
    "MP4 cut off": clip(".mp4", "libx264", fault="cut"),
    "MP4, index first, cut off": clip(".mp4", "libx264", fault="cut", options=_INDEX_FIRST),
    "MOV, mirrored": clip(".mov", "libx264", fault="mirrored"),
    "Matroska cut off": clip(".mkv", "libx264", fault="cut"),
    "Matroska with a bad block": clip(".mkv", "libx264", fault="block"),
    "AVI cut off": clip(".avi", "mjpeg", fault="cut"),
    "AVI with a bad block": clip(".avi", "mjpeg", fault="block"),
    "MPEG-TS cut off": clip(".ts", "libx264", fault="cut"),
    "MPEG-TS with a bad block": clip(".ts", "libx264", fault="block"),
    "FLV cut off": clip(".flv", "flv1", fault="cut"),
    "WMV cut off": clip(".wmv", "wmv2", fault="cut"),
}
"""Every kind of sound and video, by what it is."""
