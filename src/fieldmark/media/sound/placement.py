"""Sound placed by the file's own times: gaps are left, overlaps trimmed, drift below 50 ms ignored."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Shaped

from fieldmark.media.damage import DamageLog, Loss
from fieldmark.media.sound.track import Piece

_TOLERANCE_SECONDS = 0.05
_WAIT_SECONDS = 10.0  # behind a break the next true time stamp may come late: an Ogg page tells that of its end
_LONGEST_BACK_SECONDS = 10.0  # as FFmpeg has it: farther back lies no overlap but another beginning
_RESTART_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class PlacedSound:
    """Sound at its place.

    Args:
        start: Samples from the beginning of the file to the first of these.
        samples: In the file's own scale.
    """

    start: int
    samples: Shaped[np.ndarray, "channel time"]
    sample_rate_hz: int

    @property
    def end(self) -> int:
        """Samples from the beginning of the file to behind the last of these."""
        return self.start + int(self.samples.shape[1])


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place from which a file can be read as if it were read from its beginning.

    Args:
        stamp: The time stamp of the piece that stands there.
        position: Samples from the beginning of the file.
    """

    stamp: int
    position: int
    sample_rate_hz: int


@final
class Placement:
    """The place of each piece of a track, in order.

    The pieces follow each other as long as their time stamps differ from the count of samples by less than 50 ms, so
    that the rounding of time stamps leaves no cracks. Where two pieces in a row differ by more, the file has jumped: on
    leaves a gap, back trims what is there already. Farther back, or back to the beginning, lies another file that was
    joined to this one, and the sound goes on. A jump behind something unreadable is taken to be there.

    Args:
        anchor: The place of the first piece; None for the beginning of the file.
    """

    def __init__(self, log: DamageLog, *, anchor: Anchor | None = None) -> None:
        self._log = log
        self._rate = anchor.sample_rate_hz if anchor else 0
        self._position = anchor.position if anchor else 0  # of the next sample
        self._end = self._position  # of what was given out
        self._shift = 0.0  # what joined files add to the time stamps, seconds
        self._has_lost = False
        self._held: list[Piece] = []  # until it is known whether the file has jumped before them
        self._held_end = 0
        self._deviations: list[float] = []
        self._is_placed = anchor is not None

    @property
    def position(self) -> int:
        """The place of the next sample, unless something is held back."""
        return self._position

    def place(self, pieces: Iterable[Piece]) -> Iterator[PlacedSound]:
        """Yield the pieces where they belong."""
        for piece in pieces:
            yield from self._add(piece)
        yield from self._settle(is_end=True)

    def make_anchor(self, piece: Piece) -> Anchor | None:
        """Return the place of the next piece; None where that is undecided, or a seek could miss it."""
        is_plain = not self._held and not self._shift and not self._has_lost and not piece.is_after_break
        if piece.stamp is None or piece.sample_rate_hz != self._rate or not is_plain or not self._is_in_step(piece):
            return None
        return Anchor(piece.stamp, self._position, self._rate)

    def _add(self, piece: Piece) -> Iterator[PlacedSound]:
        if piece.sample_rate_hz != self._rate:
            yield from self._settle(is_end=True)
            self._change_rate(piece)
        if piece.is_after_break:
            self._log.count_packet()
        if not piece.samples.shape[1]:  # the end, behind bad packets
            yield from self._settle(is_end=True)
            self._lose(piece.lost_seconds, is_damage=True)
        elif self._held or piece.is_stamp_late or piece.lost_seconds or not self._is_in_step(piece):
            self._hold(piece)
            yield from self._settle(is_end=False)
        else:
            yield from self._give_out(piece)

    def _is_in_step(self, piece: Piece) -> bool:
        return abs(self._measure_deviation(piece, self._position) or 0.0) < _TOLERANCE_SECONDS

    def _change_rate(self, piece: Piece) -> None:
        if not self._is_placed:
            self._position = self._end = round((piece.seconds or 0.0) * piece.sample_rate_hz)
            self._is_placed = True
        else:
            self._position = round(self._position * piece.sample_rate_hz / self._rate)
            self._end = round(self._end * piece.sample_rate_hz / self._rate)
        self._rate = piece.sample_rate_hz

    def _measure_deviation(self, piece: Piece, position: int) -> float | None:
        """Return the seconds by which a piece's time stamp lies behind its count."""
        if piece.seconds is None:
            return None
        return piece.seconds + self._shift - position / self._rate

    def _hold(self, piece: Piece) -> None:
        position = self._held_end if self._held else self._position
        deviation = self._measure_deviation(piece, position)
        if deviation is not None:
            self._deviations.append(deviation)
        self._held.append(piece)
        self._held_end = position + piece.samples.shape[1]

    def _settle(self, *, is_end: bool) -> Iterator[PlacedSound]:
        """Give out what is held, once it is known whether the file has jumped before it."""
        if not self._held:
            return
        jump = self._held[0].lost_seconds or self._find_jump(is_end=is_end)
        if jump is None:
            return
        if jump:
            self._jump(jump)
        held, self._held, self._deviations = self._held, [], []
        for piece in held:
            yield from self._give_out(piece)

    def _find_jump(self, *, is_end: bool) -> float | None:
        """Return the seconds that the file has jumped before what is held, 0 for none; None while it is undecided."""
        known = self._deviations[-2:]
        is_steady = len(known) == 2 and abs(known[1] - known[0]) < _TOLERANCE_SECONDS
        is_believed = is_steady or (is_end and known and known[-1] < _WAIT_SECONDS)
        if is_believed and abs(known[-1]) >= _TOLERANCE_SECONDS:
            return known[-1]
        waited = (self._held_end - self._position) / self._rate
        is_over = is_end or waited > _WAIT_SECONDS or (is_steady and not self._held[0].is_stamp_late)
        return 0.0 if is_over else None

    def _jump(self, seconds: float) -> None:
        first = self._held[0]
        if seconds > 0:
            self._has_lost |= first.lost_seconds > 0
            self._lose(seconds, is_damage=first.is_after_break or first.is_stamp_late or first.lost_seconds > 0)
            self._position += round(seconds * self._rate)
            return
        is_restart = first.seconds is not None and first.seconds < _RESTART_SECONDS
        if is_restart or seconds < -_LONGEST_BACK_SECONDS:
            self._shift -= seconds
        else:
            self._position += round(seconds * self._rate)

    def _lose(self, seconds: float, *, is_damage: bool) -> None:
        self._log.add(Loss(self._position / max(1, self._rate), seconds, is_damage))

    def _give_out(self, piece: Piece) -> Iterator[PlacedSound]:
        samples = piece.samples
        start, self._position = self._position, self._position + samples.shape[1]
        trimmed = max(0, self._end - start)
        if trimmed < samples.shape[1]:
            self._end = self._position
            yield PlacedSound(start + trimmed, samples[:, trimmed:], self._rate)
