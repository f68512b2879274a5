"""A set embedded by two Ray nodes on this machine: with nothing lost, with a worker killed, and with a node killed.

    python benchmarks/cluster.py ../shared/data/fgbirds/manifest_core.csv --checkpoint RUN --out runs/cluster --every 10

Each run is compared with that of a single process: the same items, each once, and how far apart their embeddings are.
Times say little on a machine that others use too, so the seconds of CPU are counted as well. The last run is the same
work as a pipeline of Ray Data. Needs the extra `cluster`.
"""

import argparse
import csv
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

import fieldmark
from fieldmark.build import load_model
from fieldmark.data.shards import read_embeddings
from fieldmark.embedding import embed_segments
from fieldmark.media.loaders import load_segments
from fieldmark.ray_cluster import RayOptions
from fieldmark.types import Item, Segment

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: seconds of the clock, from the first to the last shard, and of the CPU of all its processes."""

    name: str
    seconds: float
    working_seconds: float
    cpu_seconds: float
    lost_count: int


@dataclass
class Lines:
    """A reporter that keeps when shards were done, and what was lost."""

    done_at: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:  # noqa: ARG002
        """Note the time."""
        self.done_at.append(time.monotonic())

    def say(self, text: str) -> None:
        """Note the line, and print it."""
        self.lines.append(text)
        print(f"  {text}", flush=True)


# ---------------------------------------------------------------- processes


def list_below(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(each := waiting.pop())
        waiting += children.get(each, [])
    return found


def read_cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has used; 0 for one that is gone."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(values[11]) + int(values[12])) / CLOCK_TICKS


def read_title(pid: int) -> str:
    """Return the title of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class Cluster:
    """Two Ray nodes of one CPU each on this machine; ended by the ids of what was started."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{found.getsockname()[1]}"
        self.cpu: dict[int, float] = {}
        port = self.address.rpartition(":")[2]
        self.nodes = [self._start("--head", "--port", port, "--include-dashboard=false")]
        self._wait_for(1)
        self.nodes.append(self._start("--address", self.address))
        self._wait_for(2)
        self._ended = threading.Event()
        threading.Thread(target=self._count_cpu, daemon=True).start()

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
        sizes = ["--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--object-store-memory", "80000000"]
        # Ray runs its workers at niceness 15 by default, so that on a busy machine they would hardly run.
        settings = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        return subprocess.Popen(
            [*command, *sizes, "--disable-usage-stats"],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_for(self, count: int) -> None:
        from ray._raylet import GcsClient

        until = time.monotonic() + 180
        while time.monotonic() < until:
            try:
                nodes = GcsClient(address=self.address).get_all_node_info().values()
                if sum(node.state == 0 for node in nodes) >= count:
                    return
            except Exception:  # noqa: BLE001 - not yet there
                time.sleep(1)
            time.sleep(0.5)
        raise SystemExit("Ray did not start within 180 seconds; see /tmp/ray for its logs")

    def _count_cpu(self) -> None:
        while not self._ended.wait(0.5):
            for node in self.nodes:
                for pid in list_below(node.pid):
                    self.cpu[pid] = max(self.cpu.get(pid, 0.0), read_cpu_seconds(pid))

    def kill_worker(self) -> None:
        """End the process of one worker that is at work."""
        workers = [pid for node in self.nodes for pid in list_below(node.pid) if "_Worker.embed" in read_title(pid)]
        print(f"  killed worker {workers[0]}", flush=True)
        os.kill(workers[0], signal.SIGKILL)

    def kill_decoder(self) -> None:
        """End the process of each decoder that is at work."""
        for pid in [pid for node in self.nodes for pid in list_below(node.pid) if "_Decoder.decode" in read_title(pid)]:
            print(f"  killed decoder {pid}", flush=True)
            with_gone(lambda pid=pid: os.kill(pid, signal.SIGKILL))

    def kill_node(self) -> None:
        """End all processes of the second node."""
        pids = list_below(self.nodes[1].pid)
        print(f"  killed the second node, {len(pids)} processes", flush=True)
        for pid in pids:
            with_gone(lambda pid=pid: os.kill(pid, signal.SIGKILL))

    def close(self) -> None:
        """End both nodes."""
        self._ended.set()
        for pid in [pid for node in reversed(self.nodes) for pid in list_below(node.pid)]:
            with_gone(lambda pid=pid: os.kill(pid, signal.SIGKILL))
        for node in self.nodes:
            node.wait()


def with_gone(work: Callable[[], object]) -> None:
    """Do something to a process that may be gone."""
    try:
        work()
    except ProcessLookupError:
        return


@contextmanager
def open_cluster() -> Iterator[Cluster]:
    """Open two nodes, and end them at the end."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.close()


