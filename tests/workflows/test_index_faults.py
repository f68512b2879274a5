"""Indexing under faults: sudden death at many moments, two runs at once, a disk that fills."""

import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldmark import Embeddings, Item, Medium, Runtime, index
from fieldmark.build import load_model
from fieldmark.data.shards import EmbeddingsWriter
from fieldmark.errors import FieldmarkError
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import Filter
from fieldmark.workflows.gallery import check_gallery
from fieldmark.workflows.index import BLOCK_ROWS

KILLS = 20
ITEM_COUNT, SEGMENTS = 600, 24
COUNTS = -(-ITEM_COUNT * SEGMENTS // BLOCK_ROWS)
"""Times at which a whole run tells how many items are stored."""


class Acknowledger:
    """A reporter that sends how many items are stored, and starts a timer at one of these times."""

    def __init__(self, connection: Connection, timer: threading.Timer, *, at: int) -> None:
        self._connection = connection
        self._timer = timer
        self._left = at

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        if task == "add":
            self._connection.send(done)
            self._left -= 1
            if self._left == 0:
                self._timer.start()

    def say(self, message: str) -> None:
        pass


def index_until_killed(connection: Connection, source: Path, run: Path, gallery: Path, at: int, seconds: float) -> None:
    """Indexes, and ends the process with SIGKILL; sends "begin", each count, and "end".

    Args:
        at: The kill comes some seconds after this count; 0 for the start. Counts do not depend on the machine's load.
    """
    torch.set_num_threads(1)
    connection.send("begin")
    killer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    killer.daemon = True
    if at == 0:
        killer.start()
    reporter = Acknowledger(connection, killer, at=at)
    index(source, checkpoint=run, gallery=gallery, runtime=Runtime(reporter=reporter, device="cpu"))
    connection.send("end")


def write_embeddings(folder: Path, run: Path, runtime, *, item_count: int, prefix: str = "") -> Path:
    """An embeddings folder of sounds, each of some segments."""
    model = load_model(run, device=runtime.choose_device())
    items = tuple(Item(f"{prefix}{place:05}", Medium.AUDIO, path=Path("/none.wav")) for place in range(item_count))
    rows = tuple(item for item in items for _ in range(SEGMENTS))
    vectors = np.random.default_rng(item_count).standard_normal((len(rows), model.network.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start = np.tile(np.arange(float(SEGMENTS)), item_count)
    writer = EmbeddingsWriter(folder, fingerprint=model.fingerprint)
    writer.add(Embeddings(rows, start, start + 1, vectors), content_hash_by_item_id={i.item_id: "0" for i in items})
    writer.finish()
    return folder


def run_killed(context, source: Path, run: Path, gallery: Path, *, at: int, seconds: float) -> tuple[int, bool]:
    """Items acknowledged by a run that is killed some seconds after a count, and whether it ended before."""
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, source, run, gallery, at, seconds)
    process = context.Process(target=index_until_killed, args=arguments, daemon=True)
    process.start()
    sender.close()
    last, has_ended = 0, False
    try:
        while True:
            match receiver.recv():
                case int(count):
                    last = count
                case "end":
                    has_ended = True
    except EOFError:
        process.join()
    return last, has_ended


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a matter of POSIX systems")
def test_index_killed_at_twenty_moments_loses_nothing_acknowledged(toy_run, toy_runtime, tmp_path):
    """Each time it reopens with whole items, all that was acknowledged, and the same command completes it."""
    source = write_embeddings(tmp_path / "embeddings", toy_run, toy_runtime, item_count=ITEM_COUNT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fieldmark.build", "fieldmark.workflows.index"])
    index(source, checkpoint=toy_run, gallery=tmp_path / "first", runtime=toy_runtime)  # warms up
    started = time.perf_counter()
    index(source, checkpoint=toy_run, gallery=tmp_path / "whole", runtime=toy_runtime)
    duration = time.perf_counter() - started
    expected = LanceIndex.open(tmp_path / "whole" / "segments").content_hashes()
    moments, cut_short = np.random.default_rng(0), 0
    for number in range(KILLS):
        gallery = tmp_path / f"gallery-{number}"
        acknowledged, has_ended = run_killed(
            context,
            source,
            toy_run,
            gallery,
            at=number % COUNTS,
            seconds=moments.uniform(0.0, 1.5 * duration / COUNTS),
        )
        cut_short += not has_ended
        segments = gallery / "segments"
        if acknowledged:
            store = LanceIndex.open(segments)
            assert store.item_count() >= acknowledged
            assert store.segment_count() == SEGMENTS * store.item_count()
        report = index(source, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
        assert report.unchanged_count >= acknowledged
        assert report.added_count + report.unchanged_count == ITEM_COUNT
        assert LanceIndex.open(segments).content_hashes() == expected
        assert not check_gallery(gallery, reads_media=False, runtime=toy_runtime).has_problems
        shutil.rmtree(gallery)
    assert cut_short >= KILLS // 2


@pytest.mark.slow
def test_two_runs_at_once_each_complete_their_set(toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    names = ["first", "second"]
    for name in names:
        write_embeddings(tmp_path / name, toy_run, toy_runtime, item_count=300)
    index(
        write_embeddings(tmp_path / "zero", toy_run, toy_runtime, item_count=1, prefix="z"),
        checkpoint=toy_run,
        gallery=gallery,
        runtime=toy_runtime,
    )
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda name: index(tmp_path / name, gallery=gallery, runtime=toy_runtime), names))
    assert [report.added_count for report in reports] == [300, 300]
    store = LanceIndex.open(gallery / "segments")
    assert store.item_count() == 601
    for name in names:
        assert len(store.content_hashes(Filter(set_names=frozenset({name})))) == 300
        assert index(tmp_path / name, gallery=gallery, runtime=toy_runtime).unchanged_count == 300


@pytest.mark.slow
def test_index_on_a_full_disk_keeps_what_was_stored_and_goes_on(toy_run, toy_runtime, tmp_path):
    """A limit on the size of a file stands for the disk: the second block of rows no longer fits."""
    gallery = tmp_path / "gallery"
    small = write_embeddings(tmp_path / "small", toy_run, toy_runtime, item_count=20)
    large = write_embeddings(tmp_path / "large", toy_run, toy_runtime, item_count=300)
    index(small, checkpoint=toy_run, gallery=gallery, set_name="birds", runtime=toy_runtime)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(FieldmarkError, match="cannot be written"):
            index(large, gallery=gallery, set_name="birds", runtime=toy_runtime)
        assert LanceIndex.open(gallery / "segments").item_count() == 20
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not check_gallery(gallery, reads_media=False, runtime=toy_runtime).has_problems
    report = index(large, gallery=gallery, set_name="birds", runtime=toy_runtime)
    assert report.added_count + report.unchanged_count == 300
