"""Run info: a run's own facts, from which data and code it was made and what came out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fieldmark._version import __version__
from fieldmark.errors import TrainingError
from fieldmark.training.checkpoint import Provenance, write_durably
from fieldmark.training.layout import RunLayout
from fieldmark.training.task import TrainingResult
from fieldmark.types import Failure, Item, Split


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The items that a run is trained and validated on.

    Args:
        counts: Items by split and medium.
        items_sha256: Over the id, medium, class and split of every item.
    """

    counts: Mapping[str, Mapping[str, int]]
    manifest_sha256: str
    items_sha256: str


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
        write_durably(RunLayout(run).run_info, json.dumps(self._to_json(), indent=2).encode() + b"\n")

    def _to_json(self) -> dict[str, object]:
        provenance, source, result = self.provenance, self.source, self.result
        is_imported = isinstance(source, ImportedFile)
        code = {"fieldmark": __version__, "torch": torch.__version__}
        model = {"config": json.loads(provenance.config_json), "class_count": len(provenance.class_names)}
        encoders = {medium.value: text for medium, text in provenance.encoder_fingerprints.items()}
        if is_imported:
            return {**code, "imported": asdict(source), **model, "encoders": encoders, "result": None}
        return {
            **code,
            "seed": provenance.seed,
            **model,
            **asdict(source),
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


def describe_data(manifest: Path, items: Mapping[Split, Sequence[Item]]) -> TrainingData:
    """Return the counts and hashes of the items that a run is trained and validated on."""
    counts: dict[str, dict[str, int]] = {}
    for split, own in items.items():
        of_split = counts.setdefault(split.value, {})
        for item in own:
            of_split[item.medium.value] = of_split.get(item.medium.value, 0) + 1
    facts = sorted(
        [item.item_id, item.medium, item.class_name or "", split] for split, own in items.items() for item in own
    )
    return TrainingData(
        counts=counts,
        manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest(),
        items_sha256=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
    )


def read_run_info(run: Path) -> dict[str, Any]:
    """Return the facts that a run's folder keeps; empty where it keeps none."""
    path = RunLayout(run).run_info
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


def check_same_data(run: Path, data: TrainingData) -> None:
    """Refuse to resume a run that was started on other items.

    Raises:
        TrainingError: The run info tells of other items.
    """
    info = read_run_info(run)
    if info and info.get("items_sha256") != data.items_sha256:
        raise TrainingError(
            f"The run in '{run}' was started with another set of items. "
            "Resume with the original one, or start a new run with another --out.",
            kind="run_changed",
        )