# ---------------------------------------------------------------- runs


def choose_items(manifest: Path, *, split: str, every: int, out: Path) -> Path:
    """Write a manifest of every so many-th item of a split, with absolute paths."""
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split in ("all", row["split"])][::every]
    for row in rows:
        row["path"] = row["path"] and str((manifest.parent / row["path"]).resolve())
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


def run_alone(manifest: Path, checkpoint: Path, out: Path, shard_count: int) -> Measured:
    """Embed all shards in this process."""
    reporter, began, cpu = Lines(), time.monotonic(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    runtime = fieldmark.Runtime(reporter=reporter, cache=None, device="cpu")
    fieldmark.embed(manifest, checkpoint=checkpoint, out=out, split="all", shard_count=shard_count, runtime=runtime)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - cpu
    ended = time.monotonic()
    return Measured("one process", ended - began, ended - reporter.done_at[0], used, 0)


def run_on_cluster(
    name: str,
    manifest: Path,
    checkpoint: Path,
    out: Path,
    shard_count: int,
    kills: Sequence[Callable[[Cluster], None]],
) -> Measured:
    """Embed on two nodes; the first of `kills` is called when a quarter of the shards is done, the second at a half."""
    print(name, flush=True)
    with open_cluster() as cluster:
        for number, kill in enumerate(kills, start=1):
            arguments = (out, number * shard_count // 4, partial(kill, cluster))
            threading.Thread(target=call_when_done, args=arguments, daemon=True).start()
        reporter, began = Lines(), time.monotonic()
        runtime = fieldmark.Runtime(reporter=reporter, cache=None, device="cpu")
        fieldmark.embed(
            manifest,
            checkpoint=checkpoint,
            out=out,
            split="all",
            shard_count=shard_count,
            cluster=RayOptions(cluster.address),
            runtime=runtime,
        )
        ended = time.monotonic()
        used = sum(cluster.cpu.values())
    lost = sum("is done again" in line for line in reporter.lines)
    return Measured(name, ended - began, ended - reporter.done_at[0], used, lost)


def call_when_done(out: Path, count: int, work: Callable[[], None]) -> None:
    """Wait until so many shards are done."""
    while len(list(out.glob("shards/*/embeddings.json"))) < count:
        time.sleep(0.1)
    work()


def compare(reference: Path, other: Path) -> str:
    """Tell how one folder differs from another."""
    first, second = (read_rows(folder) for folder in (reference, other))
    twice = sum(count > 1 for count in Counter(key for key, _ in second).values())
    one, two = dict(first), dict(second)
    shared = one.keys() & two.keys()
    apart = max((float(np.abs(one[key] - two[key]).max()) for key in shared), default=float("nan"))
    files = [sorted(path.name for path in folder.glob("shards/*/*.parquet")) for folder in (reference, other)]
    return (
        f"rows {len(second)}, missing {len(one.keys() - two.keys())}, extra {len(two.keys() - one.keys())}, "
        f"twice {twice}, largest difference {apart:.1e}, files byte-equal: {files[0] == files[1]}"
    )


def read_rows(folder: Path) -> list[tuple[tuple[str, float], np.ndarray]]:
    """Return the segments of a folder and their embeddings."""
    found, _ = read_embeddings(folder)
    starts = np.nan_to_num(found.start_seconds, nan=-1.0)
    keys = [(item.item_id, float(start)) for item, start in zip(found.items, starts, strict=True)]
    return list(zip(keys, found.embedding, strict=True))


# ---------------------------------------------------------------- Ray Data


class DataEncoder:
    """The model as a stage of Ray Data."""

    def __init__(self, checkpoint: str) -> None:
        self.model = load_model(checkpoint, device=torch.device("cpu"))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the embedding of each segment."""
        embedding = [
            self._embed(segment, medium) for segment, medium in zip(batch["segment"], batch["medium"], strict=True)
        ]
        return {"item_id": batch["item_id"], "embedding": np.stack(embedding)}

    def _embed(self, segment: Segment, medium: str) -> np.ndarray:
        chosen = fieldmark.Medium(medium)
        inputs = self.model.encoder(chosen).encode([segment])
        return embed_segments(inputs, medium=chosen, network=self.model.network)[0][0]


def run_with_ray_data(manifest: Path, checkpoint: Path) -> Measured:
    """Embed by a pipeline of Ray Data, without writing: read, decode, encode."""
    import ray

    model = load_model(checkpoint, device=torch.device("cpu"))
    items = [{"item": item} for item in fieldmark.read_manifest(manifest) if item.medium in model.media]
    decodings = {medium.value: model.encoder(medium).decoding for medium in model.media}

    def decode(row: dict[str, Item]) -> list[dict[str, object]]:
        item = row["item"]
        segments = load_segments(item, decoding=decodings[item.medium.value], limits=fieldmark.types.MediaLimits())
        return [{"item_id": item.item_id, "medium": item.medium.value, "segment": each} for each in segments]

    print("Ray Data", flush=True)
    with open_cluster() as cluster:
        began = time.monotonic()
        ray.init(address=cluster.address, log_to_driver=False)
        data = ray.data.from_items(items, override_num_blocks=len(items) // 4).flat_map(decode, num_cpus=0.5)
        options = {"fn_constructor_args": (str(checkpoint),), "batch_size": 32, "concurrency": 2, "num_cpus": 0.5}
        count = data.map_batches(DataEncoder, **options).count()
        ended = time.monotonic()
        used = sum(cluster.cpu.values())
        ray.shutdown()
    print(f"  {count} rows")
    return Measured("Ray Data", ended - began, ended - began, used, 0)


def main() -> None:
    """Run all and print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "test", "all"), default="test")
    parser.add_argument("--every", type=int, default=1, help="Take every so many-th item of the split.")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--alone", type=Path, help="Embeddings of one process to compare with, of an earlier run.")
    parser.add_argument(
        "--runs", default="two nodes,worker killed,node killed,Ray Data", help="Those to do, separated by commas."
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(arguments.out, ignore_errors=True)
    manifest = choose_items(
        arguments.manifest, split=arguments.split, every=arguments.every, out=arguments.out / "manifest.csv"
    )
    count = len(fieldmark.read_manifest(manifest))
    rest = (manifest, arguments.checkpoint.resolve())
    print(f"{count} items, {arguments.shards} shards, {os.cpu_count()} cores", flush=True)
    alone = arguments.alone or arguments.out / "alone"
    if arguments.alone is None:
        print_row(run_alone(*rest, alone, arguments.shards), count)
    kills: dict[str, tuple[Callable[[Cluster], None], ...]] = {
        "two nodes": (),
        "worker killed": (Cluster.kill_worker,),
        "node killed": (Cluster.kill_node,),
        "both killed": (Cluster.kill_worker, Cluster.kill_node),
    }
    for name in (each.strip() for each in arguments.runs.split(",")):
        if name not in kills:
            print_row(run_with_ray_data(*rest), count)
            continue
        folder = arguments.out / name.replace(" ", "-")
        measured = run_on_cluster(name, *rest, folder, arguments.shards, kills[name])
        print(f"  {compare(alone, folder)}", flush=True)
        print_row(measured, count)


def print_row(found: Measured, count: int) -> None:
    """Print one row of the table: seconds, from the first shard on, of CPU; items for each of these; done again."""
    times = f"{found.seconds:.0f} | {found.working_seconds:.0f} | {found.cpu_seconds:.0f}"
    rate, load = count / found.cpu_seconds, os.getloadavg()[0]
    print(f"| {found.name} | {times} | {rate:.2f} | {found.lost_count} | load {load:.0f} |", flush=True)


if __name__ == "__main__":
    main()
