"""Moving pictures: a video, or a sequence of numbered pictures, to segments of equally spaced frames."""

import bisect
import math
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, pairwise, takewhile
from pathlib import Path
from typing import final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Int32, UInt8
from torch import Tensor

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media import image
from fieldmark.media.container import (
    check_decoder,
    decode_pictures,
    find_picture_stream,
    open_container,
    pick_equally_spaced,
    read_index_times,
    read_length,
    read_packet_times,
    start_again,
)
from fieldmark.media.damage import DamageLog, Loss, find_declared_seconds
from fieldmark.media.file import check_file, convert_decoder_errors
from fieldmark.media.image import check_pixels, compute_scaled_size
from fieldmark.media.joined import warn_of_joined_file
from fieldmark.types import Decoding, ImageContent, MediaLimits, Segment, VideoContent

# ---------------------------------------------------------------- a video

_REORDERING_SECONDS = 2.0  # packets stand in the order of decoding; none is shown this much earlier than one before
_GRAIN_SECONDS = 1e-3  # Matroska rounds its time stamps to this
_WIDEST_PIXEL = 16.0  # another ratio is a damaged header
_TIMED_BY_PICTURE = {"gif"}  # each picture states how long it stays
_WITHOUT_END = {"mpegts", "mpeg"}
_FEWEST_FRAMES = 8
_REGULAR_SHARE = 0.9  # of the steps from frame to frame
_STRICT_SHARE = 0.98
_SHORTEST_GAP_SECONDS = 0.1  # where the rate changes a little, as in telephones, single frames are left out
_MATRIX_BYTES = 36
_WORTH_A_SEEK_SECONDS = 20.0  # about two groups of pictures: below, decoding on is as fast


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of the file's time."""

    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class _Extent:
    """Extent of a video between two times, by its packets.

    Args:
        gaps: Stretches without any packet, where the others follow each other regularly.
    """

    span: _Span
    last_frame_seconds: float
    gaps: Sequence[Loss]
    packet_count: int
    last_decoding_seconds: float


@dataclass(slots=True)
class _Part:
    """A segment that is being filled."""

    span: _Span
    targets: deque[float]
    pictures: list[UInt8[np.ndarray, "height width channel"]] = field(default_factory=list)


def load(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Segment]:
    """Yield the frames of a video, segment by segment, in memory that does not grow with its length.

    Segments of `segment_seconds` begin every `hop_seconds`; the last one ends with the video and may be shorter. Of
    each, the frames are taken that are on the screen in the middles of `frames_per_segment` equal parts of its time,
    so that a changing frame rate does no harm; a frame that is there at several of them is taken once, so a segment
    may have fewer. A frame stays on the screen until the next one. All frames of a video have one size, upright and
    with square pixels. The last segment carries the warning of what is damaged.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes, no picture track, or no frame between the two times.
        TooLargeError: Too many bytes, seconds, frames, or pixels in a frame.
        UnreadableMediaError: The file is no video, or more of it is damaged than may be.
    """
    check_file(path, max_bytes=limits.max_bytes)
    with open_container(path, limits=limits) as measured:
        extent = _measure(measured, path=path, limits=limits, start_seconds=start_seconds, end_seconds=end_seconds)
        with start_again(measured, packet_count=extent.packet_count, path=path, limits=limits) as container:
            stop = math.inf if end_seconds is None else end_seconds
            yield from _read(container, extent, path=path, decoding=decoding, limits=limits, stop_seconds=stop)


