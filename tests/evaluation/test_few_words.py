"""Questions of a few marks: precision and average precision against a slow loop, seen and unseen apart."""

import numpy as np
import pytest

from fieldmark.errors import EvaluationError
from fieldmark.evaluation.evaluated_items import ItemVector, select_items
from fieldmark.evaluation.few_words import AskedQuestion, encode_embedding, measure_few_words
from fieldmark.types import Embeddings, Item, Medium

CLASSES = ("Auk", "Bunting", "Crow")


@pytest.fixture
def evaluated():
    generator = np.random.default_rng(1)
    media = (Medium.IMAGE, Medium.AUDIO)
    items = tuple(Item(f"{medium}-{n}", medium, class_name=CLASSES[n % 3]) for medium in media for n in range(30))
    rows = generator.normal(size=(60, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    nothing = np.full(60, np.nan)
    return select_items(
        Embeddings(items, nothing, nothing, rows), vector=ItemVector.EMBEDDING, split=None, leaking_ids=frozenset()
    )


def question(names, *, marks=2, seed=0, dim=6):
    row = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    return AskedQuestion("a red bird", marks, names, encode_embedding(row / np.linalg.norm(row)))


def test_the_means_are_those_of_a_slow_loop(evaluated):
    asked = [question(("Auk",), seed=0), question(("Auk", "Crow"), seed=1)]
    found = measure_few_words(asked, evaluated, seen_classes=None)
    [audio] = [each for each in found if each.gallery_medium is Medium.AUDIO]
    precision, average = [], []
    for n, each in enumerate(asked):
        row = np.random.default_rng(n).normal(size=6)
        score = evaluated.rows.embedding[30:] @ (row / np.linalg.norm(row))
        right = [evaluated.items[30 + at].class_name in each.class_names for at in np.argsort(-score)]
        precision.append(sum(right[:10]) / 10)
        average.append(np.mean([sum(right[: at + 1]) / (at + 1) for at in range(30) if right[at]]))
    assert audio.precision_at_10 == pytest.approx(np.mean(precision))
    assert audio.mean_average_precision == pytest.approx(np.mean(average), rel=1e-5)
    assert audio.chance == pytest.approx((10 + 20) / 60)
    assert (audio.mark_count, audio.training, audio.question_count) == (2, "all", 2)


def test_questions_are_averaged_by_marks_and_by_training(evaluated):
    asked = [question(("Auk",), marks=1), question(("Crow",), marks=1), question(("Auk", "Crow"), marks=3)]
    found = measure_few_words(asked, evaluated, seen_classes=frozenset({"Auk"}))
    assert {each.name for each in found if each.gallery_medium is Medium.IMAGE} == {
        "1_marks_to_image_seen", "1_marks_to_image_unseen", "3_marks_to_image_mixed",
    }  # fmt: skip


def test_a_question_that_nothing_fits_does_not_count(evaluated):
    assert measure_few_words([question(("Dodo",))], evaluated, seen_classes=None) == ()
    assert measure_few_words([], evaluated, seen_classes=None) == ()


def test_an_embedding_of_another_model_or_none_is_refused(evaluated):
    with pytest.raises(EvaluationError, match="evaluate` again"):
        measure_few_words([question(("Auk",), dim=5)], evaluated, seen_classes=None)
    with pytest.raises(EvaluationError, match="cannot be read"):
        measure_few_words([AskedQuestion("red", 1, ("Auk",), "?")], evaluated, seen_classes=None)
