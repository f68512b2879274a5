"""Questions of a few marks: how well the embedding of a short description finds items of the classes that fit it."""

import base64
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from fieldmark.errors import EvaluationError
from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.types import MEDIA, Medium

DEPTH = 10
"""First hits whose share of right ones is the precision."""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question as it was embedded, which a receipt keeps.

    Args:
        mark_count: Marks that it names.
        class_names: Those that have them all.
        embedding: float32, little-endian, in base 64.
    """

    text: str
    mark_count: int
    class_names: tuple[str, ...]
    embedding: str


def encode_embedding(embedding: Float32[np.ndarray, " dim"]) -> str:
    """Return an embedding as `AskedQuestion` keeps it."""
    return base64.b64encode(np.ascontiguousarray(embedding, dtype="<f4").tobytes()).decode("ascii")


@dataclass(frozen=True, slots=True)
class FewWordsMean:
    """The mean over questions of one number of marks, against the items of one medium.

    Args:
        training: "seen" for questions that only classes of training fit, "unseen" for those that none of them fits,
            "mixed" for the others, and "all" where it is not known what training saw.
        mean_average_precision: Items of any class that fits are right.
        precision_at_10: Share of right ones among the first ten.
        chance: Mean share of right ones in the gallery.
        question_count: Those with a right item in the gallery.
    """

    gallery_medium: Medium
    mark_count: int
    training: str
    mean_average_precision: float
    precision_at_10: float
    chance: float
    question_count: int

    @property
    def name(self) -> str:
        """Such as `2_marks_to_image_unseen`."""
        return f"{self.mark_count}_marks_to_{self.gallery_medium}_{self.training}"


def measure_few_words(
    questions: Sequence[AskedQuestion], evaluated: EvaluatedItems, *, seen_classes: AbstractSet[str] | None
) -> tuple[FewWordsMean, ...]:
    """Rank the items of each medium by each question, and average by number of marks and by what training saw.

    Args:
        seen_classes: Classes of training; None where they are not known.

    Raises:
        EvaluationError: A question has another dimension than the items, or cannot be decoded.
    """
    if not questions:
        return ()
    units = evaluated.units
    asked = np.stack([_decode(each, dim=units.shape[1]) for each in questions])
    names = np.array(evaluated.class_names, dtype=object)[evaluated.rows.label]
    is_right = np.array([np.isin(names, list(each.class_names)) for each in questions])
    training = [_name_training(each, seen_classes) for each in questions]
    found: list[FewWordsMean] = []
    for code, medium in enumerate(MEDIA):
        columns = np.flatnonzero(evaluated.medium == code)
        if columns.size:
            own = list(_measure_each(asked @ units[columns].T, is_right[:, columns]))
            found += _average(own, questions, training, medium=medium)
    return tuple(found)


def _measure_each(
    score: Float64[np.ndarray, "query gallery"], is_right: np.ndarray
) -> Iterator[tuple[float, float, float] | None]:
    """Yield average precision, precision and chance of each question; None where nothing is right."""
    for own, right in zip(score, is_right, strict=True):
        if not right.any():
            yield None
            continue
        ranked = right[np.argsort(-own, kind="stable")]
        precision = np.cumsum(ranked)[ranked] / (np.flatnonzero(ranked) + 1)
        yield float(precision.mean()), float(ranked[:DEPTH].mean()), float(right.mean())


def _average(
    values: Sequence[tuple[float, float, float] | None],
    questions: Sequence[AskedQuestion],
    training: Sequence[str],
    *,
    medium: Medium,
) -> Iterator[FewWordsMean]:
    keys = [(each.mark_count, kind) for each, kind in zip(questions, training, strict=True)]
    for key in sorted(set(keys)):
        own = [value for value, each in zip(values, keys, strict=True) if each == key and value is not None]
        if own:
            average_precision, precision, chance = np.mean(own, axis=0).tolist()
            yield FewWordsMean(medium, *key, average_precision, precision, chance, len(own))


def _name_training(question: AskedQuestion, seen_classes: AbstractSet[str] | None) -> str:
    if seen_classes is None:
        return "all"
    seen = sum(name in seen_classes for name in question.class_names)
    return "seen" if seen == len(question.class_names) else "mixed" if seen else "unseen"


def _decode(question: AskedQuestion, *, dim: int) -> Float64[np.ndarray, " dim"]:
    try:
        embedding = np.frombuffer(base64.b64decode(question.embedding, validate=True), dtype="<f4").astype(np.float64)
    except ValueError as error:
        raise EvaluationError(
            f"The embedding of the question '{question.text}' cannot be read: {error}. "
            "Run `fieldmark evaluate` again for a new receipt."
        ) from error
    if embedding.shape != (dim,) or not np.isfinite(embedding).all():
        raise EvaluationError(
            f"The question '{question.text}' has {len(embedding)} dimensions, but the items have {dim} finite ones. "
            "Use the model that made the embeddings, and run `fieldmark evaluate` again."
        )
    return embedding