def _read(
    container: InputContainer,
    extent: _Extent,
    *,
    path: Path,
    decoding: Decoding,
    limits: MediaLimits,
    stop_seconds: float,
) -> Iterator[Segment]:
    """Yield the segments of a video that was measured, as `load` defines them."""
    span, is_to_end = extent.span, math.isinf(stop_seconds)
    spans = _segment_spans(extent, decoding=decoding)
    spans = [spans[index] for index in pick_equally_spaced(len(spans), limit=decoding.max_segments)]
    log = DamageLog(start_seconds=span.start_seconds, end_seconds=stop_seconds)
    for gap in extent.gaps:
        log.add(gap)
    stream = _picture_stream(container, path=path)
    painter = _Painter(stream, path=path, side_pixels=decoding.side_pixels, limits=limits)
    held = None
    for run in _runs(spans):
        frames = decode_pictures(container, stream, path=path, from_seconds=run[0].start_seconds, log=log)
        for part in _fill(frames, run, painter=painter, frames_per_segment=decoding.frames_per_segment):
            if held is not None:
                yield held
            pixels = torch.from_numpy(np.stack(part.pictures)).permute(0, 3, 1, 2).contiguous()
            held = Segment(VideoContent(pixels), part.span.start_seconds, part.span.end_seconds)
        is_last = is_to_end and run[-1].end_seconds >= span.end_seconds
        _read_on(frames, run[-1], frames_per_segment=decoding.frames_per_segment, is_last=is_last)
    if held is None:
        raise UnreadableMediaError(path=path, reason="none of its pictures can be decoded")
    if is_to_end:
        _note_end(log, extent, container, stream, path=path)
    log.check(read_seconds=span.end_seconds - span.start_seconds, path=path, limits=limits)
    joined = warn_of_joined_file(path) if is_to_end else ()
    yield replace(held, warnings=(*log.describe(noun="picture"), *joined))


def _read_on(
    frames: Iterator[tuple[float, VideoFrame]], span: _Span, *, frames_per_segment: int, is_last: bool
) -> None:
    """Decode the rest of the last segment, of which no frame is needed, for what is missing in it; skip a long one."""
    rest_seconds = (span.end_seconds - span.start_seconds) / (2 * frames_per_segment)
    if rest_seconds <= _WORTH_A_SEEK_SECONDS:
        end = math.inf if is_last else span.end_seconds  # pictures without a time may seem to come later
        deque(takewhile(lambda each: each[0] < end, frames), maxlen=0)


def _note_end(log: DamageLog, extent: _Extent, container: InputContainer, stream: VideoStream, *, path: Path) -> None:
    """Note that the file ends before the time that it declares, if it does.

    Streams declare none and have no mark at their end. They are cut off where their last picture is not whole, or where
    a picture is missing that would have been decoded behind the last one there is.
    """
    end, name = extent.span.end_seconds, container.format.name
    length = read_length(container, stream, is_of_track=True)
    declared = find_declared_seconds(path, length, read=end, container_name=name)
    if declared is None and name in _WITHOUT_END:
        is_cut = log.is_end_broken or any(gap.start_seconds > extent.last_decoding_seconds for gap in extent.gaps)
        declared = math.inf if is_cut else None
    if declared is not None:
        log.add_cut(from_seconds=end, declared_seconds=declared)


def _measure(
    container: InputContainer,
    *,
    path: Path,
    limits: MediaLimits,
    start_seconds: float | None,
    end_seconds: float | None,
) -> _Extent:
    """Measure the frames between two times; the duration that a file states is not trusted."""
    start = start_seconds or 0.0
    stop = math.inf if end_seconds is None else end_seconds
    starts: list[float] = []
    first, last, end = math.inf, -math.inf, -math.inf
    packet_count, last_decoding = 0, -math.inf
    stream = _picture_stream(container, path=path)
    check_pixels((stream.codec_context.width, stream.codec_context.height), path=path, limits=limits)
    for frame_start, frame_end, decoding in read_packet_times(container, stream, from_seconds=start):
        packet_count, last_decoding = packet_count + 1, decoding
        end = max(end, min(frame_end, stop))
        if frame_start < stop:
            first, last = min(first, frame_start), max(last, frame_start)
            if frame_end > start:
                starts.append(frame_start)
        elif frame_start >= stop + _REORDERING_SECONDS:
            break
        if len(starts) > limits.max_frames:
            raise TooLargeError(path=path, quantity="frames", got=len(starts), allowed=limits.max_frames)
    gaps = _find_losses(container, stream, starts)
    start = max(first, 0.0) if start_seconds is None else start_seconds
    if end <= start or first == math.inf:
        raise EmptyMediaError(path=path, reason="it has no frame between the two times, or none at all")
    if end - start > limits.max_seconds:
        raise TooLargeError(path=path, quantity="seconds", got=end - start, allowed=limits.max_seconds)
    return _Extent(
        _Span(start, end),
        last_frame_seconds=last,
        gaps=gaps,
        packet_count=packet_count,
        last_decoding_seconds=last_decoding,
    )


