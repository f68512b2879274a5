"""The 12 + 4 tasks of a manifest as tasks of MTEB, and a model of fieldmark as a model of MTEB.

    python benchmarks/mteb_tasks.py MANIFEST --checkpoint RUN

MTEB comes with `pip install "fieldmark[mteb]"`. A task reads the test items of a manifest, as the strict protocol
does: items that belong together with items of train are left out, and the query itself is not ranked. The main score
is MAP over the whole ranking. It differs from `fieldmark evaluate` only in ties, and in the five digits of MTEB.

Rows name files instead of holding decoded media, so that torchcodec is not needed. `make_tasks(..., decode=True)`
gives models of others the decoded media that they expect.
"""

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mteb
import numpy as np
import torch
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta

from datasets import Audio, Dataset, Image, Video
from fieldmark.build import Model
from fieldmark.data.manifest import read_manifest
from fieldmark.embedding import embed_segments, encode_item
from fieldmark.evaluation.result import name_direction
from fieldmark.leakage import find_leaks
from fieldmark.media.loaders import read_text
from fieldmark.origin import link_origins
from fieldmark.types import MEDIA, Item, Medium, Split
from fieldmark.workflows.pretrained import from_pretrained

_LETTERS = {Medium.IMAGE: "i", Medium.TEXT: "t", Medium.VIDEO: "v", Medium.AUDIO: "a"}
_FEATURES = {Medium.IMAGE: Image, Medium.VIDEO: Video, Medium.AUDIO: Audio}
_REFERENCE = "https://doi.org/10.1145/3343031.3350974"
_CITATION = """@inproceedings{he2019new,
  author = {He, Xiangteng and Peng, Yuxin and Xie, Liu},
  booktitle = {Proceedings of the 27th ACM International Conference on Multimedia},
  title = {A New Benchmark and Approach for Fine-grained Cross-media Retrieval},
  year = {2019},
}"""


@dataclass(frozen=True, slots=True)
class _Direction:
    query: Medium
    gallery: Medium | None

    @property
    def name(self) -> str:
        return name_direction(self.query, self.gallery)


DIRECTIONS = tuple(_Direction(query, gallery) for gallery in (*MEDIA, None) for query in MEDIA if query is not gallery)
"""The 12 directions between two media, then the 4 to all media."""


