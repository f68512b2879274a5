"""Searches of a gallery that is spread over machines, simulated with measured seconds of single queries.

    python benchmarks/query_path.py scale.json --rate 50 --rows-each 50000

A search goes to every shard (fan-out) and waits for the slowest. Each shard has replicas; a search takes the one with
the shorter queue, and with `hedge` asks a second replica once the first has taken longer than 95 of 100 do. Searches
arrive at random (Poisson). Service times are drawn from the file, and scaled where a machine holds more rows than were
measured: an exact search reads all of them. Network and the encoding of the query are given, not measured.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Serving:
    """One way to serve.

    Args:
        shard_count: Machines that a search needs.
        replica_count: Machines that hold the same rows.
        rate: Searches in a second.
        hedges: Whether a slow part is asked again elsewhere.
    """

    shard_count: int
    replica_count: int
    rate: float
    hedges: bool = False


def simulate(
    serving: Serving, service_seconds: np.ndarray, *, search_count: int, overhead_seconds: float, seed: int
) -> np.ndarray:
    """Return the seconds of each search from its arrival to the last shard's answer.

    Args:
        service_seconds: Measured seconds that a machine works for one query; drawn with replacement.
        overhead_seconds: Of the network, for each part of a search.
    """
    generator = np.random.default_rng(seed)
    arrival = np.cumsum(generator.exponential(1 / serving.rate, size=search_count))
    free = np.zeros((serving.shard_count, serving.replica_count))  # when each machine has done all it was given
    patience = float(np.percentile(service_seconds, 95)) * 2
    finished = np.zeros(search_count)
    shards = np.arange(serving.shard_count)
    for number, now in enumerate(arrival):
        first = free.argmin(axis=1)
        drawn = generator.choice(service_seconds, size=serving.shard_count)
        done = np.maximum(free[shards, first], now) + drawn
        free[shards, first] = done
        if serving.hedges and serving.replica_count > 1:
            slow = np.flatnonzero(done - now > patience)
            others = np.where(np.arange(serving.replica_count) == first[slow, None], np.inf, free[slow]).argmin(axis=1)
            again = np.maximum(free[slow, others], now + patience) + generator.choice(service_seconds, size=len(slow))
            free[slow, others] = again
            done[slow] = np.minimum(done[slow], again)
        finished[number] = done.max() + overhead_seconds
    return finished - arrival


def main() -> None:
    """Print a table of ways to serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--rate", type=float, default=50.0, help="searches in a second")
    parser.add_argument("--rows-each", type=int, help="rows on a machine; as measured unless given")
    parser.add_argument(
        "--clock", action="store_true", help="take seconds of the clock, with what else the machine did"
    )
    parser.add_argument("--searches", type=int, default=20_000)
    parser.add_argument("--network-ms", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = json.loads(arguments.measured.read_text())["rows"]
    service = np.array(rows["query_clock" if arguments.clock else "query"]) * (
        (arguments.rows_each or rows["rows"]) / rows["rows"]
    )
    median, slow = 1000 * np.percentile(service, [50, 99])
    print(f"a machine works {median:.1f} ms (p50), {slow:.1f} ms (p99)\n")
    print("| shards | replicas | hedged | busy | p50 | p95 | p99 | p99.9 |\n|---|---|---|---|---|---|---|---|")
    for shard_count in (1, 4, 16, 64):
        for replica_count, hedges in ((1, False), (2, False), (2, True), (3, True)):
            busy = arguments.rate * service.mean() / replica_count
            way = f"| {shard_count} | {replica_count} | {'yes' if hedges else 'no'} | {busy:.0%}"
            if busy >= 1:
                print(f"{way} | overloaded | | | |")
                continue
            seconds = simulate(
                Serving(shard_count, replica_count, arguments.rate, hedges),
                service,
                search_count=arguments.searches,
                overhead_seconds=arguments.network_ms / 1000,
                seed=arguments.seed,
            )
            cells = " | ".join(f"{1000 * each:.0f} ms" for each in np.percentile(seconds, [50, 95, 99, 99.9]))
            print(f"{way} | {cells} |")


if __name__ == "__main__":
    main()
