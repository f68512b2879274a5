"""A small measurement that the tests of tables, charts and examples read."""

import numpy as np
import pytest

from fieldmark.evaluation.measurement import EvaluationContext, Measurement, measure
from fieldmark.evaluation.protocol import STRICT
from fieldmark.types import MEDIA, Embeddings, Item, Split


@pytest.fixture
def measurement() -> Measurement:
    """Six items of two classes in each medium, with random embeddings."""
    generator = np.random.default_rng(0)
    items = tuple(
        Item(f"{medium}-{n}", medium, class_name=f"a_b & {n % 2}", split=Split.TEST, extra=(("origin", "pseudo_x"),))
        for medium in MEDIA
        for n in range(6)
    )
    rows = generator.normal(size=(24, 4)).astype(np.float32)
    embeddings = Embeddings(items, np.full(24, np.nan), np.full(24, np.nan), rows)
    ranks = {"genus": {"a_b & 0": "g", "a_b & 1": "g"}}
    return measure(embeddings, protocol=STRICT, context=EvaluationContext(ranks=ranks), with_space=True)
