"""The place of each piece of sound: gaps, overlaps, joined files, odd and late time stamps."""

import math

import numpy as np

from fieldmark.media.damage import DamageLog
from fieldmark.media.sound.placement import Placement
from fieldmark.media.sound.track import Piece

RATE = 1_000
COUNT = 100  # samples of a piece: a tenth of a second


def place(*pieces):
    """The samples of pieces on a timeline, each a number of its own, and the log; 0 stands for silence."""
    log = DamageLog(start_seconds=0.0, end_seconds=math.inf)
    placed = list(Placement(log).place(pieces))
    line = np.zeros(placed[-1].end, dtype=int)
    for each in placed:
        assert not line[each.start : each.end].any()
        line[each.start : each.end] = each.samples[0]
    return line, log.describe(noun="sound")


def make_piece(number, seconds, **facts):
    return Piece(np.full((1, COUNT), number, dtype=np.int16), RATE, number, seconds, **facts)


def runs(line):
    """The (number, length) of each stretch of equal samples."""
    edges = np.flatnonzero(np.diff(line)) + 1
    return [(int(part[0]), len(part)) for part in np.split(line, edges)]


def test_pieces_without_time_stamps_follow_each_other():
    line, warnings = place(*(make_piece(number, None) for number in (1, 2, 3)))
    assert runs(line) == [(1, 100), (2, 100), (3, 100)]
    assert warnings == ()


def test_a_gap_is_left_where_two_pieces_in_a_row_stand_behind_it():
    line, [warning] = place(make_piece(1, 0.0), make_piece(2, 0.5), make_piece(3, 0.6))
    assert runs(line) == [(1, 100), (0, 400), (2, 100), (3, 100)]
    assert "0.40 seconds of sound are missing, at 0.10 to 0.50" in warning.message


def test_drift_below_fifty_milliseconds_is_ignored():
    line, warnings = place(make_piece(1, 0.0), make_piece(2, 0.14), make_piece(3, 0.245))
    assert runs(line) == [(1, 100), (2, 100), (3, 100)]
    assert warnings == ()


def test_a_single_odd_time_stamp_moves_nothing():
    stamps = (0.0, 0.1, 7.0, 0.3, 0.4)
    line, warnings = place(*(make_piece(number, stamp) for number, stamp in enumerate(stamps, start=1)))
    assert runs(line) == [(number, 100) for number in (1, 2, 3, 4, 5)]
    assert warnings == ()


def test_an_overlap_is_trimmed():
    stamps = (1.0, 1.1, 1.2, 1.15, 1.25)
    line, warnings = place(*(make_piece(number, stamp) for number, stamp in enumerate(stamps, start=1)))
    assert runs(line) == [(0, 1000), (1, 100), (2, 100), (3, 100), (5, 50)]
    assert warnings == ()


def test_a_file_that_begins_again_goes_on():
    stamps = (0.0, 0.1, 0.2, 0.0, 0.1, 0.6, 0.7)
    line, [warning] = place(*(make_piece(number, stamp) for number, stamp in enumerate(stamps, start=1)))
    assert runs(line) == [(1, 100), (2, 100), (3, 100), (4, 100), (5, 100), (0, 400), (6, 100), (7, 100)]
    assert "at 0.50 to 0.90" in warning.message


def test_a_jump_far_back_is_another_beginning():
    stamps = (100.0, 100.1, 50.0, 50.1)
    line, _ = place(*(make_piece(number, stamp) for number, stamp in enumerate(stamps, start=1)))
    assert runs(line)[1:] == [(1, 100), (2, 100), (3, 100), (4, 100)]


def test_a_late_time_stamp_tells_of_the_break_before_it():
    late = [make_piece(2, 0.1, is_stamp_late=True), make_piece(3, 0.2), make_piece(4, 0.8), make_piece(5, 0.9)]
    line, [warning] = place(make_piece(1, 0.0), *late)
    assert runs(line) == [(1, 100), (0, 500), (2, 100), (3, 100), (4, 100), (5, 100)]
    assert "at 0.10 to 0.60" in warning.message


def test_lost_frames_are_counted_where_there_are_no_time_stamps():
    line, [warning] = place(make_piece(1, None), make_piece(2, None, lost_seconds=0.3), make_piece(3, None))
    assert runs(line) == [(1, 100), (0, 300), (2, 100), (3, 100)]
    assert "at 0.10 to 0.40" in warning.message


def test_a_change_of_rate_keeps_the_time():
    fast = Piece(np.full((1, 400), 2, dtype=np.int16), 4_000, 2, 0.1)
    log = DamageLog(start_seconds=0.0, end_seconds=math.inf)
    placed = list(Placement(log).place([make_piece(1, 0.0), fast]))
    assert [(each.start, each.end, each.sample_rate_hz) for each in placed] == [(0, 100, 1_000), (400, 800, 4_000)]
