"""Shards on a Ray cluster of two nodes, of which a worker and then a node are lost."""

import threading

import numpy as np
import pytest
import soundfile

from fieldmark import Item, Medium, Split, embed, write_manifest
from fieldmark.errors import ConfigError, MissingExtraError
from fieldmark.ray_cluster import RayOptions


@pytest.fixture
def manifest(toy_items, broken, tmp_path):
    """Test items of all media, files that cannot be used, and many texts."""
    texts = [Item(f"{n:03d}", Medium.TEXT, text=f"Bird {n} has a red cap", split=Split.TEST) for n in range(64)]
    tested = [item for item in toy_items if item.split is Split.TEST]
    write_manifest([*broken.make(Split.TEST), *tested, *texts], tmp_path / "m.csv")
    return tmp_path / "m.csv"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("lost", ["worker", "node"])
def test_what_is_lost_is_done_by_others(manifest, toy_run, toy_runtime, make_reporter, tmp_path, lost):
    pytest.importorskip("ray")
    from cluster import call_when_done, compare, open_cluster

    alone = embed(manifest, checkpoint=toy_run, out=tmp_path / "alone", shard_count=8, runtime=toy_runtime)
    out = tmp_path / "together"
    with open_cluster() as cluster:
        kill = cluster.kill_worker if lost == "worker" else cluster.kill_node
        threading.Thread(target=call_when_done, args=(out, 2, kill), daemon=True).start()
        report = embed(
            manifest,
            checkpoint=toy_run,
            out=out,
            shard_count=8,
            cluster=RayOptions(cluster.address),
            runtime=toy_runtime,
        )
    assert "missing 0, extra 0, twice 0" in compare(tmp_path / "alone", out)
    assert sorted(report.info.failures, key=repr) == sorted(alone.info.failures, key=repr)
    again = embed(manifest, checkpoint=toy_run, out=out, runtime=toy_runtime)
    assert again.kept_count == alone.info.item_count


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_decoder_that_is_lost_while_others_wait_for_a_reader_stops_nothing(toy_run, toy_runtime, tmp_path):
    """What the next call has sent waits until it is taken, which comes after what is decoded again for this one."""
    pytest.importorskip("ray")
    from cluster import call_when_done, compare, open_cluster

    items = []
    for n in range(24):  # 24 segments in each: several calls, with more messages in each than may wait
        path = tmp_path / f"{n:02d}.wav"
        sound = np.random.default_rng(n).uniform(-0.5, 0.5, 72 * 16_000).astype(np.float32)
        soundfile.write(path, sound, 16_000)
        items.append(Item(f"{n:02d}", Medium.AUDIO, path=path, split=Split.TEST))
    write_manifest(items, tmp_path / "m.csv")
    alone = embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "a", shard_count=2, runtime=toy_runtime)
    out = tmp_path / "together"
    with open_cluster() as cluster:
        threading.Thread(target=call_when_done, args=(out, 1, cluster.kill_decoder), daemon=True).start()
        options = RayOptions(cluster.address, worker_count=1)
        report = embed(
            tmp_path / "m.csv", checkpoint=toy_run, out=out, shard_count=2, cluster=options, runtime=toy_runtime
        )
    assert "missing 0, extra 0, twice 0" in compare(tmp_path / "a", out)
    assert report.info.failures == alone.info.failures == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_address_without_a_cluster_is_told(manifest, toy_run, toy_runtime, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=r"no Ray cluster at '127\.0\.0\.1:9'.*ray start --head"):
        embed(manifest, checkpoint=toy_run, out=tmp_path / "o", cluster=RayOptions("127.0.0.1:9"), runtime=toy_runtime)


def test_without_ray_the_extra_is_named(manifest, toy_run, toy_runtime, tmp_path):
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"pip install 'fieldmark\[cluster\]'"):
            embed(manifest, checkpoint=toy_run, out=tmp_path / "o", cluster=RayOptions("auto"), runtime=toy_runtime)
    else:
        pytest.skip("Ray is installed")
