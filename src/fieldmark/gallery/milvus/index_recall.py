"""The recall of the engine's index, measured against a look at every segment; and the candidates that searches keep."""

import json
from dataclasses import asdict
from typing import final

import numpy as np
import pyarrow as pa

from fieldmark.gallery.milvus.connection import FLAT
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.filters import ANY, FIRST
from fieldmark.gallery.milvus.rows import read_key
from fieldmark.gallery.milvus.search import MilvusComparison, Reader
from fieldmark.gallery.milvus.segment_rows import REQUEST_BYTES, ROWS_AT_ONCE, SegmentRows
from fieldmark.gallery.milvus.state import State
from fieldmark.gallery.milvus.state_keeper import StateKeeper
from fieldmark.gallery.recall import QUERY_COUNT, RECALL_K, ExactNeighbors, Queries, choose_spread
from fieldmark.gallery.store import Approximation
from fieldmark.segment_table import read_embeddings_from_table
from fieldmark.types import MEDIA

_FILE = "recall.json"
_CANDIDATES = 64
"""Of a search until the recall is measured."""
_WANTED_RECALL, _MOST_CANDIDATES = 0.99, 4_096
"""Candidates are doubled until the measured recall reaches this, or so many."""
_LEAST_GAIN = 0.001
"""Of recall, for which candidates are doubled: while an engine is indexing, more of them may find nothing more."""
_SMALLEST_MEASURED = 1_024
"""Below so many rows Milvus builds no index."""
_MEASURE_AGAIN_FACTOR = 2.0


@final
class IndexRecall:
    """The recall of a store's index, written beside its other files."""

    def __init__(self, files: MilvusFiles, rows: SegmentRows, keeper: StateKeeper) -> None:
        self._files = files
        self._rows = rows
        self._keeper = keeper

    def read(self) -> Approximation | None:
        """Return what was measured; None for a store that is not searched by an index, or was not measured yet."""
        content = self._files.read_content(_FILE)
        if content is None or not _is_indexed(self._keeper.read()):
            return None
        return Approximation(**json.loads(content))

    def open_reader(self) -> Reader:
        """Return the rows as they are read now, with as many candidates as were found to be enough."""
        known = self.read()
        return self._open_reader(_CANDIDATES if known is None else known.probe_count)

    def _open_reader(self, candidates: int) -> Reader:
        state = self._keeper.known
        return Reader(
            self._files.connection,
            self._files.name,
            level=self._keeper.read_level(),
            ef=0 if state.index_kind == FLAT.kind else candidates,
            row_count=state.segment_count,
        )

    def is_due(self, state: State) -> bool:
        """Tell whether a store has doubled since it was measured."""
        known = self.read()
        return _is_indexed(state) and (
            known is None or state.segment_count >= _MEASURE_AGAIN_FACTOR * known.measured_count
        )

    def look_at_all(self, state: State) -> ExactNeighbors:
        """Return what is nearest to some of the segments, by a look at each."""
        connection, name = self._files.connection, self._files.name
        pages = connection.read_pages(name, FIRST, ["pk"], limit=ROWS_AT_ONCE)
        chosen = choose_spread([read_key(row["pk"]) for page in pages for row in page])
        tables = self._rows.read_tables_of(chosen)
        embeddings = read_embeddings_from_table(pa.concat_tables(tables), dim=state.dim)
        held = {key[0] for key, count in state.counts.items() if count}
        media = [medium for medium in MEDIA if medium in held]
        neighbors = ExactNeighbors(Queries.from_items(embeddings, media=media))
        limit = max(1, min(ROWS_AT_ONCE, REQUEST_BYTES // (4 * state.dim)))
        for rows in connection.read_pages(name, ANY, ["pk", "medium", "vector"], limit=limit):
            matrix = np.array([row["vector"] for row in rows], dtype=np.float32)
            neighbors.look_at(matrix, [read_key(row["pk"]) for row in rows], [row["medium"][1:] for row in rows])
        return neighbors

    def record(self, neighbors: ExactNeighbors) -> None:
        """Find how many candidates searches have to keep, and write down what they find then.

        Args:
            neighbors: Of some segments, among all that the store holds.
        """
        state = self._keeper.read(is_strong=True)
        if not _is_indexed(state):
            return
        candidates, recall = _CANDIDATES, self._measure(neighbors, _CANDIDATES)
        while recall < _WANTED_RECALL and candidates < _MOST_CANDIDATES:
            more = self._measure(neighbors, 2 * candidates)
            if more < recall + _LEAST_GAIN:  # what is missing is not for want of candidates
                break
            candidates, recall = 2 * candidates, more
        measured = Approximation(
            kind=state.index_kind.lower(),
            trained_count=state.segment_count,
            measured_count=state.segment_count,
            partition_count=1,
            probe_count=candidates,
            recall=recall,
            query_count=min(QUERY_COUNT, len(neighbors.queries.item_id)),
        )
        self._files.write_content(_FILE, json.dumps(asdict(measured)).encode())

    def _measure(self, neighbors: ExactNeighbors, candidates: int) -> float:
        reader = self._open_reader(candidates)
        return neighbors.measure(
            lambda vector, where: MilvusComparison(reader, query=vector.astype(np.float64)).find_nearest(
                k=RECALL_K, where=where, by_segment=True
            )
        )


def _is_indexed(state: State) -> bool:
    return state.index_kind != FLAT.kind and state.segment_count >= _SMALLEST_MEASURED
