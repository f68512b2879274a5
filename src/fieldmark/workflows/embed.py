"""The verb `embed`: a manifest and a checkpoint to an embeddings folder, as a whole, by a shard, or on a cluster."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal

from pydantic import JsonValue

from fieldmark.build import Model, load_model
from fieldmark.data.embedded_facts import complete_items
from fieldmark.data.file_store import FileStore, is_address, place_item, restore_address
from fieldmark.data.manifest import read_manifest
from fieldmark.data.shard_folder import Shard, ShardFolder, cut_into_shards
from fieldmark.data.shards import EmbeddingsInfo, EmbeddingsWriter
from fieldmark.embedding import FailureLog, embed_items, keep_supported
from fieldmark.errors import (
    ConfigError,
    ManifestError,
    NoItemsError,
    TooManyFailuresError,
    check_failure_share,
    list_first,
    write_count,
)
from fieldmark.leakage import Findings, Leak, count_leaks, find_leaks_of_items, link_contents, read_findings
from fieldmark.ray_cluster import ITEMS_PER_SHARD, RayJob, RayOptions, embed_on_ray
from fieldmark.runtime import Runtime
from fieldmark.shard_embedding import ShardResult, embed_shard, is_embedded
from fieldmark.training.layout import find_checkpoint
from fieldmark.types import Item, ItemWarning, Split

_SplitName = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The content of an embeddings folder.

    Args:
        folder: A folder, or an address in an object store.
        info: Of the whole; of the one shard that was embedded, where others are missing.
        kept_count: Items that were embedded before.
        warnings: What is in doubt of items that were embedded now, or are in the shards.
        shard: The only shard that was embedded; None for all.
        missing_shards: Those that are to be embedded before the folder is complete.
    """

    folder: Path | str
    info: EmbeddingsInfo
    kept_count: int
    warnings: tuple[ItemWarning, ...] = ()
    shard: Shard | None = None
    missing_shards: tuple[str, ...] = ()

    json_keys: ClassVar = (
        "folder",
        "info.item_count",
        "kept_count",
        "info.dim",
        "info.counts",
        "info.straddling_groups",
        "leaking_count",
        "leaks=info.leaks",
        "info.failures",
        "warnings",
        "missing_shards",
    )

    def check_failures(self, *, allowed_share: float | None) -> None:
        """Check that enough items could be embedded; all that could be are stored.

        Raises:
            TooManyFailuresError: More than the share could not.
        """
        reasons = [f"{each.item_id}: {each.message}" for each in self.info.failures]
        check_failure_share(reasons, total=self.info.item_count + len(reasons), allowed_share=allowed_share)

    @property
    def leaking_count(self) -> int:
        """The number of items that leak from train, which the strict protocol leaves out."""
        return len(self.info.leaking_ids)

    def to_text(self) -> str:
        """Return the number of items, their media and their folder as text."""
        counts = ", ".join(f"{sum(splits.values()):,} {medium}" for medium, splits in self.info.counts.items())
        lines = [f"{write_count(self.info.item_count, 'item')} ({counts}), dimension {self.info.dim}: {self.folder}"]
        if self.kept_count:
            lines.append(f"{self.kept_count:,} of them were there already")
        if self.info.leaks:
            kinds = ", ".join(f"{count:,} by {kind}" for kind, count in count_leaks(self.info.leaks).items())
            leaking = "1 item leaks" if self.leaking_count == 1 else f"{self.leaking_count:,} items leak"
            lines.append(f"{leaking} from train ({kinds}); the strict protocol leaves them out")
        if self.info.failures:
            lines.append(f"skipped {write_count(len(self.info.failures), 'item')}; embeddings.json lists them")
        if self.warnings:
            lines.append(f"{write_count(len(self.warnings), 'warning')}; --json lists them")
        if self.missing_shards:
            lines[0] = f"shard {self.shard}: {lines[0]}"
            missing = f"{len(self.missing_shards):,} shards are missing: {list_first(self.missing_shards)}"
            lines.append(f"{missing}. The same command without --shard embeds them and completes the folder")
        return "\n".join(lines)


