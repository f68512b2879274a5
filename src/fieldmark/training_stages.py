"""The stages of a run: the rows that each trains on, and its validation."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fieldmark.build import Model, build_sampler, build_stage, list_species, reads_features
from fieldmark.config import Config, StageConfig
from fieldmark.data.dataset import BatchStream, CrossMediaDataset, FeatureReader, MediaReader, MediumRows, Reader
from fieldmark.data.naming import (
    NameSources,
    count_votes,
    describe_resolutions,
    resolve_classes,
    settle_by_votes,
)
from fieldmark.embedding import FailureLog, embed_segments, encode_item, encode_items
from fieldmark.errors import MediaError, NoItemsError
from fieldmark.evaluation.measurement import measure_validation_map
from fieldmark.media.video import WILDCARD, list_frame_files
from fieldmark.models.completed_space import CompletedSpace, LabelledRows
from fieldmark.models.fitted import NamedWeights, match_names
from fieldmark.models.shared_space import SharedSpace
from fieldmark.names import KnownNames, Resolution
from fieldmark.origin import number_origins
from fieldmark.runtime import Runtime
from fieldmark.training.group import Group
from fieldmark.training.task import TrainingStage
from fieldmark.types import Embeddings, Failure, Form, Item, Medium, Split

Rows = Mapping[Medium, MediumRows]


@dataclass(frozen=True, slots=True)
class ReadItems:
    """Items as the rows that a run trains and validates on.

    Args:
        rows: By split and medium.
        resolutions: The species that each class stands for; empty for a network that asks no encoder for names.
        contents: The content hash of each item, by id; empty for a network that reads the files in training.
    """

    rows: Mapping[Split, Rows]
    resolutions: tuple[Resolution, ...]
    contents: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UsableItems:
    """Items without those that nothing can be learned from.

    Args:
        features: Of each item, by id; empty for a network that reads the files in training.
        contents: The content hash of each item, by id; likewise.
    """

    items: tuple[Item, ...]
    features: Mapping[str, Tensor]
    contents: Mapping[str, str]


def name_trained_classes(items: Iterable[Item]) -> tuple[str, ...]:
    """Return the classes of the training items, sorted: one that only validation has is one that no model saw."""
    return tuple(sorted({each.class_name or "" for each in items if each.split is Split.TRAIN}))


def read_usable_items(
    items: Sequence[Item],
    *,
    unlabelled: Sequence[Item] = (),
    model: Model,
    failures: FailureLog,
    runtime: Runtime,
) -> UsableItems:
    """Return the items that can be used; features are computed here if the network reads features.

    A network that reads files in training meets most unusable files only then. Here it reads files until one of each
    class and of each medium can be used, so that no class counts as trained of which it never sees an item.

    Args:
        unlabelled: Items that show what the labels do not cover, for a network that asks.

    Raises:
        TooManyFailuresError: More items than allowed cannot be used.
    """
    if not reads_features(model.config.model):
        kept = _drop_unreadable(items, model=model, failures=failures)
        failures.check()
        return UsableItems(kept, {}, {})
    features, contents = _read_features([*items, *unlabelled], model=model, failures=failures, runtime=runtime)
    failures.check()  # behind the last one, so that all are listed and no features are lost
    kept = tuple(item for item in items if item.item_id in features)
    return UsableItems(kept, features, {item.item_id: contents[item.item_id] for item in kept})


def _drop_unreadable(items: Sequence[Item], *, model: Model, failures: FailureLog) -> tuple[Item, ...]:
    """Return the items without those of training of whose class, or of whose medium, no file can be read."""
    unreadable: dict[str, MediaError] = {}
    readable: set[str] = set()

    def is_readable(item: Item) -> bool:
        if item.item_id not in unreadable and item.item_id not in readable:
            try:
                encode_item(item, model=model)
            except MediaError as error:
                unreadable[item.item_id] = error
            else:
                readable.add(item.item_id)
        return item.item_id in readable

    by_part: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.split is Split.TRAIN:
            by_part[f"class {item.class_name or ''}"].append(item)
            by_part[f"medium {item.medium}"].append(item)
    lost = {each.item_id for part in by_part.values() if not any(map(is_readable, part)) for each in part}
    for item_id in sorted(lost):
        failures.add(Failure(item_id, unreadable[item_id].kind, str(unreadable[item_id])))
    return tuple(item for item in items if item.item_id not in lost)


def read_items(
    usable: UsableItems,
    *,
    unlabelled: Sequence[Item] = (),
    model: Model,
    names: NameSources,
    runtime: Runtime,
) -> ReadItems:
    """Arrange items as rows, and fit what their features determine at once.

    Args:
        unlabelled: Items that show what the labels do not cover, for a network that asks.

    Raises:
        ManifestError: The names map has a class that is not there, or a name that no encoder knows.
    """
    features, contents = usable.features, usable.contents
    splits = _split_rows(usable.items, features=features, model=model)
    network = model.network.learned if isinstance(model.network, CompletedSpace) else model.network
    if not isinstance(network, SharedSpace):
        return ReadItems(splits, (), contents)
    known = KnownNames(species for medium in splits[Split.TRAIN] for species in list_species(model.encoder(medium)))
    resolutions = _resolve(splits[Split.TRAIN], features=features, known=known, names=names, model=model)
    for line in describe_resolutions(resolutions):
        runtime.reporter.say(line)
    species = [known.find_all_names(each.names) for each in resolutions]
    for medium, each in splits[Split.TRAIN].items():
        weights = _fit_head(network, medium, each, features=features, model=model, species=species)
        if weights is not None and not weights.is_measured:
            runtime.reporter.say(
                f"{medium}: too few groups to measure what the encoder's own scores are worth beside what is learned; "
                f"their share is guessed as {weights.share:.2f}. Give classes two groups or more"
            )
        if isinstance(model.network, CompletedSpace):
            others = [features[i.item_id] for i in unlabelled if i.medium is medium and i.item_id in features]
            _fit_coverage(model.network, medium, each, features=features, others=others, model=model, species=species)
    return ReadItems(splits, resolutions, contents)


def _read_features(
    items: Sequence[Item], *, model: Model, failures: FailureLog, runtime: Runtime
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the features and the content hash of each item that can be read, by id."""
    features: dict[str, Tensor] = {}
    contents: dict[str, str] = {}
    for encoded in encode_items(items, model=model, runtime=runtime, task="features"):
        if isinstance(encoded, Failure):
            failures.add(encoded)
        else:
            failures.warn(encoded.item.item_id, encoded.warnings)
            features[encoded.item.item_id] = encoded.inputs
            contents[encoded.item.item_id] = encoded.content_hash
    return features, contents


