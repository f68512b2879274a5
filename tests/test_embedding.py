"""The road from items to embeddings: order, the cache, failures, and what the machine offers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark import Item, Medium, Runtime, Split, load_config
from fieldmark.build import Model, create_model
from fieldmark.data.cache import FeatureStore, StoredFeatures
from fieldmark.embedding import (
    BLOCK_ITEMS,
    CHUNK_SEGMENTS,
    EncodedItem,
    FailureLog,
    embed_items,
    embed_segments,
    encode_item,
    encode_items,
    keep_supported,
)
from fieldmark.encoders.encoder import Encoder, FeatureFacts
from fieldmark.errors import (
    ConfigError,
    MediaError,
    MediumNotSupportedError,
    TooManyFailuresError,
    UnreadableMediaError,
)
from fieldmark.media.loaders import hash_content
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.types import Decoding, Failure, MediaWarning, SilentReporter


class CountingEncoder(Encoder):
    """Encodes a text as its length, and counts what it is asked for."""

    def __init__(self, *, is_costly: bool = True, fingerprint: str = "counting") -> None:
        self.calls: list[int] = []
        self._is_costly = is_costly
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def decoding(self) -> Decoding:
        return Decoding()

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    def is_costly(self) -> bool:
        return self._is_costly

    @property
    def named_scores(self) -> Mapping[str, int]:
        return {}

    def encode(self, segments) -> torch.Tensor:
        self.calls.append(len(segments))
        return torch.tensor([[float(len(segment.content.text))] for segment in segments])


def model_of(encoder: Encoder, shared_space_config) -> Model:
    network = create_model(
        shared_space_config, class_names=("a", "b"), media=[Medium.TEXT], device=torch.device("cpu")
    ).network
    return Model(shared_space_config, class_names=("a", "b"), network=network, encoders={Medium.TEXT: encoder})


def texts(count: int) -> list[Item]:
    return [Item(str(number), Medium.TEXT, text="x" * (number + 1)) for number in range(count)]


def test_encode_items_keeps_the_order_of_items_and_failures(shared_space_config, toy_runtime):
    items = texts(BLOCK_ITEMS + 10)
    items[3] = Item("gone", Medium.TEXT, path=Path("nowhere.txt"))
    items[BLOCK_ITEMS + 2] = Item("blank", Medium.TEXT, text="  ")
    model = model_of(CountingEncoder(is_costly=False), shared_space_config)
    found = list(encode_items(items, model=model, runtime=toy_runtime, task="encode"))
    assert [each.item_id if isinstance(each, Failure) else each.item.item_id for each in found] == [
        item.item_id for item in items
    ]
    assert {each.item_id: each.kind for each in found if isinstance(each, Failure)} == {
        "gone": "missing_file",
        "blank": "empty",
    }
    lengths = [float(each.inputs) for each in found if isinstance(each, EncodedItem)]
    assert lengths == [len(item.text) for item in items if item.item_id not in ("gone", "blank")]


def test_encode_items_asks_the_encoder_once_for_each_content(shared_space_config, tmp_path):
    items = texts(BLOCK_ITEMS + 10)
    runtime = Runtime(cache=tmp_path)
    first, second, other = CountingEncoder(), CountingEncoder(), CountingEncoder(fingerprint="changed")
    cold = list(encode_items(items, model=model_of(first, shared_space_config), runtime=runtime, task="encode"))
    warm = list(encode_items(items, model=model_of(second, shared_space_config), runtime=runtime, task="encode"))
    assert sum(first.calls) == len(items)
    assert max(first.calls) <= CHUNK_SEGMENTS
    assert second.calls == []
    assert all(torch.equal(before.inputs, after.inputs) for before, after in zip(cold, warm, strict=True))
    assert all(np.isnan(after.start_seconds).all() for after in warm)
    list(encode_items(items[:3], model=model_of(other, shared_space_config), runtime=runtime, task="encode"))
    assert sum(other.calls) == 3


def test_encode_items_says_why_features_are_computed_anew(shared_space_config, tmp_path, make_reporter):
    class Described(CountingEncoder):
        def __init__(self, **parameters) -> None:
            self.facts = FeatureFacts.collect({"kind": "counting", **parameters})
            super().__init__(fingerprint=self.facts.fingerprint)

    reporter = make_reporter()
    runtime = Runtime(cache=tmp_path, reporter=reporter)
    for scale, count in ((1, 3), (2, 0), (2, 3), (2, 5), (1, 5)):
        model = model_of(Described(scale=scale), shared_space_config)
        list(encode_items(texts(count), model=model, runtime=runtime, task="encode"))
    assert reporter.lines == [
        "text features are computed again: the nearest encoder in the cache differs in scale (1, now 2)"
    ]


def test_encode_items_keeps_nothing_of_cheap_encoders(shared_space_config, tmp_path):
    model = model_of(CountingEncoder(is_costly=False), shared_space_config)
    list(encode_items(texts(3), model=model, runtime=Runtime(cache=tmp_path), task="encode"))
    assert FeatureStore(tmp_path).size().item_count == 0


def test_encode_items_keeps_what_a_stopped_run_has_done(shared_space_config, tmp_path):
    encoder = CountingEncoder()
    run = encode_items(
        texts(2 * BLOCK_ITEMS),
        model=model_of(encoder, shared_space_config),
        runtime=Runtime(cache=tmp_path),
        task="encode",
    )
    next(run)
    run.close()
    assert FeatureStore(tmp_path).size().item_count == BLOCK_ITEMS


def test_encode_item_raises_what_is_wrong_with_it(shared_space_config, broken):
    model = model_of(CountingEncoder(), shared_space_config)
    text = next(item for item in broken.make(Split.TRAIN) if item.medium is Medium.TEXT)
    with pytest.raises(UnreadableMediaError):
        encode_item(text, model=model)
    with pytest.raises(MediumNotSupportedError):
        encode_item(replace(text, medium=Medium.AUDIO), model=model)


class ChoosyEncoder(CountingEncoder):
    """Fails in some way at texts that hold the word."""

    def encode(self, segments) -> torch.Tensor:
        found = super().encode(segments)
        for row, segment in enumerate(segments):
            if "raise" in segment.content.text:
                raise ValueError("an inner\nmatter")
            if "infinite" in segment.content.text:
                found[row] = torch.inf
        return found


def test_encode_items_names_each_item_that_cannot_be_encoded(shared_space_config, tmp_path):
    items = texts(5)
    items[1] = Item("first", Medium.TEXT, text="raise")
    items[3] = Item("second", Medium.TEXT, text="infinite")
    model, runtime = model_of(ChoosyEncoder(), shared_space_config), Runtime(cache=tmp_path)
    for _ in range(2):  # fresh, and from the cache
        found = list(encode_items(items, model=model, runtime=runtime, task="encode"))
        assert [float(each.inputs) for each in found if isinstance(each, EncodedItem)] == [1.0, 3.0, 5.0]
        assert {each.item_id: (each.kind, each.message) for each in found if isinstance(each, Failure)} == {
            "first": (
                "unreadable",
                "'first' cannot be encoded: ValueError, an inner. Replace the file or drop the item.",
            ),
            "second": (
                "unreadable",
                "'second' cannot be encoded: its features are not finite numbers. Replace the file or drop the item.",
            ),
        }
    with pytest.raises(MediaError, match="'first' cannot be encoded"):
        encode_item(items[1], model=model)


def test_a_query_that_cannot_be_encoded_is_named(shared_space_config):
    encoder = ModelQueryEncoder(model_of(ChoosyEncoder(), shared_space_config))
    with pytest.raises(MediaError, match="'asked' cannot be encoded"):
        encoder.embed(Item("asked", Medium.TEXT, text="raise"))


def test_features_that_are_not_finite_are_not_taken_from_the_cache(shared_space_config, tmp_path):
    encoder, no_time = CountingEncoder(), np.full(1, np.nan)
    item = Item("a", Medium.TEXT, text="xxx")
    bad = StoredFeatures(np.full((1, 1), np.nan, dtype=np.float32), no_time, no_time)
    FeatureStore(tmp_path).put_many(encoder.fingerprint, {hash_content(item): bad})
    model = model_of(encoder, shared_space_config)
    [found] = encode_items([item], model=model, runtime=Runtime(cache=tmp_path), task="encode")
    assert float(found.inputs) == 3.0


def test_encode_items_hands_on_what_is_no_fault_of_a_file(shared_space_config, toy_runtime):
    class FailingEncoder(CountingEncoder):
        def encode(self, segments) -> torch.Tensor:
            raise MemoryError

    model = model_of(FailingEncoder(), shared_space_config)
    with pytest.raises(MemoryError):
        list(encode_items(texts(200), model=model, runtime=Runtime(), task="encode"))


def test_embed_items_gives_blocks_of_whole_items(toy_run, toy_items, toy_runtime):
    from fieldmark.build import load_model

    log = FailureLog(total=72, allowed_share=0.0, reporter=SilentReporter())
    model = load_model(toy_run, device=torch.device("cpu"))
    blocks = list(embed_items(toy_items, model=model, runtime=toy_runtime, failures=log))
    assert [len(hashes) for _, hashes in blocks] == [64, 8]
    ordered = [item.item_id for embeddings, _ in blocks for item in dict.fromkeys(embeddings.items)]
    assert ordered == [item.item_id for item in toy_items]


def test_project_leaves_the_network_in_its_mode(shared_space_config):
    network = model_of(CountingEncoder(), shared_space_config).network.train()
    rows = torch.randn(CHUNK_SEGMENTS + 5, 256)
    embedding, logits = embed_segments(rows, medium=Medium.TEXT, network=network)
    assert network.training
    assert embedding.shape == (CHUNK_SEGMENTS + 5, network.dim)
    assert logits.shape == (CHUNK_SEGMENTS + 5, 2)
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(1, abs=1e-5)


def test_failure_log_counts_each_item_once_and_stops_above_the_share(make_reporter):
    reporter = make_reporter()
    log = FailureLog(total=20, allowed_share=0.1, reporter=reporter)
    log.list_only([Failure("notes.bin", "unreadable", "is of no medium")])
    log.list_quietly(Failure("a", "empty", "is empty"))
    for name in ("a", "a", "b", "b"):
        log.add(Failure(name, "empty", "is empty"))
    assert [failure.item_id for failure in log.failures] == ["notes.bin", "a", "b"]
    assert len(reporter.lines) == 3
    log.check()
    log.add(Failure("c", "empty", "is empty"))
    with pytest.raises(TooManyFailuresError, match=r"3 of 20 items.*at most 10%.*--failure-share"):
        log.check()


def test_failure_log_always_allows_one():
    log = FailureLog(total=3, allowed_share=0.0, reporter=SilentReporter())
    log.add(Failure("a", "empty", "is empty"))
    log.check()
    log.add(Failure("b", "empty", "is empty"))
    with pytest.raises(TooManyFailuresError):
        log.check()


def test_failure_log_without_a_share_never_stops():
    log = FailureLog(total=3, allowed_share=None, reporter=SilentReporter())
    for name in "abc":
        log.add(Failure(name, "empty", "is empty"))
    log.check()


def test_failure_log_tells_each_warning_once(make_reporter):
    reporter = make_reporter()
    log = FailureLog(total=3, allowed_share=None, reporter=reporter)
    for name in ("a", "a", "b"):
        log.warn(name, [MediaWarning("encoding", "read as cp1250")])
    assert [warning.item_id for warning in log.warnings] == ["a", "b"]
    assert reporter.lines == ["warning a: read as cp1250", "warning b: read as cp1250"]


def test_an_item_with_a_warning_tells_it_again_from_the_cache(shared_space_config, tmp_path, make_reporter):
    path = tmp_path / "note.txt"
    path.write_bytes("Dzięcioł duży, śpiew krótki, w zaroślach nad łąką".encode("cp1250"))
    model = model_of(CountingEncoder(), shared_space_config)
    runtime = Runtime(cache=tmp_path / "cache")
    for _ in range(2):
        log = FailureLog(total=1, allowed_share=None, reporter=make_reporter())
        [(embeddings, _)] = embed_items([Item("a", Medium.TEXT, path=path)], model=model, runtime=runtime, failures=log)
        assert len(embeddings.items) == 1
        assert [warning.kind for warning in log.warnings] == ["encoding"]


def test_keep_supported_says_what_it_leaves_out(toy_items, make_reporter):
    reporter = make_reporter()
    kept = keep_supported(toy_items, media=(Medium.IMAGE, Medium.TEXT), reporter=reporter)
    assert {item.medium for item in kept} == {Medium.IMAGE, Medium.TEXT}
    assert sorted(reporter.lines) == [
        "skipped 18 audio items: this model takes image, text only",
        "skipped 18 video items: this model takes image, text only",
    ]


def test_host_reads_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path))
    monkeypatch.setenv("FIELDMARK_DEVICE", "cpu")
    assert Runtime.from_environment().cache == tmp_path
    assert Runtime.from_environment().choose_device() == torch.device("cpu")
    monkeypatch.setenv("FIELDMARK_CACHE", "")
    monkeypatch.setenv("FIELDMARK_DEVICE", "")
    assert Runtime.from_environment().cache == Path("~/.cache/fieldmark").expanduser()
    assert Runtime.from_environment().device is None


def test_host_refuses_a_device_that_is_not_here():
    with pytest.raises(ConfigError, match="FIELDMARK_DEVICE"):
        Runtime(device="nonsense").choose_device()


def test_a_trained_model_takes_the_media_it_was_trained_on(toy_items, toy_config, toy_runtime, tmp_path):
    from fieldmark import Gallery, index, train, write_manifest

    kept = [item for item in toy_items if item.medium in (Medium.IMAGE, Medium.TEXT)]
    write_manifest(kept, tmp_path / "two.csv")
    run = train(tmp_path / "two.csv", out=tmp_path / "run", config=toy_config, runtime=toy_runtime).run
    write_manifest(toy_items, tmp_path / "all.csv")
    report = index(tmp_path / "all.csv", checkpoint=run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert report.counts == {"image": 18, "text": 18, "video": 0, "audio": 0}
    clip = next(item for item in toy_items if item.medium is Medium.VIDEO)
    with pytest.raises(MediumNotSupportedError, match="does not support video; it supports image, text"):
        Gallery.open(tmp_path / "gallery", runtime=toy_runtime).search(clip)
    assert load_config(run / "config.toml") == toy_config