def _find_losses(container: InputContainer, stream: VideoStream, starts: Sequence[float]) -> list[Loss]:
    """Return the stretches of a file in which frames are missing."""
    name = container.format.name
    gaps = [] if name in _TIMED_BY_PICTURE else _find_gaps(starts)
    if not gaps or name != "avi":
        return gaps
    stamps = read_index_times(container, stream)  # no packet comes of a chunk without bytes, which says "as before"
    return [gap for gap in gaps if _holds_any(gap, stamps)]


def _find_gaps(starts: Sequence[float]) -> list[Loss]:
    """Return the stretches in which frames are missing that all others show to be regular; one left out is none."""
    if len(starts) < _FEWEST_FRAMES:
        return []
    ordered = np.sort(np.array(starts))
    steps = np.diff(ordered)
    usual = float(np.median(steps))
    is_regular = np.abs(steps - usual) < usual / 2
    if usual <= 0 or is_regular.mean() < _REGULAR_SHARE:
        return []
    missing = steps - usual
    is_strict = (np.abs(missing) < max(usual / 10, 2 * _GRAIN_SECONDS)).mean() >= _STRICT_SHARE
    shortest = 0.0 if is_strict else _SHORTEST_GAP_SECONDS - _GRAIN_SECONDS
    places = np.flatnonzero((missing > usual / 2) & (missing > shortest))
    return [Loss(float(ordered[place]) + usual, float(missing[place]), is_damage=False) for place in places]


def _holds_any(gap: Loss, times: Sequence[float]) -> bool:
    """Return whether one of some times, in order, lies in a gap."""
    first = bisect.bisect_left(times, gap.start_seconds - _GRAIN_SECONDS)
    return first < len(times) and times[first] < gap.start_seconds + gap.seconds - _GRAIN_SECONDS


def _segment_spans(extent: _Extent, *, decoding: Decoding) -> list[_Span]:
    """Return the segments of a video, as `load` defines them; the last is left out if no frame begins in it."""
    start, end = extent.span.start_seconds, extent.span.end_seconds
    length = decoding.segment_seconds
    if length is None:
        return [extent.span]
    hop = length if decoding.hop_seconds is None else decoding.hop_seconds
    spans = [_Span(start, min(start + length, end))]
    while end - spans[-1].end_seconds > _GRAIN_SECONDS:
        following = start + len(spans) * hop
        if following > extent.last_frame_seconds + _GRAIN_SECONDS:
            break
        spans.append(_Span(following, min(following + length, end)))
    return spans


def _runs(spans: Sequence[_Span]) -> list[list[_Span]]:
    """Divide the segments where the time between two is so long that a seek pays."""
    runs = [[spans[0]]]
    for before, span in pairwise(spans):
        if span.start_seconds - before.end_seconds > _WORTH_A_SEEK_SECONDS:
            runs.append([])
        runs[-1].append(span)
    return runs


