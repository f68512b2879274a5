"""The verb `index`: a manifest, a folder of files, or an embeddings folder into a gallery."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from fieldmark.build import Model, load_model
from fieldmark.data.manifest import list_folder, read_manifest
from fieldmark.data.shards import INFO_NAME, read_content_hashes, read_embeddings
from fieldmark.errors import EncoderMismatchError, MediaError, MissingGalleryError, NoItemsError
from fieldmark.gallery.interface import SegmentIndex
from fieldmark.gallery.lance import LanceIndex
from fieldmark.media.loaders import hash_content
from fieldmark.training.checkpoint import find_checkpoint, write_durably
from fieldmark.types import Embeddings, Failure, Item, Reporter
from fieldmark.workflows.encode import FailureLog, Host, embed_items, keep_supported
from fieldmark.workflows.search import CHECKPOINT_NAME, SEGMENTS_NAME

BLOCK_ROWS = 4096
"""Rows of an embeddings folder added in one commit."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `index` did, and what the gallery holds now.

    Args:
        added_count: Items that are new or replaced.
        replaced_count: Those of them that were there with other content or other facts.
        unchanged_count: Items that were there already.
        counts: Items of the gallery by medium.
    """

    gallery: Path
    added_count: int
    replaced_count: int
    unchanged_count: int
    segment_count: int
    counts: Mapping[str, int]
    failures: tuple[Failure, ...]

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "gallery": str(self.gallery),
            "added_count": self.added_count,
            "replaced_count": self.replaced_count,
            "unchanged_count": self.unchanged_count,
            "item_count": sum(self.counts.values()),
            "segment_count": self.segment_count,
            "counts": dict(self.counts),
            "failures": [asdict(failure) for failure in self.failures],
        }

    def to_text(self) -> str:
        """What was added, passed over, and is there."""
        counts = ", ".join(f"{count:,} {medium}" for medium, count in self.counts.items())
        replaced = f", {self.replaced_count:,} of them in place of an older state" if self.replaced_count else ""
        lines = [f"added {self.added_count:,} items{replaced}; {self.unchanged_count:,} were there unchanged"]
        if self.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(f.kind for f in self.failures).items())
            lines.append(f"passed over {len(self.failures):,} that cannot be used ({kinds}); --json lists them")
        lines.append(
            f"{self.gallery} holds {sum(self.counts.values()):,} items ({counts}), {self.segment_count:,} segments"
        )
        return "\n".join(lines)


def index(
    source: Path | str, *, gallery: Path | str, checkpoint: Path | str | None = None, host: Host | None = None
) -> IndexReport:
    """Adds the items of a source to a gallery; those that are there unchanged are passed over.

    Every block of items is durable once it is added, so a run that was killed goes on where it was.

    Args:
        source: A manifest, a folder of files without labels, or an embeddings folder.
        checkpoint: A run or a checkpoint; None for that of a gallery which is there already.

    Raises:
        MissingGalleryError: There is no gallery, and no checkpoint to make one with.
        EncoderMismatchError: The gallery, or the embeddings folder, was made with another model.
        ManifestError: The source cannot be read or is empty.
        TooManyFailuresError: More items than allowed cannot be used.
    """
    source, folder, host = Path(source), Path(gallery), host or Host.from_environment()
    model, store = _open(folder, checkpoint, host)
    known = store.content_hashes()
    if (source / INFO_NAME).is_file():
        blocks, log, unchanged = _from_embeddings(source, known=known, model=model, host=host)
    else:
        blocks, log, unchanged = _from_items(source, known=known, model=model, host=host)
    added = replaced = 0
    for embeddings, states in blocks:
        store.add(embeddings, content_hash_by_item_id=states)
        added += len(states)
        replaced += len(states.keys() & known.keys())
    store.optimize()
    return IndexReport(
        gallery=folder,
        added_count=added,
        replaced_count=replaced,
        unchanged_count=unchanged,
        segment_count=store.segment_count(),
        counts={medium.value: count for medium, count in store.count_by_medium().items()},
        failures=tuple(log.failures),
    )


def _open(folder: Path, checkpoint: Path | str | None, host: Host) -> tuple[Model, SegmentIndex]:
    """The model and the store of a gallery; a gallery that is not there, or was only begun, is made."""
    own = folder / CHECKPOINT_NAME
    if checkpoint is None:
        if not own.is_file():
            raise MissingGalleryError(path=folder)
        checkpoint = own
    source = Path(checkpoint)
    model = load_model(source, device=host.torch_device())
    content = find_checkpoint(source).read_bytes()
    segments = folder / SEGMENTS_NAME
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


def _from_items(source: Path, *, known: Mapping[str, str], model: Model, host: Host) -> tuple[Blocks, FailureLog, int]:
    """Blocks of a manifest or a folder, embedded as they are asked for."""
    items, not_media = list_folder(source) if source.is_dir() else (read_manifest(source), ())
    listed_count = len(items) + len(not_media)
    items = keep_supported(items, media=model.media, reporter=host.reporter)
    if not items:
        wanted = f"items that the model takes ({', '.join(model.media)})"
        raise NoItemsError(path=source, wanted=wanted, present=f"{listed_count} others")
    fresh = [item for item in items if not _is_known(item, known)]
    log = FailureLog(total=len(items), allowed_share=model.config.limits.failure_share, reporter=host.reporter)
    log.list_only(not_media)
    blocks = (
        (embeddings, _states(embeddings.items, hashes))
        for embeddings, hashes in embed_items(fresh, model=model, host=host, failures=log)
    )
    return blocks, log, len(items) - len(fresh)


def _from_embeddings(
    source: Path, *, known: Mapping[str, str], model: Model, host: Host
) -> tuple[Blocks, FailureLog, int]:
    """Blocks of an embeddings folder."""
    embeddings, info = read_embeddings(source)
    if info.fingerprint != model.fingerprint:
        raise EncoderMismatchError(got=info.fingerprint, expected=model.fingerprint, gallery=source)
    states = _states(embeddings.items, read_content_hashes(source))
    is_fresh = np.array([known.get(item.item_id) != states[item.item_id] for item in embeddings.items])
    log = FailureLog(total=len(states), allowed_share=1.0, reporter=host.reporter)
    fresh_rows = np.flatnonzero(is_fresh)
    fresh_count = len({embeddings.items[row].item_id for row in fresh_rows})
    return _split_blocks(embeddings, fresh_rows, states, host.reporter), log, len(states) - fresh_count


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
    return hashlib.sha256(json.dumps([content_hash, asdict(item)], default=str).encode()).hexdigest()
