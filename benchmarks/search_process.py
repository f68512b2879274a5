"""A gallery that is searched in a process of its own, so that `search.py` can time two checkouts side by side.

Started by `search.py --beside`, with the `src` of a checkout on PYTHONPATH. Each line of its input is a JSON list of
searches; each line of its output is the JSON list of their seconds and answers. No model is loaded: a query's
embedding is given, so that all of a search is timed but the encoding.
"""

import json
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np

from fieldmark.gallery.lance import LanceIndex
from fieldmark.types import MEDIA, Item, Medium

try:
    from fieldmark.gallery.search.calibration import Curve, PairScale, ScoreCalibration
    from fieldmark.gallery.search.query import QueryEmbedding
    from fieldmark.gallery.search.result import MarkedItems
    from fieldmark.gallery.search.searcher import Searcher
    from fieldmark.gallery.store import Filter
except ImportError:  # a checkout from before the gallery was one domain
    from fieldmark.gallery.interface import Filter
    from fieldmark.relevance.calibration import Calibration, Curve, PairScale
    from fieldmark.relevance.combining import Voice
    from fieldmark.relevance.fitting import Judgment
    from fieldmark.relevance.result import Marks as MarkedItems

    from fieldmark.gallery import approximate
    from fieldmark.workflows.search import Gallery

    Searcher = None
    Approximation = approximate.Approximation
    names = [each.name for each in fields(Approximation)]  # it knows none of the figures that came later
    approximate.Approximation = lambda **facts: Approximation(**{name: facts[name] for name in names})


sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from query_encoders import PlainQueryEncoder


class GivenEmbeddings(PlainQueryEncoder):
    """Stands for the model: gives the embedding of the query with a number."""

    fingerprint = "benchmark"
    network = None

    def __init__(self, queries: np.ndarray) -> None:
        self._queries = queries

    def embed(self, item: Item, *, reporter: object = None) -> np.ndarray:  # noqa: ARG002 - a query has no progress
        """Return the one row of a query."""
        return self._queries[int(item.item_id)][None]


def open_searcher(folder: Path, queries: np.ndarray) -> object:
    """Open the store in a folder, with a calibration of every pair of media."""
    index, model = LanceIndex.open(folder), GivenEmbeddings(queries)
    curve = Curve(9.0, -5.0, 0.1, relevant_count=100, query_count=50)
    scales = {(query, hit): PairScale(0.0, 0.1, curve) for query in MEDIA for hit in MEDIA}
    curves = dict.fromkeys(MEDIA, curve)
    if Searcher is not None:
        calibration = ScoreCalibration(scales, open_set_curves=curves)
        searcher = Searcher(folder, index=index, encoder=model, calibration=calibration)
        searcher._reader.encode = lambda item: QueryEmbedding(item.medium, model.embed(item)[0])
        return searcher
    gallery = Gallery(folder, index=index, model=model, judgment=Judgment(Calibration(scales), curves))
    gallery._voice = lambda item: Voice(item.medium, model.embed(item)[0])
    return gallery


def search(searcher: object, wanted: dict[str, object]) -> tuple[float, float, list[object]]:
    """Return the seconds of one search, those of the processor too, and its answer."""
    filters = {name: frozenset(values) for name, values in wanted["where"].items()}
    queries = [Item(str(number), Medium(medium), path=Path("/nowhere")) for number, medium in wanted["queries"]]
    media = [Medium(name) for name in wanted["media"]]
    marks = MarkedItems(frozenset(wanted["relevant"]), frozenset(wanted["irrelevant"]))
    started, started_processor = time.perf_counter(), time.process_time()
    result = searcher.search(
        queries, media=media, where=Filter(**filters), marks=marks, by_segment=wanted["by_segment"]
    )
    seconds, processor_seconds = time.perf_counter() - started, time.process_time() - started_processor
    hits = [
        [hit.item_id, hit.start_seconds, hit.score, hit.probability, hit.margin, hit.look_alike] for hit in result.hits
    ]
    return seconds, processor_seconds, [result.collection.probability if result.collection else None, hits]


def main() -> None:
    """Answer searches until the input ends."""
    searcher = open_searcher(Path(sys.argv[1]), np.load(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps([search(searcher, wanted) for wanted in json.loads(line)]), flush=True)


if __name__ == "__main__":
    main()
