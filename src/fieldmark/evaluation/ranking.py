"""Positions of relevant items in every ranking, without ever holding the whole score matrix."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Shaped
from torch import Tensor

from fieldmark.errors import NonFiniteEmbeddingError
from fieldmark.evaluation.influence import InfluenceQueries, sum_influences
from fieldmark.evaluation.near_ties import NearTies, Ties
from fieldmark.evaluation.sorted_keys import (
    Members,
    Relevance,
    RelevantBlocks,
    SortedChunk,
    get_last_key,
    merge_blocks,
    sort_rows,
)

SCORE_STEP = 2.0**-30
"""Grid on which scores are sorted, and on which those of neighbors tie. Rankings are finer; see `Ranking`."""

CHUNK_BYTES = 128 * 1024**2
CPU = torch.device("cpu")

# Bytes held for each query: by gallery row, for keys as they are and sorted; by relevant row; and for influences.
_KEY_BYTES, _NEEDLE_BYTES, _INFLUENCE_BYTES = 12, 96, 4

_TRIED_QUERIES = 32
_SINGLES_FROM_SHARE = 0.3
"""If more than this share of a chunk's first queries has close scores on the steps, the others try `_Grid.SINGLES`."""

_Result = TypeVar("_Result")


class _Grid(Enum):
    """The numbers that scores are sorted by: multiples of `SCORE_STEP`, or float32, which is finer near 0.

    Confident posteriors have most of their scores there.
    """

    STEPS = "steps"
    SINGLES = "singles"


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
class RankedChunk:
    """The rankings of some consecutive queries, in each part of the gallery.

    Args:
        start: Row of the first query.
        best_score: Of the best gallery item, for each part and the whole; NaN where there is none.
        blocks: For each relevance, for each part and then for the whole gallery, unless it has only one part.
        influence: By the first relevance, of each gallery row, in its part (0) and in the whole (1), summed over each
            group of queries; see `sum_influences`. None unless asked for.
    """

    start: int
    query_count: int
    best_score: tuple[Float64[np.ndarray, " query"], ...]
    blocks: tuple[tuple[RelevantBlocks, ...], ...]
    influence: Float64[np.ndarray, "group gallery row"] | None = None


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


