"""Models as folders to hand on: weights, configuration and card; and the model hub they may be put on."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch

from fieldmark._version import __version__
from fieldmark.build import Model, load_model
from fieldmark.config import FGCrossNetConfig
from fieldmark.errors import HubError, MissingExtraError, RunExistsError
from fieldmark.reports.model_card import CardSources, plain_name, portable_config, read_evaluation, write_card
from fieldmark.runtime import Runtime
from fieldmark.training.checkpoint import (
    PRETRAINED_NAME,
    Checkpoint,
    best_path,
    load_checkpoint,
    save_checkpoint,
    write_durably,
)
from fieldmark.workflows.train import RECEIPT_NAME

CONFIG_NAME = "config.json"
CARD_NAME = "README.md"
FILES = (PRETRAINED_NAME, CONFIG_NAME, CARD_NAME)
"""What is written, uploaded and downloaded: never code."""


@runtime_checkable
class Hub(Protocol):
    """What is used of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> object:
        """Makes a place for a model, where there is none."""

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> object:
        """Puts files of a folder there."""

    def snapshot_download(self, repo_id: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        """The local folder of a model, downloaded where it is not there."""


@dataclass(frozen=True, slots=True)
class PretrainedReport:
    """What was written."""

    folder: Path
    fingerprint: str

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {"folder": str(self.folder), "files": list(FILES), "fingerprint": self.fingerprint}

    def to_text(self) -> str:
        """Where it lies."""
        return f"{self.folder}: {', '.join(FILES)}; give it as --checkpoint"


def save_pretrained(
    checkpoint: Path | str,
    folder: Path | str,
    *,
    evaluation: Path | str | None = None,
    license: str | None = None,  # noqa: A002 - the word of the manifest and the hub
) -> PretrainedReport:
    """Writes a folder that every verb takes as a checkpoint: weights, configuration, class names and a model card.

    What only training needs, as centers and the optimizer's state, stays behind. Pretrained encoders are not in the
    folder: the weights' file names them as the configuration does, local ones by their full path, where they are looked
    for. The file that a trunk started from is no longer needed, and stands there without its folder.

    Args:
        checkpoint: A run or a checkpoint.
        evaluation: What `fieldmark evaluate --json` printed, for the card.
        license: Of the weights, for the card.

    Raises:
        CheckpointError: There is no usable checkpoint.
        RunExistsError: The folder is a run's.
        EvaluationFileError: The evaluation cannot be read.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    if best_path(folder).exists():
        raise RunExistsError(path=folder)
    measured = None if evaluation is None else read_evaluation(Path(evaluation))
    kept = replace(load_checkpoint(checkpoint), losses={}, resume=None)
    model = load_model(checkpoint, device=torch.device("cpu"))
    sources = CardSources(_read_receipt(checkpoint), measured, license)
    facts = {
        "fieldmark": __version__,
        "fingerprint": model.fingerprint,
        "media": [medium.value for medium in model.media],
        "dim": model.network.dim,
        "class_names": list(model.class_names),
        "config": portable_config(model),
    }
    save_checkpoint(folder / PRETRAINED_NAME, _without_folder_of_start(kept, model))
    write_durably(folder / CONFIG_NAME, json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n")
    write_durably(folder / CARD_NAME, write_card(model, kept, sources).encode())
    return PretrainedReport(folder, model.fingerprint)


def from_pretrained(
    name: Path | str, *, allow_download: bool = False, runtime: Runtime | None = None, hub: Hub | None = None
) -> Model:
    """The model in a folder that `save_pretrained` wrote, or in a run, or on the model hub.

    Args:
        name: A local folder, or a name on the hub, which is looked up in the local cache.
        allow_download: Whether a hub name that is not in the cache may be downloaded.
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The folder holds no usable checkpoint.
        HubError: It is no folder, and the hub gives nothing under this name.
        MissingExtraError: It is no folder, and the library of the hub is not installed.
    """
    runtime = runtime or Runtime.from_environment()
    folder = Path(name)
    if not folder.exists():
        try:
            found = (hub or _open_hub()).snapshot_download(
                str(name), allow_patterns=list(FILES), local_files_only=not allow_download
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = "it is no folder here, and 'allow_download' is false" if not allow_download else _first_line(error)
            raise HubError(name=str(name), action="give", reason=reason) from error
        folder = Path(found)
    return load_model(folder, device=runtime.torch_device())


def push_to_hub(folder: Path | str, name: str, *, private: bool = True, hub: Hub | None = None) -> None:
    """Puts a folder that `save_pretrained` wrote on the model hub, under the account that the library is logged in to.

    Args:
        name: On the hub, as in "owner/name".
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The folder holds no usable checkpoint.
        HubError: The hub refused.
        MissingExtraError: The library of the hub is not installed.
    """
    folder = Path(folder)
    load_checkpoint(folder / PRETRAINED_NAME)
    client = hub or _open_hub()
    try:
        client.create_repo(name, private=private, exist_ok=True)
        client.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message=f"fieldmark {__version__}",
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise HubError(name=name, action="take", reason=_first_line(error)) from error


def _without_folder_of_start(checkpoint: Checkpoint, model: Model) -> Checkpoint:
    network = model.config.model
    if not isinstance(network, FGCrossNetConfig) or network.start is None:
        return checkpoint
    network = network.model_copy(update={"start": plain_name(network.start)})
    config = model.config.model_copy(update={"model": network})
    return replace(checkpoint, provenance=replace(checkpoint.provenance, config_json=config.to_json()))


def _open_hub() -> Hub:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(package="huggingface_hub", extra="hub", need="The model hub") from error
    return cast(Hub, HfApi())


def _read_receipt(checkpoint: Path) -> dict[str, object]:
    """The receipt of the run that a checkpoint lies in; empty where there is none."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
    file = folder / RECEIPT_NAME
    values: dict[str, object] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return values


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
