"""Segment rows -> the items to evaluate, one vector for each."""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
from jaxtyping import Bool, Float64, Int

from fieldmark.errors import CannotEvaluateError, NonFiniteEmbeddingError
from fieldmark.evaluation.ranking import LabeledRows, find_degenerate
from fieldmark.types import MEDIA, Embeddings, Item, Split


class ItemVector(StrEnum):
    """What stands for an item: the mean of its segments' embeddings, or the softmax of their mean class scores."""

    EMBEDDING = "embedding"
    POSTERIOR = "posterior"


@dataclass(frozen=True, slots=True)
class ItemTable:
    """The items to evaluate, in the order they were embedded.

    Args:
        items: What each row is of.
        rows: Vectors and labels; an item's code is its row.
        medium: Medium codes, places in `MEDIA`.
        group: What each item is resampled with; an item without group is its own.
        class_names: Names of the labels, those of the items here only.
        split: The split all items are of; None where they are of several, or of none.
        without_class_count: Items of the split left out because they have no class.
        straddling_count: Items of the split left out because their group also stands in train.
    """

    items: tuple[Item, ...]
    rows: LabeledRows
    medium: Int[np.ndarray, " row"]
    group: Int[np.ndarray, " row"]
    class_names: tuple[str, ...]
    split: Split | None
    without_class_count: int
    straddling_count: int

    @property
    def units(self) -> Float64[np.ndarray, "row dim"]:
        """The vectors at length 1."""
        units: Float64[np.ndarray, "row dim"] = self.rows.embedding.astype(np.float64)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        return units


def select_items(
    embeddings: Embeddings, *, vector: ItemVector, split: Split | None, straddling_groups: AbstractSet[str]
) -> ItemTable:
    """The items of a split that have a class and whose group stands apart from train.

    Args:
        split: None for all items.
        straddling_groups: Groups whose items are left out.

    Raises:
        CannotEvaluateError: No item is left, an item's rows are scattered, or class scores are wanted and missing.
        NonFiniteEmbeddingError: Items without a usable vector; all are named.
    """
    first_row = first_rows(embeddings.items)
    items = [embeddings.items[row] for row in first_row]
    in_split = np.array([split is None or item.split == split for item in items], dtype=bool)
    has_class = np.array([item.class_name is not None for item in items], dtype=bool)
    is_straddling = np.array([item.group in straddling_groups for item in items], dtype=bool)
    is_kept = in_split & has_class & ~is_straddling
    if not is_kept.any():
        raise _nothing_left(items, split=split)
    vectors = _item_vectors(embeddings, first_row, is_kept=is_kept, vector=vector)
    kept = [item for item, keep in zip(items, is_kept, strict=True) if keep]
    class_names, label = np.unique([str(item.class_name) for item in kept], return_inverse=True)
    return ItemTable(
        items=tuple(kept),
        rows=LabeledRows(vectors, label, np.arange(len(kept))),
        medium=np.array([MEDIA.index(item.medium) for item in kept]),
        group=_group_codes(kept),
        class_names=tuple(str(name) for name in class_names),
        split=kept[0].split if len({item.split for item in kept}) == 1 else None,
        without_class_count=int((in_split & ~has_class).sum()),
        straddling_count=int((in_split & has_class & is_straddling).sum()),
    )


def first_rows(items: tuple[Item, ...]) -> Int[np.ndarray, " item"]:
    """The first row of each item, whose rows stand together.

    Raises:
        CannotEvaluateError: An item's rows are scattered.
    """
    starts = [row for row, item in enumerate(items) if row == 0 or item.item_id != items[row - 1].item_id]
    name, count = Counter(items[row].item_id for row in starts).most_common(1)[0] if starts else ("", 0)
    if count > 1:
        raise CannotEvaluateError(
            reason=f"the rows of the item '{name}' stand in {count} places, not together",
            remedy="Embed the items again into a new folder",
        )
    return np.array(starts, dtype=np.int64)


def _group_codes(items: list[Item]) -> Int[np.ndarray, " row"]:
    """Groups numbered by name, so that the order of the items does not tell in the bootstrap."""
    names = [("item", item.item_id) if item.group is None else ("group", item.group) for item in items]
    code = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([code[name] for name in names])


def _item_vectors(
    embeddings: Embeddings,
    first_row: Int[np.ndarray, " item"],
    *,
    is_kept: Bool[np.ndarray, " item"],
    vector: ItemVector,
) -> Float64[np.ndarray, "row dim"]:
    """One vector for each kept item, from the rows of its segments."""
    segment_count = np.diff(first_row, append=len(embeddings.items))
    names = [embeddings.items[row].item_id for row in first_row[is_kept]]
    is_kept_segment = np.repeat(is_kept, segment_count)
    item_of_segment = np.repeat(np.arange(len(names)), segment_count[is_kept])
    match vector:
        case ItemVector.EMBEDDING:
            segments = embeddings.embedding[is_kept_segment].astype(np.float64)
            _refuse(item_of_segment[find_degenerate(segments)], names)
            segments /= np.linalg.norm(segments, axis=1, keepdims=True)
            vectors = _means(segments, segment_count[is_kept])
        case ItemVector.POSTERIOR:
            if embeddings.logits is None:
                raise CannotEvaluateError(
                    reason="this protocol compares class scores, and the model has no classifier",
                    remedy="Use --protocol strict, or embed with a model that has one",
                )
            logits = embeddings.logits[is_kept_segment].astype(np.float64)
            _refuse(item_of_segment[~np.isfinite(logits).all(axis=1)], names)
            vectors = _softmax(_means(logits, segment_count[is_kept]))
        case _:
            assert_never(vector)
    _refuse(np.flatnonzero(find_degenerate(vectors)), names)
    return vectors


def _means(
    segments: Float64[np.ndarray, "segment dim"], segment_count: Int[np.ndarray, " row"]
) -> Float64[np.ndarray, "row dim"]:
    """The mean of each item's segments, which stand together."""
    starts = np.cumsum(segment_count) - segment_count
    means: Float64[np.ndarray, "row dim"] = np.add.reduceat(segments, starts, axis=0) / segment_count[:, None]
    return means


def _softmax(logits: Float64[np.ndarray, "row class"]) -> Float64[np.ndarray, "row class"]:
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    posterior: Float64[np.ndarray, "row class"] = share / share.sum(axis=1, keepdims=True)
    return posterior


def _refuse(bad: Int[np.ndarray, " bad"], names: list[str]) -> None:
    """Names the items that have no usable vector, if there are any."""
    if len(bad):
        raise NonFiniteEmbeddingError(item_ids=[names[place] for place in np.unique(bad)])


def _nothing_left(items: list[Item], *, split: Split | None) -> CannotEvaluateError:
    present = Counter("no split" if item.split is None else f"split {item.split}" for item in items)
    found = ", ".join(f"{count} of {name}" for name, count in present.items()) or "none at all"
    unlabeled = sum(item.class_name is None for item in items)
    wanted = "no item" if split is None else f"no item of split {split}"
    return CannotEvaluateError(
        reason=f"{wanted} is left; there are {found}, {unlabeled} without a class",
        remedy="Choose a split that was embedded, or give 'class_name' and 'split' in the manifest and embed again",
    )