def select_tested(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the test items with a class that belong together with no item of train."""
    leaks = find_leaks({item.item_id: item.split for item in items}, link_origins(items))
    leaking = {leak.item_id for leak in leaks}
    return tuple(item for item in items if item.split is Split.TEST and item.class_name and item.item_id not in leaking)


def make_tasks(manifest: Path | str, *, name: str, decode: bool = False) -> list[AbsTaskRetrieval]:
    """Return the tasks that a manifest has queries for, each with its data.

    Args:
        name: Of the data set; begins the names of the tasks.
        decode: Whether rows hold decoded media, as models of others expect. Sounds and videos then need torchcodec.
    """
    items = select_tested(read_manifest(Path(manifest)))
    tasks = []
    for direction in DIRECTIONS:
        corpus = [item for item in items if direction.gallery in {None, item.medium}]
        relevant = {
            item.item_id: found
            for item in items
            if item.medium is direction.query and (found := _find_relevant(item, corpus))
        }
        if relevant:
            queries = [item for item in items if item.item_id in relevant]
            tasks.append(_make_task(direction, name, corpus, queries, relevant, decode=decode))
    return tasks


def _find_relevant(query: Item, corpus: Iterable[Item]) -> dict[str, int]:
    return {item.item_id: 1 for item in corpus if item.class_name == query.class_name and item.item_id != query.item_id}


def _make_task(
    direction: _Direction,
    name: str,
    corpus: Sequence[Item],
    queries: Sequence[Item],
    relevant: dict[str, dict[str, int]],
    *,
    decode: bool,
) -> AbsTaskRetrieval:
    count = len(corpus)
    media = MEDIA if direction.gallery is None else (direction.query, direction.gallery)
    task_class = type(
        f"{name}{direction.name.title().replace('_', '')}",
        (AbsTaskRetrieval,),
        {
            "metadata": TaskMetadata(
                name=f"{name}_{direction.name}",
                description=f"Find items of the same fine-grained class: {direction.name.replace('_', ' ')}.",
                dataset={"path": f"local/{name}", "revision": "local"},
                reference=_REFERENCE,
                type="Any2AnyRetrieval",
                # MTEB has no category for a gallery of four media; without one, rows keep the columns of all.
                category=None
                if direction.gallery is None
                else f"{_LETTERS[direction.query]}2{_LETTERS[direction.gallery]}",
                modalities=[medium.value for medium in media],
                eval_splits=["test"],
                eval_langs=["eng-Latn"],
                main_score=f"map_at_{count}",
                domains=["Nature"],
                task_subtypes=["Cross-Modal Retrieval"],
                license="not specified",
                annotations_creators="derived",
                dialect=[],
                sample_creation="found",
                bibtex_citation=_CITATION,
                is_public=False,
            ),
            # Average precision to the end of the ranking, by trec_eval divided by all relevant items.
            "k_values": tuple(sorted({1, 5, 10, count})),
            "ignore_identical_ids": True,
        },
    )
    task = task_class()
    task.dataset = {
        "default": {
            "test": {
                "corpus": _make_rows(corpus, media, decode=decode),
                "queries": _make_rows(queries, media, decode=decode),
                "relevant_docs": relevant,
                "top_ranked": None,
            }
        }
    }
    task.data_loaded = True
    return task


def _make_rows(items: Sequence[Item], media: Sequence[Medium], *, decode: bool) -> Dataset:
    """Return a row for each item; the columns of media other than its own are empty."""
    columns: dict[str, list[Any]] = {"id": [item.item_id for item in items]}
    for medium in media:
        columns[medium.value] = [_give(item, medium) for item in items]
    for side in ("start_seconds", "end_seconds"):
        columns[side] = [math.nan if getattr(item, side) is None else getattr(item, side) for item in items]
    rows = Dataset.from_dict(columns)
    for medium in media:
        if medium in _FEATURES:
            rows = rows.cast_column(medium.value, _FEATURES[medium](decode=decode))
    return rows


def _give(item: Item, medium: Medium) -> str | None:
    if medium is Medium.TEXT:  # MTEB reads no row without a text
        return read_text(item) if item.medium is medium else ""
    return str(item.path) if item.medium is medium else None


class FieldmarkEncoder:
    """A model of fieldmark as MTEB asks for it: an item's embedding is the mean of its segments', at length 1."""

    def __init__(self, model: Model, *, name: str = "fieldmark/model") -> None:
        self._model = model
        self._embedding_of: dict[Item, np.ndarray] = {}
        """An item is in the corpora of several tasks, and embedded once."""
        media = [medium.value for medium in model.media]
        self.mteb_model_meta = ModelMeta.create_empty(overwrites={"name": name, "modalities": media})

    def encode(self, inputs: Iterable[dict[str, Any]], **_: object) -> np.ndarray:
        """Return the embedding of each row."""
        return np.stack([self._embed(item) for batch in inputs for item in _read_items(batch)])

    def similarity(self, first: Any, second: Any) -> torch.Tensor:  # noqa: ANN401 - arrays or tensors
        """Return the cosine of each pair."""
        return torch.as_tensor(first).double() @ torch.as_tensor(second).double().T

    def similarity_pairwise(self, first: Any, second: Any) -> torch.Tensor:  # noqa: ANN401 - arrays or tensors
        """Return the cosine of each row with the same row of the other."""
        return (torch.as_tensor(first).double() * torch.as_tensor(second).double()).sum(dim=1)

    def _embed(self, item: Item) -> np.ndarray:
        if item not in self._embedding_of:
            self._embedding_of[item] = self._compute(item)
        return self._embedding_of[item]

    def _compute(self, item: Item) -> np.ndarray:
        inputs = encode_item(item, model=self._model)
        rows, _ = embed_segments(inputs, medium=item.medium, network=self._model.network)
        mean = rows.astype(np.float64).mean(axis=0)
        return mean / np.linalg.norm(mean)


def _read_items(batch: dict[str, Any]) -> Iterable[Item]:
    for number, item_id in enumerate(batch["id"]):
        row = SimpleNamespace(**{key: values[number] for key, values in batch.items()})
        start, end = (None if math.isnan(each) else float(each) for each in (row.start_seconds, row.end_seconds))
        for medium in MEDIA:
            given = getattr(row, medium.value, None)
            if given and medium is Medium.TEXT:
                yield Item(item_id, medium, text=given)
            elif given:
                yield Item(item_id, medium, path=Path(given["path"]), start_seconds=start, end_seconds=end)


def run_tasks(tasks: Sequence[AbsTaskRetrieval], encoder: FieldmarkEncoder) -> dict[str, float]:
    """Return the main score of each task by its name; nothing is written or read from a cache."""
    scores = {}
    for task in tasks:
        found = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False)
        scores[task.metadata.name] = found.task_results[0].get_score()
    return scores


def main() -> None:
    """Print the main score of each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--name", default="Fieldmark")
    options = parser.parse_args()
    encoder = FieldmarkEncoder(from_pretrained(options.checkpoint))
    for name, score in run_tasks(make_tasks(options.manifest, name=options.name), encoder).items():
        print(f"{name:<32} {score:.3f}")


if __name__ == "__main__":
    main()
