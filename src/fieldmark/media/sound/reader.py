"""Read the sound of a file, whole or from some second on, with every sample at the same place."""

import bisect
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import final

from av.audio.stream import AudioStream
from av.container import InputContainer

from fieldmark.errors import UnreadableMediaError
from fieldmark.media.container import PREROLL_SECONDS, get_origin_seconds, open_container, read_length, seek
from fieldmark.media.damage import DamageLog, find_declared_seconds
from fieldmark.media.sound.placement import Anchor, PlacedSound, Placement
from fieldmark.media.sound.track import (
    Piece,
    decode_pieces,
    has_float_samples,
    is_lossless,
    is_silent,
    list_sound_streams,
)
from fieldmark.types import MediaLimits

# ---------------------------------------------------------------- places to read from

_ANCHOR_SECONDS = 10.0
_REMEMBERED_FILES = 256
# Their time is the count of their bytes: a seek is exact.
_COUNTED = {"wav", "aiff", "au", "w64"}
# Of these the samples behind a seek equal those of a whole decode. AAC and AC-3 add noise of their own, which depends
# on all that was decoded before; Opus forgets its past only little by little.
_EXACT_BEHIND_A_SEEK = {"flac", "alac", "wavpack", "tta", "vorbis", "mp3", "mp3float"}
# These state how long a track is; the others are as long as what FFmpeg finds of them.
_DECLARED = {"flac", "mov,mp4,m4a,3gp,3g2,mj2", "tta", "wv", "aiff", "au", "ogg"}


@final
class _AnchorList:
    """The positions from which a file can be read, as far as it was read from its beginning in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._anchors: list[Anchor] = []

    def add(self, anchor: Anchor) -> None:
        """Remember an anchor that lies far enough behind the last."""
        with self._lock:
            last = self._anchors[-1].position / self._anchors[-1].sample_rate_hz if self._anchors else 0.0
            if anchor.position / anchor.sample_rate_hz - last >= _ANCHOR_SECONDS:
                self._anchors.append(anchor)

    def find(self, seconds: float) -> Anchor | None:
        """Return the last anchor at or before a time; None for the beginning of the file."""
        with self._lock:
            index = bisect.bisect_right(self._anchors, seconds, key=lambda each: each.position / each.sample_rate_hz)
            return self._anchors[index - 1] if index else None


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it was at some time: another size or time of change makes another one."""

    path: Path
    size: int
    changed_ns: int


def stamp_file(path: Path) -> FileStamp:
    """Return the stamp of a file."""
    facts = path.stat()
    return FileStamp(path.absolute(), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=_REMEMBERED_FILES)
def _recall_anchors(stamp: FileStamp, stream_index: int) -> _AnchorList:  # noqa: ARG001 - the key
    return _AnchorList()


# ---------------------------------------------------------------- the track of a file


