"""The feature store: what goes in comes out, whoever else writes and however the process ends."""

import logging
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fieldmark.data.cache import FeatureStore, StoredFeatures
from fieldmark.errors import EmbeddingsError


def features(seed: int, *shape: int) -> StoredFeatures:
    values = np.random.default_rng(seed).normal(size=shape or (2, 8)).astype(np.float32)
    start = np.arange(len(values), dtype=np.float64) * 2.0
    return StoredFeatures(values=values, start_seconds=start, end_seconds=start + 2.0)


def assert_same(first: StoredFeatures, second: StoredFeatures) -> None:
    for name in ("values", "start_seconds", "end_seconds"):
        left, right = getattr(first, name), getattr(second, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def database(folder: Path) -> Path:
    [path] = folder.glob("features*.sqlite")
    return path


def start_writer(folder: Path, name: str, *, batches: int) -> subprocess.Popen[str]:
    """A process that puts batches of 50, each filled with its number, and prints the number once it is in."""
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from fieldmark.data.cache import FeatureStore, StoredFeatures\n"
        "store = FeatureStore(Path(sys.argv[1])); seconds = np.zeros(2)\n"
        "for batch in range(int(sys.argv[3])):\n"
        "    stored = StoredFeatures(np.full((2, 1280), batch, dtype=np.float32), seconds, seconds)\n"
        "    store.put_many('encoder', {f'{sys.argv[2]}-{batch}-{place}': stored for place in range(50)})\n"
        "    print(batch, flush=True)\n"
    )
    arguments = [sys.executable, "-c", program, str(folder), name, str(batches)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program


def test_store_gives_back_what_was_put(tmp_path):
    entries = {"a": features(1, 3, 4), "b": features(2, 1, 2, 3, 5), "c": features(3, 7)}
    FeatureStore(tmp_path / "new" / "folder").put_many("encoder", entries)
    found = FeatureStore(tmp_path / "new" / "folder").get_many("encoder", ["c", "a", "b", "missing"])
    assert set(found) == {"a", "b", "c"}
    for content_hash, stored in found.items():
        assert_same(stored, entries[content_hash])


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=4), elements=st.floats(width=32, allow_nan=True)))
def test_store_keeps_every_bit(tmp_path_factory, values):
    seconds = np.full(len(values), np.nan)
    stored = StoredFeatures(values=values, start_seconds=seconds, end_seconds=seconds)
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    store.put_many("encoder", {"a": stored})
    assert_same(store.get_many("encoder", ["a"])["a"], stored)


def test_store_takes_any_memory_layout(tmp_path):
    whole = features(1, 8, 6)
    part = StoredFeatures(whole.values[::2, ::3], whole.start_seconds[::2], whole.end_seconds[::2])
    FeatureStore(tmp_path).put_many("encoder", {"a": part})
    assert_same(FeatureStore(tmp_path).get_many("encoder", ["a"])["a"], part)


def test_store_gives_arrays_that_tensors_may_share(tmp_path):
    FeatureStore(tmp_path).put_many("encoder", {"a": features(1)})
    torch.from_numpy(FeatureStore(tmp_path).get_many("encoder", ["a"])["a"].values).zero_()


def test_store_tells_encoders_apart(tmp_path):
    store = FeatureStore(tmp_path)
    store.put_many("old", {"a": features(1)})
    store.put_many("new", {"a": features(2)})
    assert_same(store.get_many("old", ["a"])["a"], features(1))
    assert_same(store.get_many("new", ["a"])["a"], features(2))
    assert store.get_many("other", ["a"]) == {}


def test_store_replaces_features_put_again(tmp_path):
    store = FeatureStore(tmp_path)
    store.put_many("encoder", {"a": features(1)})
    store.put_many("encoder", {"a": features(2, 5, 8)})
    assert_same(store.get_many("encoder", ["a"])["a"], features(2, 5, 8))


