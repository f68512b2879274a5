"""Positions of relevant items in every ranking, without ever holding the whole score matrix."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar, assert_never, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from fieldmark.errors import NonFiniteEmbeddingError

_ENTRY_STEP = 2.0**-26
"""Grid of the entries of unit vectors: products are multiples of 2^-52; float64 holds their sums below 2 exactly."""

SCORE_STEP = 2.0**-30
"""Grid of the scores: two scores that round to the same multiple are tied."""

CHUNK_BYTES = 128 * 1024**2
CPU = torch.device("cpu")

# Bytes held for each query: by gallery row of the part at hand, by gallery row, by relevant row.
_SCORE_BYTES, _KEY_BYTES, _NEEDLE_BYTES = 20, 8, 64

_Result = TypeVar("_Result")


class Ties(StrEnum):
    """The order of items of equal score: the mean over all their orders, or the order of the gallery."""

    EXPECTED = "expected"
    GALLERY_ORDER = "gallery_order"


@dataclass(frozen=True, slots=True)
class Compute:
    """The memory and device that rankings use; neither changes the result.

    Args:
        chunk_bytes: Memory for the rankings held at once, beside one float64 copy of the gallery; at least one query
            is ranked at a time.
    """

    chunk_bytes: int = CHUNK_BYTES
    device: torch.device = CPU


@dataclass(frozen=True, slots=True)
class LabeledRows:
    """Vectors to rank, one row for each item.

    Args:
        embedding: Of any length but zero; only directions count.
        item_code: Identifies the row: a query is excluded from a gallery by it. No two rows share one.
    """

    embedding: Float[np.ndarray, "row dim"]
    label: Int[np.ndarray, " row"]
    item_code: Int[np.ndarray, " row"]


@dataclass(frozen=True, slots=True)
class Relevance:
    """Labels of queries and gallery rows, 0 or more; rows of a query's label are relevant to it."""

    query: Int[np.ndarray, " query"]
    gallery: Int[np.ndarray, " row"]


@dataclass(frozen=True, slots=True)
class RelevantBlocks:
    """The relevant items in the rankings of some queries: one entry for each block of tied items that has any.

    Args:
        query: Row of the query; entries of a query are consecutive, best block first.
        better_count: Items ranked before the block.
        item_count: Items in the block; 1 where nothing is tied.
        better_relevant_count: Relevant items ranked before the block.
        relevant_count: Relevant items in the block.
    """

    query: Int[np.ndarray, " block"]
    better_count: Int[np.ndarray, " block"]
    item_count: Int[np.ndarray, " block"]
    better_relevant_count: Int[np.ndarray, " block"]
    relevant_count: Int[np.ndarray, " block"]