@final
class SoundTrack:
    """The track of sound of an open file.

    Args:
        stream: A track of the container, as `open_sound` chooses it.
    """

    def __init__(self, container: InputContainer, stream: AudioStream, *, path: Path, limits: MediaLimits) -> None:
        self._container = container
        self._stream = stream
        self._path = path
        self._limits = limits
        self.has_float_samples = has_float_samples(stream)
        self.is_lossless = is_lossless(stream)

    def read(self, *, from_seconds: float, log: DamageLog) -> Iterator[PlacedSound]:
        """Yield the sound from a position at or before `from_seconds` to the end of the track. To be called once.

        Every sample has the place that it has where the whole file is read: the first part of a file is read from its
        beginning, and what was learned of its times there is remembered for the next ones.

        Raises:
            UnreadableMediaError: None of it can be decoded, or it states an absurd rate.
        """
        if from_seconds > PREROLL_SECONDS and self._is_counted():
            seek(self._container, self._stream, seconds=from_seconds)
            yield from Placement(log).place(self._decode(self._container))
            return
        anchors = _recall_anchors(stamp_file(self._path), self._stream.index)
        anchor = anchors.find(from_seconds) if self._name_codec() in _EXACT_BEHIND_A_SEEK else None
        if anchor is not None:
            self._container.seek(self._find_target(anchor), stream=self._stream)
            pieces = _skip_to(anchor.stamp, self._decode(self._container, split_at=anchor.stamp))
            if pieces is not None:
                placement = Placement(log, anchor=anchor)
                yield from placement.place(_remember(pieces, placement, anchors))
                return
        with self._rewind() if anchor is not None else nullcontext(self._container) as container:
            placement = Placement(log)
            yield from placement.place(_remember(self._decode(container), placement, anchors))

    def find_declared_seconds(self, *, read: float) -> float | None:
        """Return the length that the file declares, where it was cut off before; None for a whole file.

        Args:
            read: The seconds that were read of it.
        """
        name = self._container.format.name
        length = read_length(self._container, self._stream, is_of_track=name in _DECLARED)
        return find_declared_seconds(self._path, length, read=read, container_name=name)

    def _is_counted(self) -> bool:
        return self._container.format.name in _COUNTED and self._name_codec().startswith("pcm_")

    def _name_codec(self) -> str:
        return self._stream.codec_context.name

    def _find_target(self, anchor: Anchor) -> int:
        seconds = anchor.position / anchor.sample_rate_hz - PREROLL_SECONDS + get_origin_seconds(self._container)
        return round(seconds / (self._stream.time_base or Fraction(1)))

    @contextmanager
    def _rewind(self) -> Iterator[InputContainer]:
        with open_container(self._path, limits=self._limits) as container:
            yield container

    def _decode(self, container: InputContainer, *, split_at: int | None = None) -> Iterator[Piece]:
        streams = {stream.index: stream for stream in list_sound_streams(container, path=self._path)}
        return decode_pieces(container, streams[self._stream.index], path=self._path, split_at=split_at)


@contextmanager
def open_sound(path: Path, *, limits: MediaLimits) -> Iterator[SoundTrack]:
    """Open the first track of a file that is not silent; the first, where all are.

    Raises:
        UnreadableMediaError: The file is no recording.
        EmptyMediaError: It has no track of sound.
    """
    with open_container(path, limits=limits) as container:
        streams = list_sound_streams(container, path=path)
        chosen = streams[0]
        if len(streams) > 1:
            index = _find_first_audible(stamp_file(path), limits)
            chosen = next((stream for stream in streams if stream.index == index), chosen)
        yield SoundTrack(container, chosen, path=path, limits=limits)


@lru_cache(maxsize=_REMEMBERED_FILES)
def _find_first_audible(stamp: FileStamp, limits: MediaLimits) -> int | None:
    """Return the index of the first track that is not silent; None where all are."""
    count = None
    number = 0
    while count is None or number < count:
        with open_container(stamp.path, limits=limits) as container:
            streams = list_sound_streams(container, path=stamp.path)
            count = len(streams)
            with suppress(UnreadableMediaError):
                if not is_silent(decode_pieces(container, streams[number], path=stamp.path)):
                    return streams[number].index
        number += 1
    return None


def _skip_to(stamp: int, pieces: Iterator[Piece]) -> Iterator[Piece] | None:
    """Return the pieces from the one with a time stamp on; None where the seek did not lead there."""
    for piece in pieces:
        if piece.stamp == stamp:
            return chain([piece], pieces)
        if piece.stamp is None or piece.stamp > stamp:
            return None
    return None


def _remember(pieces: Iterator[Piece], placement: Placement, anchors: _AnchorList) -> Iterator[Piece]:
    """Yield the pieces; remember the places of some of them."""
    following = 0
    for piece in pieces:
        if placement.position >= following:
            anchor = placement.make_anchor(piece)
            if anchor is not None:
                anchors.add(anchor)
                following = placement.position + round(_ANCHOR_SECONDS * piece.sample_rate_hz)
        yield piece
