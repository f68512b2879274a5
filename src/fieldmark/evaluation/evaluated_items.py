"""The items to evaluate, with one vector for each, from the rows of their segments."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from fieldmark.errors import EvaluationError, NonFiniteEmbeddingError
from fieldmark.evaluation.ranking import LabeledRows, find_degenerate
from fieldmark.origin import number_origins
from fieldmark.types import MEDIA, Embeddings, Item, Split


class ItemVector(StrEnum):
    """The vector of an item: the mean of its segments' embeddings, or the softmax of their mean logits."""

    EMBEDDING = "embedding"
    POSTERIOR = "posterior"


@dataclass(frozen=True, slots=True)
class EvaluatedItems:
    """The items to evaluate, in the order they were embedded.

    Args:
        items: The item of each row.
        rows: Vectors and labels; an item's code is its row.
        medium: Medium codes, indices into `MEDIA`.
        group: Code of the origin that an item is resampled with; see `number_origins`.
        class_names: Names of the labels, of these items only.
        split: The split all items are of; None where they are of several, or of none.
        without_class_count: Items of the split left out because they have no class.
        leaking_ids: Items of the split left out because they leak from train.
    """

    items: tuple[Item, ...]
    rows: LabeledRows
    medium: Int[np.ndarray, " row"]
    group: Int[np.ndarray, " row"]
    class_names: tuple[str, ...]
    split: Split | None
    without_class_count: int
    leaking_ids: tuple[str, ...]

    @property
    def leaking_count(self) -> int:
        """Number of items left out because they leak from train."""
        return len(self.leaking_ids)

    @property
    def group_count(self) -> int:
        """Number of origins."""
        return int(self.group.max()) + 1

    def label_at_rank(self, name_by_class: Mapping[str, str]) -> Int[np.ndarray, " row"]:
        """Label the items at a rank above the class; a class without a name there has a label of its own."""
        names = [
            ("named", name_by_class[name]) if name in name_by_class else ("class", name) for name in self.class_names
        ]
        code = {name: number for number, name in enumerate(dict.fromkeys(names))}
        label: Int[np.ndarray, " row"] = np.array([code[name] for name in names])[self.rows.label]
        return label

    @property
    def units(self) -> Float64[np.ndarray, "row dim"]:
        """The vectors at length 1."""
        units: Float64[np.ndarray, "row dim"] = self.rows.embedding.astype(np.float64)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        return units


def select_items(
    embeddings: Embeddings, *, vector: ItemVector, split: Split | None, leaking_ids: AbstractSet[str]
) -> EvaluatedItems:
    """Return the items of a split that have a class and do not leak from train.

    Args:
        split: None for all items.
        leaking_ids: Items to leave out, since they leak from train.

    Raises:
        EvaluationError: No item is left, an item's rows are scattered, or class scores are wanted and missing.
        NonFiniteEmbeddingError: Items without a usable vector; all are named.
    """
    first_row = find_first_rows(embeddings.items)
    items = [embeddings.items[row] for row in first_row]
    in_split = np.array([split is None or item.split == split for item in items], dtype=bool)
    has_class = np.array([item.class_name is not None for item in items], dtype=bool)
    is_leaking = np.array([item.item_id in leaking_ids for item in items], dtype=bool)
    is_kept = in_split & has_class & ~is_leaking
    if not is_kept.any():
        raise _describe_nothing_left(items, split=split)
    vectors = _compute_vectors(embeddings, first_row, is_kept=is_kept, vector=vector)
    kept = [item for item, keep in zip(items, is_kept, strict=True) if keep]
    class_names, label = np.unique([str(item.class_name) for item in kept], return_inverse=True)
    return EvaluatedItems(
        items=tuple(kept),
        rows=LabeledRows(vectors, label, np.arange(len(kept))),
        medium=np.array([MEDIA.index(item.medium) for item in kept]),
        group=number_origins(kept),
        class_names=tuple(str(name) for name in class_names),
        split=kept[0].split if len({item.split for item in kept}) == 1 else None,
        without_class_count=int((in_split & ~has_class).sum()),
        leaking_ids=tuple(items[row].item_id for row in np.flatnonzero(in_split & has_class & is_leaking)),
    )


