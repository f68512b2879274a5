"""One shard of a manifest embedded: what is done is kept, and what is not done is done, whoever began it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fieldmark.build import Model
from fieldmark.data.embedded_facts import complete_items
from fieldmark.data.file_store import open_locally
from fieldmark.data.media_reader import MediaReader
from fieldmark.data.shard_folder import Shard, ShardFolder, ShardRecord
from fieldmark.data.shards import EmbeddingsInfo, EmbeddingsWriter
from fieldmark.embedding import FailureLog, embed_items
from fieldmark.errors import MediaError
from fieldmark.media.loaders import hash_content
from fieldmark.runtime import Runtime
from fieldmark.types import Item, ItemWarning


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard that is complete.

    Args:
        kept_count: Items that were embedded before.
        warnings: What is in doubt of its items.
    """

    shard: Shard
    info: EmbeddingsInfo
    kept_count: int
    warnings: tuple[ItemWarning, ...]


def embed_shard(
    shard: Shard,
    items: Sequence[Item],
    *,
    model: Model,
    folder: ShardFolder,
    runtime: Runtime,
    reader: MediaReader | None = None,
) -> ShardResult:
    """Embed the items of a shard, and write its description last.

    A shard that is complete, of the same items and files, is left as it is; its files are looked at, not read. Of one
    that was begun, or whose items have changed, the items that are embedded already are kept. Two processes on one
    shard do the same work twice and leave the same result.

    Args:
        items: Those of the shard, of media that the model takes.
        reader: Reads the files; None for this process.

    Raises:
        EmbeddingsError: The folder holds embeddings of another model or a damaged file, or cannot be written.
    """
    # Taken first: a file that changes while it is embedded makes the shard one that is not done.
    record = ShardRecord.from_items(shard, items)
    info = folder.read_info(shard)
    earlier = None if info is None else ShardRecord.from_info(info)
    if info is not None and earlier is not None and info.fingerprint == model.fingerprint and earlier.is_of(record):
        return ShardResult(shard, info, kept_count=info.item_count, warnings=earlier.warnings)
    failures = FailureLog(total=len(items), allowed_share=None, reporter=runtime.reporter)
    with folder.open_shard(shard) as place:
        writer = EmbeddingsWriter(place, fingerprint=model.fingerprint)
        completed = complete_items(items)
        fresh = [item for item in completed if not is_embedded(item, writer)]
        known = {item.item_id for item in completed} - {item.item_id for item in fresh}
        for embeddings, hashes in embed_items(fresh, model=model, runtime=runtime, failures=failures, reader=reader):
            writer.add(embeddings, content_hash_by_item_id=hashes)
        failed = {failure.item_id for failure in failures.failures}
        told = [each for each in (earlier.warnings if earlier else ()) if each.item_id in known]
        warnings = tuple(dict.fromkeys([*told, *failures.warnings]))
        info = writer.finish(
            item_ids=[item.item_id for item in completed if item.item_id not in failed],
            class_names=model.class_names,
            failures=failures.failures,
            facts={"shard": replace(record, warnings=warnings).to_json()},
            empty_dim=model.network.dim,
        )
    return ShardResult(shard, info, kept_count=len(known), warnings=warnings)


def is_embedded(item: Item, writer: EmbeddingsWriter) -> bool:
    """Tell whether an item, with its facts and its content as they are now, is embedded already."""
    if not writer.done_count:
        return False
    try:
        with open_locally(item) as local:
            return writer.is_done(item, content_hash=hash_content(local))
    except MediaError:
        return False  # met again, and counted, when it is encoded