@final
class Ranking:
    """A gallery in parts, to be ranked for any queries by cosine, each part alone and all together.

    Scores are products in float64, sorted as multiples of `SCORE_STEP`, or as float32 where these are too coarse: both
    sort twice as fast as doubles. A query for which an item comes so near to a relevant one that they do not tell which
    is first, is ranked again from the products themselves, by `NearTies` where these do not tell either; so the result
    does not depend on chunk size, threads, library or device. A part is sorted once; the position of a relevant item in
    it, and by addition in the whole gallery, is found by binary search, for any number of relevances.

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
        self._rows = [np.flatnonzero(part == code) for code in range(part_count)]
        self._column_rows = np.concatenate(self._rows)
        self._columns = _divide([len(rows) for rows in self._rows])
        vectors = gallery.embedding[self._column_rows].astype(np.float64)
        units = normalize_rows(vectors)
        self._units = [torch.from_numpy(units[columns]).to(compute.device) for columns in self._columns]
        self._near_ties = NearTies(vectors, units=units, gallery_row=self._column_rows, ties=ties)

    def rank(
        self,
        query: LabeledRows,
        *,
        relevance: Sequence[Relevance],
        exclude_self: bool,
        influence_group: Int[np.ndarray, " query"] | None = None,
    ) -> Iterator[RankedChunk]:
        """Yield the rankings, chunk by chunk.

        Args:
            relevance: Definitions of relevant items; each is applied to the same rankings.
            exclude_self: Whether a query that is in the gallery itself is excluded from it.
            influence_group: The group of each query, counted from 0, if influences are to be summed over each group.

        Raises:
            NonFiniteEmbeddingError: A query has no direction.
        """
        members = [[Members(each, rows, self._compute.device) for rows in self._rows] for each in relevance]
        own_row = self._own_rows(query, exclude_self=exclude_self)

        def rank_by(grid: _Grid, start: int, end: int) -> tuple[RankedChunk, float]:
            """Rank some queries on a grid, those with close scores by the products; also return the share of these."""
            units = self._query_units(query, start, end)
            keys = self._compute_keys(units, own_row[start:end], grid)
            best_score = self._best_scores([each.amin(dim=1, keepdim=True) if each.shape[1] else each for each in keys])
            steps = [_round_to_steps(each) for each in keys if influence_group is not None]
            if grid is _Grid.SINGLES:
                keys = [each.to(torch.float32) for each in keys]
            chunk = SortedChunk(keys, members, queries=np.arange(start, end))
            sorted_steps = chunk.keys if grid is _Grid.STEPS else [sort_rows(each.clone()) for each in steps]
            influence = self._sum_influences(steps, sorted_steps, members[0], influence_group, start)
            blocks, close = chunk.find_apart(*self._find_reach(grid, query.embedding[start:end]))
            if len(close):
                finer = [-torch.mm(units[close - start], part.T) for part in self._units]
                for code, each in enumerate(finer):
                    self._exclude(each, own_row[close], code)
                blocks = merge_blocks(blocks, self._rank_finely(finer, query, close, members, relevance))
            return RankedChunk(start, end - start, best_score, blocks, influence), len(close) / (end - start)

        def rank_chunk(start: int, end: int) -> list[RankedChunk]:
            tried = min(start + _TRIED_QUERIES, end)
            first, close_share = rank_by(_Grid.STEPS, start, tried)
            if tried == end:
                return [first]
            grid = _Grid.SINGLES if close_share > _SINGLES_FROM_SHARE else _Grid.STEPS
            return [first, rank_by(grid, tried, end)[0]]

        row_bytes = _NEEDLE_BYTES * sum(part.widest for parts in members for part in parts)
        row_bytes += _INFLUENCE_BYTES * len(self._gallery.label) * (influence_group is not None)
        chunks = self._in_chunks(rank_chunk, query_count=len(query.label), row_bytes=row_bytes)
        yield from itertools.chain.from_iterable(chunks)

    def find_nearest(self, query: LabeledRows, *, k: int, exclude_self: bool) -> tuple[Neighbors, ...]:
        """Return the first k items of each query, for each part; fewer if the part has fewer.

        Raises:
            NonFiniteEmbeddingError: A query has no direction.
        """
        own_row = self._own_rows(query, exclude_self=exclude_self)

        def first_of_chunk(start: int, end: int) -> list[Neighbors]:
            keys = self._compute_keys(self._query_units(query, start, end), own_row[start:end], _Grid.STEPS)
            return [self._take_first(each, code, k=k, start=start) for code, each in enumerate(keys)]

        chunks = list(self._in_chunks(first_of_chunk, query_count=len(query.label), row_bytes=0))
        return tuple(_concatenate([chunk[code] for chunk in chunks]) for code in range(len(self._rows)))

    def _own_rows(self, query: LabeledRows, *, exclude_self: bool) -> Int[np.ndarray, " query"]:
        """Return the gallery row that each query must not find; -1 for none."""
        return _find_own_row(query, self._gallery) if exclude_self else np.full(len(query.label), -1)

    def _query_units(self, query: LabeledRows, start: int, end: int) -> Float64[Tensor, "query dim"]:
        units = normalize_rows(query.embedding[start:end].astype(np.float64))
        return torch.from_numpy(units).to(self._compute.device)

    def _in_chunks(self, work: Callable[[int, int], _Result], *, query_count: int, row_bytes: int) -> Iterator[_Result]:
        """Yield the results of `work` on each chunk of queries, in their order.

        On the CPU each of torch's threads takes chunks of its own: no thread waits for another within a chunk, so a
        busy machine costs no more than its share.
        """
        thread_count = torch.get_num_threads() if self._compute.device.type == "cpu" else 1
        row_bytes += _KEY_BYTES * len(self._gallery.label)
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

    def _compute_keys(self, units: Tensor, own_row: Int[np.ndarray, " query"], grid: _Grid) -> list[Tensor]:
        """Return the sort keys of each part: negative scores in steps, the best smallest and the query itself last."""
        keys = []
        for code, part in enumerate(self._units):
            product = torch.mm(units * (-1.0 / SCORE_STEP), part.T)
            of_part = product.round_().to(torch.int32) if grid is _Grid.STEPS else product
            self._exclude(of_part, own_row, code)
            keys.append(of_part)
        return keys

    def _find_reach(self, grid: _Grid, vectors: Float[np.ndarray, "query dim"]) -> tuple[float, float]:
        """Return factor and offset of the tolerance below which keys on a grid do not tell which score is larger."""
        if grid is _Grid.STEPS:
            return 0.0, 1.0
        _, offset = self._near_ties.tolerances(is_positive=bool((vectors >= 0).all()))
        # Two units in the last place of a float32, which are more than its rounding.
        return 2.0**-22, 2 * offset / SCORE_STEP

    def _sum_influences(
        self,
        steps: Sequence[Tensor],
        sorted_steps: Sequence[Tensor],
        members: Sequence[Members],
        group: Int[np.ndarray, " query"] | None,
        start: int,
    ) -> Float64[np.ndarray, "group gallery row"] | None:
        """Return the influences of each gallery row, summed over groups of a chunk's queries; None without groups."""
        if group is None:
            return None
        queries = np.arange(start, start + len(steps[0]))
        relevant = [each.find(queries) for each in members]
        chosen = InfluenceQueries(
            group=torch.from_numpy(group[queries]).to(steps[0].device),
            group_count=int(group.max()) + 1,
            columns=[columns for columns, _ in relevant],
            is_there=[is_there for _, is_there in relevant],
        )
        by_column = sum_influences(steps, sorted_steps, chosen).cpu().numpy()
        influence: Float64[np.ndarray, "group gallery row"] = np.empty_like(by_column)
        influence[:, :, self._column_rows] = by_column
        return influence

    def _rank_finely(
        self,
        keys: Sequence[Tensor],
        query: LabeledRows,
        queries: Int[np.ndarray, " query"],
        members: Sequence[Sequence[Members]],
        relevance: Sequence[Relevance],
    ) -> tuple[tuple[RelevantBlocks, ...], ...]:
        """Return the blocks of some queries by the products themselves, with near ties decided."""
        chunk = SortedChunk([each.clone() for each in keys], members, queries=queries)
        is_positive = bool((query.embedding[queries] >= 0).all())
        near = chunk.find_near(*self._near_ties.tolerances(is_positive=is_positive))
        blocks = chunk.find_blocks(without=near)
        if not len(near):
            return blocks
        whole = torch.cat([each[np.searchsorted(queries, near)] for each in keys], dim=1).cpu().numpy()
        for number, row in enumerate(near.tolist()):
            relevant = [each.gallery[self._column_rows] == each.query[row] for each in relevance]
            vector = query.embedding[row].astype(np.float64)
            whole[number] = self._near_ties.rank(whole[number], vector, relevance=relevant)
        decided = torch.from_numpy(whole).to(keys[0].device)
        parts = [decided[:, columns].contiguous() for columns in self._columns]
        return merge_blocks(blocks, SortedChunk(parts, members, queries=near).find_blocks(without=near[:0]))

    def _exclude(self, keys: Tensor, own_row: Int[np.ndarray, " query"], code: int) -> None:
        """Put the query itself last, where it is in a part."""
        own = np.flatnonzero(np.isin(own_row, self._rows[code]))
        column = np.searchsorted(self._rows[code], own_row[own])
        keys[torch.from_numpy(own), torch.from_numpy(column)] = get_last_key(keys)

    def _best_scores(self, best_keys: Sequence[Tensor]) -> tuple[Float64[np.ndarray, " query"], ...]:
        """Return the score of the best item, for each part and for the whole; NaN where there is none.

        Args:
            best_keys: Of each part, the smallest key of each query; without columns where the part is empty.
        """
        query_count = len(best_keys[0])
        best = [_decode_scores(keys[:, 0]) if keys.shape[1] else np.full(query_count, np.nan) for keys in best_keys]
        return (*best, np.fmax.reduce(best))

    def _take_first(self, keys: Tensor, code: int, *, k: int, start: int) -> Neighbors:
        """Return the first k of each query of a chunk in one part."""
        if not keys.shape[1]:
            return _concatenate([])
        last = min(k, keys.shape[1]) - 1
        cut = sort_rows(keys.clone())[:, last : last + 1]
        is_better = keys < cut
        is_tied = (keys == cut) & (keys != get_last_key(keys))
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
            _decode_scores(key),
            shares.to(torch.float64).numpy(),
        )


