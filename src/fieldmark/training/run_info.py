"""Run info: a run's own facts, from which data and code it was made and what came out."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fieldmark._version import __version__
from fieldmark.errors import TrainingError, list_first
from fieldmark.origin import number_origins
from fieldmark.training.checkpoint import Provenance, write_durably
from fieldmark.training.layout import RunLayout
from fieldmark.training.task import TrainingResult
from fieldmark.types import Failure, Item, Medium, Split

_HASH_LENGTH = 16
"""Hexadecimal digits kept of each content hash: two of a million items are the same by chance once in 10^7 runs."""


class ItemState(NamedTuple):
    """The facts of an item that training and validation see.

    Args:
        origin: The first id of the items with a common origin.
        content: The beginning of the hash of its content, and its form; empty where it could not be read.
    """

    split: str
    medium: str
    class_name: str
    origin: str
    content: str


_WORD_BY_FACT = {
    "content": "another content",
    "class_name": "another class",
    "split": "another split",
    "medium": "another medium",
    "origin": "another origin (group, file or caption)",
}
"""The words for a difference in each fact of an item's state."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The items that a run is trained and validated on.

    Args:
        counts: Items by split and medium.
        items_sha256: Over the id, medium, class and split of every item.
        contents_sha256: Over the id, origin and content of every item.
        items: The state of each item, by id.
    """

    counts: Mapping[str, Mapping[str, int]]
    manifest_sha256: str
    items_sha256: str
    contents_sha256: str
    items: Mapping[str, ItemState]

    def to_json(self) -> dict[str, object]:
        """Return what the run info keeps of it: all but the items, which have a file of their own."""
        return {
            "counts": self.counts,
            "manifest_sha256": self.manifest_sha256,
            "items_sha256": self.items_sha256,
            "contents_sha256": self.contents_sha256,
        }


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A file whose weights were imported."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run's own facts, as its folder keeps them.

    Args:
        failures: Items that could not be used.
        result: None before training ends, and for imported weights.
    """

    provenance: Provenance
    source: TrainingData | ImportedFile
    failures: tuple[Failure, ...] = ()
    result: TrainingResult | None = None

    def write(self, run: Path) -> None:
        """Write the facts into a run's folder.

        Raises:
            TrainingError: The disk is full, or the folder may not be written.
        """
        if isinstance(self.source, TrainingData):
            states = json.dumps(self.source.items, ensure_ascii=False, indent=0)
            write_durably(RunLayout(run).items, states.encode("utf-8", "surrogatepass") + b"\n")
        write_durably(RunLayout(run).run_info, json.dumps(self._to_json(), indent=2).encode() + b"\n")

    def _to_json(self) -> dict[str, object]:
        provenance, source, result = self.provenance, self.source, self.result
        code = {"fieldmark": __version__, "torch": torch.__version__}
        model = {"config": json.loads(provenance.config_json), "class_count": len(provenance.class_names)}
        encoders = {medium.value: text for medium, text in provenance.encoder_fingerprints.items()}
        if isinstance(source, ImportedFile):
            return {**code, "imported": asdict(source), **model, "encoders": encoders, "result": None}
        return {
            **code,
            "seed": provenance.seed,
            **model,
            **source.to_json(),
            "encoders": encoders,
            "names": [asdict(resolution) for resolution in provenance.resolutions],
            "failures": [asdict(failure) for failure in self.failures],
            "result": None
            if result is None
            else {
                "best_epoch": result.best_epoch,
                "validation_map": result.best_score,
                "epochs": result.epochs,
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
            },
        }


