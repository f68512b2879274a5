"""Embeddings -> two coordinates each, for the map of the space."""

import numpy as np
from jaxtyping import Float, Float64, Int

PERPLEXITY = 30.0
"""About how many neighbors the map keeps near; smaller sets take a third of their size."""

LEAST_ROWS = 12
"""Below this there are too few neighbors for t-SNE."""

TSNE = "t-SNE"
PRINCIPAL = "principal components"


def choose_rows(
    medium: Int[np.ndarray, " row"], *, limit: int, generator: np.random.Generator
) -> Int[np.ndarray, " item"]:
    """At most `limit` rows, drawn from each medium by its share, in their order."""
    if len(medium) <= limit:
        return np.arange(len(medium))
    chosen = []
    for code in np.unique(medium):
        rows = np.flatnonzero(medium == code)
        count = max(1, len(rows) * limit // len(medium))
        chosen.append(generator.choice(rows, size=count, replace=False))
    return np.sort(np.concatenate(chosen))


def project(embedding: Float[np.ndarray, "row dim"], *, seed: int) -> tuple[Float64[np.ndarray, "row two"], str]:
    """Coordinates from 0 to 1, and the name of the method: t-SNE where the extra `report` is installed."""
    units = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    found = _principal(units)
    method = PRINCIPAL
    if len(units) >= LEAST_ROWS:
        try:
            import openTSNE
        except ImportError:
            pass
        else:
            perplexity = min(PERPLEXITY, (len(units) - 1) / 3)
            start = found / max(float(found[:, 0].std()), 1e-12) * 1e-4
            # One thread: the same map on every machine.
            projection = openTSNE.TSNE(perplexity=perplexity, random_state=seed, n_jobs=1, initialization=start)
            found, method = np.asarray(projection.fit(units), dtype=np.float64), TSNE
    low, high = found.min(axis=0), found.max(axis=0)
    coordinates: Float64[np.ndarray, "row two"] = (found - low) / np.maximum(high - low, 1e-12)
    return coordinates, method


def _principal(units: Float[np.ndarray, "row dim"]) -> Float64[np.ndarray, "row two"]:
    """The first two principal components, each turned so that its largest entry is positive."""
    centered = (units - units.mean(axis=0)).astype(np.float64)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    components: Float64[np.ndarray, "row two"] = np.zeros((len(units), 2))
    components[:, : len(axes)] = centered @ axes.T
    return components
