"""The recall of a store's searches: the share of the nearest segments that they find, against a look at each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from fieldmark.gallery.store import Filter
from fieldmark.types import Embeddings, Hit, Medium

RECALL_K = 10
QUERY_COUNT = 128
_EQUAL_SCORES = 1e-6
_ROWS_AT_ONCE = 8_192

Find = Callable[[Float32[np.ndarray, " dim"], Filter], Sequence[Hit]]
"""Returns the `RECALL_K` nearest segments that meet a filter, as a store finds them."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Stored segments that a store is asked for.

    Args:
        medium: Of each; where several media are held, only segments of the others count, since among these a query
            finds no rows that lie as near as its own neighbors.
    """

    vector: Float32[np.ndarray, "query dim"]
    item_id: tuple[str, ...]
    medium: tuple[Medium, ...]
    has_media: bool

    @classmethod
    def from_items(cls, embeddings: Embeddings, *, media: Sequence[Medium]) -> "Queries":
        """Take the first segment of each item.

        Args:
            media: All that the store holds.
        """
        first: dict[str, int] = {}
        for row, item in enumerate(embeddings.items):
            first.setdefault(item.item_id, row)
        rows = list(first.values())
        return cls(
            vector=embeddings.embedding[rows],
            item_id=tuple(first),
            medium=tuple(embeddings.items[row].medium for row in rows),
            has_media=len(set(media)) > 1,
        )

    def where(self, query: int) -> Filter:
        """Return what a query may find."""
        if self.has_media:
            return Filter(media=frozenset(Medium) - {self.medium[query]})
        return Filter(exclude_item_ids=frozenset({self.item_id[query]}))


def choose_spread(names: Sequence[str], *, count: int = QUERY_COUNT) -> list[str]:
    """Return some names, evenly spread over all: the same ones for the same names."""
    if len(names) <= count:
        return list(names)
    return [names[at * len(names) // count] for at in range(count)]


@final
class ExactNeighbors:
    """The best scores of each query among all rows, which are looked at as they pass by."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries
        self._best = np.full((len(queries.item_id), RECALL_K), -1.0, dtype=np.float32)
        self._own = np.array(queries.medium if queries.has_media else queries.item_id, dtype=object)

    def look_at(self, embedding: Float32[np.ndarray, "row dim"], item_ids: Sequence[str], media: Sequence[str]) -> None:
        """Look at some segments of a store, each once.

        Args:
            item_ids: Of each row.
            media: Of each row.
        """
        names = np.array(media if self.queries.has_media else item_ids, dtype=object)
        for start in range(0, len(embedding), _ROWS_AT_ONCE):
            score = self.queries.vector @ embedding[start : start + _ROWS_AT_ONCE].T
            score[self._own[:, None] == names[None, start : start + _ROWS_AT_ONCE]] = -1.0
            both = np.concatenate([self._best, score], axis=1)
            self._best = np.partition(both, both.shape[1] - RECALL_K, axis=1)[:, -RECALL_K:]

    def measure(self, find: Find) -> float:
        """Return the mean share of the nearest segments that are found; rows that score alike count alike."""
        best, shares = np.sort(self._best, axis=1), list[float]()
        for query, scores in enumerate(best):
            there = int((scores > -1.0).sum())
            if there:
                found = find(self.queries.vector[query], self.queries.where(query))
                enough = sum(hit.score >= scores[-there] - _EQUAL_SCORES for hit in found[:there])
                shares.append(enough / there)
        return float(np.mean(shares)) if shares else 1.0