def find_first_rows(items: tuple[Item, ...]) -> Int[np.ndarray, " item"]:
    """Return the first row of each item, whose rows are consecutive.

    Raises:
        EvaluationError: An item's rows are scattered.
    """
    starts = [row for row, item in enumerate(items) if row == 0 or item.item_id != items[row - 1].item_id]
    name, count = Counter(items[row].item_id for row in starts).most_common(1)[0] if starts else ("", 0)
    if count > 1:
        raise EvaluationError(
            f"The embeddings cannot be evaluated: the rows of the item '{name}' are in {count} places, not together. "
            "Embed the items again into a new folder."
        )
    return np.array(starts, dtype=np.int64)


def _compute_vectors(
    embeddings: Embeddings,
    first_row: Int[np.ndarray, " item"],
    *,
    is_kept: Bool[np.ndarray, " item"],
    vector: ItemVector,
) -> Float64[np.ndarray, "row dim"]:
    """Return one vector for each kept item, from the rows of its segments."""
    segment_count = np.diff(first_row, append=len(embeddings.items))
    names = [embeddings.items[row].item_id for row in first_row[is_kept]]
    is_kept_segment = np.repeat(is_kept, segment_count)
    item_of_segment = np.repeat(np.arange(len(names)), segment_count[is_kept])
    match vector:
        case ItemVector.EMBEDDING:
            segments = embeddings.embedding[is_kept_segment].astype(np.float64)
            _refuse(item_of_segment[find_degenerate(segments)], names)
            segments /= np.linalg.norm(segments, axis=1, keepdims=True)
            vectors = _average_segments(segments, segment_count[is_kept])
        case ItemVector.POSTERIOR:
            if embeddings.logits is None:
                raise EvaluationError(
                    f"The embeddings cannot be evaluated: this protocol compares class scores, "
                    f"and the model of these {len(names)} items has no classifier. "
                    "Use --protocol strict, or embed with a model that has one."
                )
            logits = embeddings.logits[is_kept_segment].astype(np.float64)
            _refuse(item_of_segment[~np.isfinite(logits).all(axis=1)], names)
            vectors = _softmax(_average_segments(logits, segment_count[is_kept]))
        case _:
            assert_never(vector)
    _refuse(np.flatnonzero(find_degenerate(vectors)), names)
    return vectors


def _average_segments(
    segments: Float64[np.ndarray, "segment dim"], segment_count: Int[np.ndarray, " row"]
) -> Float64[np.ndarray, "row dim"]:
    """Return the mean of each item's segments, which are consecutive."""
    starts = np.cumsum(segment_count) - segment_count
    means: Float64[np.ndarray, "row dim"] = np.add.reduceat(segments, starts, axis=0) / segment_count[:, None]
    return means


def _softmax(logits: Float64[np.ndarray, "row class"]) -> Float64[np.ndarray, "row class"]:
    """Return posteriors rounded as the released script has them: a softmax in float32, which is 0 below 1e-45."""
    posterior: Float64[np.ndarray, "row class"] = (
        torch.softmax(torch.from_numpy(logits).float(), dim=1).double().numpy()
    )
    return posterior


def _refuse(bad: Int[np.ndarray, " bad"], names: list[str]) -> None:
    """Raise an error with the items that have no usable vector, if there are any."""
    if len(bad):
        raise NonFiniteEmbeddingError(item_ids=[names[index] for index in np.unique(bad)])


def _describe_nothing_left(items: list[Item], *, split: Split | None) -> EvaluationError:
    present = Counter("no split" if item.split is None else f"split {item.split}" for item in items)
    found = ", ".join(f"{count} of {name}" for name, count in present.items()) or "none at all"
    unlabeled = sum(item.class_name is None for item in items)
    wanted = "no item" if split is None else f"no item of split {split}"
    return EvaluationError(
        f"The embeddings cannot be evaluated: {wanted} is left; there are {found}, {unlabeled} without a class. "
        "Choose a split that was embedded, or give 'class_name' and 'split' in the manifest and embed again."
    )
