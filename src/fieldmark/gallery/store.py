"""The contract: a store of segments that answers a query embedding with hits; and a filter as conditions of a store."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fieldmark.errors import GalleryError, NonFiniteEmbeddingError
from fieldmark.gallery.facts import FactFilter, quote, write_facts_sql
from fieldmark.records.licenses import list_license_forms
from fieldmark.segment_table import LENGTH_TOLERANCE, measure_length_errors
from fieldmark.types import Embeddings, Hit, Item, Medium

_PAGE_ITEMS = 50_000
"""Items that are read at once where all are gone through."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The conditions that an item must meet to become a hit, all of those given.

    A condition that is None lets all items pass; one that is an empty set lets none. An item without a
    class, a set, a license or a group never meets a condition on it.

    Args:
        licenses: In any spelling: "cc by 4.0" also finds what names the license by its address. A Creative Commons
            license without a version stands for all versions.
        facts: Conditions on the record of the item.
        exclude_item_ids: Items never returned, such as the query itself in a search for more like it; None or
            an empty set excludes none.
        item_ids: The only items that pass.
    """

    media: frozenset[Medium] | None = None
    class_names: frozenset[str] | None = None
    set_names: frozenset[str] | None = None
    licenses: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    exclude_item_ids: frozenset[str] | None = None
    item_ids: frozenset[str] | None = None
    facts: FactFilter = field(default_factory=FactFilter)

    @property
    def license_forms(self) -> frozenset[str] | None:
        """The normal forms of the licenses; None for all."""
        if self.licenses is None:
            return None
        return frozenset(form for each in self.licenses for form in list_license_forms(each))


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as a store holds it.

    Args:
        set_name: The set that the item belongs to; None for none.
        content_hash: As it was given to `add`.
    """

    item: Item
    set_name: str | None
    content_hash: str
    segment_count: int


@dataclass(frozen=True, slots=True)
class ItemCount:
    """The number of items that share a medium, a class, a set and a license."""

    medium: Medium
    class_name: str | None
    set_name: str | None
    license: str | None
    item_count: int


@dataclass(frozen=True, slots=True)
class Approximation:
    """The measured recall of a store that does not look at every segment.

    Args:
        trained_count: Segments that the parts were cut from.
        measured_count: Segments there were when the recall was measured.
        partition_count: Parts of the space.
        probe_count: Parts looked at in a search, those nearest to the query.
        recall: Mean share of the 10 nearest segments that are found, against a look at every segment.
        query_count: Stored segments that were asked for.
        filtered_recall: The same share in searches of one class alone; None where there are no classes.
        kind: Of the index: `ivf_flat`, or `hnsw`, a graph in one part, of which a probe is a candidate that is kept.
    """

    trained_count: int
    measured_count: int
    partition_count: int
    probe_count: int
    recall: float
    query_count: int
    filtered_recall: float | None = None
    kind: str = "ivf_flat"

    @property
    def rows_looked_at(self) -> float:
        """The approximate number of segments that a search looks at."""
        return self.measured_count * self.probe_count / self.partition_count


class NearItem(NamedTuple):
    """An item that is near to a query, without the facts of its record: it becomes no hit."""

    item_id: str
    class_name: str | None
    score: float