def _decode_scores(keys: Shaped[Tensor, " key"]) -> Float64[np.ndarray, " key"]:
    """Return the scores of keys in steps, on the grid; NaN for the last key."""
    score = keys.to(torch.float64).round_() * -SCORE_STEP
    score[keys == get_last_key(keys)] = torch.nan
    values: Float64[np.ndarray, " key"] = score.cpu().numpy()
    return values


def _round_to_steps(keys: Tensor) -> Tensor:
    """Return a copy of sort keys as multiples of `SCORE_STEP`; the last key stays the last."""
    if keys.dtype == torch.int32:
        return keys.clone()
    steps = keys.round().masked_fill_(keys == get_last_key(keys), torch.iinfo(torch.int32).max)
    return steps.to(torch.int32)


def normalize_rows(vectors: Float64[np.ndarray, "row dim"]) -> Float64[np.ndarray, "row dim"]:
    """Return rows of length 1."""
    bad = np.flatnonzero(find_degenerate(vectors))
    if len(bad):
        raise NonFiniteEmbeddingError(item_ids=[f"row {row}" for row in bad])
    units: Float64[np.ndarray, "row dim"] = vectors / np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return units


def _divide(lengths: Sequence[int]) -> list[slice]:
    """Return the columns of parts that stand one after the other."""
    ends = np.cumsum(lengths).tolist()
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


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
