"""Draw a contact sheet of search results: one row per query with its hits."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from fieldmark.media.loaders import load_segments
from fieldmark.media.preview import draw_content
from fieldmark.types import Decoding, Item, MediaLimits, VideoContent

TILE_PIXELS = 200
GAP_PIXELS = 14
CAPTION_PIXELS = 44
_PAPER, _INK, _FAINT, _RELEVANT = "#fbfaf7", "#22302b", "#6d7a74", "#2f7d4f"
_LONGEST_SECONDS = 10.0  # of a sound or a video, from its beginning


@dataclass(frozen=True, slots=True)
class Tile:
    """One item of a sheet.

    Args:
        is_marked: Drawn with a frame: the query, or a hit of its class.
    """

    item: Item
    caption: str
    note: str
    is_marked: bool


def draw_sheet(rows: Sequence[Sequence[Tile]], *, title: str) -> Image.Image:
    """Draw rows of tiles under one title; the first tile of a row is the query and is set apart."""
    columns = max(len(row) for row in rows)
    width = columns * (TILE_PIXELS + GAP_PIXELS) + 3 * GAP_PIXELS
    height = 56 + len(rows) * (TILE_PIXELS + CAPTION_PIXELS + GAP_PIXELS)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP_PIXELS, 16), title, fill=_INK, font=ImageFont.load_default(20))
    for number, row in enumerate(rows):
        top = 56 + number * (TILE_PIXELS + CAPTION_PIXELS + GAP_PIXELS)
        for column, tile in enumerate(row):
            left = GAP_PIXELS + column * (TILE_PIXELS + GAP_PIXELS) + (2 * GAP_PIXELS if column else 0)
            sheet.paste(_draw_item(tile.item), (left, top))
            if tile.is_marked:
                pen.rectangle(
                    (left - 3, top - 3, left + TILE_PIXELS + 2, top + TILE_PIXELS + 2), outline=_RELEVANT, width=3
                )
            pen.text((left, top + TILE_PIXELS + 6), tile.caption, fill=_INK, font=ImageFont.load_default(14))
            pen.text((left, top + TILE_PIXELS + 24), tile.note, fill=_FAINT, font=ImageFont.load_default(13))
    return sheet


def _draw_item(item: Item) -> Image.Image:
    decoding = Decoding(side_pixels=TILE_PIXELS, segment_seconds=_LONGEST_SECONDS)
    segment = next(load_segments(item, decoding=decoding, limits=MediaLimits()))
    picture = draw_content(segment.content, TILE_PIXELS)
    return _draw_play_mark(picture) if isinstance(segment.content, VideoContent) else picture


def _draw_play_mark(image: Image.Image) -> Image.Image:
    pen = ImageDraw.Draw(image, "RGBA")
    pen.ellipse((8, TILE_PIXELS - 40, 40, TILE_PIXELS - 8), fill=(0, 0, 0, 130))
    pen.polygon([(19, TILE_PIXELS - 33), (19, TILE_PIXELS - 15), (34, TILE_PIXELS - 24)], fill="white")
    return image
