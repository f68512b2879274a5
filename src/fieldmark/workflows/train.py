"""The verb `train`: a manifest and a configuration to a run folder."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import assert_never, final

import numpy as np
import torch
from torch import Tensor, nn

from fieldmark._version import __version__
from fieldmark.build import (
    Model,
    build_execution,
    build_losses,
    build_optimizer_options,
    build_schedule,
    needs_features,
    new_model,
    supported_media,
)
from fieldmark.config import Config, StageConfig, load_config
from fieldmark.data.dataset import BatchStream, CrossMediaDataset, FeatureReader, MediaReader, MediumRows, Reader
from fieldmark.data.manifest import read_manifest
from fieldmark.data.sampler import CrossMediaSampler, ListSampler, Sampler
from fieldmark.data.split import split_validation
from fieldmark.embedding import FailureLog, encode_item, encode_items, keep_supported, project
from fieldmark.errors import CannotEvaluateError, MediaError, NoItemsError, RunChangedError, RunExistsError
from fieldmark.evaluation.protocol import STRICT, evaluate
from fieldmark.models.evidence import match_names
from fieldmark.models.shared_space import SharedSpace
from fieldmark.runtime import Runtime
from fieldmark.training.checkpoint import Provenance, last_path, write_durably
from fieldmark.training.group import Group, open_group, own_device
from fieldmark.training.loop import train as run_loop
from fieldmark.training.task import (
    BatchSource,
    TrainingOptions,
    TrainingResult,
    TrainingRuntime,
    TrainingStage,
    TrainingTask,
)
from fieldmark.types import Batch, Embeddings, Failure, Item, Medium, SilentReporter, Split

CONFIG_NAME = "config.toml"
CENTER_KINDS = frozenset({"center", "released_center"})
RECEIPT_NAME = "receipt.json"


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run came to.

    Args:
        counts: Items by split and medium, after validation was taken.
        failures: Items that could not be used.
        is_first: Whether this process is the first of those that trained together, which speaks for all.
    """

    run: Path
    result: TrainingResult
    class_count: int
    counts: Mapping[str, Mapping[str, int]]
    failures: tuple[Failure, ...]
    is_first: bool = True

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "run": str(self.run),
            "checkpoint": str(self.result.best_path),
            "best_epoch": self.result.best_epoch,
            "validation_map": self.result.best_score,
            "epochs": self.result.epochs,
            "steps": self.result.steps,
            "seconds": self.result.seconds,
            "class_count": self.class_count,
            "counts": {split: dict(media) for split, media in self.counts.items()},
            "failures": [{"item_id": f.item_id, "kind": f.kind, "message": f.message} for f in self.failures],
        }

    def to_text(self) -> str:
        """What was trained on, how good it is on validation, and where it lies."""
        result = self.result
        has_score = result.best_score is not None
        kept = (
            f"best epoch {result.best_epoch}, validation MAP {result.best_score:.3f}"
            if has_score
            else "last epoch kept"
        )
        counts = "; ".join(
            f"{split} " + ", ".join(f"{count:,} {medium}" for medium, count in media.items())
            for split, media in self.counts.items()
            if media
        )
        lines = [
            f"{self.class_count} classes; {counts}",
            f"{result.epochs} epochs, {result.steps:,} steps in {result.seconds:.0f} s",
            kept,
        ]
        if self.failures:
            lines.append(f"passed over {len(self.failures)} items; {self.run / RECEIPT_NAME} lists them")
        return "\n".join([*lines, f"checkpoint: {result.best_path}"])


def train(
    manifest: Path | str,
    *,
    out: Path | str,
    config: Config | None = None,
    resume: bool = False,
    runtime: Runtime | None = None,
) -> TrainReport:
    """Trains on the train split of a manifest and keeps the run in a folder.

    Items without a split count as train. Where the manifest names no validation items, they are taken from train, by
    group. Files that cannot be used are passed over and listed, up to `limits.failure_share`.

    Started by `torchrun`, several processes train together: each takes its share of every batch, on a GPU of its own
    where there are GPUs, and the first one writes.

    Args:
        config: None takes that of the run to resume, or else the default preset.
        resume: Goes on with the run in `out`.

    Raises:
        ManifestError: The manifest cannot be read or has nothing to train on.
        TrainingError: The run exists, was changed, or cannot go on.
        TooManyFailuresError: More items than allowed cannot be used.
    """
    runtime = runtime or Runtime.from_environment()
    with open_group(runtime.torch_device()) as group:
        if not group.is_first:
            runtime = replace(runtime, reporter=SilentReporter())
        return _train(Path(manifest), out=Path(out), config=config, resume=resume, runtime=runtime, group=group)


