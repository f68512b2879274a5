"""The verb `embed`: a manifest and a checkpoint to an embeddings folder."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from fieldmark.build import load_model
from fieldmark.data.embedded_facts import complete_items
from fieldmark.data.manifest import read_manifest
from fieldmark.data.shards import EmbeddingsInfo, EmbeddingsWriter
from fieldmark.embedding import FailureLog, embed_items, keep_supported
from fieldmark.errors import MediaError, NoItemsError, TooManyFailuresError, check_failure_share
from fieldmark.leakage import Findings, count_leaks, find_leaks_of_items, link_contents, read_findings
from fieldmark.media.loaders import hash_content
from fieldmark.runtime import Runtime
from fieldmark.types import Item, ItemWarning, Split

_SplitName = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The content of an embeddings folder.

    Args:
        kept_count: Items that were embedded before.
        warnings: What is in doubt of items that were embedded now.
    """

    folder: Path
    info: EmbeddingsInfo
    kept_count: int
    warnings: tuple[ItemWarning, ...] = ()

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
        lines = [f"{self.info.item_count:,} items ({counts}), dimension {self.info.dim}: {self.folder}"]
        if self.kept_count:
            lines.append(f"{self.kept_count:,} of them were there already")
        if self.info.leaks:
            kinds = ", ".join(f"{count:,} by {kind}" for kind, count in count_leaks(self.info.leaks).items())
            lines.append(f"{self.leaking_count:,} items leak from train ({kinds}); the strict protocol leaves them out")
        if self.info.failures:
            lines.append(f"skipped {len(self.info.failures)} items; embeddings.json lists them")
        if self.warnings:
            lines.append(f"{len(self.warnings):,} warnings; --json lists them")
        return "\n".join(lines)


def embed(
    manifest: Path | str,
    *,
    checkpoint: Path | str,
    out: Path | str,
    split: _SplitName = "test",
    findings: Path | str | None = None,
    runtime: Runtime | None = None,
) -> EmbedReport:
    """Compute the embedding of every segment; a folder that is not complete is completed.

    Args:
        findings: What `data check --json` printed for the manifest, whose near duplicates of training items then leak
            too; None takes only what has a common origin or the same content.

    Raises:
        ManifestError: The manifest cannot be read or has no item of the split; the findings cannot be read.
        CheckpointError: There is no usable checkpoint.
        EmbeddingsError: The folder holds embeddings of another model, or cannot be written.
        TooManyFailuresError: No item at all can be used.
    """
    manifest, out, runtime = Path(manifest), Path(out), runtime or Runtime.from_environment()
    found = Findings() if findings is None else read_findings(Path(findings))
    all_items = read_manifest(manifest)
    items = all_items if split == "all" else tuple(item for item in all_items if item.split == split)
    if not items:
        present = ", ".join(f"{count} {name or 'without a split'}" for name, count in _count_splits(all_items).items())
        raise NoItemsError(path=manifest, wanted=f"items of the split '{split}'", present=present)
    model = load_model(checkpoint, device=runtime.choose_device())
    wanted = complete_items(
        keep_supported(items, media=model.media, reporter=runtime.reporter), reporter=runtime.reporter
    )
    if not wanted:
        taken = ", ".join(model.media)
        raise NoItemsError(path=manifest, wanted=f"{taken} items of the split '{split}'", present="other media only")
    writer = EmbeddingsWriter(out, fingerprint=model.fingerprint)
    fresh = [item for item in wanted if not _is_done(item, writer)]
    failures = FailureLog(total=len(wanted), allowed_share=None, reporter=runtime.reporter)
    for embeddings, content_hashes in embed_items(fresh, model=model, runtime=runtime, failures=failures):
        writer.add(embeddings, content_hash_by_item_id=content_hashes)
    if len(failures.counted) == len(wanted):
        reasons = [f"{each.item_id}: {each.message}" for each in failures.counted]
        raise TooManyFailuresError(failed=len(reasons), total=len(wanted), allowed_share=0.0, examples=reasons)
    tested = [item for item in items if item.split is Split.TEST]
    trained = [item for item in all_items if item.split in (Split.TRAIN, Split.VALIDATION)]
    leaks = find_leaks_of_items(all_items, [*link_contents(all_items), *found.links])
    chosen_ids = {item.item_id for item in items}
    failed = {failure.item_id for failure in failures.failures}
    info = writer.finish(
        item_ids=[item.item_id for item in wanted if item.item_id not in failed],
        class_names=model.class_names,
        failures=failures.failures,
        straddling_groups={item.group for item in tested if item.group} & {item.group for item in trained},
        leaks=[leak for leak in leaks if leak.item_id in chosen_ids],
        facts={
            "checkpoint": str(checkpoint),
            "manifest": str(manifest),
            "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
            "split": split,
            "config": json.loads(model.config.to_json()),
        },
    )
    return EmbedReport(out, info, kept_count=len(wanted) - len(fresh), warnings=failures.warnings)


def _is_done(item: Item, writer: EmbeddingsWriter) -> bool:
    if not writer.done_count:
        return False
    try:
        return writer.is_done(item, content_hash=hash_content(item))
    except MediaError:
        return False  # met again, and counted, when it is encoded


def _count_splits(items: Sequence[Item]) -> Counter[str | None]:
    return Counter(item.split for item in items)
