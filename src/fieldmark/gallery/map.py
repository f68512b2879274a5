"""The verb behind the map: the items of a gallery on a plane, near ones near."""

from dataclasses import dataclass

import numpy as np

from fieldmark.gallery.projection import choose_rows, project
from fieldmark.gallery.store import SegmentIndex
from fieldmark.types import MEDIA, Medium

MAP_LIMIT = 1_500
"""Items on a map; of larger galleries a sample of each medium by its share."""


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One item and its place, from 0 to 1 on both axes."""

    item_id: str
    medium: Medium
    class_name: str | None
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class GalleryMap:
    """The items of a gallery on a plane.

    Args:
        method: How the plane was found: t-SNE, or principal components where openTSNE is not installed.
        item_count: Of the gallery.
    """

    method: str
    item_count: int
    points: tuple[MapPoint, ...]


def draw_map(index: SegmentIndex, *, limit: int = MAP_LIMIT, seed: int = 0) -> GalleryMap:
    """The map of a gallery; an item stands where the mean of its segments does."""
    segments = index.embeddings()
    if not segments.items:
        return GalleryMap("none", 0, ())
    ids = [item.item_id for item in segments.items]
    starts = np.array([row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1]])
    items = [segments.items[row] for row in starts]
    means = np.add.reduceat(segments.embedding, starts, axis=0)
    codes = np.array([MEDIA.index(item.medium) for item in items])
    chosen = choose_rows(codes, limit=limit, generator=np.random.default_rng(seed))
    places, method = project(means[chosen], seed=seed)
    points = [
        MapPoint(items[row].item_id, items[row].medium, items[row].class_name, round(x, 4), round(y, 4))
        for row, (x, y) in zip(chosen.tolist(), places.tolist(), strict=True)
    ]
    return GalleryMap(method, len(items), tuple(points))