def embed(  # noqa: PLR0913 - each option is one that the CLI offers
    manifest: Path | str,
    *,
    checkpoint: Path | str,
    out: Path | str,
    split: _SplitName = "test",
    findings: Path | str | None = None,
    shard: Shard | str | None = None,
    shard_count: int | None = None,
    cluster: RayOptions | None = None,
    runtime: Runtime | None = None,
) -> EmbedReport:
    """Compute the embedding of every segment; a folder that is not complete is completed.

    Args:
        manifest: A file, or its address in an object store, which then holds the media too.
        out: A folder, or an address in an object store. A folder that is cut into shards is completed shard by shard.
        findings: What `data check --json` printed for the manifest, whose near duplicates of training items then leak
            too; None takes only what has a common origin or the same content.
        shard: The only shard to embed, such as "3/16"; None for all. The process that completes the last one writes
            the description of the whole.
        shard_count: The number of shards that a new folder is cut into; None for one folder without shards, or, on a
            cluster, for shards of about 256 items.
        cluster: A Ray cluster that does the work; None for this process.

    Raises:
        ManifestError: The manifest cannot be read or has no item of the split; the findings cannot be read.
        CheckpointError: There is no usable checkpoint.
        EmbeddingsError: The folder holds embeddings of another model or is cut otherwise, or cannot be written.
        ConfigError: There is no such shard, or no such cluster.
        MissingExtraError: A cluster is named, and Ray is not installed.
        TooManyFailuresError: No item at all can be used.
    """
    runtime = runtime or Runtime.from_environment()
    chosen = Shard.parse(shard) if isinstance(shard, str) else shard
    if chosen is not None and (cluster is not None or shard_count not in (None, chosen.count)):
        raise ConfigError(
            f"The shard {chosen} was named beside a cluster or another number of shards. Give one of them.",
            kind="shard",
        )
    task = _read_task(manifest, checkpoint=checkpoint, split=split, findings=findings, runtime=runtime)
    count = _choose_count(out, task, chosen=chosen, shard_count=shard_count, cluster=cluster)
    if count is None:
        return _embed_whole(task, Path(out), runtime)
    folder = ShardFolder(out)
    folder.begin(count)
    shards = cut_into_shards(task.wanted, count=count)
    todo = shards if chosen is None else {chosen: shards[chosen]}
    if cluster is None:
        results = [
            embed_shard(each, items, model=task.model, folder=folder, runtime=runtime) for each, items in todo.items()
        ]
    else:
        content = find_checkpoint(Path(checkpoint)).read_bytes()
        place = restore_address(out) if is_address(out) else str(Path(out).resolve())
        job = RayJob(checkpoint=content, fingerprint=task.model.fingerprint, folder=place)
        results = list(embed_on_ray(todo, job=job, options=cluster, reporter=runtime.reporter))
    return _describe(task, folder, shards, results=results, chosen=chosen)


@dataclass(frozen=True, slots=True)
class _Task:
    """The items to embed, and the model that embeds them.

    Args:
        all_items: Of the manifest.
        items: Those of the split.
        wanted: Those of them that the model takes.
        facts: Plain values for the description of the result.
    """

    all_items: tuple[Item, ...]
    items: tuple[Item, ...]
    wanted: tuple[Item, ...]
    model: Model
    found: Findings
    facts: Mapping[str, JsonValue]

    @property
    def straddling_groups(self) -> set[str]:
        """Groups of test items that stand in train or validation too."""
        tested = {item.group for item in self.items if item.split is Split.TEST and item.group}
        return tested & {item.group for item in self._trained if item.group}

    def find_leaks(self) -> list[Leak]:
        """Return the leaks among the items; without any item to learn from there are none, and no file is read."""
        if not self._trained:
            return []
        leaks = find_leaks_of_items(self.all_items, [*link_contents(self.all_items), *self.found.links])
        chosen_ids = {item.item_id for item in self.items}
        return [leak for leak in leaks if leak.item_id in chosen_ids]

    @property
    def _trained(self) -> list[Item]:
        return [item for item in self.all_items if item.split in (Split.TRAIN, Split.VALIDATION)]