def _train(
    manifest: Path, *, out: Path, config: Config | None, resume: bool, runtime: Runtime, group: Group
) -> TrainReport:
    has_run = last_path(out).is_file()
    if has_run and not resume:
        raise RunExistsError(path=out)
    config = config or choose_config(None, out=out, resume=resume)
    items = keep_supported(
        _training_items(manifest, config), media=supported_media(config.model), reporter=runtime.reporter
    )
    class_names = tuple(sorted({item.class_name for item in items if item.class_name is not None}))
    device = own_device(runtime.torch_device(), group)
    model = new_model(config, class_names=class_names, media={item.medium for item in items}, device=device)
    failures = FailureLog(total=len(items), allowed_share=config.limits.failure_share, reporter=runtime.reporter)
    rows = _read_rows(items, model=model, failures=failures, runtime=runtime)
    receipt = _Receipt(manifest, model=model, rows=rows)
    receipt.check(out, resume=resume)
    stages = _Stages(manifest, config=config, rows=rows, failures=failures, group=group)
    if (
        not has_run and group.is_first
    ):  # what an older run was made from stands until this one has been let in by its checkpoint
        write_durably(out / CONFIG_NAME, config.to_toml().encode())
        receipt.write(out, failures=failures.failures, result=None)
    result = run_loop(
        TrainingTask(
            network=model.network,
            forward=model.network.forward_together,
            losses=build_losses(config.losses, network=model.network, seed=config.seed),
            stages=tuple(stages.build(each) for each in config.all_stages),
            item_count=sum(len(each.items) for each in rows[Split.TRAIN].values()),
        ),
        options=TrainingOptions(
            max_steps=config.train.max_steps,
            execution=build_execution(config.train, device=device),
            checkpoint_seconds=config.train.checkpoint_seconds,
            writes_tensorboard=config.train.tensorboard,
            failure_share=config.limits.failure_share,
        ),
        provenance=receipt.provenance,
        folder=out,
        resume=resume,
        runtime=TrainingRuntime(runtime.reporter, group),
    )
    if group.is_first:
        receipt.write(out, failures=failures.failures, result=result)
    return TrainReport(out, result, len(class_names), receipt.counts, tuple(failures.failures), group.is_first)


def choose_config(config: Path | str | None, *, out: Path, resume: bool, overrides: Sequence[str] = ()) -> Config:
    """The configuration that was asked for; a resumed run without one keeps its own."""
    own = out / CONFIG_NAME
    return load_config(own if config is None and resume and own.is_file() else config, overrides=overrides)


def _training_items(manifest: Path, config: Config) -> tuple[Item, ...]:
    """The labelled items of train and validation; those without a split are train."""
    items = read_manifest(manifest)
    media = supported_media(config.model)
    usable = tuple(
        replace(item, split=item.split or Split.TRAIN)
        for item in items
        if item.class_name is not None and item.split is not Split.TEST
    )
    to_train = [item for item in usable if item.split is Split.TRAIN and item.medium in media]
    if len({item.class_name for item in to_train}) < 2:
        present = f"{len(items):,} items, {len(to_train):,} of them labelled, of these media and in the train split"
        wanted = f"training items of two classes or more ({', '.join(media)})"
        raise NoItemsError(path=manifest, wanted=wanted, present=present)
    if any(item.split is Split.VALIDATION for item in usable):
        return usable
    generator = np.random.default_rng(config.seed)
    return split_validation(usable, share=config.data.validation_share, generator=generator)


Rows = dict[Medium, MediumRows]


