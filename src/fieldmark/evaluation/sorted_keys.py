"""Positions of relevant items among sorted keys: a part of the gallery is sorted once, for any number of relevances."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from fieldmark.evaluation.near_ties import EXCLUDED


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


# An example. A query of class a is compared with a gallery of five:
#
#   score    0.9   0.5   0.5   0.5   0.1       key = -score, so that the best comes first
#   class     a     b     a     a     b
#
#   sorted keys            -.9 -.5 -.5 -.5 -.1
#   keys of relevant items -.9     -.5 -.5      (the needles)
#   first position          0       1   1      by binary search: items ranked before
#   equal keys              1       3   3      items tied with it
#
# gives two blocks: better_count (0, 1), item_count (1, 3), better_relevant_count (0, 1), relevant_count (1, 2).
# Its average precision with expected ties is (1/1 + 2/3 (2/2 + 2.5/3 + 3/4)) / 3 = 0.907: each of the three tied ranks
# is relevant with probability 2/3, and is then preceded by 1, 1.5 and 2 relevant items on average. In gallery order no
# two keys are equal: b stands first, and average precision is (1/1 + 2/3 + 3/4) / 3 = 0.806.


@final
class Members:
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

    def find(
        self, queries: Int[np.ndarray, " query"]
    ) -> tuple[Int64[Tensor, "query needle"], Bool[Tensor, "query needle"]]:
        """Return the relevant columns of each query, and whether they are there: some have fewer than others."""
        label = torch.from_numpy(self._query_label[queries]).to(self._count.device)
        count = self._count[label]
        number = torch.arange(int(count.max()), device=count.device)
        place = (self._first[label][:, None] + number).clamp_max(max(len(self._column) - 1, 0))
        return self._column[place], number < count[:, None]

    def pick(self, keys: Tensor, *, queries: Int[np.ndarray, " query"]) -> Tensor:
        """Return the keys of the relevant columns of each query, padded with the last key."""
        columns, is_there = self.find(queries)
        return keys.gather(1, columns).masked_fill_(~is_there, get_last_key(keys))


@final
class SortedChunk:
    """The sorted keys of some queries by part, and those of relevant items (needles) by relevance and part.

    Args:
        keys: By part; they are sorted in place.
    """

    def __init__(
        self, keys: Sequence[Tensor], members: Sequence[Sequence[Members]], *, queries: Int[np.ndarray, " query"]
    ) -> None:
        self._queries = queries
        self._needles = [
            [sort_rows(part.pick(own, queries=queries)) for own, part in zip(keys, parts, strict=True)]
            for parts in members
        ]
        self.keys = [sort_rows(own) for own in keys]

    def find_apart(
        self, factor: float, offset: float
    ) -> tuple[tuple[tuple[RelevantBlocks, ...], ...], Int[np.ndarray, " query"]]:
        """Return the blocks as `find_blocks`, and the queries that are left out of them.

        Left out are the queries for which an item comes within a tolerance of one that is relevant. In the others these
        tie with none, so their places are all there is to find, and one search serves both.

        Args:
            factor: The tolerance is factor * |key| + offset, in the keys' own type.
        """
        first = [[[torch.searchsorted(keys, own) for keys in self.keys] for own in parts] for parts in self._needles]
        is_close = torch.zeros(len(self._queries), dtype=torch.bool, device=self.keys[0].device)
        for parts, of_relevance in zip(self._needles, first, strict=True):
            for code, (needles, places) in enumerate(zip(parts, of_relevance, strict=True)):
                is_there = needles != get_last_key(needles)
                margin = torch.where(is_there, needles.abs() * factor + offset, 0).to(needles.dtype)
                for other, (keys, place) in enumerate(zip(self.keys, places, strict=True)):
                    is_close |= _has_close(keys, needles, place, margin, is_own=other == code)
        blocks = []
        for parts, of_relevance in zip(self._needles, first, strict=True):
            better = [places[code] for code, places in enumerate(of_relevance)]
            if len(parts) > 1:  # places are in the order of keys, so the whole gallery's needles need not be sorted
                whole = torch.cat([sum(places[1:], places[0]) for places in of_relevance], dim=1)
                better.append(sort_rows(whole))
            needle_counts = [(needles != get_last_key(needles)).sum(dim=1) for needles in parts]
            needle_counts += [sum(needle_counts[1:], needle_counts[0])] if len(parts) > 1 else []
            pairs = zip(better, needle_counts, strict=True)
            blocks.append(tuple(self._list_apart(each, count.masked_fill(is_close, 0)) for each, count in pairs))
        close: Int[np.ndarray, " query"] = self._queries[is_close.cpu().numpy()]
        return tuple(blocks), close

    def _list_apart(
        self, better: Int64[Tensor, "query needle"], needle_count: Int64[Tensor, " query"]
    ) -> RelevantBlocks:
        """Return a block for each of the first so many places of each query."""
        number = torch.arange(better.shape[1], device=better.device)
        query, column = torch.nonzero(number < needle_count[:, None], as_tuple=True)
        one = np.ones(len(query), dtype=np.int64)
        return RelevantBlocks(
            query=self._queries[query.cpu().numpy()],
            better_count=better[query, column].cpu().numpy(),
            item_count=one,
            better_relevant_count=column.cpu().numpy(),
            relevant_count=one,
        )

    def find_near(self, factor: float, offset: float) -> Int[np.ndarray, " query"]:
        """Return the queries for which an item that is not relevant is nearer to one that is than a tolerance.

        Args:
            factor: The tolerance is factor * |key| + offset.
        """
        is_near = torch.zeros(len(self._queries), dtype=torch.bool, device=self.keys[0].device)
        for parts in self._needles:
            needles = sort_rows(torch.cat(parts, dim=1))
            is_there = needles != get_last_key(needles)
            margin = torch.where(is_there, needles.abs() * factor + offset, 0.0)
            low, high = needles - margin, needles + margin
            count = sum((_count_within(keys, low, high) for keys in self.keys), -_count_within(needles, low, high))
            is_near |= ((count > 0) & is_there).any(dim=1)
        near: Int[np.ndarray, " query"] = self._queries[is_near.cpu().numpy()]
        return near

    def find_blocks(self, *, without: Int[np.ndarray, " query"]) -> tuple[tuple[RelevantBlocks, ...], ...]:
        """Return the blocks of each relevance and part, and of all parts together if there are several."""
        is_kept = torch.from_numpy(~np.isin(self._queries, without)).to(self.keys[0].device)
        return tuple(self._find_blocks_of(parts, is_kept) for parts in self._needles)

    def _find_blocks_of(self, parts: Sequence[Tensor], is_kept: Bool[Tensor, " query"]) -> tuple[RelevantBlocks, ...]:
        galleries = [([keys], own) for keys, own in zip(self.keys, parts, strict=True)]
        if len(parts) > 1:
            galleries.append((self.keys, sort_rows(torch.cat(list(parts), dim=1))))
        return tuple(_find_blocks(*each, queries=self._queries, is_kept=is_kept) for each in galleries)


def _has_close(
    sorted_keys: Tensor, needles: Tensor, first: Int64[Tensor, "query needle"], margin: Tensor, *, is_own: bool
) -> Bool[Tensor, " query"]:
    """Tell for which queries a key is within a margin of a needle, which itself may be among them.

    Args:
        first: Of the keys, the first one that is not below the needle.
        is_own: Whether that one is the needle itself.
    """
    count = sorted_keys.shape[1]
    if count <= is_own:
        return torch.zeros(len(needles), dtype=torch.bool, device=needles.device)
    after, before = first + int(is_own), first - 1
    is_close = (sorted_keys.gather(1, after.clamp_max(count - 1)) <= needles + margin) & (after < count)
    is_close |= (sorted_keys.gather(1, before.clamp_min(0)) >= needles - margin) & (before >= 0)
    return (is_close & (needles != get_last_key(needles))).any(dim=1)


def _count_within(sorted_keys: Tensor, low: Tensor, high: Tensor) -> Int64[Tensor, "query needle"]:
    """Count the keys from low to high, both included."""
    return torch.searchsorted(sorted_keys, high, right=True) - torch.searchsorted(sorted_keys, low)


def count_better_and_equal(
    sorted_keys: Sequence[Tensor], needles: Tensor
) -> tuple[Int64[Tensor, "query needle"], Int64[Tensor, "query needle"]]:
    """Return how many keys of a gallery of some parts come before each needle, and how many equal it."""
    better = torch.zeros(needles.shape, dtype=torch.int64, device=needles.device)
    equal = torch.zeros_like(better)
    for keys in sorted_keys:
        if keys.shape[1]:
            left = torch.searchsorted(keys, needles)
            better += left
            equal += count_equal(keys, needles, left)
    return better, equal


def _find_blocks(
    sorted_keys: Sequence[Tensor],
    needles: Tensor,
    *,
    queries: Int[np.ndarray, " query"],
    is_kept: Bool[Tensor, " query"],
) -> RelevantBlocks:
    """Return the blocks of the sorted keys of relevant items (needles), in a gallery of some parts."""
    better, equal = count_better_and_equal(sorted_keys, needles)
    is_there = needles != get_last_key(needles)
    is_first = is_there & is_kept[:, None]
    is_first[:, 1:] &= needles[:, 1:] != needles[:, :-1]
    query, column = torch.nonzero(is_first, as_tuple=True)
    # A block ends where the query's next one begins, or after its last relevant item.
    end = torch.roll(column, -1)
    is_last_of_query = torch.roll(query, -1) != query
    if len(query):
        is_last_of_query[-1] = True
    end = torch.where(is_last_of_query, is_there.sum(dim=1)[query], end)
    return RelevantBlocks(
        query=queries[query.cpu().numpy()],
        better_count=better[query, column].cpu().numpy(),
        item_count=equal[query, column].cpu().numpy(),
        better_relevant_count=column.cpu().numpy(),
        relevant_count=(end - column).cpu().numpy(),
    )


def merge_blocks(
    one: tuple[tuple[RelevantBlocks, ...], ...], other: tuple[tuple[RelevantBlocks, ...], ...]
) -> tuple[tuple[RelevantBlocks, ...], ...]:
    """Return the blocks of different queries in the order of these."""
    return tuple(tuple(_merge(*pair) for pair in zip(*parts, strict=True)) for parts in zip(one, other, strict=True))


def _merge(one: RelevantBlocks, other: RelevantBlocks) -> RelevantBlocks:
    order = np.argsort(np.concatenate([one.query, other.query]), kind="stable")
    names = (field.name for field in fields(RelevantBlocks))
    return RelevantBlocks(**{name: np.concatenate([getattr(one, name), getattr(other, name)])[order] for name in names})


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


def get_last_key(keys: Tensor) -> int | float:
    """Return the key after all others."""
    return torch.iinfo(keys.dtype).max if keys.dtype == torch.int32 else EXCLUDED
