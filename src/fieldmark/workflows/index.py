"""The verb `index`: a manifest, a folder of files, or an embeddings folder into a gallery."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from fieldmark.build import Model, load_model, make_ready_checkpoint
from fieldmark.config import Config
from fieldmark.config_file import load_config
from fieldmark.data.embedded_facts import complete_items
from fieldmark.data.folder import LINK_OUTSIDE, FolderChoice, FolderContent, PassedOver, list_folder
from fieldmark.data.manifest import read_manifest
from fieldmark.data.shards import INFO_NAME, EmbeddingsInfo, read_content_hashes, read_embeddings
from fieldmark.embedding import FailureLog, embed_items, hash_contents, keep_supported
from fieldmark.encoder_choice.choice import EncoderChoice, make_ready_config
from fieldmark.errors import (
    ConfigError,
    EncoderChangedError,
    EncoderFilesError,
    FieldmarkError,
    GalleryError,
    MissingExtraError,
    MissingGalleryError,
    NoItemsError,
    check_failure_share,
    write_count,
)
from fieldmark.gallery.files import GalleryPlace, name_place, open_files
from fieldmark.gallery.item_state import FileStamps, hash_states, read_content_hash
from fieldmark.gallery.labels import LabelKeeper, relabel, relabel_items, restore_classes
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.naming.stored_names import copy_taxonomy, record_species
from fieldmark.gallery.opening import create_store, find_store, open_place
from fieldmark.gallery.search.fitting import recalibrate
from fieldmark.gallery.search.survey import survey_names
from fieldmark.gallery.sets import SetContent, find_gone_ids, list_set, rename_items
from fieldmark.gallery.sources import SetSource, choose_set, read_sources, record_set
from fieldmark.gallery.store import SegmentIndex
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime
from fieldmark.training.checkpoint import save_checkpoint, write_durably
from fieldmark.training.layout import find_checkpoint
from fieldmark.types import Embeddings, Failure, Item, ItemWarning, Medium, Reporter
from fieldmark.workflows.marks import MarkSourcesRead, MarksReport, bring_marks_up_to_date, read_mark_sources

BLOCK_ROWS = 4096
"""Rows of an embeddings folder added in one commit."""
BLOCK_ITEMS = 1024
"""Items with corrected facts added in one commit."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The items that `index` added, skipped and deleted, and the totals of the gallery.

    Args:
        added_count: Items that are new or replaced.
        replaced_count: Those of them that were there with other content.
        corrected_count: Items that got other facts, without being encoded again.
        unchanged_count: Items that were there already.
        dropped_count: Items that the set's source lists no more.
        counts: Items of the gallery by medium.
        failed_count: Items whose files could not be used; `failures` also lists files of no medium.
        passed_over: Files of a folder that are no part of the collection.
        warnings: What is in doubt of items that were added.
        marks: What the gallery knows of the marks of species; None where it knows nothing.
    """

    gallery: Path | str
    set_name: str
    added_count: int
    replaced_count: int
    corrected_count: int
    unchanged_count: int
    dropped_count: int
    segment_count: int
    counts: Mapping[str, int]
    failures: tuple[Failure, ...]
    failed_count: int = 0
    passed_over: tuple[PassedOver, ...] = ()
    warnings: tuple[ItemWarning, ...] = ()
    marks: MarksReport | None = None

    json_keys: ClassVar = (
        "gallery",
        "set_name",
        "added_count",
        "replaced_count",
        "corrected_count",
        "unchanged_count",
        "dropped_count",
        "item_count",
        "segment_count",
        "counts",
        "failures",
        "passed_over",
        "warnings",
        "marks",
    )

    @property
    def item_count(self) -> int:
        """The number of items of the gallery."""
        return sum(self.counts.values())

    def check_failures(self, *, allowed_share: float | None) -> None:
        """Check that enough items could be used; all that could be are stored.

        Raises:
            TooManyFailuresError: More than the share could not.
        """
        reasons = [f"{each.item_id}: {each.message}" for each in self.failures]
        total = self.added_count + self.unchanged_count + self.failed_count
        check_failure_share(reasons[len(reasons) - self.failed_count :], total=total, allowed_share=allowed_share)

    def to_text(self) -> str:
        """Return what was added, skipped and deleted, and what the gallery holds."""
        counts = ", ".join(f"{count:,} {medium}" for medium, count in self.counts.items())
        replaced = f", {self.replaced_count:,} of them replaced" if self.replaced_count else ""
        corrected = f"; facts of {self.corrected_count:,} corrected" if self.corrected_count else ""
        dropped = f"; deleted {self.dropped_count:,} that are gone" if self.dropped_count else ""
        lines = [
            f"set '{self.set_name}': added {write_count(self.added_count, 'item')}{replaced}; "
            f"{self.unchanged_count:,} unchanged{corrected}{dropped}"
        ]
        if self.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(f.kind for f in self.failures).items())
            lines.append(f"skipped {len(self.failures):,} that cannot be used ({kinds}); --json lists them")
        if self.warnings:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(w.kind for w in self.warnings).items())
            lines.append(f"used {len(self.warnings):,} with a warning ({kinds}); --json lists them")
        lines += [each.to_text() for each in self.passed_over]
        if self.marks is not None:
            lines.append(self.marks.to_text())
        held, segments = write_count(self.item_count, "item"), write_count(self.segment_count, "segment")
        lines.append(f"{self.gallery} holds {held} ({counts}), {segments}")
        return "\n".join(lines)


def index(  # noqa: PLR0913 - each option is one that the CLI offers
    source: Path | str,
    *,
    gallery: Path | str,
    checkpoint: Path | str | None = None,
    config: Config | None = None,
    encoders: EncoderChoice | None = None,
    set_name: str | None = None,
    allow_drop: bool = False,
    choice: FolderChoice | None = None,
    verify_content: bool = False,
    traits: Path | str | None = None,
    runtime: Runtime | None = None,
) -> IndexReport:
    """Bring a set of a gallery up to date with its source: add new items, skip unchanged ones, delete those gone.

    Every block of items is durable once it is added, so a run that was killed continues where it stopped.

    Args:
        source: A manifest, a folder of files without labels, or an embeddings folder.
        gallery: A folder, or an address such as `milvus://host:port/name`.
        checkpoint: A run or a checkpoint; None for that of a gallery which is there already, or, where there is none,
            for encoders alone, without training.
        config: Names the encoders of a gallery that is made without a checkpoint; None takes the preset `ready`.
        encoders: The same, before those of the configuration.
        set_name: None for that of the source: the name of its manifest or folder.
        allow_drop: Whether more than half of the set may be dropped.
        choice: What of a folder is wanted; None for all but what machines make.
        verify_content: Whether files are read again whose size and modification time are as they were.
        traits: A table of the marks of species, by which descriptions find items beside the book of `encoders`; both
            are kept in the gallery until others are given.

    Raises:
        ConfigError: Encoders are named beside a checkpoint, which has its own.
        MissingGalleryError: There is no gallery, and no checkpoint for the embeddings folder to make one with.
        GalleryError: The gallery, or the embeddings folder, was made with another model.
        ManifestError: The source cannot be read or is empty.
        GalleryError: Another source has the set's name.
        GalleryError: Most of the set is gone from its source.
    """
    source, runtime = Path(source), runtime or Runtime.from_environment()
    folder = open_place(gallery, access=runtime.engine)
    is_new = checkpoint is None and open_files(folder).find(GalleryFile.CHECKPOINT) is None
    descriptions = None if encoders is None else encoders.descriptions
    told = read_mark_sources(descriptions=descriptions, traits=None if traits is None else Path(traits))
    if not is_new and encoders is not None and not replace(encoders, descriptions=None).is_empty:
        raise ConfigError(
            f"'{checkpoint or gallery}' has its own encoders. Give no others, or make a new gallery with them."
        )
    if is_new:
        if (source / INFO_NAME).is_file():
            raise MissingGalleryError(path=name_place(folder))
        _begin_without_training(folder, config or load_config("ready"), encoders or EncoderChoice(), runtime)
    model, store = _open(folder, checkpoint, runtime)
    follows_links = choice is not None and choice.follows_links
    origin = SetSource.from_path(source, gallery=folder, follows_links=follows_links)
    name = choose_set(folder, source=origin, chosen=set_name)
    known = SetContent.from_store(store, name, root=origin.root)
    stamps = FileStamps(folder, known.own, root=origin.root, is_trusted=not verify_content)
    if (source / INFO_NAME).is_file():
        work = _plan_embeddings(source, known=known, model=model, runtime=runtime)
    else:
        work = _plan_items(source, choice=choice, known=known, store=store, stamps=stamps, model=model, runtime=runtime)
    gone = find_gone_ids(
        known.own if work.split is None else list_set(store, name, split=work.split),
        listed=work.listed,
        failures=[each for each in work.log.failures if each.kind != LINK_OUTSIDE],
        set_name=name,
        allow_drop=allow_drop,
    )
    _follow_source(folder, name, source=origin, store=store)
    with store.loading() if work.is_embedded else nullcontext():
        added, replaced = _add_blocks(folder, work, known=known, store=store, stamps=stamps, runtime=runtime)
    dropped = store.remove(gone)
    stamps.write(gone=gone)
    return _finish(
        folder,
        source,
        model=model,
        store=store,
        runtime=runtime,
        work=work,
        changed=_Changes(name, added, replaced, dropped),
        told=told,
        checkpoint=checkpoint,
    )


@dataclass(frozen=True, slots=True)
class _Changes:
    """The number of items of a set that were stored, and of those that were there before, and of those deleted."""

    set_name: str
    stored_count: int
    replaced_count: int
    dropped_count: int


def _follow_source(folder: GalleryPlace, name: str, *, source: SetSource, store: SegmentIndex) -> None:
    """Record where a set comes from; files of a source that was moved are stored where they are now."""
    earlier = read_sources(folder).get(name)
    if earlier is not None and earlier.root != source.root:
        store.move_files(str(earlier.root), to=str(source.root), set_name=name)
    record_set(folder, name, source=source)


def _add_blocks(
    folder: GalleryPlace, work: "_Work", *, known: SetContent, store: SegmentIndex, stamps: FileStamps, runtime: Runtime
) -> tuple[int, int]:
    """Add the new and the corrected items, with the classes that people gave them; return the numbers of both.

    Labels come with the items, so that a run which is cut short leaves none without its own.
    """

    def is_there(item_id: str, content_hash: str) -> bool:
        if item_id not in known.own:
            return item_id in known.others
        return item_id in work.listed and read_content_hash(known.own[item_id]) == content_hash

    keeper = LabelKeeper(folder, store, is_there=is_there)
    for start in range(0, len(work.corrected), BLOCK_ITEMS):
        corrected = work.corrected[start : start + BLOCK_ITEMS]
        contents = {item.item_id: read_content_hash(known.own[item.item_id]) for item in corrected}
        as_listed = [work.as_listed(item) for item in corrected]
        states = hash_states(as_listed, contents, root=known.root)
        with keeper.label(corrected, contents) as class_by_id:
            store.update_facts(relabel_items(corrected, class_by_id), content_hash_by_item_id=states)
        stamps.note(as_listed, contents)
        runtime.reporter.step("add", done=start + len(corrected), total=work.fresh_count)
    added = replaced = 0
    for embeddings, hashes in work.blocks:
        items = tuple(dict.fromkeys(embeddings.items))
        as_listed = [work.as_listed(item) for item in items]
        states = hash_states(as_listed, hashes, root=known.root)
        with keeper.label(items, hashes) as class_by_id:
            known.add(store, relabel(embeddings, class_by_id), states)
        stamps.note(as_listed, hashes)
        added += len(states)
        replaced += len(states.keys() & known.own.keys())
        runtime.reporter.step("add", done=len(work.corrected) + added, total=work.fresh_count)
    return added, replaced


def _finish(  # noqa: PLR0913 - a gallery, and what was done with it
    folder: GalleryPlace,
    source: Path,
    *,
    model: Model,
    store: SegmentIndex,
    runtime: Runtime,
    work: "_Work",
    changed: _Changes,
    told: MarkSourcesRead,
    checkpoint: Path | str | None,
) -> IndexReport:
    """Bring what a gallery derives from its items up to date, and return what was done."""
    finished = open_files(folder).find(GalleryFile.FINISHED)
    is_new = finished is None or finished.read_text(encoding="ascii") != str(store.version)
    if changed.stored_count or work.corrected or changed.dropped_count:
        store.optimize()
    copy_taxonomy(source, folder=folder)
    counts = store.count_by_medium()
    record_species(
        folder, media=[medium for medium, count in counts.items() if count], named_species=model.named_species
    )
    restore_classes(folder, store)
    encoder = ModelQueryEncoder(model, runtime=runtime)
    has_vectors = encoder.embed_class_name(next(iter(encoder.class_names), "bird")) is not None
    marks = bring_marks_up_to_date(folder, told=told, checkpoint=checkpoint, has_vectors=has_vectors)
    if is_new or marks.is_changed:
        recalibrate(folder, index=store, encoder=encoder)
    if is_new:
        survey_names(folder, index=store, encoder=encoder)
    if is_new or marks.is_changed:
        open_files(folder).write(GalleryFile.FINISHED, str(store.version).encode())
    return IndexReport(
        gallery=name_place(folder),
        set_name=changed.set_name,
        added_count=changed.stored_count,
        replaced_count=changed.replaced_count,
        corrected_count=len(work.corrected),
        unchanged_count=work.unchanged_count,
        dropped_count=changed.dropped_count,
        segment_count=store.segment_count(),
        counts={medium.value: count for medium, count in counts.items()},
        failures=work.log.failures,
        failed_count=len(work.log.counted),
        passed_over=work.passed_over,
        warnings=work.log.warnings,
        marks=marks.report,
    )


def _begin_without_training(folder: GalleryPlace, config: Config, encoders: EncoderChoice, runtime: Runtime) -> None:
    """Write the checkpoint of a new gallery whose model is encoders alone."""
    ready = make_ready_config(config, encoders, models=runtime.models_folder, reporter=runtime.reporter)
    made = make_ready_checkpoint(ready, reporter=runtime.reporter)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / GalleryFile.CHECKPOINT
        save_checkpoint(path, made)
        _write_checkpoint(folder, path.read_bytes())


def _open(folder: GalleryPlace, checkpoint: Path | str | None, runtime: Runtime) -> tuple[Model, SegmentIndex]:
    """Return the model and the store of a gallery; a store that is missing, or was only begun, is created."""
    own = open_files(folder).find(GalleryFile.CHECKPOINT)
    source = own if checkpoint is None and own is not None else Path(checkpoint or GalleryFile.CHECKPOINT)
    model = load_model(source, device=runtime.choose_device())
    content = find_checkpoint(source).read_bytes()
    store = find_store(folder, fingerprint=model.fingerprint, is_raw=True)
    if store is None:
        # A gallery that was only begun may hold the checkpoint of another model.
        _write_checkpoint(folder, content)
        return model, create_store(folder, fingerprint=model.fingerprint, dim=model.network.dim)
    if own is None:
        _write_checkpoint(folder, content)
    return model, store


def _write_checkpoint(folder: GalleryPlace, content: bytes) -> None:
    if isinstance(folder, Path):
        write_durably(folder / GalleryFile.CHECKPOINT, content)
    else:
        folder.write(GalleryFile.CHECKPOINT, content)


Blocks = Iterator[tuple[Embeddings, dict[str, str]]]


@dataclass(frozen=True, slots=True)
class _Work:
    """The items to embed, to skip and to delete for a source.

    Args:
        blocks: The new and the corrected items, embedded as they are asked for, with their content hashes by id.
        listed: Ids, as they are stored, of all that the source lists, usable or not.
        listed_items: Of a manifest or folder, by id, without the facts that come from inside their files.
        corrected: Items whose facts alone have changed, which keep their embeddings.
        split: The only split that the source lists; None for all.
        is_embedded: Whether the blocks are there, so that writing them is all there is to do.
    """

    blocks: Blocks
    log: FailureLog
    listed: frozenset[str]
    fresh_count: int
    unchanged_count: int
    corrected: tuple[Item, ...] = ()
    split: str | None = None
    is_embedded: bool = False
    passed_over: tuple[PassedOver, ...] = ()
    listed_items: Mapping[str, Item] = field(default_factory=dict)

    def as_listed(self, item: Item) -> Item:
        """Return an item as its source has it: its state does not depend on facts from inside the file."""
        return self.listed_items.get(item.item_id, item)


def _plan_items(  # noqa: PLR0913 - the parts of one run
    source: Path,
    *,
    choice: FolderChoice | None,
    known: SetContent,
    store: SegmentIndex,
    stamps: FileStamps,
    model: Model,
    runtime: Runtime,
) -> _Work:
    """Plan the work for a manifest or a folder."""
    content = (
        list_folder(
            source,
            choice=choice,
            stamps=stamps.list_plain(media=model.media),
            recall_medium=partial(_recall_medium, known, stamps),
        )
        if source.is_dir()
        else FolderContent(read_manifest(source))
    )
    listed, not_media = content.items, content.failures
    listed = rename_items(listed, known.assign_ids([*content.unchanged, *(item.item_id for item in listed)]))
    items = keep_supported(listed, media=model.media, reporter=runtime.reporter)
    if not items and not content.unchanged:
        wanted = f"items that the model takes ({', '.join(model.media)})"
        raise NoItemsError(path=source, wanted=wanted, present=f"{len(listed) + len(not_media)} others")
    found = known.compare(items, stamps=stamps, hash_many=lambda some: hash_contents(some, runtime=runtime))
    found = found.separate_reformed(store)
    fresh = _leave_out_missing_encoders(found.fresh, model=model, reporter=runtime.reporter)
    completed = complete_items(fresh, reporter=runtime.reporter)
    found = replace(found, corrected=complete_items(found.corrected))
    log = FailureLog(total=len(items), allowed_share=None, reporter=runtime.reporter)
    log.list_only(not_media)
    for each in content.passed_over:
        runtime.reporter.say(each.to_text())
    return _Work(
        embed_items(completed, model=model, runtime=runtime, failures=log),
        log,
        content.unchanged.union(item.item_id for item in listed),
        fresh_count=len(fresh) + len(found.corrected),
        corrected=found.corrected,
        unchanged_count=len(content.unchanged) + len(found.unchanged),
        passed_over=content.passed_over,
        listed_items={item.item_id: item for item in items},
    )


def _recall_medium(known: SetContent, stamps: FileStamps, item_id: str, path: Path) -> Medium | None:
    return stamps.recall_medium(known.list_ids(item_id), path)


def _leave_out_missing_encoders(fresh: Sequence[Item], *, model: Model, reporter: Reporter) -> list[Item]:
    """Return new items without those whose encoder cannot be loaded now; they are added once it is back.

    Raises:
        MissingExtraError, EncoderFilesError, EncoderChangedError: There is no encoder for any of them.
    """
    counts = Counter(item.medium for item in fresh)
    missing: dict[Medium, FieldmarkError] = {}
    for medium in counts:
        try:
            model.encoder(medium)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError) as error:
            missing[medium] = error
    if missing and len(missing) == len(counts):
        raise next(iter(missing.values()))
    for medium, reason in missing.items():
        reporter.say(
            f"skipped {counts[medium]:,} new {medium} items: {reason} What the gallery holds of {medium} is still found"
        )
    return [item for item in fresh if item.medium not in missing]


def _plan_embeddings(source: Path, *, known: SetContent, model: Model, runtime: Runtime) -> _Work:
    """Plan the work for an embeddings folder; what could not be embedded counts as listed."""
    embeddings, info = read_embeddings(source)
    if info.fingerprint != model.fingerprint:
        raise GalleryError(
            f"The embeddings '{source}' have the fingerprint {info.fingerprint[:12]}, but the gallery was built with "
            f"{model.fingerprint[:12]}. Use the checkpoint the gallery was built with, or build a new gallery.",
            kind="encoder_mismatch",
        )
    hashes = read_content_hashes(source)
    stored_id = known.assign_ids([*hashes, *(failure.item_id for failure in info.failures)])
    embeddings = replace(embeddings, items=rename_items(embeddings.items, stored_id))
    hashes = {stored_id[item_id]: content for item_id, content in hashes.items()}
    states = hash_states(embeddings.items, hashes, root=known.root)
    fresh_rows = np.flatnonzero([known.own.get(item.item_id) != states[item.item_id] for item in embeddings.items])
    fresh_count = len({embeddings.items[row].item_id for row in fresh_rows})
    return _Work(
        _split_blocks(embeddings, fresh_rows, hashes, runtime.reporter),
        FailureLog(total=len(states), allowed_share=None, reporter=runtime.reporter),
        frozenset(stored_id.values()),
        fresh_count=fresh_count,
        unchanged_count=len(states) - fresh_count,
        split=_only_split(info),
        is_embedded=True,
    )


def _only_split(info: EmbeddingsInfo) -> str | None:
    """Return the split that was embedded; None where all were."""
    split = info.facts.get("split")
    return split if isinstance(split, str) and split != "all" else None


def _split_blocks(
    embeddings: Embeddings, rows: Int[np.ndarray, " row"], hashes: Mapping[str, str], reporter: Reporter
) -> Blocks:
    """Yield whole items, about `BLOCK_ROWS` rows at a time."""
    ids = [embeddings.items[row].item_id for row in rows]
    starts = [row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1]]
    begin = 0
    for end in [*starts[1:], len(ids)]:
        if end - begin < BLOCK_ROWS and end < len(ids):
            continue
        chosen = rows[begin:end]
        block = Embeddings(
            items=tuple(embeddings.items[row] for row in chosen),
            start_seconds=embeddings.start_seconds[chosen],
            end_seconds=embeddings.end_seconds[chosen],
            embedding=embeddings.embedding[chosen],
        )
        yield block, {item_id: hashes[item_id] for item_id in ids[begin:end]}
        reporter.step("index", done=end, total=len(ids))
        begin = end
