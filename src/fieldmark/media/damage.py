"""The missing parts of a file with a timeline: collected while it is read, told as one warning, or too much to use."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from fieldmark.errors import UnreadableMediaError
from fieldmark.media.ending.declared import read_avi_seconds, read_declared_bytes
from fieldmark.media.ending.missing import is_cut_off
from fieldmark.media.signatures import HEAD_BYTES, find_format
from fieldmark.types import MediaLimits, MediaWarning

DAMAGED = "damaged"
"""The kind of the warning."""

_SHORTEST_SECONDS = 0.01  # below lies the rounding of time stamps
_TOUCHING_SECONDS = 0.2  # losses nearer than this are told as one
_LISTED = 4
_PADDING_BYTES = 1  # a chunk of odd length may lack its padding byte
_SHORTEST_CUT_SECONDS = 0.5  # encoders state some hundredths more than they write
_MOST_TIMES_LONGER = 1_000.0  # a header that states more was never filled in


@dataclass(frozen=True, slots=True)
class Loss:
    """A stretch of a file's time of which nothing could be read.

    Args:
        is_damage: Bytes of it were there and could not be used; False for time that the file merely leaves out.
    """

    start_seconds: float
    seconds: float
    is_damage: bool = True


@final
class DamageLog:
    """The losses of one track between two times."""

    def __init__(self, *, start_seconds: float, end_seconds: float) -> None:
        self._start, self._end = start_seconds, end_seconds
        self._losses: list[Loss] = []
        self._cut: Loss | None = None
        self._packet_count = 0
        self.is_end_broken = False

    def add(self, loss: Loss) -> None:
        """Add a loss, as far as it lies between the two times."""
        start = max(loss.start_seconds, self._start)
        seconds = min(loss.start_seconds + loss.seconds, self._end) - start
        if seconds >= _SHORTEST_SECONDS:
            self._losses.append(Loss(start, seconds, loss.is_damage))

    def count_packet(self) -> None:
        """Count one packet or picture that is damaged, whether time was lost with it or not."""
        self._packet_count += 1

    def break_end(self) -> None:
        """State that one of the last pictures of the file is damaged, or missing."""
        self.is_end_broken = True

    def add_cut(self, *, from_seconds: float, declared_seconds: float) -> None:
        """State that a file ends before the time that it declares; infinite where it declares none."""
        start, end = max(from_seconds, self._start), min(declared_seconds, self._end)
        if end > start:
            self._cut = Loss(start, end - start)

    def check(self, *, read_seconds: float, path: Path, limits: MediaLimits) -> None:
        """Check that enough of the file is left; the end that a cut-off file lacks does not count.

        Args:
            read_seconds: From the first to the last second that was read, losses included.

        Raises:
            UnreadableMediaError: More than `limits.damaged_share` of it is damaged.
        """
        lost = sum(loss.seconds for loss in self._losses if loss.is_damage)
        share = lost / max(read_seconds, lost, _SHORTEST_SECONDS)
        if share > limits.damaged_share:
            reason = (
                f"{share:.0%} of it, {_count(lost)} of {_count(max(read_seconds, lost))}, are damaged; "
                f"at most {limits.damaged_share:.0%} may be, by 'limits.damaged_share'"
            )
            raise UnreadableMediaError(path=path, reason=reason)

    def describe(self, *, noun: str) -> tuple[MediaWarning, ...]:
        """Return the warning that tells how much is missing and where; empty where nothing is.

        Args:
            noun: "sound" or "picture".
        """
        sentences = []
        if self._losses:
            spans = _join(self._losses)
            total = math.fsum(loss.seconds for loss in spans)
            places = ", ".join(f"{each.start_seconds:.2f} to {each.start_seconds + each.seconds:.2f}" for each in spans)
            sentences.append(f"{_count(total)} of {noun} are missing, at {places if len(spans) <= _LISTED else ''}")
            if len(spans) > _LISTED:
                sentences[-1] += f"{len(spans)} places between {spans[0].start_seconds:.2f} and {_end(spans[-1]):.2f}"
        elif self._packet_count:
            sentences.append(f"{self._packet_count} packets of {noun} are damaged, and no time is missing")
        if self._cut is not None:
            sentences.append(f"the file is cut off at {self._cut.start_seconds:.2f}: {_describe_rest(self._cut)}")
        if not sentences:
            return ()
        text = "; ".join(sentences)
        advice = "The rest is used at its own times; replace the file if a better copy exists."
        return (MediaWarning(DAMAGED, f"{text[0].upper()}{text[1:]} (seconds). {advice}"),)


def _join(losses: Sequence[Loss]) -> list[Loss]:
    """Return the losses in order, those that touch as one."""
    joined: list[Loss] = []
    for loss in sorted(losses, key=lambda each: each.start_seconds):
        if joined and loss.start_seconds - _end(joined[-1]) < _TOUCHING_SECONDS:
            before = joined[-1]
            joined[-1] = Loss(before.start_seconds, max(_end(before), _end(loss)) - before.start_seconds)
        else:
            joined.append(loss)
    return joined


def _end(loss: Loss) -> float:
    return loss.start_seconds + loss.seconds


def _count(seconds: float) -> str:
    return f"{seconds:.2f} seconds"


def _describe_rest(cut: Loss) -> str:
    if math.isinf(cut.seconds):
        return "it does not end as its format does, and how much is missing cannot be told"
    return f"{_count(cut.seconds)} are missing of the length that it declares"


@dataclass(frozen=True, slots=True)
class Length:
    """The seconds that a file states of itself; None where it states none.

    Args:
        of_file: Of its longest track.
        is_of_one_track: It has no other track, so that the two are one.
    """

    of_track: float | None
    of_file: float | None = None
    is_of_one_track: bool = False


def find_declared_seconds(path: Path, stated: Length, *, read: float, container_name: str) -> float | None:
    """Return the length that a file declares, where it was cut off before; None for a whole file.

    It is infinite where the file ends, or breaks, in the middle of one of its parts, and declares no length.

    Args:
        read: The seconds that were read.
        container_name: As FFmpeg spells it.
    """
    with path.open("rb") as file:
        met = find_format(file.read(HEAD_BYTES))
    size = path.stat().st_size
    declared_bytes = read_declared_bytes(path, met.name) if met else None
    most = read * _MOST_TIMES_LONGER
    if declared_bytes is not None and size + _PADDING_BYTES < declared_bytes:
        estimate = read * declared_bytes / size
        stated_ones = (read_avi_seconds(path), stated.of_track, stated.of_file)
        declared = max(
            (each for each in stated_ones if each and read + _SHORTEST_SECONDS <= each <= most), default=estimate
        )
        return declared if declared - read >= _SHORTEST_SECONDS else None
    is_cut = is_cut_off(path, container_name)
    if is_cut and stated.of_file:
        return stated.of_file if stated.of_file - read >= _SHORTEST_SECONDS else None
    candidates = (stated.of_track, stated.of_file if stated.is_of_one_track else None)
    longest = max((each for each in candidates if each is not None and each <= most), default=0.0)
    if longest - read >= _SHORTEST_CUT_SECONDS:
        return longest
    return math.inf if is_cut else None
