"""Fifty clients at once against a real server process: times, errors, overload, and memory over many requests.

Run: python benchmarks/serve.py GALLERY MANIFEST [--requests 10000] [--clients 50] [--photos 30]

Queries are drawn from the manifest's own test items (photos, songs, clips, texts), from texts, and from items of the
gallery, beside the pictures and ranges of media that the page asks for. Every client waits for its answer before it
asks again, and honors `Retry-After`.

With `--beside CHECKOUT` a server of this checkout and one of another answer the same requests in turn, and the table
shows both and how many times faster this one is.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from fieldmark import Item, Medium, Split, read_manifest

SHARES = {
    "search by text": 30,
    "search by item": 20,
    "search by photo": 4,
    "search by song": 1,
    "search by clip": 1,
    "item": 10,
    "thumbnail": 20,
    "spectrogram": 4,
    "waveform": 4,
    "media range": 6,
}
"""Out of a hundred requests."""

FILES = {"search by photo": Medium.IMAGE, "search by song": Medium.AUDIO, "search by clip": Medium.VIDEO}
URLS = {
    "item": "item_url",
    "media range": "media_url",
    "thumbnail": "thumbnail_url",
    "spectrogram": "spectrogram_url",
    "waveform": "waveform_url",
}


@dataclass
class Tally:
    """The answers that were met."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    told_to_wait: list[float] = field(default_factory=list)


@contextmanager
def serving(gallery: Path, *options: str, source: Path | None = None) -> Iterator[tuple[str, int]]:
    """A server process, of the checkout with this `src` if one is given: its address and its process id."""
    code = "from fieldmark.cli.app import main; main()"
    command = [sys.executable, "-c", code, "serve", "--gallery", str(gallery), "--port", "0", *options]
    environment = {**os.environ, **({"PYTHONPATH": str(source)} if source else {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        lines = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"http://\S+", line) for line in lines)))
        try:
            yield found[0].rstrip("/"), process.pid
        finally:
            process.terminate()
            process.wait(30)