def test_store_counts_items_and_bytes(tmp_path):
    store = FeatureStore(tmp_path)
    assert store.size().item_count == 0
    store.put_many("encoder", {str(place): features(place, 2, 512) for place in range(20)})
    size = store.size()
    assert size.item_count == 20
    assert size.size_bytes > 20 * 2 * 512 * 4


def test_store_answers_for_nothing_and_for_many(tmp_path):
    store = FeatureStore(tmp_path)
    store.put_many("encoder", {})
    assert store.get_many("encoder", []) == {}
    store.put_many("encoder", {str(place): features(place) for place in range(1203)})
    assert len(store.get_many("encoder", [str(place) for place in range(2000)])) == 1203


def test_store_takes_several_writers(tmp_path):
    writers = [start_writer(tmp_path, name, batches=15) for name in "abc"]
    for writer in writers:
        with writer:
            writer.communicate()
        assert writer.returncode == 0
    assert FeatureStore(tmp_path).size().item_count == 3 * 15 * 50


def test_store_keeps_what_it_took_when_the_writer_is_killed(tmp_path):
    with start_writer(tmp_path, "a", batches=100_000) as writer:
        for line in writer.stdout:
            if int(line) == 5:
                time.sleep(0.005)
                writer.kill()
                break
        reported = [5, *map(int, writer.stdout)]
    store = FeatureStore(tmp_path)
    for batch in range(reported[-1] + 1):
        found = store.get_many("encoder", [f"a-{batch}-{place}" for place in range(50)])
        assert len(found) == 50
        assert all((stored.values == batch).all() for stored in found.values())
    assert store.size().item_count % 50 == 0  # a batch is there whole or not at all
    store.put_many("encoder", {"after": features(1)})


@pytest.mark.parametrize("damage", ["not a database", "header", "middle", "cut"])
def test_store_sets_a_damaged_file_aside_and_begins_anew(tmp_path, caplog, damage):
    store = FeatureStore(tmp_path)
    store.put_many("encoder", {str(place): features(place, 2, 1280) for place in range(50)})
    path = database(tmp_path)
    content = bytearray(path.read_bytes())
    match damage:
        case "not a database":
            content = bytearray(b"these are no features" * 1000)
        case "header":
            content[:100] = bytes(100)
        case "middle":
            content[4096:] = os.urandom(len(content) - 4096)
        case "cut":
            del content[5000:]
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert store.get_many("encoder", ["1"]) == {}
    assert "damaged" in caplog.text
    assert str(path) in caplog.text
    store.put_many("encoder", {"1": features(7)})
    assert_same(store.get_many("encoder", ["1"])["1"], features(7))
    assert (tmp_path / f"damaged-1-{path.name}").read_bytes() == bytes(content)


def test_store_keeps_every_damaged_file(tmp_path):
    store = FeatureStore(tmp_path)
    for damage in (b"one", b"two"):
        store.put_many("encoder", {"a": features(1)})
        database(tmp_path).write_bytes(damage * 500)
        store.put_many("encoder", {"b": features(2)})
        assert set(store.get_many("encoder", ["a", "b"])) == {"b"}
    assert len(list(tmp_path.glob("damaged-*"))) == 2


def test_store_in_a_place_that_is_no_folder_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddingsError, match=r"file.*cannot be used.*Give a writable folder on a local disk"):
        FeatureStore(tmp_path / "file").get_many("encoder", ["a"])


def test_store_keeps_a_file_of_a_foreign_layout(tmp_path):
    store = FeatureStore(tmp_path)
    store.size()
    connection = sqlite3.connect(database(tmp_path))
    connection.executescript("DROP TABLE features; CREATE TABLE features (other TEXT)")
    connection.close()
    with pytest.raises(EmbeddingsError, match="cannot be used"):
        store.get_many("encoder", ["a"])
    assert not list(tmp_path.glob("damaged-*"))
