"""Items to encoded segments to embeddings; features that are costly to compute are cached."""

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from fieldmark.build import Model
from fieldmark.data.cache import FeatureStore, StoredFeatures
from fieldmark.data.media_reader import DecodedPart, LocalReader, MediaReader, hash_item
from fieldmark.encoders.encoder import Encoder, encode_each
from fieldmark.encoders.feature_key import FeatureKey, describe_key, explain_new_key
from fieldmark.errors import EmptyMediaError, MediaError, check_failure_share
from fieldmark.runtime import Runtime
from fieldmark.types import (
    Embeddings,
    Failure,
    Form,
    Item,
    ItemWarning,
    MediaLimits,
    MediaWarning,
    Medium,
    Reporter,
    Segment,
    SilentReporter,
)

logger = logging.getLogger(__name__)

BLOCK_ITEMS = 64
"""Items between two writes of the feature cache: the most work that a crash can cost."""
CHUNK_SEGMENTS = 32
"""Segments encoded in one call."""
QUERY_SEGMENTS = 4
"""The same of a query, between which another one may have its turn: less than a second."""


@dataclass(frozen=True, slots=True)
class EncodedItem:
    """One item as the input of a network, segment by segment.

    Args:
        start_seconds: NaN where the medium has no time.
        warnings: What is in doubt of how the file was read.
    """

    item: Item
    content_hash: str
    inputs: Tensor
    start_seconds: Float[np.ndarray, " segment"]
    end_seconds: Float[np.ndarray, " segment"]
    warnings: tuple[MediaWarning, ...] = ()


