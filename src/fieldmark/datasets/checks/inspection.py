"""Decode one item from beginning to end and record what was found."""

import math
from dataclasses import dataclass, field, replace
from typing import final

from fieldmark.datasets.checks.declared_size import read_declared_bytes
from fieldmark.datasets.checks.fingerprint import (
    SOUND_RATE_HZ,
    Fingerprint,
    FingerprintKind,
    FrameCollector,
    SoundCollector,
    compute_text_fingerprint,
    split_words,
)
from fieldmark.errors import MediaError, UnreadableMediaError
from fieldmark.media.loaders import hash_content, load_segments
from fieldmark.media.signatures import HEAD_BYTES, find_format
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


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of decoding one item.

    Args:
        content_hash: None if the item cannot be read at all.
        duration_seconds: To a quarter of a second; None for media without time and for failed items.
        peak: The largest amplitude of a sound, 0 to 1; None for the other media.
        word_count: Words of a text; None for the other media.
        format_name: The format by its first bytes, a name of `FORMATS`; None for other formats and for texts.
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
                self._word_count, self._text = len(split_words(text)), compute_text_fingerprint(text)
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
            fingerprint=self._collector.build_fingerprint() if self._collector else self._text,
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
        met = find_format(file.read(HEAD_BYTES))
    name = met.name if met else None
    declared, got = read_declared_bytes(item.path, name) if name else None, item.path.stat().st_size
    if declared is not None and declared > got + _PADDING_BYTES:
        reason = f"it is truncated: it declares {declared:,} bytes and has {got:,}"
        raise UnreadableMediaError(path=item.path, reason=reason)
    return name