@runtime_checkable
class Comparison(Protocol):
    """One query compared with the segments of a store, so that several searches share the work."""

    def find_nearest(self, *, k: int, where: Filter | None = None, by_segment: bool = False) -> tuple[Hit, ...]:
        """Return the k nearest items, best first, each with its best segment; fewer only where fewer items match.

        Equal scores are ordered by item id, code point by code point, then by the segments' order.

        Args:
            k: From 1; may exceed the number of items.
            where: Which items may become hits; None for all.
            by_segment: Whether every segment may be a hit, so that an item may come more than once.

        Raises:
            OutOfRangeError: k is below 1.
        """
        ...

    def score_nearest(self, *, k: int, where: Filter | None = None) -> tuple[NearItem, ...]:
        """Return the items that `find_nearest` finds, without the facts of their records."""
        return tuple(NearItem(hit.item_id, hit.class_name, hit.score) for hit in self.find_nearest(k=k, where=where))

    def score_other_class(self, class_name: str, *, where: Filter | None = None) -> NearItem | None:
        """Return the nearest item of a class other than this one; None where there is none.

        Args:
            where: Which items may become hits; None for all.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScoredItems:
    """Items, or segments, each with its score by every one of several queries.

    Args:
        score: An item's score by a query is that of its best segment.
        class_code: The index in `class_names` of each item's class; -1 for none.
        find: Tells which items have one of some ids.
        make_hits: Gives some of the items, by their indices and with scores, as hits.
    """

    score: Float[np.ndarray, "query gallery"]
    class_names: Sequence[str]
    class_code: Int[np.ndarray, " gallery"]
    find: Callable[[Collection[str]], Bool[np.ndarray, " gallery"]]
    make_hits: Callable[[Int[np.ndarray, " hit"], Float[np.ndarray, " hit"]], tuple[Hit, ...]]


@runtime_checkable
class SegmentIndex(Protocol):
    """A durable store of the segments of many items, searched by cosine similarity.

    An item's segments come, change and go together: no reader ever sees a part of an item. What `add` and
    `remove` have done when they return outlives the death of the process, and every later call of any
    process sees it. Several processes may read and write at once.
    """

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what made the embeddings; given once, when the store is made."""
        ...

    @property
    def dim(self) -> int:
        """Dimension of the embeddings; given once, when the store is made."""
        ...

    @property
    def version(self) -> object:
        """A value that stays as long as the store holds the same."""
        ...

    def loading(self) -> AbstractContextManager[None]:
        """Hold the store over many writes of this handle, where that makes them faster; other writers wait.

        Each write is as durable as any; other processes may learn of them a few seconds later.

        Raises:
            GalleryError: Another process has been writing for too long.
        """
        return nullcontext()

    def add(
        self, embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], set_name: str | None = None
    ) -> None:
        """Store items, all of the call or none; an item already there is replaced with all its segments.

        The logits are not kept.

        Args:
            content_hash_by_item_id: What tells an item's content from a changed one; every item of the call has one.
            set_name: The set that all items of the call belong to; None for none.

        Raises:
            TakenItemIdError: An item is there already, in another set.
            GalleryError: The embeddings have another dimension than the store.
            NonFiniteEmbeddingError: A row is not finite or not of length 1; the error names the items.
            GalleryError: Another process has been writing for too long.
            GalleryError: The store could not be written; it is as it was before the call.
        """
        ...

    def update_facts(self, items: Sequence[Item], *, content_hash_by_item_id: Mapping[str, str]) -> None:
        """Replace the facts of items that are there, all of the call or none; their segments and sets stay.

        Args:
            items: Each once.
            content_hash_by_item_id: As for `add`.

        Raises:
            UnknownItemError: The store has no item of an id.
            GalleryError: Another process has been writing for too long.
            GalleryError: The store could not be written; it is as it was before the call.
        """
        ...

    def remove(self, item_ids: Collection[str]) -> int:
        """Drops items; ids that are not there are skipped. Gives the number of items dropped.

        Raises:
            GalleryError: Another process has been writing for too long.
            GalleryError: The store could not be written.
        """
        ...

    def move_files(self, old: str, *, to: str, set_name: str) -> None:
        """Put one folder for another at the beginning of the paths of a set.

        Raises:
            GalleryError: Another process has been writing for too long.
            GalleryError: The store could not be written.
        """
        ...

    def get(self, item_id: str) -> Embeddings:
        """Return one item as it was added, without logits, its segments in the order in which they were added.

        Raises:
            UnknownItemError: The store has no such item.
        """
        ...

    def compare(self, query: Float[np.ndarray, " dim"]) -> Comparison:
        """Compare a query with the segments of the newest version.

        Args:
            query: Finite and not zero; its length does not count.

        Raises:
            GalleryError: The query has another dimension than the store.
            NonFiniteEmbeddingError: The query is not finite or is zero.
        """
        ...

    def score_items(
        self,
        queries: Float[np.ndarray, "query dim"],
        *,
        near: Float[np.ndarray, " dim"],
        k: int,
        where: Sequence[Filter],
        by_segment: bool = False,
    ) -> ScoredItems:
        """Score all items that meet one of some filters by several queries at once.

        A store that does not look at every segment scores those that it finds near to a vector, `k` or more for each
        filter; for most `k` the same ones, so that what is ranked first does not depend on it.

        Args:
            queries: Rows of length 1.
            near: What the wanted items are near to; not zero. The moment of a hit is its segment nearest to it.
            by_segment: Whether every segment is scored on its own.
        """
        ...

    def search(
        self,
        query: Float[np.ndarray, " dim"],
        *,
        k: int,
        where: Filter | None = None,
        by_segment: bool = False,
    ) -> tuple[Hit, ...]:
        """Compare a query and return its nearest items or segments, as `Comparison.find_nearest` does."""
        return self.compare(query).find_nearest(k=k, where=where, by_segment=by_segment)

    def content_hashes(self, where: Filter | None = None) -> dict[str, str]:
        """Return the content hash of every item that meets a filter, by id; a later indexing run may skip these."""
        ...

    def items(
        self, *, where: Filter | None = None, start_after: str | None = None, limit: int
    ) -> tuple[StoredItem, ...]:
        """Return one page of the items that meet a filter, ordered by item id, code point by code point.

        Args:
            start_after: The last item id of the page before; it need not be there any more. None for the first page.
            limit: Most items of the page; from 1.
        """
        ...

    def embeddings(self, where: Filter | None = None) -> Embeddings:
        """Return all segments of the items that meet a filter, by item id and then as they were added; no logits."""
        ...

    def counts(self, where: Filter | None = None) -> tuple[ItemCount, ...]:
        """Count the items that share a medium, a class, a set and a license, in the order of these."""
        ...

    def item_count(self) -> int:
        """Return the number of items."""
        ...

    def segment_count(self) -> int:
        """Return the number of segments of all items."""
        ...

    def count_by_medium(self) -> dict[Medium, int]:
        """Return the number of items of each medium, all four media in their fixed order."""
        ...

    def approximation(self) -> Approximation | None:
        """Return the measured recall of searches; None where they look at every segment."""
        ...

    def find_unsound_items(self) -> dict[str, str]:
        """Return what is wrong with each item that is not as it was stored, by item id; reads everything.

        Raises:
            DamagedGalleryError: Some of it cannot be read.
        """
        ...

    def find_lost_version(self) -> str | None:
        """Return what holds the newest state where it was written to the end and is now missing; None otherwise."""
        ...

    def version_count(self) -> int:
        """Return the number of states that take space; compaction leaves one."""
        ...

    def optimize(self) -> None:
        """Free the disk space of replaced and deleted items; no answer of an exact search changes.

        A store that answers approximately also brings its index up to date and measures it.

        Writing does this by itself from time to time; call it at the end of a long run.

        Raises:
            GalleryError: Another process has been writing for too long.
            GalleryError: The store could not be written.
        """
        ...