def resident_mib(pid: int) -> float:
    """Memory that a process holds, MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@dataclass
class Load:
    """Draws requests."""

    items: list[Item]
    listed: list[dict[str, object]]
    chance: random.Random
    file_count: int

    def draw(self) -> tuple[str, str, str, dict[str, object]]:
        """A kind of request, its method, its address, and its body; none that the items cannot be asked for."""
        kind = self.chance.choices(list(SHARES), weights=list(SHARES.values()))[0]
        while not self._can_ask(kind):
            kind = self.chance.choices(list(SHARES), weights=list(SHARES.values()))[0]
        if kind.startswith("search"):
            return kind, "POST", "/v1/search", self._search(kind)
        address = str(self.chance.choice([each[URLS[kind]] for each in self.listed if each[URLS[kind]]]))
        return kind, "GET", address, {"headers": {"range": "bytes=0-65535"}} if kind == "media range" else {}

    def _search(self, kind: str) -> dict[str, object]:
        wanted: dict[str, object] = {"k": 10, "per_medium": self.chance.random() < 0.5}
        if kind == "search by text":
            words = self.chance.choice([item.text or item.class_name for item in self.items if item.class_name])
            return {"json": {**wanted, "queries": [{"text": str(words)[:300]}]}}
        if kind == "search by item":
            return {"json": {**wanted, "queries": [{"item_id": self.chance.choice(self.listed)["item_id"]}]}}
        path = self.chance.choice(self._list_files(kind))
        return {"files": {"file": (path.name, path.read_bytes())}, "data": {"request": json.dumps(wanted)}}

    def _can_ask(self, kind: str) -> bool:
        if kind in URLS:
            return any(each[URLS[kind]] for each in self.listed)
        return kind not in FILES or bool(self._list_files(kind))

    def _list_files(self, kind: str) -> list[Path]:
        medium = FILES[kind]
        return [i.path for i in self.items if i.medium is medium and i.split is Split.TEST][: self.file_count]


async def ask(client: httpx.AsyncClient, load: Load, tally: Tally, *, patient: bool) -> None:
    """Sends one request, again where it is told to wait and is patient."""
    kind, method, address, body = load.draw()
    while True:
        began = time.perf_counter()
        try:
            answer = await client.request(method, address, **body)
        except httpx.HTTPError as error:
            tally.errors.append(f"{kind}: {type(error).__name__}")
            return
        taken = time.perf_counter() - began
        tally.statuses[answer.status_code] += 1
        if answer.status_code not in {429, 503}:
            break
        tally.told_to_wait.append(taken)
        if not patient:
            return
        await asyncio.sleep(float(answer.headers["retry-after"]))
    if answer.is_success:
        tally.seconds[kind].append(taken)
    else:
        tally.errors.append(f"{kind} {address}: {answer.status_code} {answer.text[:200]}")


async def run_load(address: str, load: Load, *, clients: int, requests: int, patient: bool) -> Tally:
    """Many clients, each with one request at a time."""
    tally, left = Tally(), requests
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def client_life(client: httpx.AsyncClient) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask(client, load, tally, patient=patient)

    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        await asyncio.gather(*(client_life(client) for _ in range(clients)))
    return tally


def show(tally: Tally, *, wall_seconds: float) -> None:
    """Prints the table."""
    print(f"{'request':<18}{'count':>7}{'p50 ms':>9}{'p99 ms':>9}")
    everything = [value for values in tally.seconds.values() for value in values]
    for kind, values in [*sorted(tally.seconds.items()), ("all", everything)]:
        p50, p99 = np.percentile(values, [50, 99]) * 1000
        print(f"{kind:<18}{len(values):>7}{p50:>9.0f}{p99:>9.0f}")
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    print(f"statuses {statuses}; errors {len(tally.errors)}; {len(everything) / wall_seconds:.0f} requests a second")
    for error in tally.errors[:5]:
        print(f"  {error}")


def compare(chosen: argparse.Namespace, items: list[Item]) -> None:
    """Asks a server of this checkout and one of another the same requests, a block of them in turn."""
    sources = {"this": Path(__file__).resolve().parents[1] / "src", "other": chosen.beside.resolve() / "src"}
    galleries = {"this": chosen.gallery, "other": chosen.gallery_beside or chosen.gallery}
    blocks, order = 10, random.Random(0)
    tallies: dict[str, Tally] = {name: Tally() for name in sources}
    taken = dict.fromkeys(sources, 0.0)
    with ExitStack() as stack:
        served = {
            name: stack.enter_context(serving(galleries[name], source=source)) for name, source in sources.items()
        }
        listed = {name: list_items(address) for name, (address, _) in served.items()}
        for block in range(blocks + 1):
            for name in order.sample(list(served), len(served)):
                load = Load(items, listed[name], random.Random(block), chosen.photos)
                count = chosen.requests // blocks
                began = time.perf_counter()
                tally = asyncio.run(
                    run_load(served[name][0], load, clients=chosen.clients, requests=count, patient=True)
                )
                if block:  # the first fills caches
                    taken[name] += time.perf_counter() - began
                    for kind, values in tally.seconds.items():
                        tallies[name].seconds[kind] += values
                    tallies[name].errors += tally.errors
        memory = {name: resident_mib(pid) for name, (_, pid) in served.items()}
    print(
        f"gallery of {len(listed['this'])} items, {chosen.clients} clients at once, {chosen.requests} requests of each"
    )
    print(f"{'request':<18}{'count':>7}{'p50 ms':>9}{'other':>9}{'p99 ms':>9}{'other':>9}{'times faster (p50)':>20}")
    for kind in [*SHARES, "all"]:
        of_kind = {
            name: [v for own, values in tally.seconds.items() if kind in (own, "all") for v in values]
            for name, tally in tallies.items()
        }
        if not all(of_kind.values()):
            continue
        (p50, p99), (other_p50, other_p99) = (np.percentile(of_kind[name], [50, 99]) * 1000 for name in sources)
        count = len(of_kind["this"])
        print(f"{kind:<18}{count:>7}{p50:>9.0f}{other_p50:>9.0f}{p99:>9.0f}{other_p99:>9.0f}{other_p50 / p50:>20.2f}")
    rate = {name: sum(map(len, tally.seconds.values())) / taken[name] for name, tally in tallies.items()}
    print(", ".join(f"{name}: {each:.1f} requests a second" for name, each in rate.items()))
    print(f"{rate['this'] / rate['other']:.2f} times the rate")
    print(", ".join(f"{name}: {memory[name]:.0f} MiB, {len(tallies[name].errors)} errors" for name in sources))


def list_items(address: str) -> list[dict[str, object]]:
    """All items of the gallery, by its own pages."""
    listed: list[dict[str, object]] = []
    after = None
    while True:
        page = httpx.get(f"{address}/v1/items", params={"limit": 500, **({"after": after} if after else {})}).json()
        listed += page["items"]
        after = page["next_after"]
        if after is None:
            return listed


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--photos", type=int, default=30, help="different files of each medium as queries")
    parser.add_argument("--beside", type=Path, help="another checkout, to ask both the same requests in turn")
    parser.add_argument("--gallery-beside", type=Path, help="a gallery made by it, where it cannot open this one")
    chosen = parser.parse_args()
    items = list(read_manifest(chosen.manifest))
    if chosen.beside is not None:
        compare(chosen, items)
        return
    with serving(chosen.gallery) as (address, pid):
        load = Load(items, list_items(address), random.Random(0), chosen.photos)
        asyncio.run(run_load(address, load, clients=4, requests=200, patient=True))
        print(f"gallery of {len(load.listed)} items, {chosen.clients} clients at once, {chosen.requests} requests")
        print(f"resident memory after warming up: {resident_mib(pid):.0f} MiB")
        for part in range(1, 6):
            began = time.perf_counter()
            tally = asyncio.run(
                run_load(address, load, clients=chosen.clients, requests=chosen.requests // 5, patient=True)
            )
            print(f"after {part * chosen.requests // 5:,} requests: {resident_mib(pid):.0f} MiB")
            show(tally, wall_seconds=time.perf_counter() - began)
    print("\noverload: the same with 8 places for searches, and clients that do not wait")
    with serving(chosen.gallery, "--limit", "search_places=8") as (address, pid):
        began = time.perf_counter()
        tally = asyncio.run(run_load(address, load, clients=chosen.clients, requests=500, patient=False))
        show(tally, wall_seconds=time.perf_counter() - began)
        refused = np.percentile(tally.told_to_wait or [0], [50, 99]) * 1000
        print(f"told to wait: {len(tally.told_to_wait)}, within p50 {refused[0]:.0f} ms, p99 {refused[1]:.0f} ms")


if __name__ == "__main__":
    main()
