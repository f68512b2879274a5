"""A picture of search results: each row a query and its hits, every medium drawn as what it is."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fieldmark.media.loaders import load_segments
from fieldmark.media.spectrogram import decibels, power_spectrogram
from fieldmark.types import (
    AudioContent,
    Decoding,
    ImageContent,
    Item,
    MediaLimits,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

TILE_PIXELS = 200
GAP_PIXELS = 14
CAPTION_PIXELS = 44
PAPER, INK, FAINT, RIGHT = "#fbfaf7", "#22302b", "#6d7a74", "#2f7d4f"
LOUDNESS_COLORS = np.array([(18, 24, 38), (42, 72, 110), (70, 140, 140), (190, 200, 120), (255, 244, 200)])
FLOOR_DB = 60.0
LONGEST_SECONDS = 10.0
"""Of a sound or a video, so much from its beginning is drawn."""


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
    """All rows of tiles under one title; the first tile of a row, the query, stands apart."""
    columns = max(len(row) for row in rows)
    width = columns * (TILE_PIXELS + GAP_PIXELS) + 3 * GAP_PIXELS
    height = 56 + len(rows) * (TILE_PIXELS + CAPTION_PIXELS + GAP_PIXELS)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP_PIXELS, 16), title, fill=INK, font=ImageFont.load_default(20))
    for number, row in enumerate(rows):
        top = 56 + number * (TILE_PIXELS + CAPTION_PIXELS + GAP_PIXELS)
        for place, tile in enumerate(row):
            left = GAP_PIXELS + place * (TILE_PIXELS + GAP_PIXELS) + (2 * GAP_PIXELS if place else 0)
            sheet.paste(draw_item(tile.item), (left, top))
            if tile.is_marked:
                pen.rectangle(
                    (left - 3, top - 3, left + TILE_PIXELS + 2, top + TILE_PIXELS + 2), outline=RIGHT, width=3
                )
            pen.text((left, top + TILE_PIXELS + 6), tile.caption, fill=INK, font=ImageFont.load_default(14))
            pen.text((left, top + TILE_PIXELS + 24), tile.note, fill=FAINT, font=ImageFont.load_default(13))
    return sheet


def draw_item(item: Item) -> Image.Image:
    """A square picture of an item: the photo, a frame, the spectrogram, or the words."""
    decoding = Decoding(side_pixels=TILE_PIXELS, segment_seconds=LONGEST_SECONDS)
    segment = next(load_segments(item, decoding=decoding, limits=MediaLimits()))
    match segment.content:
        case ImageContent(pixels) | SpectrogramContent(pixels):
            return _crop(pixels.permute(1, 2, 0).numpy())
        case VideoContent(frames):
            return _draw_play_mark(_crop(frames[len(frames) // 2].permute(1, 2, 0).numpy()))
        case AudioContent() as sound:
            return _draw_spectrogram(sound)
        case TextContent(text):
            return _draw_words(text)


def _crop(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((TILE_PIXELS, TILE_PIXELS))


def _draw_play_mark(image: Image.Image) -> Image.Image:
    pen = ImageDraw.Draw(image, "RGBA")
    pen.ellipse((8, TILE_PIXELS - 40, 40, TILE_PIXELS - 8), fill=(0, 0, 0, 130))
    pen.polygon([(19, TILE_PIXELS - 33), (19, TILE_PIXELS - 15), (34, TILE_PIXELS - 24)], fill="white")
    return image


def _draw_spectrogram(sound: AudioContent) -> Image.Image:
    level = decibels(power_spectrogram(sound.waveform, n_fft=1024, hop_length=128), floor_db=FLOOR_DB)
    loudness = (1 + level.flip(0).numpy() / FLOOR_DB).clip(0, 1)
    steps = np.linspace(0, 1, len(LOUDNESS_COLORS))
    colors = np.stack([np.interp(loudness, steps, LOUDNESS_COLORS[:, c]) for c in range(3)], axis=-1)
    return Image.fromarray(colors.round().astype(np.uint8)).resize((TILE_PIXELS, TILE_PIXELS))


def _draw_words(text: str) -> Image.Image:
    card = Image.new("RGB", (TILE_PIXELS, TILE_PIXELS), "#efece3")
    lines = textwrap.wrap(textwrap.shorten(text, 260, placeholder=" ..."), width=27)
    pen = ImageDraw.Draw(card)
    pen.multiline_text((10, 10), "\n".join(lines), fill=INK, font=ImageFont.load_default(13), spacing=4)
    return card