def iterate_pages(
    store: SegmentIndex, *, where: Filter | None = None, page_items: int = _PAGE_ITEMS
) -> Iterator[tuple[StoredItem, ...]]:
    """Yield the items that meet a filter, page by page, in the order of their ids.

    Args:
        page_items: Most items of a page.
    """
    last = None
    while page := store.items(where=where, start_after=last, limit=page_items):
        yield page
        last = page[-1].item.item_id


# ---------------------------------------------------------------- vectors that a store takes


def check_dim(dim: int, *, of_gallery: int, gallery: object) -> None:
    """Check that embeddings have as many dimensions as those of a gallery.

    Raises:
        GalleryError: They have not.
    """
    if dim != of_gallery:
        raise GalleryError(
            f"Embeddings have dimension {dim}, but gallery '{gallery}' holds dimension {of_gallery}. "
            "Embed with the checkpoint the gallery was built with, or build a new gallery.",
            kind="dimension_mismatch",
        )


def check_vectors(embeddings: Embeddings, *, dim: int, gallery: object) -> None:
    """Check that embeddings can be added to a gallery: `dim` dimensions, each row of length 1.

    Raises:
        GalleryError: The dimensions differ.
        NonFiniteEmbeddingError: A row is not finite, or not of length 1.
    """
    check_dim(embeddings.embedding.shape[1], of_gallery=dim, gallery=gallery)
    bad_rows = np.flatnonzero(measure_length_errors(embeddings.embedding) > LENGTH_TOLERANCE)
    if len(bad_rows):
        raise NonFiniteEmbeddingError(item_ids=tuple(dict.fromkeys(embeddings.items[row].item_id for row in bad_rows)))