def _read_rows(items: Sequence[Item], *, model: Model, failures: FailureLog, runtime: Runtime) -> dict[Split, Rows]:
    """The rows of train and validation by medium; features are computed here where the network reads features."""
    label_by_name = {name: label for label, name in enumerate(model.class_names)}
    features: dict[str, Tensor] = {}
    if needs_features(model.config.model):
        for encoded in encode_items(items, model=model, runtime=runtime, task="features"):
            if isinstance(encoded, Failure):
                failures.add(encoded)
            else:
                features[encoded.item.item_id] = encoded.inputs
        items = [item for item in items if item.item_id in features]
    splits: dict[Split, Rows] = {Split.TRAIN: {}, Split.VALIDATION: {}}
    memory_bytes = model.config.data.memory_megabytes * 1_000_000
    for split, rows in splits.items():
        chosen = [item for item in items if (item.split is Split.VALIDATION) == (split is Split.VALIDATION)]
        for medium in dict.fromkeys(item.medium for item in chosen):
            own = [item for item in chosen if item.medium is medium]
            share = len(own) / len(items)
            reader: Reader = (
                FeatureReader([features[item.item_id] for item in own])
                if features
                else MediaReader(own, partial(encode_item, model=model), memory_bytes=int(memory_bytes * share))
            )
            label = np.array([label_by_name[item.class_name or ""] for item in own])
            rows[medium] = MediumRows(items=own, label=label, reader=reader)
    if isinstance(model.network, SharedSpace):
        for medium, each in splits[Split.TRAIN].items():
            _fit_head(model.network, medium, each, features=features, model=model)
    return splits


def _fit_head(
    network: SharedSpace, medium: Medium, rows: MediumRows, *, features: Mapping[str, Tensor], model: Model
) -> None:
    """Fits what a medium's features tell at once, before training."""
    own = [features[item.item_id] for item in rows.items]
    number_by_group: dict[str, int] = {}
    groups = [number_by_group.setdefault(each.group or each.item_id, len(number_by_group)) for each in rows.items]
    segment_count = torch.tensor([len(each) for each in own])
    named = model.encoder(medium).named_scores
    network.fit(
        medium,
        torch.cat(own),
        torch.from_numpy(rows.label).repeat_interleave(segment_count),
        group=torch.tensor(groups).repeat_interleave(segment_count),
        named_column=match_names(model.class_names, named) if named else None,
        named_scores=named,
    )


@final
class _Stages:
    """Makes the stages of a run from what the configuration says of each."""

    def __init__(
        self, manifest: Path, *, config: Config, rows: Mapping[Split, Rows], failures: FailureLog, group: Group
    ) -> None:
        self._manifest = manifest
        self._config = config
        self._rows = rows
        self._failures = failures
        self._group = group

    def build(self, stage: StageConfig) -> TrainingStage:
        """A stage on its own media.

        Raises:
            NoItemsError: There is no training item of its media.
        """
        choices = stage.choose(self._config.train)
        rows = {split: self._choose(own, stage) for split, own in self._rows.items()}
        if not rows[Split.TRAIN]:
            wanted = f"training items for stage '{stage.name}' ({', '.join(stage.media or ())})"
            present = f"items of {', '.join(self._rows[Split.TRAIN])}"
            raise NoItemsError(path=self._manifest, wanted=wanted, present=present)
        kinds = tuple(loss.kind for loss in self._config.losses)
        validate = partial(_validate, rows=rows[Split.VALIDATION], failures=self._failures)
        return TrainingStage(
            name=stage.name,
            batches=_ListedBatches(self._batches(rows[Split.TRAIN]), self._failures),
            loss_names=tuple(kind for kind in kinds if stage.losses is None or kind in stage.losses),
            epochs=choices.epochs,
            optimizer=build_optimizer_options(choices),
            schedule=build_schedule(choices),
            renewed=() if stage.keep_centers else tuple(kind for kind in kinds if kind in CENTER_KINDS),
            patience_epochs=choices.patience_epochs,
            validate=validate if _can_validate(rows[Split.VALIDATION]) else None,
        )

    def _choose(self, rows: Rows, stage: StageConfig) -> Rows:
        return {medium: each for medium, each in rows.items() if stage.media is None or medium in stage.media}

    def _batches(self, rows: Rows) -> BatchStream:
        data = self._config.data
        return BatchStream(
            CrossMediaDataset(rows),
            _sampler(rows, self._config),
            workers=data.workers,
            prefetch=data.prefetch,
            share=(self._group.place, self._group.size),
        )


def _sampler(rows: Rows, config: Config) -> Sampler:
    match config.data.order:
        case "classes":
            return CrossMediaSampler(
                {medium: each.label for medium, each in rows.items()},
                classes_per_batch=config.data.classes_per_batch,
                items_per_class=config.data.items_per_class,
                seed=config.seed,
            )
        case "lists":
            return ListSampler(
                {medium: len(each.label) for medium, each in rows.items()},
                items_per_medium=config.data.items_per_medium,
                seed=config.seed,
            )
    assert_never(config.data.order)


