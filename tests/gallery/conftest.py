"""Made-up segments, and a store of each kind to put them in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import SegmentIndex
from fieldmark.types import Embeddings, Item, Medium

UnitRows = Callable[..., np.ndarray]
EmbeddingsOf = Callable[..., Embeddings]


@pytest.fixture(scope="session")
def unit_rows() -> UnitRows:
    """Makes random rows of length 1."""

    def make(count: int, *, seed: int = 0, dim: int = 8) -> np.ndarray:
        rows = np.random.default_rng(seed).normal(size=(count, dim))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def embeddings_of() -> EmbeddingsOf:
    """Makes embeddings of (item, rows) in turn; sound and video get times, three seconds to a segment."""

    def make(*parts: tuple[Item, np.ndarray]) -> Embeddings:
        start_seconds = [
            3.0 * place if item.medium in {Medium.VIDEO, Medium.AUDIO} else np.nan
            for item, rows in parts
            for place in range(len(rows))
        ]
        return Embeddings(
            items=tuple(item for item, rows in parts for _ in rows),
            start_seconds=np.array(start_seconds, dtype=np.float64),
            end_seconds=np.array(start_seconds, dtype=np.float64) + 3.0,
            embedding=np.concatenate([rows for _, rows in parts]),
        )

    return make


@pytest.fixture(scope="session", params=["exact", "approximate"])
def create_index(request: pytest.FixtureRequest) -> Callable[[Path], SegmentIndex]:
    """Makes an empty store of 8 dimensions, of each implementation in turn."""
    match request.param:
        case "exact":
            return lambda folder: LanceIndex.create(folder, fingerprint="sparrow", dim=8)
        case "approximate":
            return lambda folder: LanceIndex.create(folder, fingerprint="sparrow", dim=8, exact_rows=0)
        case other:
            raise AssertionError(other)


@pytest.fixture
def index(create_index, tmp_path: Path) -> SegmentIndex:
    """An empty store of 8 dimensions."""
    return create_index(tmp_path / "index")