@final
class FailureLog:
    """Items skipped so far, and warnings of those that were used; each is reported once.

    Args:
        total: Items that the run goes through.
        allowed_share: Of those that may be skipped; None for no limit.
    """

    def __init__(self, *, total: int, allowed_share: float | None, reporter: Reporter) -> None:
        self._listed: dict[str, Failure] = {}
        self._counted: dict[str, Failure] = {}
        self._warnings: dict[ItemWarning, None] = {}
        self._total = total
        self._allowed_share = allowed_share
        self._reporter = reporter

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Every skipped item, once."""
        return tuple({**self._listed, **self._counted}.values())

    @property
    def counted(self) -> tuple[Failure, ...]:
        """The skipped items that count as failures of the run."""
        return tuple(self._counted.values())

    @property
    def warnings(self) -> tuple[ItemWarning, ...]:
        """The doubts about items that were used."""
        return tuple(self._warnings)

    def list_only(self, failures: Sequence[Failure]) -> None:
        """List and report skipped items that are no failure of the run, such as files of no medium."""
        for failure in failures:
            self.list_quietly(failure)
            self._reporter.say(f"skipped {failure.item_id}: {failure.message}")

    def list_quietly(self, failure: Failure) -> None:
        """List a failure that another part of the run counts and reports."""
        self._listed.setdefault(failure.item_id, failure)

    def add(self, failure: Failure) -> None:
        """Count and report a failure, unless that of its item is counted already."""
        if failure.item_id not in self._counted:
            self._counted[failure.item_id] = failure
            self._reporter.say(f"skipped {failure.item_id}: {failure.message}")

    def warn(self, item_id: str, warnings: Sequence[MediaWarning]) -> None:
        """List and report what is in doubt of an item."""
        for each in warnings:
            warning = ItemWarning(item_id, each.kind, each.message)
            if warning not in self._warnings:
                self._warnings[warning] = None
                self._reporter.say(f"warning {item_id}: {each.message}")

    def check(self) -> None:
        """Check that enough items could be used for a result that is right.

        Raises:
            TooManyFailuresError: More than the allowed share, and more than one, have failed.
        """
        reasons = [f"{each.item_id}: {each.message}" for each in self._counted.values()]
        check_failure_share(reasons, total=self._total, allowed_share=self._allowed_share)


def keep_supported(items: Sequence[Item], *, media: Sequence[Medium], reporter: Reporter) -> tuple[Item, ...]:
    """Return the items of the media that a model takes, and report the number of others."""
    left_out = Counter(item.medium for item in items if item.medium not in media)
    for medium, count in left_out.items():
        reporter.say(f"skipped {count:,} {medium} items: this model takes {', '.join(media)} only")
    return tuple(item for item in items if item.medium in media)


def encode_item(
    item: Item, *, model: Model, turns: AbstractContextManager[object] | None = None, reporter: Reporter | None = None
) -> Tensor:
    """Return the encoded segments of one item, stacked on axis 0; the cache is not used.

    Args:
        turns: Held while a few segments are encoded, so that others have their turn in between; None holds nothing.
        reporter: Told how many seconds of the item are encoded.

    Raises:
        MediaError: The item cannot be used.
        MediumNotSupportedError: The model takes no item of this medium.
    """
    encoder = model.encoder(item.medium)
    steps = _Steps(CHUNK_SEGMENTS) if turns is None else _Steps(QUERY_SEGMENTS, turns, reporter or SilentReporter())
    reader = LocalReader(starts_decoder=turns is None)
    segments = reader.read_segments([item], decoding=encoder.decoding, limits=model.limits)
    [encoded] = _encode_fresh([item], encoder, segments, steps=steps)
    if encoded.error is not None:
        raise encoded.error
    return torch.stack(encoded.inputs)


def encode_texts(items: Sequence[Item], *, model: Model) -> list[Tensor | MediaError]:
    """Return the encoded segment of each text, or why it has none; all go through the encoder together.

    Raises:
        MediumNotSupportedError: The model takes no texts.
    """
    encoder = model.encoder(Medium.TEXT)
    segments = LocalReader().read_segments(items, decoding=encoder.decoding, limits=model.limits)
    encoded = _encode_fresh(items, encoder, segments)
    return [torch.stack(each.inputs) if each.error is None else each.error for each in encoded]


def encode_items(
    items: Sequence[Item],
    *,
    model: Model,
    runtime: Runtime,
    task: str,
    reader: MediaReader | None = None,
) -> Iterator[EncodedItem | Failure]:
    """Yield every item encoded, in their order; a file that cannot be used gives its failure.

    Features of costly encoders are looked up in the runtime's cache, and written to it after every block of items.

    Args:
        reader: Reads the files; None for this process.
    """
    reader = reader or LocalReader()
    store = FeatureStore(runtime.cache) if runtime.cache is not None else None
    caches: dict[tuple[Medium, Form | None], _Cache | None] = {}
    done = 0
    for start in range(0, len(items), BLOCK_ITEMS):
        block = items[start : start + BLOCK_ITEMS]
        results: dict[int, EncodedItem | Failure] = {}
        for medium, form in dict.fromkeys((item.medium, item.form) for item in block):
            indices = [index for index, item in enumerate(block) if (item.medium, item.form) == (medium, form)]
            encoder = model.encoder(medium)
            if (medium, form) not in caches:
                key = describe_key(encoder, medium, form=form)
                caches[medium, form] = _Cache(store, key, runtime.reporter) if store and encoder.is_costly else None
            chosen = [block[index] for index in indices]
            encoded = _encode_medium(chosen, encoder, caches[medium, form], limits=model.limits, reader=reader)
            for index, result in zip(indices, encoded, strict=True):
                results[index] = result
                done += 1
                runtime.reporter.step(task, done=done, total=len(items), note=medium.value)
        yield from (results[index] for index in range(len(block)))


def hash_contents(items: Sequence[Item], *, runtime: Runtime) -> dict[str, str]:
    """Return the content hash of each item by id, every file read once; those that cannot be read are missing."""
    found: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done, (item, content_hash) in enumerate(zip(items, pool.map(hash_item, items), strict=True), start=1):
            if isinstance(content_hash, str):
                found[item.item_id] = content_hash
            runtime.reporter.step("contents", done=done, total=len(items), note=item.medium.value)
    return found


def embed_items(
    items: Sequence[Item],
    *,
    model: Model,
    runtime: Runtime,
    failures: FailureLog,
    reader: MediaReader | None = None,
) -> Iterator[tuple[Embeddings, dict[str, str]]]:
    """Yield the embeddings of items in blocks, in their order, each block with its content hashes by item id.

    Args:
        reader: Reads the files; None for this process.
    """
    block: list[EncodedItem] = []
    for encoded in encode_items(items, model=model, runtime=runtime, task="embed", reader=reader):
        if isinstance(encoded, Failure):
            failures.add(encoded)
            continue
        failures.warn(encoded.item.item_id, encoded.warnings)
        block.append(encoded)
        if len(block) == BLOCK_ITEMS:
            yield _embed_block(block, model.network)
            block = []
    if block:
        yield _embed_block(block, model.network)


def _embed_block(block: Sequence[EncodedItem], network: nn.Module) -> tuple[Embeddings, dict[str, str]]:
    projected = [embed_segments(each.inputs, medium=each.item.medium, network=network) for each in block]
    embeddings = Embeddings(
        items=tuple(each.item for each in block for _ in each.inputs),
        start_seconds=np.concatenate([each.start_seconds for each in block]),
        end_seconds=np.concatenate([each.end_seconds for each in block]),
        embedding=np.concatenate([embedding for embedding, _ in projected]),
        logits=np.concatenate([logits for _, logits in projected]),
    )
    return embeddings, {each.item.item_id: each.content_hash for each in block}


def embed_segments(
    inputs: Tensor, *, medium: Medium, network: nn.Module
) -> tuple[Float32[np.ndarray, "row dim"], Float32[np.ndarray, "row class"]]:
    """Return the embeddings and logits of encoded segments, computed in chunks without gradients."""
    device = find_device(network)
    was_training = network.training
    if was_training:  # to set the mode of each part takes as long as a short text
        network.eval()
    embeddings, logits = [], []
    with torch.inference_mode():
        for chunk in torch.split(inputs, CHUNK_SEGMENTS):
            embedding, scores = network(chunk.to(device), medium)
            embeddings.append(embedding.float().cpu().numpy())
            logits.append(scores.float().cpu().numpy())
    if was_training:
        network.train()
    return np.concatenate(embeddings), np.concatenate(logits)


def find_device(network: nn.Module) -> torch.device:
    """Return the device of a network, which may have buffers alone."""
    return next(itertools.chain(network.parameters(), network.buffers())).device


@final
class _Cache:
    """The features of one encoder in the store; a key that is new there is explained once."""

    def __init__(self, store: FeatureStore, key: FeatureKey, reporter: Reporter) -> None:
        self._store = store
        self._key = key
        self._reporter = reporter
        self._is_known = False

    def get_many(self, hashes: Sequence[str]) -> dict[str, StoredFeatures]:
        """Return the stored features by content hash; hashes that are not found are missing."""
        return self._store.get_many(self._key.key, hashes)

    def put_many(self, entries: Mapping[str, StoredFeatures]) -> None:
        """Store features by content hash."""
        if not self._is_known:
            self._introduce()
        self._store.put_many(self._key.key, entries)

    def _introduce(self) -> None:
        known, self._is_known = self._store.list_keys(), True
        if self._key.key in known:
            return
        difference = explain_new_key(self._key.facts, known.values())
        if difference:
            self._reporter.say(
                f"{self._key.facts['medium']} features are computed again: "
                f"the nearest encoder in the cache differs in {difference}"
            )
        self._store.add_key(self._key.key, self._key.facts)


def _encode_medium(
    items: Sequence[Item], encoder: Encoder, cache: _Cache | None, *, limits: MediaLimits, reader: MediaReader
) -> list[EncodedItem | Failure]:
    """Encode the items of one block and medium; those in the cache are read from there."""
    hashes = reader.hash_contents(items)
    results: dict[int, EncodedItem | Failure] = {
        index: each for index, each in enumerate(hashes) if isinstance(each, Failure)
    }
    wanted = {index: each for index, each in enumerate(hashes) if isinstance(each, str)}
    known = cache.get_many(sorted(set(wanted.values()))) if cache else {}
    for index, content_hash in wanted.items():
        # Features that are not finite, from an earlier version, are computed again and become a failure.
        if content_hash in known and np.isfinite(known[content_hash].values).all():
            results[index] = _restore(items[index], content_hash, known[content_hash])
    fresh = [index for index in wanted if index not in results]
    segments = reader.read_segments([items[index] for index in fresh], decoding=encoder.decoding, limits=limits)
    encoded = _encode_fresh([items[index] for index in fresh], encoder, segments)
    for index, result in zip(fresh, encoded, strict=True):
        results[index] = _finish(result, items[index], wanted[index])
    if cache and fresh:
        cache.put_many(
            {
                each.content_hash: StoredFeatures(each.inputs.numpy(), each.start_seconds, each.end_seconds)
                for each in (results[index] for index in fresh)
                if isinstance(each, EncodedItem) and not each.warnings  # which would not be told again
            }
        )
    return [results[index] for index in range(len(items))]


def _restore(item: Item, content_hash: str, stored: StoredFeatures) -> EncodedItem:
    inputs = torch.from_numpy(np.array(stored.values))
    return EncodedItem(item, content_hash, inputs, stored.start_seconds, stored.end_seconds)


@dataclass(slots=True)
class _EncodedSegments:
    """The segments of one item that are encoded so far."""

    inputs: list[Tensor]
    start_seconds: list[float]
    end_seconds: list[float]
    error: MediaError | None = None
    warnings: list[MediaWarning] = field(default_factory=list)

    def add(self, segment: Segment, result: Tensor | MediaError) -> None:
        """Add the next segment, or why it could not be encoded."""
        self.warnings += segment.warnings
        if isinstance(result, MediaError):
            self.error = self.error or result
            return
        self.inputs.append(result)
        self.start_seconds.append(np.nan if segment.start_seconds is None else segment.start_seconds)
        self.end_seconds.append(np.nan if segment.end_seconds is None else segment.end_seconds)


def _finish(segments: _EncodedSegments, item: Item, content_hash: str) -> EncodedItem | Failure:
    if not segments.inputs and segments.error is None:
        segments.error = EmptyMediaError(path=_name(item), reason="no part of it can be decoded")
    if segments.error is not None:
        return Failure(item.item_id, segments.error.kind, str(segments.error))
    return EncodedItem(
        item,
        content_hash,
        torch.stack(segments.inputs),
        np.array(segments.start_seconds),
        np.array(segments.end_seconds),
        tuple(segments.warnings),
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps in which segments are encoded.

    Args:
        segment_count: Encoded in one call.
        turn: Held for each call.
        reporter: Told how many seconds are encoded after it.
    """

    segment_count: int
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)
    reporter: Reporter = field(default_factory=SilentReporter)


def _encode_fresh(
    items: Sequence[Item], encoder: Encoder, segments: Iterable[DecodedPart], *, steps: _Steps | None = None
) -> list[_EncodedSegments]:
    """Encode segments of several items together, while others are decoded."""
    steps = steps or _Steps(CHUNK_SEGMENTS)
    encoded = [_EncodedSegments([], [], []) for _ in items]
    waiting: list[tuple[int, Segment]] = []

    def flush() -> None:
        if not waiting:
            return
        names = [_name(items[index]) for index, _ in waiting]
        with steps.turn:
            results = encode_each(encoder, [segment for _, segment in waiting], names=names)
        for (index, segment), result in zip(waiting, results, strict=True):
            encoded[index].add(segment, result)
        seconds = math.ceil(waiting[-1][1].end_seconds or 0.0)
        waiting.clear()
        steps.reporter.step("encode", done=seconds, total=0, note="seconds")

    for index, result in segments:
        if isinstance(result, MediaError):
            encoded[index].error = result
            continue
        waiting.append((index, result))
        if len(waiting) == steps.segment_count:
            flush()
    flush()
    return encoded


def _name(item: Item) -> str:
    return item.item_id if item.path is None else str(item.path)
