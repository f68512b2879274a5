"""Intervals and tests on data sets that are drawn anew many times: they cover the true value, and cry wolf rarely."""

import numpy as np
import pytest

from fieldmark.evaluation.comparison import compare_measurements
from fieldmark.evaluation.measurement import EvaluationContext, evaluate, measure
from fieldmark.evaluation.protocol import STRICT
from fieldmark.types import Embeddings, Item, Medium, Split

RUNS = 40
CLASSES, DIM = 6, 8


def draw(generator, centers, *, photos, texts):
    """Two embeddings of items drawn anew: models that are the same by construction, each with noise of its own."""
    items, latent = [], []
    for medium, count in ((Medium.IMAGE, photos), (Medium.TEXT, texts)):
        for label in range(CLASSES):
            for n in range(count):
                items.append(Item(f"{medium} {label} {n}", medium, class_name=f"bird {label}", split=Split.TEST))
                latent.append(centers[label] + 1.6 * generator.normal(size=DIM))
    no_time = np.full(len(items), np.nan)
    return [
        Embeddings(tuple(items), no_time, no_time, (latent + generator.normal(size=(len(items), DIM))).astype("f4"))
        for _ in range(2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("texts", [4, 1])
def test_intervals_cover_the_value_over_redrawn_items_and_equal_models_are_rarely_told_apart(texts):
    generator = np.random.default_rng(texts)
    centers = generator.normal(size=(CLASSES, DIM))
    maps, intervals, p_values = [], [], []
    for _ in range(RUNS):
        one, other = (
            measure(each, protocol=STRICT, context=EvaluationContext())
            for each in draw(generator, centers, photos=8, texts=texts)
        )
        direction = next(each for each in one.evaluation.directions if each.name == "image_to_text")
        maps.append(direction.mean_average_precision)
        intervals.append(direction.interval_95)
        p_values += [each.p_value for each in compare_measurements(one, other) if each.name == "image_to_text"]
    truth = np.mean(maps)
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.9
    assert np.mean(np.array(p_values) < 0.05) <= 0.1
    assert np.mean([high - low for low, high in intervals]) < 0.5  # they say something


def test_classes_of_one_group_have_intervals_over_classes_and_that_is_said(make_embeddings):
    embeddings = make_embeddings(items_per_class=6)
    keep = [n for n, item in enumerate(embeddings.items) if item.medium is not Medium.TEXT or n % 24 < 4]
    few = Embeddings(
        tuple(embeddings.items[n] for n in keep),
        embeddings.start_seconds[keep],
        embeddings.end_seconds[keep],
        embeddings.embedding[keep],
    )
    found = evaluate(few, protocol=STRICT)
    assert found.lone_class_count == {Medium.TEXT: 4}
    [caution] = found.cautions
    assert "In text, 4 of the classes have one group only" in caution
    interval = {each.name: each.interval_95 for each in found.directions}
    assert interval["image_to_text"] is not None
    assert not evaluate(embeddings, protocol=STRICT).lone_class_count
