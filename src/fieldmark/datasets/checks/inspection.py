"""Decode items from beginning to end and record what was found; inspections are cached by content hash."""

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from fieldmark.data.cache import CacheFile
from fieldmark.datasets.checks.similarity import (
    SOUND_RATE_HZ,
    VERSION,
    Fingerprint,
    FingerprintKind,
    FrameCollector,
    SoundCollector,
    compute_text_fingerprint,
    split_words,
)
from fieldmark.errors import MediaError, UnreadableMediaError
from fieldmark.media.apart import load_segments_apart
from fieldmark.media.ending.declared import read_declared_bytes
from fieldmark.media.file import convert_decoder_errors
from fieldmark.media.loaders import hash_content, load_segments
from fieldmark.media.signatures import HEAD_BYTES, find_format
from fieldmark.media.versions import DECODING_VERSION
from fieldmark.runtime import start_processes
from fieldmark.types import (
    AudioContent,
    Decoding,
    Failure,
    ImageContent,
    Item,
    MediaLimits,
    MediaWarning,
    Medium,
    Reporter,
    Segment,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

# ---------------------------------------------------------------- one item

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
        warnings: What is in doubt of how it was read.
    """

    item_id: str
    content_hash: str | None = None
    duration_seconds: float | None = None
    peak: float | None = None
    word_count: int | None = None
    format_name: str | None = None
    failure: Failure | None = None
    warnings: tuple[MediaWarning, ...] = ()
    fingerprint: Fingerprint | None = field(default=None, compare=False)


_Load = Callable[..., Iterator[Segment]]
"""The way from an item to its segments: `load_segments`, or the same in a process apart."""


def inspect_item(
    item: Item, *, limits: MediaLimits, content_hash: str | None = None, load: _Load = load_segments
) -> Inspection:
    """Decode an item from beginning to end; faults of the file are returned, not raised.

    Args:
        content_hash: The hash, if already known; None computes it.
        load: In this process, or in one apart.
    """
    found = Inspection(item_id=item.item_id)
    try:
        found = replace(found, content_hash=content_hash or hash_content(item))
        observer = _Observer()
        with convert_decoder_errors(item.path or item.item_id):
            format_name = _identify_format(item)  # first: "truncated" says more than the message of a decoder
            for segment in load(item, decoding=_DECODING, limits=limits):
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
        self._passages: list[str] = []
        self._warnings: list[MediaWarning] = []
        self._collector: FrameCollector | SoundCollector | None = None

    def add(self, segment: Segment) -> None:
        """Add the next segment."""
        self._warnings += segment.warnings
        match segment.content:
            case ImageContent(pixels):
                self._frame_collector(FingerprintKind.PICTURE).add(pixels)
            case SpectrogramContent(pixels):
                self._frame_collector(FingerprintKind.SPECTROGRAM).add(pixels)
            case VideoContent(frames):
                self._frame_collector(FingerprintKind.PICTURE).add(frames[0])
            case TextContent(text):
                self._passages.append(text)
            case AudioContent() as sound:
                self._add_sound(sound, segment)
        if segment.start_seconds is not None and segment.end_seconds is not None:
            self._start, self._end = min(self._start, segment.start_seconds), max(self._end, segment.end_seconds)

    def complete(self, found: Inspection) -> Inspection:
        """Return the inspection with the facts of the whole item filled in."""
        text = "\n".join(self._passages) if self._passages else None
        own = None if text is None else compute_text_fingerprint(text)
        return replace(
            found,
            duration_seconds=self._end - self._start if self._end >= self._start else None,
            peak=self._peak,
            word_count=None if text is None else len(split_words(text)),
            warnings=tuple(self._warnings),
            fingerprint=self._collector.build_fingerprint() if self._collector else own,
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
        UnreadableMediaError: A picture declares a larger size than the file has. Of a sound or a video what is there is
            used, and the loader tells what is missing.
    """
    if item.path is None or not item.path.is_file():
        return None
    with item.path.open("rb") as file:
        met = find_format(file.read(HEAD_BYTES))
    name = met.name if met else None
    if item.medium in {Medium.AUDIO, Medium.VIDEO}:
        return name
    declared, got = read_declared_bytes(item.path, name) if name else None, item.path.stat().st_size
    if declared is not None and declared > got + _PADDING_BYTES:
        reason = f"it is truncated: it declares {declared:,} bytes and has {got:,}"
        raise UnreadableMediaError(path=item.path, reason=reason)
    return name


# ---------------------------------------------------------------- many items

_CHUNK_ITEMS = 16  # handed to a process at once
_BLOCK_ITEMS = 256  # between two writes of the cache: the most that a crash costs


def inspect_items(
    items: Sequence[Item], *, limits: MediaLimits, workers: int, cache: Path | None, reporter: Reporter
) -> list[Inspection]:
    """Inspect each item, in order; content that an earlier run inspected is not decoded again.

    Args:
        workers: Processes that decode; 1 decodes in the current process.
        cache: Folder of the cache; None disables it.
    """
    store = None if cache is None else InspectionCache(cache, limits=limits)
    hashes = {} if store is None else _hashes(items)
    kept = {} if store is None else store.get_many(sorted(set(hashes.values())))
    found = {
        item_id: replace(kept[content_hash], item_id=item_id)
        for item_id, content_hash in hashes.items()
        if content_hash in kept
    }
    new = [item for item in items if item.item_id not in found]
    block: list[Inspection] = []
    if found:
        reporter.step("check", done=len(found), total=len(items), note="known from an earlier run")
    for inspection in _inspect(new, hashes, limits=limits, workers=workers):
        found[inspection.item_id] = inspection
        block.append(inspection)
        if store is not None and (len(block) == _BLOCK_ITEMS or len(found) == len(items)):
            store.put_many(block)
            block = []
        reporter.step("check", done=len(found), total=len(items))
    return [found[item.item_id] for item in items]


def _hashes(items: Sequence[Item]) -> dict[str, str]:
    """Return the content hash of each readable item by item id; inspection reports why others cannot be read."""
    hashes: dict[str, str] = {}
    for item in items:
        with suppress(MediaError):
            hashes[item.item_id] = hash_content(item)
    return hashes


def _inspect(
    items: Sequence[Item], hashes: Mapping[str, str], *, limits: MediaLimits, workers: int
) -> Iterator[Inspection]:
    pairs = [(item, hashes.get(item.item_id)) for item in items]
    done = 0
    if workers > 1 and len(items) > _CHUNK_ITEMS:
        # A codec that ends its process ends the pool: what is left goes through decoders apart, one file each.
        with suppress(BrokenProcessPool), start_processes(workers) as pool:
            inspect = partial(_inspect_hashed, limits=limits, load=load_segments)
            for found in pool.map(inspect, pairs, chunksize=_CHUNK_ITEMS):
                done += 1
                yield found
    yield from map(partial(_inspect_hashed, limits=limits, load=load_segments_apart), pairs[done:])


def _inspect_hashed(pair: tuple[Item, str | None], *, limits: MediaLimits, load: _Load) -> Inspection:
    item, content_hash = pair
    return inspect_item(item, limits=limits, content_hash=content_hash, load=load)


# ---------------------------------------------------------------- the cache

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
class InspectionCache:
    """Inspections on disk by content hash; failed inspections are not cached.

    Args:
        folder: Created if missing.
        limits: The decoding limits; inspections made under other limits are not found.
    """

    def __init__(self, folder: Path, *, limits: MediaLimits) -> None:
        self._file = CacheFile(folder / _FILE_NAME, schema=_SCHEMA)
        self._version = json.dumps([VERSION, DECODING_VERSION, asdict(limits)])

    def get_many(self, hashes: Sequence[str]) -> dict[str, Inspection]:
        """Return the cached inspections by content hash; their item ids are empty.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        return self._file.select(
            "SELECT content_hash, facts, fingerprint_bytes FROM inspections "
            "WHERE version = ? AND content_hash IN ({marks})",
            version=self._version,
            hashes=hashes,
            decode=_decode,
        )

    def put_many(self, inspections: Sequence[Inspection]) -> None:
        """Store the inspections of items that decoded without failure.

        Raises:
            EmbeddingsError: The file cannot be opened or written.
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
        "warnings": [[each.kind, each.message] for each in inspection.warnings],
    }
    content = io.BytesIO()
    np.save(content, fingerprint.values, allow_pickle=False)
    return json.dumps(facts), content.getvalue()


def _decode(content_hash: str, facts: str, fingerprint_bytes: bytes) -> Inspection:
    known = json.loads(facts)
    values = np.load(io.BytesIO(fingerprint_bytes), allow_pickle=False)
    fingerprint = Fingerprint(FingerprintKind(known.pop("kind")), values)
    warnings = tuple(MediaWarning(*each) for each in known.pop("warnings"))
    return Inspection(item_id="", content_hash=content_hash, fingerprint=fingerprint, warnings=warnings, **known)
