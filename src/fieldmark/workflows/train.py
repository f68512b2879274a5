"""The verb `train`: a manifest and a configuration to a run folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from fieldmark._version import __version__
from fieldmark.build import (
    Model,
    build_execution,
    build_losses,
    create_model,
    is_completed,
    list_supported_media,
)
from fieldmark.config import Config, ReadyConfig, SharedSpaceConfig
from fieldmark.config_file import load_config, parse_config
from fieldmark.data.naming import read_name_sources
from fieldmark.data.split import select_training_items, select_unlabelled_items
from fieldmark.embedding import FailureLog, hash_contents, keep_supported
from fieldmark.encoder_choice.choice import take_encoders
from fieldmark.encoders.encoder import find_form
from fieldmark.errors import NoItemsError, write_count
from fieldmark.gallery.address import EngineAccess
from fieldmark.gallery.files import open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.source import find_gallery, hash_source, read_source
from fieldmark.runtime import Runtime
from fieldmark.training.checkpoint import Provenance, load_checkpoint, write_durably
from fieldmark.training.group import Group, choose_device, open_group
from fieldmark.training.layout import RunLayout
from fieldmark.training.loop import find_run
from fieldmark.training.loop import train as run_loop
from fieldmark.training.run_info import RunInfo, check_same_data, describe_data, read_encoders
from fieldmark.training.step import WeightedLoss
from fieldmark.training.task import TrainingOptions, TrainingResult, TrainingRuntime, TrainingTask
from fieldmark.training_stages import (
    ReadItems,
    UsableItems,
    make_stage,
    name_trained_classes,
    read_items,
    read_usable_items,
)
from fieldmark.types import Failure, Item, Medium, Reporter, SilentReporter, Split
from fieldmark.workflows.marks import write_training_marks


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A run that was trained.

    Args:
        counts: Items by split and medium, after validation was taken.
        failures: Items that could not be used.
        is_first: Whether this process is the first of those that trained together, which reports for all.
    """

    run: Path
    result: TrainingResult
    class_count: int
    counts: Mapping[str, Mapping[str, int]]
    failures: tuple[Failure, ...]
    is_first: bool = True

    json_keys: ClassVar = (
        "run",
        "checkpoint=result.best_path",
        "result.best_epoch",
        "validation_map=result.best_score",
        "result.epochs",
        "result.steps",
        "result.seconds",
        "class_count",
        "counts",
        "failures",
    )

    def to_text(self) -> str:
        """Return the data, the validation score and the checkpoint as text."""
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
            f"{write_count(self.class_count, 'class', 'classes')}; {counts}",
            f"{write_count(result.epochs, 'epoch')}, {write_count(result.steps, 'step')} in {result.seconds:.0f} s",
            kept,
        ]
        if self.failures:
            lines.append(
                f"skipped {write_count(len(self.failures), 'item')}; {RunLayout(self.run).run_info} lists them"
            )
        return "\n".join([*lines, f"checkpoint: {result.best_path}"])


def train(  # noqa: PLR0913 - each option is one that the CLI offers
    manifest: Path | str,
    *,
    out: Path | str,
    config: Config | None = None,
    resume: bool = False,
    names_map: Path | str | None = None,
    extra_losses: Mapping[str, WeightedLoss] | None = None,
    runtime: Runtime | None = None,
) -> TrainReport:
    """Train on the train split of a manifest, or on what has a label in a gallery, and keep the run in a folder.

    Items without a split count as train. Where the manifest names no validation items, they are taken from train, by
    group. Files that cannot be used are skipped and listed, up to `limits.failure_share`.

    What no label covers is searched as without training: media without a labelled item, and other classes, which items
    without a label show.

    Started by `torchrun`, several processes train together: each takes its share of every batch, on a GPU of its own
    where there are GPUs, and the first one writes.

    Args:
        manifest: A manifest or a gallery, whose items have the classes of their source and those that people gave them.
        config: None takes that of the run to resume, or the default preset, for a gallery with its own encoders.
        resume: Whether to continue the run in `out`.
        names_map: A table with the columns `class_name` and `name`, which says what species a class stands for where
            its name does not. Other names of the classes are read from `taxonomy.csv` beside the manifest, if any.
        extra_losses: The caller's own losses beside those of the configuration, by name. They count in every stage. A
            run that is resumed needs the same ones.

    Raises:
        ManifestError: The manifest cannot be read or has nothing to train on.
        TrainingError: The run exists, was changed, or cannot go on.
        TooManyFailuresError: More items than allowed cannot be used.
    """
    runtime = runtime or Runtime.from_environment()
    with open_group(runtime.choose_device()) as group:
        if not group.is_first:
            runtime = replace(runtime, reporter=SilentReporter())
        return _train(
            Path(manifest),
            out=Path(out),
            config=config,
            resume=resume,
            names_map=None if names_map is None else Path(names_map),
            extra_losses=extra_losses or {},
            runtime=runtime,
            group=group,
        )