def _read_task(
    manifest: Path | str,
    *,
    checkpoint: Path | str,
    split: _SplitName,
    findings: Path | str | None,
    runtime: Runtime,
) -> _Task:
    """Read the manifest and the model."""
    found = Findings() if findings is None else read_findings(Path(findings))
    all_items, digest = _read_items(manifest)
    items = all_items if split == "all" else tuple(item for item in all_items if item.split == split)
    path = Path(manifest)
    if not items:
        present = ", ".join(f"{count} {name or 'without a split'}" for name, count in _count_splits(all_items).items())
        raise NoItemsError(path=path, wanted=f"items of the split '{split}'", present=present)
    model = load_model(checkpoint, device=runtime.choose_device())
    wanted = keep_supported(items, media=model.media, reporter=runtime.reporter)
    if not wanted:
        taken = ", ".join(model.media)
        raise NoItemsError(path=path, wanted=f"{taken} items of the split '{split}'", present="other media only")
    facts: dict[str, JsonValue] = {
        "checkpoint": str(checkpoint),
        "manifest": restore_address(manifest),
        "manifest_sha256": digest,
        "split": split,
        "config": json.loads(model.config.to_json()),
    }
    return _Task(all_items, items, wanted, model, found, facts)


def _read_items(manifest: Path | str) -> tuple[tuple[Item, ...], str]:
    """Return the items of a manifest, and the SHA-256 of its bytes."""
    if not is_address(manifest):
        return read_manifest(manifest), hashlib.sha256(Path(manifest).read_bytes()).hexdigest()
    address, _, name = restore_address(manifest).rpartition("/")
    content = FileStore(address).read(name)
    if content is None:
        raise ManifestError(f"There is no manifest at '{address}/{name}'. Give the address of a CSV or Parquet file.")
    with TemporaryDirectory(prefix="fieldmark-") as folder:
        copy = Path(folder).resolve() / name
        copy.write_bytes(content)
        items = tuple(place_item(item, read_in=copy.parent, address=address) for item in read_manifest(copy))
    return items, hashlib.sha256(content).hexdigest()


def _choose_count(
    out: Path | str,
    task: _Task,
    *,
    chosen: Shard | None,
    shard_count: int | None,
    cluster: RayOptions | None,
) -> int | None:
    """Return the number of shards; None for a folder without."""
    if chosen is not None:
        return chosen.count
    present = ShardFolder(out).read_count() if is_address(out) or Path(out).is_dir() else None
    if shard_count is not None or present is not None:
        return shard_count or present
    if cluster is not None:
        return -(-len(task.wanted) // ITEMS_PER_SHARD)
    return 1 if is_address(out) else None


def _describe(
    task: _Task,
    folder: ShardFolder,
    shards: Mapping[Shard, Sequence[Item]],
    *,
    results: Sequence[ShardResult],
    chosen: Shard | None,
) -> EmbedReport:
    """Write the description of the whole if all shards are complete; return it, or that of the chosen shard."""
    kept = sum(result.kept_count for result in results)
    missing = tuple(map(str, folder.find_undone(shards, fingerprint=task.model.fingerprint)))
    if missing:
        [result] = results if chosen is not None else results[:1]
        return EmbedReport(folder.address, result.info, kept, result.warnings, shard=chosen, missing_shards=missing)
    merged = folder.merge(shards, straddling_groups=task.straddling_groups, leaks=task.find_leaks(), facts=task.facts)
    return EmbedReport(folder.address, merged.info, kept, merged.warnings, shard=chosen)


def _embed_whole(task: _Task, out: Path, runtime: Runtime) -> EmbedReport:
    """Embed all items into one folder without shards."""
    wanted = complete_items(task.wanted, reporter=runtime.reporter)
    writer = EmbeddingsWriter(out, fingerprint=task.model.fingerprint)
    fresh = [item for item in wanted if not is_embedded(item, writer)]
    failures = FailureLog(total=len(wanted), allowed_share=None, reporter=runtime.reporter)
    for embeddings, content_hashes in embed_items(fresh, model=task.model, runtime=runtime, failures=failures):
        writer.add(embeddings, content_hash_by_item_id=content_hashes)
    if len(failures.counted) == len(wanted):
        reasons = [f"{each.item_id}: {each.message}" for each in failures.counted]
        raise TooManyFailuresError(failed=len(reasons), total=len(wanted), allowed_share=0.0, examples=reasons)
    failed = {failure.item_id for failure in failures.failures}
    info = writer.finish(
        item_ids=[item.item_id for item in wanted if item.item_id not in failed],
        class_names=task.model.class_names,
        failures=failures.failures,
        straddling_groups=task.straddling_groups,
        leaks=task.find_leaks(),
        facts=task.facts,
    )
    return EmbedReport(out, info, kept_count=len(wanted) - len(fresh), warnings=failures.warnings)


def _count_splits(items: Sequence[Item]) -> Counter[str | None]:
    return Counter(item.split for item in items)
