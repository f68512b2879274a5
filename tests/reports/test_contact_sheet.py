"""The picture of search results draws every medium."""

import numpy as np
import pytest

from fieldmark import Medium
from fieldmark.reports.contact_sheet import CAPTION_PIXELS, GAP_PIXELS, TILE_PIXELS, Tile, draw_sheet


@pytest.mark.parametrize("medium", Medium)
def test_draw_sheet_draws_each_medium(medium, toy_items):
    items = [item for item in toy_items if item.medium is medium][:2]
    sheet = draw_sheet([[Tile(item, "name", "note", is_marked=False) for item in items]], title="Title")
    pixels = np.asarray(sheet)
    first = pixels[56 : 56 + TILE_PIXELS, GAP_PIXELS : GAP_PIXELS + TILE_PIXELS]
    left = GAP_PIXELS + TILE_PIXELS + 3 * GAP_PIXELS
    second = pixels[56 : 56 + TILE_PIXELS, left : left + TILE_PIXELS]
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    assert not np.array_equal(first, second)


def test_draw_sheet_has_a_row_for_each_query_and_marks_hits(toy_items):
    tiles = [Tile(item, "name", "note", is_marked=True) for item in toy_items[:3]]
    sheet = draw_sheet([tiles, tiles[:2]], title="Title")
    assert sheet.height == 56 + 2 * (TILE_PIXELS + CAPTION_PIXELS + GAP_PIXELS)
    green = np.array([0x2F, 0x7D, 0x4F])
    frame = np.asarray(sheet)[56 - 3, GAP_PIXELS : GAP_PIXELS + TILE_PIXELS]
    assert (frame == green).all()


def test_draw_sheet_sets_the_query_apart(toy_items):
    tiles = [Tile(item, "name", "note", is_marked=True) for item in toy_items[:3]]
    row = np.asarray(draw_sheet([tiles], title="Title"))[56 + TILE_PIXELS // 2]
    green = np.flatnonzero((row == [0x2F, 0x7D, 0x4F]).all(axis=1))
    gaps = [gap for gap in np.diff(green).tolist() if 1 < gap < TILE_PIXELS]
    assert gaps == [3 * GAP_PIXELS - 5, GAP_PIXELS - 5]