@dataclass(frozen=True, slots=True)
class RankedChunk:
    """The rankings of some consecutive queries, in each part of the gallery.

    Args:
        start: Row of the first query.
        best_score: Of the best gallery item, for each part and the whole; NaN where there is none.
        blocks: For each relevance, for each part and then for the whole gallery, unless it has only one part.
    """

    start: int
    query_count: int
    best_score: tuple[Float64[np.ndarray, " query"], ...]
    blocks: tuple[tuple[RelevantBlocks, ...], ...]


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The first items of each query in one part of the gallery, best first: one entry for each.

    Args:
        share: 1; if the cut-off divides tied items, the share of them that fits, so that none is favored.
    """

    query: Int[np.ndarray, " neighbor"]
    gallery: Int[np.ndarray, " neighbor"]
    score: Float64[np.ndarray, " neighbor"]
    share: Float64[np.ndarray, " neighbor"]


def find_degenerate(embedding: Float[np.ndarray, "row dim"]) -> Bool[np.ndarray, " row"]:
    """Mark the rows without a direction: with NaN or infinity, or with all entries below 1e-6."""
    is_usable = np.isfinite(embedding).all(axis=1) & (np.abs(embedding).max(axis=1, initial=0.0) >= 1e-6)
    is_degenerate: Bool[np.ndarray, " row"] = ~is_usable
    return is_degenerate


def count_relevant(query: LabeledRows, gallery: LabeledRows, *, exclude_self: bool) -> Int[np.ndarray, " query"]:
    """Count the relevant gallery items of each query.

    Args:
        exclude_self: Whether a query that is in the gallery itself is excluded from it.
    """
    label = np.sort(gallery.label)
    count: Int[np.ndarray, " query"] = np.searchsorted(label, query.label, side="right")
    count -= np.searchsorted(label, query.label, side="left")
    if exclude_self:
        count -= _find_own_row(query, gallery) >= 0
    return count


def rank_relevant(
    query: LabeledRows, gallery: LabeledRows, *, ties: Ties, exclude_self: bool, compute: Compute | None = None
) -> Iterator[RelevantBlocks]:
    """Rank the gallery for every query by cosine and yield, chunk by chunk, the positions of relevant items.

    Args:
        exclude_self: Whether a query that is in the gallery itself is excluded from it.

    Raises:
        NonFiniteEmbeddingError: A row has no direction.
    """
    whole = np.zeros(len(gallery.label), dtype=np.int64)
    ranking = Ranking(gallery, part=whole, part_count=1, ties=ties, compute=compute or Compute())
    relevance = [Relevance(query.label, gallery.label)]
    for chunk in ranking.rank(query, relevance=relevance, exclude_self=exclude_self):
        yield chunk.blocks[0][0]


# An example, with scores as multiples of SCORE_STEP = 0.1. A query of class a is compared with a gallery of five:
#
#   score    0.9   0.5   0.5   0.5   0.1       key = -score / SCORE_STEP, so that the best comes first
#   class     a     b     a     a     b
#
#   sorted keys            -9  -5  -5  -5  -1
#   keys of relevant items -9      -5  -5      (the needles)
#   first position          0       1   1      by binary search: items ranked before
#   equal keys              1       3   3      items tied with it
#
# gives two blocks: better_count (0, 1), item_count (1, 3), better_relevant_count (0, 1), relevant_count (1, 2).
# Its average precision with expected ties is (1/1 + 2/3 (2/2 + 2.5/3 + 3/4)) / 3 = 0.907: each of the three tied ranks
# is relevant with probability 2/3, and is then preceded by 1, 1.5 and 2 relevant items on average. In gallery order no
# two keys are equal: b stands first, and average precision is (1/1 + 2/3 + 3/4) / 3 = 0.806.


@final
class Ranking:
    """A gallery in parts, to be ranked for any queries by cosine, each part alone and all together.

    Entries of the unit vectors are rounded to `_ENTRY_STEP`, which makes each score a sum without any rounding: it does
    not depend on the order of summation, and so not on chunk size, threads, library or device. Scores are then rounded
    to `SCORE_STEP`; scores that round to one multiple are tied. A part is sorted once; the position of a relevant item
    in it, and by addition in the whole gallery, is found by binary search, for any number of relevances.

    Args:
        part: The part of each gallery row, counted from 0.

    Raises:
        NonFiniteEmbeddingError: A row has no direction.
    """

    def __init__(
        self, gallery: LabeledRows, *, part: Int[np.ndarray, " row"], part_count: int, ties: Ties, compute: Compute
    ) -> None:
        self._gallery = gallery
        self._compute = compute
        self._ties = ties
        self._rows = [np.flatnonzero(part == code) for code in range(part_count)]
        units = round_units(gallery.embedding)
        self._units = [torch.from_numpy(units[rows]).to(self._compute.device) for rows in self._rows]

    def rank(self, query: LabeledRows, *, relevance: Sequence[Relevance], exclude_self: bool) -> Iterator[RankedChunk]:
        """Yield the rankings, chunk by chunk.

        Args:
            relevance: Definitions of relevant items; each is applied to the same rankings.
            exclude_self: Whether a query that is in the gallery itself is excluded from it.

        Raises:
            NonFiniteEmbeddingError: A query has no direction.
        """
        members = [[_Members(each, rows, self._compute.device) for rows in self._rows] for each in relevance]
        own_row = self._own_rows(query, exclude_self=exclude_self)

        def rank_chunk(start: int, end: int) -> RankedChunk:
            units = self._query_units(query, start, end)
            sorted_keys: list[Tensor] = []
            needles: list[list[Tensor]] = [[] for _ in relevance]
            for code in range(len(self._rows)):
                keys = self._compute_keys(units, own_row[start:end], code)
                for number, parts in enumerate(members):
                    needles[number].append(sort_rows(parts[code].pick(keys, start=start)))
                sorted_keys.append(sort_rows(keys))
            return RankedChunk(
                start=start,
                query_count=end - start,
                best_score=self._best_scores(sorted_keys),
                blocks=tuple(_find_all_blocks(sorted_keys, each, start=start) for each in needles),
            )

        widest = sum(part.widest for parts in members for part in parts)
        yield from self._in_chunks(rank_chunk, query_count=len(query.label), row_bytes=_NEEDLE_BYTES * widest)

    def find_nearest(self, query: LabeledRows, *, k: int, exclude_self: bool) -> tuple[Neighbors, ...]:
        """Return the first k items of each query, for each part; fewer if the part has fewer.

        Raises:
            NonFiniteEmbeddingError: A query has no direction.
        """
        own_row = self._own_rows(query, exclude_self=exclude_self)

        def first_of_chunk(start: int, end: int) -> list[Neighbors]:
            units = self._query_units(query, start, end)
            return [
                self._take_first(self._compute_keys(units, own_row[start:end], code), code, k=k, start=start)
                for code in range(len(self._rows))
            ]

        chunks = list(self._in_chunks(first_of_chunk, query_count=len(query.label), row_bytes=0))
        return tuple(_concatenate([chunk[code] for chunk in chunks]) for code in range(len(self._rows)))

    def _own_rows(self, query: LabeledRows, *, exclude_self: bool) -> Int[np.ndarray, " query"]:
        """Return the gallery row that each query must not find; -1 for none."""
        return _find_own_row(query, self._gallery) if exclude_self else np.full(len(query.label), -1)

    def _query_units(self, query: LabeledRows, start: int, end: int) -> Float64[Tensor, "query dim"]:
        return torch.from_numpy(round_units(query.embedding[start:end])).to(self._compute.device)

    def _in_chunks(self, work: Callable[[int, int], _Result], *, query_count: int, row_bytes: int) -> Iterator[_Result]:
        """Yield the results of `work` on each chunk of queries, in their order.

        On the CPU each of torch's threads takes chunks of its own: no thread waits for another within a chunk, so a
        busy machine costs no more than its share.
        """
        thread_count = torch.get_num_threads() if self._compute.device.type == "cpu" else 1
        largest = max(len(rows) for rows in self._rows)
        row_bytes += _SCORE_BYTES * largest + _KEY_BYTES * len(self._gallery.label)
        step = max(1, self._compute.chunk_bytes // thread_count // max(row_bytes, 1))
        spans = [(start, min(start + step, query_count)) for start in range(0, query_count, step)]
        if thread_count == 1 or len(spans) == 1:
            yield from (work(*span) for span in spans)
            return
        try:
            with ThreadPoolExecutor(thread_count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                waiting: deque[Future[_Result]] = deque()
                for span in spans:
                    waiting.append(pool.submit(work, *span))
                    if len(waiting) > thread_count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
        finally:
            torch.set_num_threads(thread_count)  # the matrix library has one setting for all threads

    def _compute_keys(self, units: Tensor, own_row: Int[np.ndarray, " query"], code: int) -> Tensor:
        """Return the sort keys of a part: multiples of `SCORE_STEP`, the best score smallest; the query itself last."""
        scores = torch.mm(units * (-1.0 / SCORE_STEP), self._units[code].T).round_()
        match self._ties:
            case Ties.EXPECTED:
                keys = scores.to(torch.int32)
            case Ties.GALLERY_ORDER:
                row = torch.from_numpy(self._rows[code]).to(scores.device)
                keys = scores.to(torch.int64) * len(self._gallery.label) + row
            case _:
                assert_never(self._ties)
        own = np.flatnonzero(np.isin(own_row, self._rows[code]))
        column = np.searchsorted(self._rows[code], own_row[own])
        keys[torch.from_numpy(own), torch.from_numpy(column)] = last_key(keys)
        return keys

    def _decode_scores(self, keys: Int[Tensor, " key"]) -> Float64[np.ndarray, " key"]:
        """Return the scores of keys; NaN for the last key."""
        steps = keys if self._ties is Ties.EXPECTED else keys // max(len(self._gallery.label), 1)
        score = steps.to(torch.float64) * -SCORE_STEP
        score[keys == last_key(keys)] = torch.nan
        values: Float64[np.ndarray, " key"] = score.cpu().numpy()
        return values

    def _best_scores(self, sorted_keys: Sequence[Tensor]) -> tuple[Float64[np.ndarray, " query"], ...]:
        """Return the score of the best item, for each part and for the whole."""
        query_count = len(sorted_keys[0])
        best = [
            self._decode_scores(keys[:, 0]) if keys.shape[1] else np.full(query_count, np.nan) for keys in sorted_keys
        ]
        return (*best, np.fmax.reduce(best))

    def _take_first(self, keys: Tensor, code: int, *, k: int, start: int) -> Neighbors:
        """Return the first k of each query of a chunk in one part."""
        if not keys.shape[1]:
            return _concatenate([])
        last = min(k, keys.shape[1]) - 1
        cut = sort_rows(keys.clone())[:, last : last + 1]
        is_better = keys < cut
        is_tied = (keys == cut) & (keys != last_key(keys))
        better_count = is_better.sum(dim=1, keepdim=True)
        share = (last + 1 - better_count) / is_tied.sum(dim=1, keepdim=True).clamp_min(1)
        query, column = torch.nonzero(is_better | is_tied, as_tuple=True)
        key = keys[query, column]
        order = np.lexsort((key.cpu().numpy(), query.cpu().numpy()))
        query, column, key = (each.cpu()[order] for each in (query, column, key))
        shares = torch.where(is_better.cpu()[query, column], 1.0, share.cpu()[query, 0].to(torch.float64))
        return Neighbors(
            query.numpy() + start,
            self._rows[code][column.numpy()],
            self._decode_scores(key),
            shares.to(torch.float64).numpy(),
        )


@final
class _Members:
    """The columns of one part of the gallery by label, and the label of each query."""

    def __init__(self, relevance: Relevance, rows: Int[np.ndarray, " row"], device: torch.device) -> None:
        label = relevance.gallery[rows]
        size = int(max(label.max(initial=-1), relevance.query.max(initial=-1))) + 1
        count = np.bincount(label, minlength=size)
        self.widest = int(count.max(initial=0))
        self._query_label = relevance.query
        self._column = torch.from_numpy(np.argsort(label, kind="stable")).to(device)
        self._count = torch.from_numpy(count).to(device)
        self._first = torch.from_numpy(np.cumsum(count) - count).to(device)

    def pick(self, keys: Tensor, *, start: int) -> Tensor:
        """Return the keys of the relevant columns of each query, padded with the last key."""
        label = torch.from_numpy(self._query_label[start : start + len(keys)]).to(keys.device)
        count = self._count[label]
        number = torch.arange(int(count.max()), device=keys.device)
        is_there = number < count[:, None]
        if not len(number):
            return keys[:, :0].clone()
        column = self._column[(self._first[label][:, None] + number).clamp_max(len(self._column) - 1)]
        picked = keys.gather(1, column)
        picked[~is_there] = last_key(keys)
        return picked


def _find_all_blocks(
    sorted_keys: Sequence[Tensor], needles: Sequence[Tensor], *, start: int
) -> tuple[RelevantBlocks, ...]:
    """Return the blocks of each part, and of all parts together if there are several."""
    blocks = [_find_blocks([keys], own, start=start) for keys, own in zip(sorted_keys, needles, strict=True)]
    if len(sorted_keys) > 1:
        blocks.append(_find_blocks(sorted_keys, sort_rows(torch.cat(list(needles), dim=1)), start=start))
    return tuple(blocks)


def _find_blocks(sorted_keys: Sequence[Tensor], needles: Tensor, *, start: int) -> RelevantBlocks:
    """Return the blocks of the sorted keys of relevant items (needles), in a gallery of some parts."""
    better = torch.zeros(needles.shape, dtype=torch.int64, device=needles.device)
    equal = torch.zeros_like(better)
    for keys in sorted_keys:
        if keys.shape[1]:
            left = torch.searchsorted(keys, needles)
            better += left
            equal += count_equal(keys, needles, left)
    is_there = needles != last_key(needles)
    is_first = is_there.clone()
    is_first[:, 1:] &= needles[:, 1:] != needles[:, :-1]
    query, column = torch.nonzero(is_first, as_tuple=True)
    # A block ends where the query's next one begins, or after its last relevant item.
    end = torch.roll(column, -1)
    is_last_of_query = torch.roll(query, -1) != query
    if len(query):
        is_last_of_query[-1] = True
    end = torch.where(is_last_of_query, is_there.sum(dim=1)[query], end)
    return RelevantBlocks(
        query=(query + start).cpu().numpy(),
        better_count=better[query, column].cpu().numpy(),
        item_count=equal[query, column].cpu().numpy(),
        better_relevant_count=column.cpu().numpy(),
        relevant_count=(end - column).cpu().numpy(),
    )


def count_equal(sorted_keys: Tensor, needles: Tensor, left: Tensor) -> Int64[Tensor, "query needle"]:
    """Count the keys equal to each needle; a second search is made only if some needle has two of them."""
    end = sorted_keys.shape[1] - 1
    is_found = sorted_keys.gather(1, left.clamp_max(end)) == needles
    is_repeated = (sorted_keys.gather(1, (left + 1).clamp_max(end)) == needles) & (left < end)
    if is_repeated.any():
        return torch.searchsorted(sorted_keys, needles, right=True) - left
    return is_found.to(torch.int64)


def sort_rows(keys: Tensor) -> Tensor:
    """Sort the rows; on the CPU in place and by NumPy, whose vectorized sort is 20 times as fast as torch's."""
    if keys.device.type != "cpu":
        return torch.sort(keys, dim=1).values.contiguous()
    keys.numpy().sort(axis=1)
    return keys