@final
class _ListedBatches(BatchSource):
    """Batches whose failures are put down for the receipt; the loop counts and says them."""

    def __init__(self, batches: BatchSource, failures: FailureLog) -> None:
        self._batches = batches
        self._failures = failures

    def __len__(self) -> int:
        return len(self._batches)

    def __call__(self, epoch: int, first_step: int) -> Iterator[Batch]:
        for batch in self._batches(epoch, first_step):
            for failure in batch.failures:
                self._failures.list_quietly(failure)
            yield batch


def _validate(network: nn.Module, *, rows: Rows, failures: FailureLog) -> float:
    """Mean MAP of the directions between media, strict protocol; of one medium alone where there is only one."""
    items: list[Item] = []
    vectors: list[np.ndarray] = []
    for medium, each in rows.items():
        for row, item in enumerate(each.items):
            try:
                inputs = each.reader.read(row)
            except MediaError as error:
                failures.add(Failure(item.item_id, error.kind, str(error)))
                continue
            embedding, _ = project(inputs, medium=medium, network=network)
            items += [item] * len(embedding)
            vectors.append(embedding)
    if not items:
        return 0.0
    nowhere = np.full(len(items), np.nan)
    embeddings = Embeddings(tuple(items), nowhere, nowhere, np.concatenate(vectors))
    try:
        found = evaluate(embeddings, protocol=STRICT, split=None)
    except CannotEvaluateError:
        return 0.0  # the files that cannot be read have left no two items of a class
    if found.bi_modality is not None:
        return found.bi_modality
    return float(np.mean([each.mean_average_precision for each in found.same_medium]))


def _can_validate(rows: Rows) -> bool:
    """Whether some class has two validation items, so that one can find the other."""
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *(each.label for each in rows.values())])
    return bool((np.bincount(labels) > 1).any()) if len(labels) else False


def _count(rows: Mapping[Split, Rows]) -> dict[str, dict[str, int]]:
    return {
        split.value: {medium.value: len(each.items) for medium, each in by_medium.items()}
        for split, by_medium in rows.items()
    }


class _Receipt:
    """What a run was made from and came to: `receipt.json`, written at the start and at the end."""

    def __init__(self, manifest: Path, *, model: Model, rows: Mapping[Split, Rows]) -> None:
        self._model = model
        self.counts = _count(rows)
        items = [(split, item) for split, media in rows.items() for each in media.values() for item in each.items]
        facts = sorted([item.item_id, item.medium, item.class_name or "", split] for split, item in items)
        self._items_hash = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        self._manifest_hash = hashlib.sha256(manifest.read_bytes()).hexdigest()
        self.provenance = Provenance(
            config_json=model.config.to_json(),
            class_names=model.class_names,
            seed=model.config.seed,
            code_version=__version__,
            encoder_fingerprints={medium: model.encoder(medium).fingerprint for medium in _media(rows)},
        )

    def check(self, run: Path, *, resume: bool) -> None:
        """Refuses to go on with a run that was started on other items.

        Raises:
            RunChangedError: The run's receipt names other items.
        """
        path = run / RECEIPT_NAME
        if resume and path.is_file() and json.loads(path.read_text("utf-8")).get("items_sha256") != self._items_hash:
            raise RunChangedError(path=run, what="set of items")

    def write(self, run: Path, *, failures: Sequence[Failure], result: TrainingResult | None) -> None:
        """Writes the receipt; before training ends it has no result."""
        facts = {
            "fieldmark": __version__,
            "torch": torch.__version__,
            "seed": self._model.config.seed,
            "config": json.loads(self._model.config.to_json()),
            "class_count": len(self._model.class_names),
            "counts": self.counts,
            "manifest_sha256": self._manifest_hash,
            "items_sha256": self._items_hash,
            "encoders": {medium.value: text for medium, text in self.provenance.encoder_fingerprints.items()},
            "failures": [{"item_id": f.item_id, "kind": f.kind, "message": f.message} for f in failures],
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
        write_durably(run / RECEIPT_NAME, json.dumps(facts, indent=2).encode() + b"\n")


def _media(rows: Mapping[Split, Rows]) -> list[Medium]:
    return list(dict.fromkeys(medium for by_medium in rows.values() for medium in by_medium))
