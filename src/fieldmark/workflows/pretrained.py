"""The verbs `save_pretrained`, `from_pretrained` and `push_to_hub`: a run saved for others, loaded, uploaded."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fieldmark._version import __version__
from fieldmark.build import Model, load_model
from fieldmark.config import FGCrossNetConfig
from fieldmark.errors import TrainingError
from fieldmark.reports.model_card import CardSources, hide_local_path, make_portable_config, read_evaluation, write_card
from fieldmark.runtime import Runtime
from fieldmark.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, write_durably
from fieldmark.training.hub import Hub, download_model, upload_model
from fieldmark.training.layout import PretrainedLayout, RunLayout
from fieldmark.training.run_info import read_run_info


@dataclass(frozen=True, slots=True)
class PretrainedReport:
    """The folder that was written."""

    folder: Path
    fingerprint: str

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        names = PretrainedLayout(self.folder).names
        return {"folder": self.folder, "files": names, "fingerprint": self.fingerprint}

    def to_text(self) -> str:
        """Return the folder and its files as text."""
        return f"{self.folder}: {', '.join(PretrainedLayout(self.folder).names)}; give it as --checkpoint"


def save_pretrained(
    checkpoint: Path | str,
    folder: Path | str,
    *,
    evaluation: Path | str | None = None,
    license: str | None = None,  # noqa: A002 - the word of the manifest and the hub
) -> PretrainedReport:
    """Save a model to a folder that every verb takes as a checkpoint: weights, configuration and a model card.

    Everything that only training needs, such as centers and the optimizer's state, is left out. So are pretrained
    encoders: the weights' file names them as the configuration does, local ones by their full path, and they are read
    from there. The file that a trunk started from is no longer needed, and is named without its folder.

    Args:
        checkpoint: A run or a checkpoint.
        evaluation: Output of `fieldmark evaluate --json`, for the card.
        license: Of the weights, for the card.

    Raises:
        CheckpointError: There is no usable checkpoint.
        TrainingError: The folder is a run's.
        EvaluationError: The evaluation cannot be read.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    layout = PretrainedLayout(folder)
    if RunLayout(folder).best.exists():
        raise TrainingError(f"'{folder}' already holds a run. Choose another folder.", kind="run_exists")
    measured = None if evaluation is None else read_evaluation(Path(evaluation))
    kept = replace(load_checkpoint(checkpoint), losses={}, resume=None)
    model = load_model(checkpoint, device=torch.device("cpu"))
    run = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
    sources = CardSources(read_run_info(run), measured, license)
    facts = {
        "fieldmark": __version__,
        "fingerprint": model.fingerprint,
        "media": [medium.value for medium in model.media],
        "dim": model.network.dim,
        "class_names": list(model.class_names),
        "config": make_portable_config(model),
    }
    save_checkpoint(layout.checkpoint, _shorten_start(kept, model))
    write_durably(layout.config, json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n")
    write_durably(layout.card, write_card(model, kept, sources).encode())
    return PretrainedReport(folder, model.fingerprint)


def _shorten_start(checkpoint: Checkpoint, model: Model) -> Checkpoint:
    """Return the checkpoint with the files that its trunk came from named without their folder."""
    network = model.config.model
    if not isinstance(network, FGCrossNetConfig):
        return checkpoint
    named = {"start": network.start, "trunk": network.trunk}
    shortened = {key: hide_local_path(name) for key, name in named.items() if name is not None}
    network = network.model_copy(update=shortened)
    config = model.config.model_copy(update={"model": network})
    return replace(checkpoint, provenance=replace(checkpoint.provenance, config_json=config.to_json()))


def from_pretrained(
    name: Path | str, *, allow_download: bool = False, runtime: Runtime | None = None, hub: Hub | None = None
) -> Model:
    """Load a model from a folder that `save_pretrained` wrote, from a run, or from the model hub.

    Args:
        name: A local folder, or a name on the hub, which is looked up in the local cache.
        allow_download: Whether a model of the hub that is not in the cache may be downloaded.
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The folder holds no usable checkpoint.
        CheckpointError: It is no folder, and the hub gives nothing under this name.
        MissingExtraError: It is no folder, and the library of the hub is not installed.
    """
    runtime, folder = runtime or Runtime.from_environment(), Path(name)
    if not folder.exists():
        folder = download_model(str(name), allow_download=allow_download, hub=hub)
    return load_model(folder, device=runtime.choose_device())


def push_to_hub(folder: Path | str, name: str, *, private: bool = True, hub: Hub | None = None) -> None:
    """Upload a folder that `save_pretrained` wrote, under the account that the library is logged in to.

    Args:
        name: On the hub, as in "owner/name".
        hub: None for that of the `huggingface_hub` library.

    Raises:
        CheckpointError: The folder holds no usable checkpoint.
        CheckpointError: The hub refused.
        MissingExtraError: The library of the hub is not installed.
    """
    folder = Path(folder)
    load_checkpoint(PretrainedLayout(folder).checkpoint)
    upload_model(folder, name, private=private, hub=hub)