def normalize_query(query: Float[np.ndarray, " dim"], *, dim: int, gallery: object) -> Float64[np.ndarray, " dim"]:
    """Return a query of length 1, in float64.

    Raises:
        GalleryError: It has not `dim` dimensions.
        NonFiniteEmbeddingError: It is zero or not finite.
    """
    check_dim(len(query), of_gallery=dim, gallery=gallery)
    wide = query.astype(np.float64)
    length = math.sqrt(wide @ wide)
    if not 0 < length < np.inf:
        raise NonFiniteEmbeddingError(item_ids=("the query",))
    unit: Float64[np.ndarray, " dim"] = wide / length
    return unit


# ---------------------------------------------------------------- a filter as conditions


def is_selective(where: Filter | None) -> bool:
    """Tell whether a filter may leave few items, which lie anywhere: any but one of media, or of items left out."""
    if where is None:
        return False
    if where.licenses is not None or where.facts != FactFilter():
        return True
    return any(allowed is not None for name, allowed in list_allowed_values(where).items() if name != "medium")


FIRST_SEGMENT = "segment = 0"
"""Each item has one such row."""


def list_allowed_values(where: Filter) -> dict[str, frozenset[str] | None]:
    """Return the values that a filter allows in each column, but for licenses and facts of records; None for all."""
    return {
        "medium": where.media,
        "class_name": where.class_names,
        "set_name": where.set_names,
        "group": where.groups,
        "item_id": where.item_ids,
    }


def write_condition(where: Filter | None, *others: str, present: Collection[str] | None = None) -> str | None:
    """Return the SQL condition that a row meets a filter and some others; None where there is nothing to meet.

    Args:
        present: The columns of the store, which may be older than some; None for all.
    """
    conditions, where = list(others), where or Filter()
    for column, allowed in list_allowed_values(where).items():
        if allowed is not None:
            conditions.append(is_one_of(column, allowed))
    if where.license_forms is not None:
        has_forms = present is None or "license_form" in present
        conditions.append(
            is_one_of("license_form", sorted(where.license_forms))
            if has_forms
            else is_one_of("license", where.licenses or ())
        )
    if where.exclude_item_ids:
        conditions.append(f"NOT ({is_one_of('item_id', where.exclude_item_ids)})")
    conditions += write_facts_sql(where.facts, present=present)
    return " AND ".join(conditions) or None


def is_one_of(column: str, values: Iterable[str] | Collection[str]) -> str:
    """Return the SQL condition that a column has one of some values; a value is never read as SQL."""
    quoted = quote(dict.fromkeys(values))
    return f"`{column}` IN ({quoted})" if quoted else "false"