def _train(  # noqa: PLR0913 - the arguments of the verb, and the group
    manifest: Path,
    *,
    out: Path,
    config: Config | None,
    resume: bool,
    names_map: Path | None,
    extra_losses: Mapping[str, WeightedLoss],
    runtime: Runtime,
    group: Group,
) -> TrainReport:
    layout = RunLayout(out)
    has_run = find_run(out, resume=resume)
    config = config or choose_config(None, out=out, resume=resume, source=manifest, access=runtime.engine)
    media = list_supported_media(config.model)
    given = read_source(manifest, access=runtime.engine)
    generator = np.random.default_rng(config.seed)
    items = select_training_items(
        given,
        media=media,
        validation_share=config.data.validation_share,
        generator=generator,
        manifest=manifest,
    )
    items = keep_supported(items, media=media, reporter=runtime.reporter)
    items = _keep_trained_media(items, reporter=runtime.reporter)
    unlabelled = select_unlabelled_items(given, media={item.medium for item in items}, generator=generator)
    config = _complete(config, items=items, unlabelled=unlabelled)
    device = choose_device(runtime.choose_device(), group)
    begun_with = read_encoders(out) if resume else {}

    def create(config: Config, items: Sequence[Item]) -> Model:
        return create_model(
            config,
            class_names=name_trained_classes(items),
            media={item.medium for item in items},
            device=device,
            begun_with=begun_with,
            reporter=runtime.reporter,
        )

    model = create(config, items)
    unlabelled = unlabelled if is_completed(config.model) else ()
    failures = FailureLog(
        total=len(items) + len(unlabelled), allowed_share=config.limits.failure_share, reporter=runtime.reporter
    )
    usable = read_usable_items(items, unlabelled=unlabelled, model=model, failures=failures, runtime=runtime)
    if _say_what_is_lost(items, usable, manifest=manifest, reporter=runtime.reporter):
        usable = replace(usable, items=_keep_trained_media(usable.items, reporter=runtime.reporter))
        config = _complete(config, items=usable.items, unlabelled=unlabelled)
        model = create(config, usable.items)
    _say_what_labels_leave(model, given, items=items, reporter=runtime.reporter)
    read = read_items(
        usable,
        unlabelled=unlabelled,
        model=model,
        names=read_name_sources(manifest, names_map=names_map),
        runtime=runtime,
    )
    rows = read.rows
    # One process reads the files of a network that has not read them yet; the others would read the same.
    contents = read.contents if read.contents or not group.is_first else hash_contents(usable.items, runtime=runtime)
    data = describe_data(
        {split: [item for each in own.values() for item in each.items] for split, own in rows.items()},
        manifest_sha256=hash_source(manifest, access=runtime.engine),
        contents=contents,
    )
    info = RunInfo(_describe_model(model, read, begun_with=begun_with), data)
    note = check_same_data(out, data) if resume and group.is_first else None
    if note is not None:
        runtime.reporter.say(note)
    if not has_run and group.is_first:  # an older run keeps its info until its checkpoint has let this one in
        write_durably(layout.config, config.to_toml().encode())
        replace(info, failures=failures.failures).write(out)
    build_own = partial(make_stage, config=config, rows=rows, manifest=manifest, failures=failures, group=group)
    result = run_loop(
        TrainingTask(
            network=model.network,
            forward=model.network.forward_together,
            losses={**build_losses(config.losses, network=model.network, seed=config.seed), **extra_losses},
            stages=tuple(
                replace(stage, loss_names=(*stage.loss_names, *extra_losses))
                for stage in map(build_own, config.all_stages)
            ),
            item_count=sum(len(each.items) for each in rows[Split.TRAIN].values()),
        ),
        options=TrainingOptions(
            max_steps=config.train.max_steps,
            execution=build_execution(config.train, device=device),
            checkpoint_seconds=config.train.checkpoint_seconds,
            writes_tensorboard=config.train.tensorboard,
            failure_share=config.limits.failure_share,
        ),
        provenance=info.provenance,
        folder=out,
        resume=resume,
        runtime=TrainingRuntime(runtime.reporter, group),
    )
    if group.is_first:
        write_training_marks(
            out,
            (item for item in usable.items if item.split is Split.TRAIN),
            resolutions=read.resolutions,
            limits=model.limits,
        )
        replace(info, failures=failures.failures, result=result).write(out)
    return TrainReport(out, result, len(model.class_names), data.counts, failures.failures, group.is_first)


