"""What decoding an item from beginning to end shows, and where that is kept so that it is done once."""

import io
import json
import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np

from fieldmark.data.cache_file import CacheFile, in_portions
from fieldmark.datasets.checks.fingerprint import (
    SOUND_RATE_HZ,
    VERSION,
    Fingerprint,
    FingerprintKind,
    FrameCollector,
    SoundCollector,
    text_fingerprint,
    words_of,
)
from fieldmark.datasets.checks.promised_size import promised_bytes
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

# Cut, so that an hour of sound needs no hour of memory; finely, since up to a quarter of a segment of sound is left out
# at the end.
_DECODING = Decoding(segment_seconds=1.0, sample_rate_hz=SOUND_RATE_HZ)

_PADDING_BYTES = 1  # a chunk of odd length may lack the byte that makes it even

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
"""How files of a format begin, and the suffixes that promise it."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What decoding one item showed.

    Args:
        content_hash: None where the item cannot be read at all.
        duration_seconds: To a quarter of a second; None where the medium has no time, or the item cannot be used.
        peak: The largest amplitude of a sound, 0 to 1; None for the other media.
        word_count: Of a text; None for the other media.
        format_name: The format its file begins as, a key of `SUFFIXES`; None for any other, and for a text.
        failure: Why the item cannot be used; None where it can.
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
    """Decodes an item from beginning to end and tells what was found; never raises for what a file holds.

    Args:
        content_hash: Where it is known already; None computes it.
    """
    found = Inspection(item_id=item.item_id)
    try:
        found = replace(found, content_hash=content_hash or hash_content(item))
        format_name = _check_beginning(item)  # first: that a file is cut off says more than the decoder's words
        observer = _Observer()
        for segment in load_segments(item, decoding=_DECODING, limits=limits):
            observer.see(segment)
    except MediaError as error:
        return replace(found, failure=Failure(item_id=item.item_id, kind=error.kind, message=str(error)))
    return observer.report(replace(found, format_name=format_name))


@final
class _Observer:
    """Takes in the segments of one item, in order, and keeps what is asked of the whole."""

    def __init__(self) -> None:
        self._start, self._end = math.inf, -math.inf
        self._peak: float | None = None
        self._word_count: int | None = None
        self._collector: FrameCollector | SoundCollector | None = None
        self._text: Fingerprint | None = None

    def see(self, segment: Segment) -> None:
        """Takes in one segment."""
        match segment.content:
            case ImageContent(pixels):
                self._frames(FingerprintKind.PICTURE).add(pixels)
            case SpectrogramContent(pixels):
                self._frames(FingerprintKind.SPECTROGRAM).add(pixels)
            case VideoContent(frames):
                self._frames(FingerprintKind.PICTURE).add(frames[0])
            case TextContent(text):
                self._word_count, self._text = len(words_of(text)), text_fingerprint(text)
            case AudioContent() as sound:
                self._hear(sound, segment)
        if segment.start_seconds is not None and segment.end_seconds is not None:
            self._start, self._end = min(self._start, segment.start_seconds), max(self._end, segment.end_seconds)

    def report(self, found: Inspection) -> Inspection:
        """What was seen of the item as a whole."""
        return replace(
            found,
            duration_seconds=self._end - self._start if self._end >= self._start else None,
            peak=self._peak,
            word_count=self._word_count,
            fingerprint=self._collector.fingerprint() if self._collector else self._text,
        )

    def _frames(self, kind: FingerprintKind) -> FrameCollector:
        if not isinstance(self._collector, FrameCollector):
            self._collector = FrameCollector(kind)
        return self._collector

    def _hear(self, sound: AudioContent, segment: Segment) -> None:
        waveform = sound.waveform
        if waveform.numel():
            self._peak = max(self._peak or 0.0, float(waveform.abs().max()))
        if not isinstance(self._collector, SoundCollector):
            self._collector = SoundCollector()
        # The last segment ends with the sound and overlaps the one before.
        overlap = max(0.0, self._end - (segment.start_seconds or 0.0))
        self._collector.add(waveform[round(overlap * sound.sample_rate_hz) :])


def _check_beginning(item: Item) -> str | None:
    """The format that a file begins as.

    Raises:
        UnreadableMediaError: The file says that it is longer than it is.
    """
    if item.path is None or not item.path.is_file():
        return None
    with item.path.open("rb") as file:
        head = file.read(16)
    name = next((name for name, (pattern, _) in SUFFIXES.items() if re.match(pattern, head, re.DOTALL)), None)
    promised, got = promised_bytes(item.path, name) if name else None, item.path.stat().st_size
    if promised is not None and promised > got + _PADDING_BYTES:
        reason = f"it is cut off: it says that it has {promised:,} bytes, and it has {got:,}"
        raise UnreadableMediaError(path=item.path, reason=reason)
    return name


# ---------------------------------------------------------------- kept between runs

_FILE_NAME = "inspections-1.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS inspections (
    version TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    facts TEXT NOT NULL,
    fingerprint_bytes BLOB NOT NULL,
    PRIMARY KEY (version, content_hash)
)
"""


@final
class InspectionStore:
    """Inspections on disk by the hash of the content; those of items that could not be used are not kept.

    Args:
        folder: Made if it is not there.
        limits: Under which items are decoded; what was decoded under others is not found.
    """

    def __init__(self, folder: Path, *, limits: MediaLimits) -> None:
        self._file = CacheFile(folder / _FILE_NAME, schema=_SCHEMA)
        self._version = json.dumps([VERSION, asdict(limits)])

    def get_many(self, hashes: Sequence[str]) -> dict[str, Inspection]:
        """The inspections that are there, by content hash, without the ids of their items.

        Raises:
            FeatureStoreError: The file cannot be opened or read.
        """

        def read(connection: sqlite3.Connection) -> dict[str, Inspection]:
            found: dict[str, Inspection] = {}
            for wanted, marks in in_portions(hashes):
                rows = connection.execute(
                    "SELECT content_hash, facts, fingerprint_bytes FROM inspections "  # noqa: S608 - only marks
                    f"WHERE version = ? AND content_hash IN ({marks})",
                    (self._version, *wanted),
                )
                found.update((row[0], _decode(*row)) for row in rows)
            return found

        return self._file.run(read)

    def put_many(self, inspections: Sequence[Inspection]) -> None:
        """Keeps those inspections that found nothing amiss in decoding.

        Raises:
            FeatureStoreError: The file cannot be opened or written.
        """
        rows = [
            (self._version, inspection.content_hash, *_encode(inspection, inspection.fingerprint))
            for inspection in inspections
            if inspection.failure is None and inspection.fingerprint is not None
        ]
        self._file.insert("INSERT OR REPLACE INTO inspections VALUES (?, ?, ?, ?)", rows)


def _encode(inspection: Inspection, fingerprint: Fingerprint) -> tuple[str, bytes]:
    facts = {
        "duration_seconds": inspection.duration_seconds,
        "peak": inspection.peak,
        "word_count": inspection.word_count,
        "format_name": inspection.format_name,
        "kind": fingerprint.kind,
    }
    content = io.BytesIO()
    np.save(content, fingerprint.values, allow_pickle=False)
    return json.dumps(facts), content.getvalue()


def _decode(content_hash: str, facts: str, fingerprint_bytes: bytes) -> Inspection:
    known = json.loads(facts)
    values = np.load(io.BytesIO(fingerprint_bytes), allow_pickle=False)
    fingerprint = Fingerprint(FingerprintKind(known.pop("kind")), values)
    return Inspection(item_id="", content_hash=content_hash, fingerprint=fingerprint, **known)