def _split_rows(
    items: Sequence[Item], *, features: Mapping[str, Tensor], model: Model
) -> dict[Split, dict[Medium, MediumRows]]:
    # Classes that only validation has: retrieval can be measured on them, and the network has no class for them.
    others = sorted({item.class_name or "" for item in items} - set(model.class_names))
    label_by_name = {name: label for label, name in enumerate([*model.class_names, *others])}
    splits: dict[Split, dict[Medium, MediumRows]] = {Split.TRAIN: {}, Split.VALIDATION: {}}
    origin_by_id = dict(zip((item.item_id for item in items), number_origins(items).tolist(), strict=True))
    memory_bytes = model.config.data.memory_megabytes * 1_000_000
    for split, rows in splits.items():
        chosen = [item for item in items if (item.split is Split.VALIDATION) == (split is Split.VALIDATION)]
        for medium in dict.fromkeys(item.medium for item in chosen):
            own = [item for item in chosen if item.medium is medium]
            share = len(own) / len(items)
            if model.config.data.frame_rows and split is Split.TRAIN and not features:
                own = [row for item in own for row in _list_frame_rows(item)]
            reader: Reader = (
                FeatureReader([features[item.item_id] for item in own])
                if features
                else MediaReader(own, partial(encode_item, model=model), memory_bytes=int(memory_bytes * share))
            )
            label = np.array([label_by_name[item.class_name or ""] for item in own])
            origin = np.array([origin_by_id[item.item_id] for item in own])
            rows[medium] = MediumRows(items=own, label=label, reader=reader, origin=origin)
    return splits


def _list_frame_rows(item: Item) -> list[Item]:
    """Return a row for each of a video's numbered pictures, with its id; any other item is one row.

    A video whose pictures cannot be found stays one row, which fails when it is read.
    """
    if item.form is not Form.FRAMES or item.path is None:
        return [item]
    try:
        files = list_frame_files(item.path, numbers=item.frame_numbers)
    except MediaError:
        return [item]
    prefix, _, suffix = item.path.name.partition(WILDCARD)
    numbers = [int(file.name.removeprefix(prefix).removesuffix(suffix)) for file in files]
    kept = tuple(pair for pair in item.extra if pair[0] != "frame_numbers")
    return [replace(item, extra=(*kept, ("frame_numbers", str(number)))) for number in numbers]