def _fill(
    frames: Iterable[tuple[float, VideoFrame]], spans: Sequence[_Span], *, painter: "_Painter", frames_per_segment: int
) -> Iterator[_Part]:
    """Take from the frames, as they come, what each segment needs; yield a segment once it is complete."""
    waiting = deque(_Part(span, _middles(span, count=frames_per_segment)) for span in spans)
    ending: list[tuple[float, VideoFrame | None]] = [(math.inf, None)]
    for (_, frame), (following_seconds, _) in pairwise(chain(frames, ending)):
        picture = None
        for part in waiting:
            if part.span.start_seconds >= following_seconds or frame is None:
                break
            if part.targets and part.targets[0] < following_seconds:
                picture = painter.paint(frame) if picture is None else picture
                part.pictures.append(picture)
                while part.targets and part.targets[0] < following_seconds:
                    part.targets.popleft()
        while waiting and not waiting[0].targets:
            yield waiting.popleft()
        if not waiting:
            return


def _middles(span: _Span, *, count: int) -> deque[float]:
    """Return the middles of equal parts of a span."""
    part_seconds = (span.end_seconds - span.start_seconds) / count
    return deque(span.start_seconds + (index + 0.5) * part_seconds for index in range(count))


@final
class _Painter:
    """Turns the frames of one video into upright RGB pictures of one size, with square pixels."""

    def __init__(self, stream: VideoStream, *, path: Path, side_pixels: int | None, limits: MediaLimits) -> None:
        self._stream = stream
        self._path = path
        self._side_pixels = side_pixels
        self._limits = limits
        self._reformatter = VideoReformatter()  # one for all frames: each holds megabytes of state
        self._size: tuple[int, int] | None = None

    def paint(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width channel"]:
        """Return the image of a frame; the first one sets the size."""
        if self._size is None:
            self._size = compute_scaled_size(self._measure(frame), side_pixels=self._side_pixels)
            check_pixels(self._size, path=self._path, limits=self._limits)
        width, height = self._size
        with convert_decoder_errors(self._path):
            scaled = self._reformatter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC")
            pixels = _turn_upright(scaled.to_ndarray(), _read_display_matrix(frame))
        return np.ascontiguousarray(pixels)

    def _measure(self, frame: VideoFrame) -> tuple[int, int]:
        """Return the size of a frame whose pixels are made square by its width, as players do it."""
        ratio = float(self._stream.sample_aspect_ratio or 1)
        is_believed = 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL
        return (max(1, round(frame.width * ratio)) if is_believed else frame.width), frame.height


def _read_display_matrix(frame: VideoFrame) -> Int32[np.ndarray, "3 3"] | None:
    try:
        data = frame.side_data[SideDataType.DISPLAYMATRIX]  # type: ignore[typeddict-item]  # the stub is of video alone
    except KeyError:
        return None
    return np.frombuffer(bytes(data)[:_MATRIX_BYTES], dtype=np.int32).reshape(3, 3)


def _turn_upright(
    pixels: UInt8[np.ndarray, "height width channel"], matrix: Int32[np.ndarray, "3 3"] | None
) -> UInt8[np.ndarray, "_ _ channel"]:
    """Turn and mirror a picture as its display matrix says, to the nearest quarter.

    The matrix takes a point (x, y) of the stored picture to (a x + c y, b x + d y) of the shown one.
    """
    if matrix is None:
        return pixels
    (a, b), (c, d) = matrix[:2, :2].astype(np.int64)
    right, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, right, down = pixels.transpose(1, 0, 2), c, b
    if right < 0:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if down < 0 else pixels


def _picture_stream(container: InputContainer, *, path: Path) -> VideoStream:
    stream = find_picture_stream(container)
    if stream is None:
        raise EmptyMediaError(path=path, reason="it has no moving picture")
    check_decoder(stream, path=path)
    return stream


# ---------------------------------------------------------------- numbered pictures

WILDCARD = "*"
"""Stands in a path where the numbers of the pictures stand."""


def load_frames(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    numbers: Sequence[range] | None = None,
) -> Iterator[Segment]:
    """Yield the segments of a video that is stored as numbered images, one image per second.

    So picture n of the sequence, counted from 0, is taken to be on the screen from second n to n + 1. All pictures
    of a video get the size of its first.

    Args:
        numbers: Of the pictures that belong to the video; None for all there are.

    Raises:
        MissingFileError: No picture bears such a name.
        EmptyMediaError: No picture lies between the two times.
        TooLargeError: Too many pictures, or too many bytes or pixels in one.
        UnreadableMediaError: A picture is damaged, or the path has no mark, or more than one.
    """
    files = list_frame_files(path, numbers=numbers)
    if len(files) > limits.max_frames:
        raise TooLargeError(path=path, quantity="frames", got=len(files), allowed=limits.max_frames)
    first = math.ceil(start_seconds or 0.0)
    chosen = range(first, len(files) if end_seconds is None else min(len(files), math.ceil(end_seconds)))
    if not chosen:
        raise EmptyMediaError(path=path, reason="it has no picture between the two times")
    length = len(chosen) if decoding.segment_seconds is None else max(1, round(decoding.segment_seconds))
    hop = length if decoding.hop_seconds is None else max(1, round(decoding.hop_seconds))
    parts = [chosen[start : start + length] for start in range(0, max(1, len(chosen) - length + hop), hop)]
    size = None
    for index in pick_equally_spaced(len(parts), limit=decoding.max_segments):
        part = parts[index]
        taken = [part[each] for each in pick_equally_spaced(len(part), limit=decoding.frames_per_segment)]
        pictures = [_picture(files[number], decoding=decoding, limits=limits) for number in taken]
        size = size or (pictures[0].shape[1], pictures[0].shape[2])
        frames = torch.stack([_fitted(picture, size) for picture in pictures])
        yield Segment(VideoContent(frames), float(part[0]), float(part[-1] + 1))


def list_frame_files(path: Path, *, numbers: Sequence[range] | None = None) -> list[Path]:
    """Return the numbered images that match a path with a wildcard, in the order of their numbers.

    Args:
        numbers: Of those to return; None for all there are.

    Raises:
        MissingFileError: There is none.
        UnreadableMediaError: The path has no mark in its last part, or more than one.
    """
    if path.name.count(WILDCARD) != 1 or WILDCARD in str(path.parent):
        reason = f"the path of a video given as pictures holds one '{WILDCARD}', in place of their number"
        raise UnreadableMediaError(path=path, reason=reason)
    prefix, _, suffix = path.name.partition(WILDCARD)
    try:
        there = _listing(path.parent, path.parent.stat().st_mtime_ns).get((prefix, suffix), ())
    except OSError:
        there = ()
    chosen = [number for number in there if numbers is None or any(int(number) in span for span in numbers)]
    if not chosen:
        raise MissingFileError(path=path)
    return [path.with_name(f"{prefix}{number}{suffix}") for number in sorted(chosen, key=int)]


def split_number(name: str) -> tuple[str, str, str]:
    """Split a file's name into the part before its last number, the number, which may be empty, and the suffix."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    prefix = stem.rstrip("0123456789")
    return prefix, stem[len(prefix) :], suffix


# A folder may hold the pictures of all videos, so it is read once; its time of change tells a changed one.
@lru_cache(maxsize=4)
def _listing(folder: Path, _changed_ns: int) -> Mapping[tuple[str, str], tuple[str, ...]]:
    numbers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in os.listdir(folder):  # noqa: PTH208 - names alone are needed, half a million of them at times
        prefix, number, suffix = split_number(name)
        if number:
            numbers[prefix, suffix].append(number)
    return {key: tuple(each) for key, each in numbers.items()}


def _picture(file: Path, *, decoding: Decoding, limits: MediaLimits) -> UInt8[Tensor, "3 height width"]:
    [segment] = image.load(file, decoding=decoding, limits=limits)
    assert isinstance(segment.content, ImageContent)  # noqa: S101 - what the loader of images gives
    return segment.content.pixels


def _fitted(picture: UInt8[Tensor, "3 _ _"], size: tuple[int, int]) -> UInt8[Tensor, "3 height width"]:
    if picture.shape[1:] == size:
        return picture
    return F.interpolate(picture[None], size=size, mode="bilinear", antialias=True)[0]