def last_key(keys: Tensor) -> int:
    """Return the key after all others."""
    return torch.iinfo(keys.dtype).max


def round_units(embedding: Float[np.ndarray, "row dim"]) -> Float64[np.ndarray, "row dim"]:
    """Return rows of length 1, each entry a multiple of `_ENTRY_STEP`."""
    bad = np.flatnonzero(find_degenerate(embedding))
    if len(bad):
        raise NonFiniteEmbeddingError(item_ids=[f"row {row}" for row in bad])
    units: Float64[np.ndarray, "row dim"] = embedding.astype(np.float64, order="C")
    units /= np.sqrt(np.square(units).sum(axis=1, keepdims=True)) * _ENTRY_STEP
    np.rint(units, out=units)
    units *= _ENTRY_STEP
    return units


def _find_own_row(query: LabeledRows, gallery: LabeledRows) -> Int[np.ndarray, " query"]:
    """Return the gallery row that is the query itself; -1 if there is none."""
    order = np.argsort(gallery.item_code)
    found = np.searchsorted(gallery.item_code, query.item_code, side="left", sorter=order)
    is_there = np.searchsorted(gallery.item_code, query.item_code, side="right", sorter=order) > found
    own: Int[np.ndarray, " query"] = np.full(len(query.item_code), -1)
    own[is_there] = order[found[is_there]]
    return own


def _concatenate(chunks: Sequence[Neighbors]) -> Neighbors:
    if not chunks:
        nothing = np.zeros(0, dtype=np.int64)
        return Neighbors(nothing, nothing, np.zeros(0), np.zeros(0))
    return Neighbors(
        query=np.concatenate([chunk.query for chunk in chunks]),
        gallery=np.concatenate([chunk.gallery for chunk in chunks]),
        score=np.concatenate([chunk.score for chunk in chunks]),
        share=np.concatenate([chunk.share for chunk in chunks]),
    )