def _complete(config: Config, *, items: Sequence[Item], unlabelled: Sequence[Item]) -> Config:
    """Return a configuration whose model keeps the space without training, if labels leave a medium or an item out."""
    model = config.model
    if not isinstance(model, SharedSpaceConfig) or model.ready is not None:
        return config
    trained = {item.medium for item in items}
    if not unlabelled and trained.issuperset(list_supported_media(model)):
        return config
    return config.model_copy(update={"model": model.model_copy(update={"ready": ReadyConfig(kind="ready")})})


def _say_what_is_lost(items: Sequence[Item], usable: UsableItems, *, manifest: Path, reporter: Reporter) -> bool:
    """Report the classes and media without a training item that can be used; return whether there are any.

    Raises:
        NoItemsError: Training items of fewer than two classes can be used.
    """
    kept = name_trained_classes(usable.items)
    if len(kept) < 2:
        wanted = "training items of two classes or more that can be read"
        raise NoItemsError(path=manifest, wanted=wanted, present=f"those of {len(kept)}")
    classes = sorted(set(name_trained_classes(items)).difference(kept))
    left = {item.medium for item in usable.items if item.split is Split.TRAIN}
    media = [medium for medium in dict.fromkeys(item.medium for item in items) if medium not in left]
    for name in classes:
        reporter.say(f"{name}: none of its files for training can be used, so the model does not learn this class")
    for medium in media:
        reporter.say(f"{medium}: none of its files for training can be used, so nothing is learned from this medium")
    return bool(classes or media)


def _say_what_labels_leave(model: Model, given: Sequence[Item], *, items: Sequence[Item], reporter: Reporter) -> None:
    """Report the media, and the number of items, that are searched as without training."""
    if not is_completed(model.config.model):
        return
    labelled = Counter(item.medium for item in items)
    total = Counter(item.medium for item in given if item.split is not Split.TEST)
    for medium in model.media:
        if not labelled[medium]:
            reporter.say(f"{medium}: no item has a label; searched by its encoder alone, as without training")
        elif labelled[medium] < total[medium]:
            reporter.say(
                f"{medium}: {labelled[medium]:,} of {total[medium]:,} items have labels; what these do not cover is "
                "searched as without training"
            )


def _keep_trained_media(items: Sequence[Item], *, reporter: Reporter) -> tuple[Item, ...]:
    """Return the items without the validation items of media that no training item has, and report their number."""
    trained = {item.medium for item in items if item.split is Split.TRAIN}
    for medium, count in Counter(item.medium for item in items if item.medium not in trained).items():
        reporter.say(f"skipped {count:,} {medium} items of validation: there are none to train on")
    return tuple(item for item in items if item.medium in trained)


def choose_config(
    config: Path | str | None,
    *,
    out: Path,
    resume: bool,
    overrides: Sequence[str] = (),
    source: Path | None = None,
    access: EngineAccess | None = None,
) -> Config:
    """Load the configuration that was asked for; a resumed run without one keeps its own.

    Args:
        source: What is trained on. A gallery without a configuration is trained with its own encoders.
        access: How the engine of a gallery is reached that is no folder.
    """
    own = RunLayout(out).config
    if config is None and resume and own.is_file():
        return load_config(own, overrides=overrides)
    place = None if config is not None or source is None else find_gallery(source, access=access or EngineAccess())
    checkpoint = None if place is None else open_files(place).find(GalleryFile.CHECKPOINT)
    if checkpoint is None:
        return load_config(config, overrides=overrides)
    of_gallery = parse_config(load_checkpoint(checkpoint).provenance.config_json, path=checkpoint)
    return take_encoders(load_config(None, overrides=overrides), of_gallery)


def _describe_model(model: Model, read: ReadItems, *, begun_with: Mapping[Medium, str]) -> Provenance:
    """Return the model's origin; a resumed run keeps the fingerprints that its encoders had in an earlier version."""
    fingerprints = {}
    used = dict.fromkeys(medium for by_medium in read.rows.values() for medium in by_medium)
    for medium in model.media if is_completed(model.config.model) else used:
        encoder, begun = model.encoder(medium), begun_with.get(medium, "")
        fingerprints[medium] = begun if find_form(encoder, begun) is not None else encoder.fingerprint
    return Provenance(
        config_json=model.config.to_json(),
        class_names=model.class_names,
        seed=model.config.seed,
        code_version=__version__,
        encoder_fingerprints=fingerprints,
        resolutions=read.resolutions,
    )