def describe_data(
    items: Mapping[Split, Sequence[Item]], *, manifest_sha256: str, contents: Mapping[str, str]
) -> TrainingData:
    """Return the counts and hashes of the items that a run is trained and validated on.

    Args:
        manifest_sha256: Of the manifest or the gallery that lists them.
        contents: The content hash of each item, by id; one that could not be read is missing.
    """
    counts: dict[str, dict[str, int]] = {}
    for split, own in items.items():
        of_split = counts.setdefault(split.value, {})
        for item in own:
            of_split[item.medium.value] = of_split.get(item.medium.value, 0) + 1
    states = _describe_items(items, contents)
    facts = sorted([item_id, each.medium, each.class_name, each.split] for item_id, each in states.items())
    seen = sorted([item_id, each.origin, each.content] for item_id, each in states.items())
    return TrainingData(
        counts=counts,
        manifest_sha256=manifest_sha256,
        items_sha256=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        contents_sha256=hashlib.sha256(json.dumps(seen).encode()).hexdigest(),
        items=states,
    )


def _describe_items(items: Mapping[Split, Sequence[Item]], contents: Mapping[str, str]) -> dict[str, ItemState]:
    pairs = [(split, item) for split, own in items.items() for item in own]
    origins = number_origins([item for _, item in pairs]).tolist()
    first: dict[int, str] = {}
    for (_, item), origin in zip(pairs, origins, strict=True):
        first[origin] = min(first.get(origin, item.item_id), item.item_id)
    return {
        item.item_id: ItemState(
            split=split.value,
            medium=item.medium.value,
            class_name=item.class_name or "",
            origin=first[origin],
            content=" ".join([contents.get(item.item_id, "")[:_HASH_LENGTH], *([item.form] if item.form else [])]),
        )
        for (split, item), origin in zip(pairs, origins, strict=True)
    }


def read_run_info(run: Path) -> dict[str, Any]:
    """Return the facts that a run's folder keeps; empty where it keeps none."""
    path = RunLayout(run).run_info
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


def read_encoders(run: Path) -> dict[Medium, str]:
    """Return the fingerprints of the encoders that a run was begun with, by medium; empty where there is no run."""
    return {Medium(name): str(fingerprint) for name, fingerprint in read_run_info(run).get("encoders", {}).items()}


def check_same_data(run: Path, data: TrainingData) -> str | None:
    """Refuse to resume a run that was started on other items; return a line to say where that cannot be told.

    Raises:
        TrainingError: The items, or what is in them, are not those that the run was started with.
    """
    info = read_run_info(run)
    if not info:
        return None
    known = info.get("contents_sha256")
    if info.get("items_sha256") != data.items_sha256 or known not in (None, data.contents_sha256):
        before = _read_items(run)
        changes = "" if before is None else f": {'; '.join(_list_changes(before, data.items))}"
        raise TrainingError(
            f"The run in '{run}' was started with another set of items, or other content in them{changes}. "
            "Resume with the original manifest and files, or start a new run with another --out.",
            kind="run_changed",
        )
    if known is None:
        return (
            f"The run in '{run}' was started by a version that kept no hashes of contents: "
            "the items are the same, but whether the content of their files is cannot be told."
        )
    return None


def _list_changes(before: Mapping[str, ItemState], now: Mapping[str, ItemState]) -> Iterator[str]:
    """Yield how items differ, by kind of difference, each with a count and the first ids."""
    both = sorted(before.keys() & now.keys())
    differing = {
        word: [item_id for item_id in both if getattr(before[item_id], fact) != getattr(now[item_id], fact)]
        for fact, word in _WORD_BY_FACT.items()
    }
    moved = {"new": sorted(now.keys() - before.keys()), "gone or unreadable": sorted(before.keys() - now.keys())}
    for verbs, found in [(("has", "have"), differing), (("is", "are"), moved)]:
        for kind, item_ids in found.items():
            if item_ids:
                subject = f"1 item {verbs[0]}" if len(item_ids) == 1 else f"{len(item_ids):,} items {verbs[1]}"
                yield f"{subject} {kind} ({list_first(item_ids, limit=3)})"


def _read_items(run: Path) -> dict[str, ItemState] | None:
    """Return the states that a run's folder keeps; None where it keeps none, or none that can be read."""
    path = RunLayout(run).items
    try:
        return {item_id: ItemState(*state) for item_id, state in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
