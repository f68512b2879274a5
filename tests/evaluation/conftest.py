"""Toy embeddings: four media, a few classes, vectors that lean towards their class."""

from collections.abc import Callable

import numpy as np
import pytest

from fieldmark.types import MEDIA, Embeddings, Item, Medium, Split

MakeEmbeddings = Callable[..., Embeddings]


def _make_embeddings(
    *,
    media: tuple[Medium, ...] = MEDIA,
    class_count: int = 4,
    items_per_class: int = 3,
    segments: int = 2,
    spread: float = 0.8,
    seed: int = 0,
) -> Embeddings:
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(class_count, 8))
    items: list[Item] = []
    rows: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    for medium in media:
        for number in range(class_count * items_per_class):
            label = number % class_count
            item = Item(f"{medium}-{number}", medium, class_name=f"bird {label}", split=Split.TEST)
            for _ in range(segments if medium in {Medium.VIDEO, Medium.AUDIO} else 1):
                row = centers[label] + spread * generator.normal(size=8)
                items.append(item)
                rows.append(row / np.linalg.norm(row))
                logits.append(3.0 * np.eye(class_count)[label] + generator.normal(size=class_count))
    no_time = np.full(len(items), np.nan)
    return Embeddings(
        tuple(items), no_time, no_time, np.array(rows, dtype=np.float32), np.array(logits, dtype=np.float32)
    )


@pytest.fixture
def make_embeddings() -> MakeEmbeddings:
    """Makes a set of embeddings to order."""
    return _make_embeddings