def _resolve(
    rows: Rows, *, features: Mapping[str, Tensor], known: KnownNames, names: NameSources, model: Model
) -> tuple[Resolution, ...]:
    """Return the species that each class stands for, by its names and by how the encoders name its training items."""
    resolutions = resolve_classes(model.class_names, known, sources=names)
    votes = [
        count_votes(own.items, features, origin=own.origin, named_scores=named, known=known)
        for medium, own in rows.items()
        if (named := model.encoder(medium).named_scores)
    ]
    return settle_by_votes(resolutions, votes, known=known)


def _fit_head(
    network: SharedSpace,
    medium: Medium,
    rows: MediumRows,
    *,
    features: Mapping[str, Tensor],
    model: Model,
    species: Sequence[Sequence[str]],
) -> NamedWeights | None:
    """Fit the parts of the network that a medium's features determine at once, before training.

    Return the weights of the encoder's named scores; None where it names no class.
    """
    own = _stack_rows(rows, features)
    return network.fit(
        medium,
        own.features,
        own.label,
        group=own.group,
        class_species=species,
        named_scores=model.encoder(medium).named_scores,
    )


def _fit_coverage(  # noqa: PLR0913 - as `_fit_head`, and the items without labels
    network: CompletedSpace,
    medium: Medium,
    rows: MediumRows,
    *,
    features: Mapping[str, Tensor],
    others: Sequence[Tensor],
    model: Model,
    species: Sequence[Sequence[str]],
) -> None:
    """Fit what labels cover in a medium; where every item has a label, they cover all."""
    if not others:
        return
    labelled = sorted(set(rows.label.tolist()))
    column = match_names([species[label] for label in labelled], model.encoder(medium).named_scores)
    named_column = torch.unique(column[column >= 0])
    network.fit_coverage(
        medium, _stack_rows(rows, features), unlabelled=torch.cat(list(others)), named_column=named_column
    )


def _stack_rows(rows: MediumRows, features: Mapping[str, Tensor]) -> LabelledRows:
    """Return the segments of items as rows."""
    own = [features[item.item_id] for item in rows.items]
    segment_count = torch.tensor([len(each) for each in own])
    return LabelledRows(
        torch.cat(own),
        torch.from_numpy(rows.label).repeat_interleave(segment_count),
        torch.from_numpy(rows.origin).repeat_interleave(segment_count),
    )


def make_stage(
    stage: StageConfig,
    *,
    config: Config,
    rows: Mapping[Split, Rows],
    manifest: Path,
    failures: FailureLog,
    group: Group,
) -> TrainingStage:
    """Return a stage on its own media.

    Raises:
        NoItemsError: There is no training item of its media.
    """
    chosen = {
        split: {medium: each for medium, each in own.items() if stage.media is None or medium in stage.media}
        for split, own in rows.items()
    }
    to_train, to_validate = chosen[Split.TRAIN], chosen[Split.VALIDATION]
    if not to_train:
        wanted = f"training items for stage '{stage.name}' ({', '.join(stage.media or ())})"
        raise NoItemsError(path=manifest, wanted=wanted, present=f"items of {', '.join(rows[Split.TRAIN])}")
    batches = BatchStream(
        CrossMediaDataset(to_train),
        build_sampler(config, {medium: each.label for medium, each in to_train.items()}),
        workers=config.data.workers,
        prefetch=config.data.prefetch,
        share=(group.index, group.size),
        on_failure=failures.list_quietly,  # the loop counts and reports them
    )
    validate = partial(_validate, rows=to_validate, failures=failures) if _can_validate(to_validate) else None
    return build_stage(stage, config, batches=batches, validate=validate)


def _validate(network: nn.Module, *, rows: Rows, failures: FailureLog) -> float | None:
    """Return the validation MAP of a network; None where too few files can be read to measure it."""
    items: list[Item] = []
    vectors: list[np.ndarray] = []
    for medium, each in rows.items():
        for row, item in enumerate(each.items):
            try:
                inputs = each.reader.read(row)
            except MediaError as error:
                failures.add(Failure(item.item_id, error.kind, str(error)))
                continue
            embedding, _ = embed_segments(inputs, medium=medium, network=network)
            items += [item] * len(embedding)
            vectors.append(embedding)
    failures.check()
    if not items:
        return None
    no_time = np.full(len(items), np.nan)
    return measure_validation_map(Embeddings(tuple(items), no_time, no_time, np.concatenate(vectors)))


def _can_validate(rows: Rows) -> bool:
    """Return whether some class has two validation items, so that one can find the other."""
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *(each.label for each in rows.values())])
    return bool((np.bincount(labels) > 1).any()) if len(labels) else False
