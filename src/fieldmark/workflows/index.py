"""The verb `index`: a manifest, a folder of files, or an embeddings folder into a gallery."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from fieldmark.build import Model, load_model
from fieldmark.data.manifest import list_folder, read_manifest
from fieldmark.data.shards import INFO_NAME, EmbeddingsInfo, read_content_hashes, read_embeddings
from fieldmark.embedding import FailureLog, ModelQueryEncoder, embed_items, keep_supported
from fieldmark.errors import GalleryError, MediaError, MissingGalleryError, NoItemsError, TakenItemIdError
from fieldmark.gallery.labels import restore_classes
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.names import copy_taxonomy, record_species
from fieldmark.gallery.search.recalibration import recalibrate
from fieldmark.gallery.sets import choose_set, gone_ids, record_set, renamed, stored_ids
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.media.loaders import hash_content
from fieldmark.runtime import Runtime
from fieldmark.training.checkpoint import write_durably
from fieldmark.training.layout import find_checkpoint
from fieldmark.types import Embeddings, Failure, Item, Reporter

BLOCK_ROWS = 4096
"""Rows of an embeddings folder added in one commit."""

PAGE_ITEMS = 50_000
"""Items of a set looked at together."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `index` did, and what the gallery holds now.

    Args:
        added_count: Items that are new or replaced.
        replaced_count: Those of them that were there with other content or other facts.
        unchanged_count: Items that were there already.
        dropped_count: Items that the set's source lists no more.
        counts: Items of the gallery by medium.
    """

    gallery: Path
    set_name: str
    added_count: int
    replaced_count: int
    unchanged_count: int
    dropped_count: int
    segment_count: int
    counts: Mapping[str, int]
    failures: tuple[Failure, ...]

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "gallery": str(self.gallery),
            "set_name": self.set_name,
            "added_count": self.added_count,
            "replaced_count": self.replaced_count,
            "unchanged_count": self.unchanged_count,
            "dropped_count": self.dropped_count,
            "item_count": sum(self.counts.values()),
            "segment_count": self.segment_count,
            "counts": dict(self.counts),
            "failures": [asdict(failure) for failure in self.failures],
        }

    def to_text(self) -> str:
        """What was added, passed over, and is there."""
        counts = ", ".join(f"{count:,} {medium}" for medium, count in self.counts.items())
        replaced = f", {self.replaced_count:,} of them in place of an older state" if self.replaced_count else ""
        dropped = f"; dropped {self.dropped_count:,} that are gone" if self.dropped_count else ""
        lines = [
            f"set '{self.set_name}': added {self.added_count:,} items{replaced}; "
            f"{self.unchanged_count:,} were there unchanged{dropped}"
        ]
        if self.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(f.kind for f in self.failures).items())
            lines.append(f"passed over {len(self.failures):,} that cannot be used ({kinds}); --json lists them")
        lines.append(
            f"{self.gallery} holds {sum(self.counts.values()):,} items ({counts}), {self.segment_count:,} segments"
        )
        return "\n".join(lines)


def index(
    source: Path | str,
    *,
    gallery: Path | str,
    checkpoint: Path | str | None = None,
    set_name: str | None = None,
    allow_drop: bool = False,
    runtime: Runtime | None = None,
) -> IndexReport:
    """Makes a set of a gallery what a source is: adds what is new, passes over what is unchanged, drops what is gone.

    Every block of items is durable once it is added, so a run that was killed goes on where it was.

    Args:
        source: A manifest, a folder of files without labels, or an embeddings folder.
        checkpoint: A run or a checkpoint; None for that of a gallery which is there already.
        set_name: None for that of the source: the name of its manifest or folder.
        allow_drop: Whether more than half of the set may be dropped.

    Raises:
        MissingGalleryError: There is no gallery, and no checkpoint to make one with.
        GalleryError: The gallery, or the embeddings folder, was made with another model.
        ManifestError: The source cannot be read or is empty.
        GalleryError: Another source has the set's name.
        GalleryError: Most of the set is gone from its source.
        TooManyFailuresError: More items than allowed cannot be used.
    """
    source, folder, runtime = Path(source), Path(gallery), runtime or Runtime.from_environment()
    model, store = _open(folder, checkpoint, runtime)
    name = choose_set(folder, source=source, chosen=set_name)
    known = _Known.of(store, name)
    if (source / INFO_NAME).is_file():
        work = _from_embeddings(source, known=known, model=model, runtime=runtime)
    else:
        work = _from_items(source, known=known, model=model, runtime=runtime)
    gone = gone_ids(
        _own_part(store, name, split=work.split),
        listed=work.listed,
        failures=work.log.failures,
        set_name=name,
        allow_drop=allow_drop,
    )
    record_set(folder, name, source=source)
    added = replaced = 0
    for embeddings, states in work.blocks:
        _add(store, embeddings, states, known=known)
        added += len(states)
        replaced += len(states.keys() & known.own.keys())
        runtime.reporter.step("add", done=added, total=work.fresh_count)
    dropped = store.remove(gone)
    store.optimize()
    copy_taxonomy(source, folder=folder)
    counts = store.count_by_medium()
    record_species(
        folder, media=[medium for medium, count in counts.items() if count], named_species=model.named_species
    )
    restore_classes(folder, store)
    recalibrate(folder, index=store, encoder=ModelQueryEncoder(model, runtime=runtime))
    return IndexReport(
        gallery=folder,
        set_name=name,
        added_count=added,
        replaced_count=replaced,
        unchanged_count=work.unchanged_count,
        dropped_count=dropped,
        segment_count=store.segment_count(),
        counts={medium.value: count for medium, count in counts.items()},
        failures=tuple(work.log.failures),
    )


def _open(folder: Path, checkpoint: Path | str | None, runtime: Runtime) -> tuple[Model, SegmentIndex]:
    """The model and the store of a gallery; a gallery that is not there, or was only begun, is made."""
    own = GalleryLayout(folder).checkpoint
    if checkpoint is None:
        if not own.is_file():
            raise MissingGalleryError(path=folder)
        checkpoint = own
    source = Path(checkpoint)
    model = load_model(source, device=runtime.choose_device())
    content = find_checkpoint(source).read_bytes()
    segments = GalleryLayout(folder).segments
    try:
        store = LanceIndex.open(segments, fingerprint=model.fingerprint)
    except MissingGalleryError:
        # A gallery that was only begun may hold the checkpoint of another model.
        write_durably(own, content)
        return model, LanceIndex.create(segments, fingerprint=model.fingerprint, dim=model.network.dim)
    if not own.is_file():
        write_durably(own, content)
    return model, store


Blocks = Iterator[tuple[Embeddings, dict[str, str]]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the gallery held when the run began: the state of each item, in the set and beside it."""

    set_name: str
    own: Mapping[str, str]
    others: frozenset[str]

    @classmethod
    def of(cls, store: SegmentIndex, set_name: str) -> "_Known":
        own = store.content_hashes(Filter(set_names=frozenset({set_name})))
        return cls(set_name, own, frozenset(store.content_hashes().keys() - own.keys()))

    def stored_ids(self, item_ids: Iterable[str]) -> dict[str, str]:
        """Under which id each item of the source is stored."""
        return stored_ids(item_ids, set_name=self.set_name, own=self.own, others=self.others)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done of a source.

    Args:
        blocks: What is new, embedded as it is asked for; its states by item id.
        listed: Ids, as they are stored, of all that the source lists, usable or not.
        split: The only split that the source lists; None for all.
    """

    blocks: Blocks
    log: FailureLog
    listed: frozenset[str]
    fresh_count: int
    unchanged_count: int
    split: str | None = None


def _from_items(source: Path, *, known: _Known, model: Model, runtime: Runtime) -> _Work:
    """The work of a manifest or a folder."""
    listed, not_media = list_folder(source) if source.is_dir() else (read_manifest(source), ())
    listed = renamed(listed, known.stored_ids(item.item_id for item in listed))
    items = keep_supported(listed, media=model.media, reporter=runtime.reporter)
    if not items:
        wanted = f"items that the model takes ({', '.join(model.media)})"
        raise NoItemsError(path=source, wanted=wanted, present=f"{len(listed) + len(not_media)} others")
    fresh = [item for item in items if not _is_known(item, known.own)]
    log = FailureLog(total=len(items), allowed_share=model.config.limits.failure_share, reporter=runtime.reporter)
    log.list_only(not_media)
    blocks = (
        (embeddings, _states(embeddings.items, hashes))
        for embeddings, hashes in embed_items(fresh, model=model, runtime=runtime, failures=log)
    )
    ids = frozenset(item.item_id for item in listed)
    return _Work(blocks, log, ids, fresh_count=len(fresh), unchanged_count=len(items) - len(fresh))


def _from_embeddings(source: Path, *, known: _Known, model: Model, runtime: Runtime) -> _Work:
    """The work of an embeddings folder; what could not be embedded counts as listed."""
    embeddings, info = read_embeddings(source)
    if info.fingerprint != model.fingerprint:
        raise GalleryError(
            f"The embeddings '{source}' have the fingerprint {info.fingerprint[:12]}, but the gallery was built with "
            f"{model.fingerprint[:12]}. Use the checkpoint the gallery was built with, or build a new gallery.",
            kind="encoder_mismatch",
        )
    hashes = read_content_hashes(source)
    stored_id = known.stored_ids([*hashes, *(failure.item_id for failure in info.failures)])
    embeddings = replace(embeddings, items=renamed(embeddings.items, stored_id))
    states = _states(embeddings.items, {stored_id[item_id]: content for item_id, content in hashes.items()})
    fresh_rows = np.flatnonzero([known.own.get(item.item_id) != states[item.item_id] for item in embeddings.items])
    fresh_count = len({embeddings.items[row].item_id for row in fresh_rows})
    return _Work(
        _split_blocks(embeddings, fresh_rows, states, runtime.reporter),
        FailureLog(total=len(states), allowed_share=1.0, reporter=runtime.reporter),
        frozenset(stored_id.values()),
        fresh_count=fresh_count,
        unchanged_count=len(states) - fresh_count,
        split=_only_split(info),
    )


def _only_split(info: EmbeddingsInfo) -> str | None:
    """The split that was embedded; None where all were."""
    split = info.facts.get("split")
    return split if isinstance(split, str) and split != "all" else None


def _own_part(store: SegmentIndex, set_name: str, *, split: str | None) -> tuple[str, ...]:
    """The items of a set that a source of one split, or of all, should list."""
    where, last = Filter(set_names=frozenset({set_name})), None
    if split is None:
        return tuple(store.content_hashes(where))
    found: list[str] = []
    while page := store.items(where=where, start_after=last, limit=PAGE_ITEMS):
        found += [stored.item.item_id for stored in page if stored.item.split == split]
        last = page[-1].item.item_id
    return tuple(found)


def _add(store: SegmentIndex, embeddings: Embeddings, states: Mapping[str, str], *, known: _Known) -> None:
    """Adds a block; where another run has meanwhile stored an id for another set, the item gets an id beside it."""
    while True:
        try:
            store.add(embeddings, content_hash_by_item_id=states, set_name=known.set_name)
        except TakenItemIdError as error:
            taken = known.own.keys() - states.keys() | set(error.item_ids)
            stored_id = stored_ids(states, set_name=known.set_name, own=(), others=taken)
            content = {stored_id[item_id]: content_of(state) for item_id, state in states.items()}
            embeddings = replace(embeddings, items=renamed(embeddings.items, stored_id))
            states = _states(embeddings.items, content)
        else:
            return


def _split_blocks(
    embeddings: Embeddings, rows: Int[np.ndarray, " row"], states: Mapping[str, str], reporter: Reporter
) -> Blocks:
    """Whole items, about `BLOCK_ROWS` rows at a time."""
    ids = [embeddings.items[row].item_id for row in rows]
    starts = [place for place in range(len(ids)) if place == 0 or ids[place] != ids[place - 1]]
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
        yield block, {item_id: states[item_id] for item_id in ids[begin:end]}
        reporter.step("index", done=end, total=len(ids))
        begin = end


def _is_known(item: Item, known: Mapping[str, str]) -> bool:
    if item.item_id not in known:
        return False
    try:
        return known[item.item_id] == _state(item, hash_content(item))
    except MediaError:
        return False  # met again, and counted, when it is encoded


def _states(items: Sequence[Item], content_hashes: Mapping[str, str]) -> dict[str, str]:
    return {item.item_id: _state(item, content_hashes[item.item_id]) for item in items}


def _state(item: Item, content_hash: str) -> str:
    """Changes when the content or any fact of the item does, so a corrected label reaches the gallery."""
    facts = hashlib.sha256(json.dumps(asdict(item), default=str).encode()).hexdigest()
    return f"{content_hash}-{facts[:16]}"


def content_of(state: str) -> str:
    """The hash of an item's content alone, from the state that the gallery keeps of it."""
    return state.partition("-")[0]
