"""The map of a gallery: its items on a plane, near ones near."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fieldmark.gallery.store import SegmentIndex
from fieldmark.types import MEDIA, Medium

_MAP_LIMIT = 200_000
"""Items on a map; of larger galleries a sample of each medium by its share."""

_LAID_OUT = 2_000
"""Items that t-SNE lays out; the others stand between those of them that they are most like."""

_ANCHORS = 5  # items laid out between which another one stands
_SHARPNESS = 30.0  # by how much the likest of them counts more: weights are exp(sharpness · cosine)
_BLOCK_ROWS = 8_192

_PERPLEXITY = 30.0
"""About how many neighbors the map keeps near; smaller sets take a third of their size."""

_LEAST_ROWS = 12
"""Below this there are too few neighbors for t-SNE."""

TSNE = "t-SNE"
PRINCIPAL = "principal components"


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One item and its position, from 0 to 1 on both axes."""

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

    def find_inside(self, corners: Sequence[tuple[float, float]]) -> frozenset[str]:
        """Return the ids of the items within a polygon, by the rule of even and odd crossings."""
        x = np.array([point.x for point in self.points])
        y = np.array([point.y for point in self.points])
        inside: Bool[np.ndarray, " item"] = np.zeros(len(x), dtype=bool)
        for (ax, ay), (bx, by) in zip(corners, [*corners[-1:], *corners[:-1]], strict=True):
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
        return frozenset(self.points[row].item_id for row in np.flatnonzero(inside))


def draw_map(index: SegmentIndex, *, limit: int = _MAP_LIMIT, seed: int = 0) -> GalleryMap:
    """Place the items of a gallery on a plane; an item stands where the mean of its segments does."""
    segments = index.embeddings()
    if not segments.items:
        return GalleryMap("none", 0, ())
    ids = [item.item_id for item in segments.items]
    starts = np.array([row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1]])
    items = [segments.items[row] for row in starts]
    means = np.add.reduceat(segments.embedding, starts, axis=0)
    codes = np.array([MEDIA.index(item.medium) for item in items])
    chosen = choose_rows(codes, limit=limit, generator=np.random.default_rng(seed))
    positions, method = _lay_out(means[chosen], codes[chosen], seed=seed)
    points = [
        MapPoint(items[row].item_id, items[row].medium, items[row].class_name, round(x, 4), round(y, 4))
        for row, (x, y) in zip(chosen.tolist(), positions.tolist(), strict=True)
    ]
    return GalleryMap(method, len(items), tuple(points))


def _lay_out(
    embedding: Float[np.ndarray, "row dim"], medium: Int[np.ndarray, " row"], *, seed: int
) -> tuple[Float64[np.ndarray, "row two"], str]:
    """Return coordinates of all rows: those of a sample by `project`, each other one between the likest of these."""
    sample = choose_rows(medium, limit=_LAID_OUT, generator=np.random.default_rng(seed))
    found, method = project(embedding[sample], seed=seed)
    if len(sample) == len(embedding):
        return found, method
    positions: Float64[np.ndarray, "row two"] = np.zeros((len(embedding), 2))
    anchors = _normalize(embedding[sample])
    for start in range(0, len(embedding), _BLOCK_ROWS):
        cosine = _normalize(embedding[start : start + _BLOCK_ROWS]) @ anchors.T
        likest = np.argpartition(-cosine, _ANCHORS - 1, axis=1)[:, :_ANCHORS]
        near = np.take_along_axis(cosine, likest, axis=1)
        weight = np.exp(_SHARPNESS * (near - near.max(axis=1, keepdims=True)))
        weight /= weight.sum(axis=1, keepdims=True)
        positions[start : start + _BLOCK_ROWS] = (found[likest] * weight[..., None]).sum(axis=1)
    positions[sample] = found
    return positions, method


def _normalize(embedding: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, "row dim"]:
    units: Float[np.ndarray, "row dim"] = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    return units


def choose_rows(
    medium: Int[np.ndarray, " row"], *, limit: int, generator: np.random.Generator
) -> Int[np.ndarray, " item"]:
    """Return at most `limit` rows, drawn from each medium by its share, in their order."""
    if len(medium) <= limit:
        return np.arange(len(medium))
    chosen = []
    for code in np.unique(medium):
        rows = np.flatnonzero(medium == code)
        count = max(1, len(rows) * limit // len(medium))
        chosen.append(generator.choice(rows, size=count, replace=False))
    return np.sort(np.concatenate(chosen))


def project(embedding: Float[np.ndarray, "row dim"], *, seed: int) -> tuple[Float64[np.ndarray, "row two"], str]:
    """Return coordinates from 0 to 1, and the name of the method: t-SNE where the extra `report` is installed."""
    units = _normalize(embedding)
    found = _principal(units)
    method = PRINCIPAL
    if len(units) >= _LEAST_ROWS:
        try:
            import openTSNE
        except ImportError:
            pass
        else:
            perplexity = min(_PERPLEXITY, (len(units) - 1) / 3)
            start = found / max(float(found[:, 0].std()), 1e-12) * 1e-4
            # One thread: the same map on every machine.
            projection = openTSNE.TSNE(perplexity=perplexity, random_state=seed, n_jobs=1, initialization=start)
            found, method = np.asarray(projection.fit(units), dtype=np.float64), TSNE
    low, high = found.min(axis=0), found.max(axis=0)
    coordinates: Float64[np.ndarray, "row two"] = (found - low) / np.maximum(high - low, 1e-12)
    return coordinates, method


def _principal(units: Float[np.ndarray, "row dim"]) -> Float64[np.ndarray, "row two"]:
    """Return the first two principal components, each turned so that its largest entry is positive."""
    centered = (units - units.mean(axis=0)).astype(np.float64)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    components: Float64[np.ndarray, "row two"] = np.zeros((len(units), 2))
    components[:, : len(axes)] = centered @ axes.T
    return components
