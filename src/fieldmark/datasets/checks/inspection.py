"""Decode one item from beginning to end and record what was found."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

from fieldmark.datasets.checks.declared_size import read_declared_bytes
from fieldmark.datasets.checks.fingerprint import (
    SOUND_RATE_HZ,
    Fingerprint,
    FingerprintKind,
    FrameCollector,
    SoundCollector,
    text_fingerprint,
    words_of,
)
from fieldmark.errors import MediaError, UnreadableMediaError
from fieldmark.media.loaders import hash_content, load_segments
from fieldmark.types import (
    AudioContent,
    Decoding,
    Failure,
    ImageContent,
    Item,
    MediaLimits,
    Segment,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

# In segments, so that a long recording needs little memory; short ones, because up to a quarter of a segment is left
# out at the end.
_DECODING = Decoding(segment_seconds=1.0, sample_rate_hz=SOUND_RATE_HZ)

_PADDING_BYTES = 1  # a chunk of odd length may lack its padding byte

SUFFIXES: Mapping[str, tuple[bytes, frozenset[str]]] = {
    name: (pattern, frozenset(suffixes.split()))
    for name, pattern, suffixes in (
        ("JPEG", rb"\xff\xd8\xff", ".jpg .jpeg .jpe .jfif"),
        ("PNG", rb"\x89PNG", ".png"),
        ("GIF", rb"GIF8", ".gif"),
        ("WebP", rb"RIFF.{4}WEBP", ".webp"),
        ("BMP", rb"BM.{4}\x00{4}", ".bmp"),
        ("TIFF", rb"II[*+]\x00|MM\x00[*+]", ".tif .tiff"),
        ("WAV", rb"RIFF.{4}WAVE|RF64.{4}WAVE", ".wav .wave"),
        ("AIFF", rb"FORM.{4}AIF[FC]", ".aif .aiff .aifc"),
        ("FLAC", rb"fLaC", ".flac"),
        ("Ogg", rb"OggS", ".ogg .oga .ogv .opus .spx"),
        ("MP3", rb"ID3|\xff[\xfb\xf3\xf2]", ".mp3"),
        ("AVI", rb"RIFF.{4}AVI ", ".avi"),
        ("Matroska", rb"\x1aE\xdf\xa3", ".mkv .webm .mka"),
        ("MP4", rb".{4}ftyp", ".mp4 .m4v .mov .m4a .m4b .3gp .heic .avif"),
    )
}
"""The first bytes of each format, and the file suffixes that stand for it."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of decoding one item.

    Args:
        content_hash: None if the item cannot be read at all.
        duration_seconds: To a quarter of a second; None for media without time and for failed items.
        peak: The largest amplitude of a sound, 0 to 1; None for the other media.
        word_count: Words of a text; None for the other media.
        format_name: The format by its first bytes, a key of `SUFFIXES`; None for other formats and for texts.
        failure: Why the item cannot be used; None if it can.
    """

    item_id: str
    content_hash: str | None = None
    duration_seconds: float | None = None
    peak: float | None = None
    word_count: int | None = None
    format_name: str | None = None
    failure: Failure | None = None
    fingerprint: Fingerprint | None = field(default=None, compare=False)


def inspect_item(item: Item, *, limits: MediaLimits, content_hash: str | None = None) -> Inspection:
    """Decode an item from beginning to end; faults of the file are returned, not raised.

    Args:
        content_hash: The hash, if already known; None computes it.
    """
    found = Inspection(item_id=item.item_id)
    try:
        found = replace(found, content_hash=content_hash or hash_content(item))
        format_name = _identify_format(item)  # first: "truncated" says more than the message of a decoder
        observer = _Observer()
        for segment in load_segments(item, decoding=_DECODING, limits=limits):
            observer.add(segment)
    except MediaError as error:
        return replace(found, failure=Failure(item_id=item.item_id, kind=error.kind, message=str(error)))
    return observer.complete(replace(found, format_name=format_name))


@final
class _Observer:
    """Accumulates what an inspection reports over the segments of one item, in order."""

    def __init__(self) -> None:
        self._start, self._end = math.inf, -math.inf
        self._peak: float | None = None
        self._word_count: int | None = None
        self._collector: FrameCollector | SoundCollector | None = None
        self._text: Fingerprint | None = None

    def add(self, segment: Segment) -> None:
        """Add the next segment."""
        match segment.content:
            case ImageContent(pixels):
                self._frame_collector(FingerprintKind.PICTURE).add(pixels)
            case SpectrogramContent(pixels):
                self._frame_collector(FingerprintKind.SPECTROGRAM).add(pixels)
            case VideoContent(frames):
                self._frame_collector(FingerprintKind.PICTURE).add(frames[0])
            case TextContent(text):
                self._word_count, self._text = len(words_of(text)), text_fingerprint(text)
            case AudioContent() as sound:
                self._add_sound(sound, segment)
        if segment.start_seconds is not None and segment.end_seconds is not None:
            self._start, self._end = min(self._start, segment.start_seconds), max(self._end, segment.end_seconds)

    def complete(self, found: Inspection) -> Inspection:
        """Return the inspection with the facts of the whole item filled in."""
        return replace(
            found,
            duration_seconds=self._end - self._start if self._end >= self._start else None,
            peak=self._peak,
            word_count=self._word_count,
            fingerprint=self._collector.fingerprint() if self._collector else self._text,
        )

    def _frame_collector(self, kind: FingerprintKind) -> FrameCollector:
        if not isinstance(self._collector, FrameCollector):
            self._collector = FrameCollector(kind)
        return self._collector

    def _add_sound(self, sound: AudioContent, segment: Segment) -> None:
        waveform = sound.waveform
        if waveform.numel():
            self._peak = max(self._peak or 0.0, float(waveform.abs().max()))
        if not isinstance(self._collector, SoundCollector):
            self._collector = SoundCollector()
        # The last segment ends with the sound and overlaps the one before.
        overlap = max(0.0, self._end - (segment.start_seconds or 0.0))
        self._collector.add(waveform[round(overlap * sound.sample_rate_hz) :])


def _identify_format(item: Item) -> str | None:
    """Return the format that the first bytes of a file identify.

    Raises:
        UnreadableMediaError: The file declares a larger size than it has.
    """
    if item.path is None or not item.path.is_file():
        return None
    with item.path.open("rb") as file:
        head = file.read(16)
    name = next((name for name, (pattern, _) in SUFFIXES.items() if re.match(pattern, head, re.DOTALL)), None)
    declared, got = read_declared_bytes(item.path, name) if name else None, item.path.stat().st_size
    if declared is not None and declared > got + _PADDING_BYTES:
        reason = f"it is truncated: it declares {declared:,} bytes and has {got:,}"
        raise UnreadableMediaError(path=item.path, reason=reason)
    return name
