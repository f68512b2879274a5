"""Latency of filters by facts beside the bare store, and corrected facts stored without an encoder.

Makes items with facts, and measures in one run, on the same table: a search of the gallery's store with a filter, and
the same condition given to LanceDB itself, in turn. Then corrects facts of 10,000 items.

    python benchmarks/facts.py --items 1000000 --out docs/results/facts.md
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import lancedb
import numpy as np

from fieldmark.gallery.approximate import load_approximation
from fieldmark.gallery.exact import HIT_COLUMNS
from fieldmark.gallery.facts import FactFilter
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import Filter, write_condition
from fieldmark.records.coordinates import Box, Circle
from fieldmark.records.dates import DateSpan
from fieldmark.types import MEDIA, Embeddings, Item

DIM, BLOCK, K, CORRECTED = 64, 50_000, 10, 10_000
COUNTRIES = ("US", "BR", "ZA", "NO", "IN", "AU", "KE", "DE")
LICENSES = ("CC0_1_0", "https://creativecommons.org/licenses/by/4.0/", "cc-by-nc", None)
FILTERS = {
    "none": Filter(),
    "a year": Filter(facts=FactFilter(dates=DateSpan(date(2001, 1, 1), date(2001, 12, 31)))),
    "May, any year": Filter(facts=FactFilter(months=frozenset({5}))),
    "box of 10 degrees": Filter(facts=FactFilter(area=Box(0.0, 40.0, 10.0, 50.0))),
    "50 km around a place": Filter(facts=FactFilter(area=Circle(42.44, -76.5, 50.0))),
    "2,000 km around a place": Filter(facts=FactFilter(area=Circle(42.44, -76.5, 2000.0))),
    "country": Filter(facts=FactFilter(countries=frozenset({"no"}))),
    "observer": Filter(facts=FactFilter(observers=frozenset({"observer 17"}))),
    "license, any spelling": Filter(licenses=frozenset({"cc by 4.0"})),
    "no license": Filter(facts=FactFilter(lacks=frozenset({"license"}))),
    "catalog number": Filter(facts=FactFilter(keys=frozenset({"ex-00012345"}))),
}


def make_items(start: int, count: int) -> tuple[Item, ...]:
    """Items of every medium with facts of all kinds."""
    generator = np.random.default_rng(start)
    north, east = np.degrees(np.arcsin(generator.uniform(-1, 1, count))), generator.uniform(-180, 180, count)
    day = generator.integers(date(1950, 1, 1).toordinal(), date(2024, 12, 31).toordinal(), count).tolist()
    return tuple(
        Item(
            f"item-{start + n:08}",
            MEDIA[n % 4],
            path=Path(f"/media/{start + n:08}.bin"),
            class_name=f"Species {n % 500}",
            license=LICENSES[n % 4],
            event_date=date.fromordinal(day[n]).isoformat()[: (10, 10, 7, 4)[n % 4]],
            latitude=float(north[n]),
            longitude=float(east[n]),
            place=f"Place {n % 3000}",
            country_code=COUNTRIES[n % 8],
            recorded_by=f"observer {n % 400} | observer {n % 7}",
            catalog_number=f"EX-{start + n:08}",
            occurrence_id=f"urn:catalog:EX:{(start + n) // 3:08}",
        )
        for n in range(count)
    )


def fill(index: LanceIndex, count: int) -> None:
    """Add items with one segment each."""
    for start in range(0, count, BLOCK):
        items = make_items(start, min(BLOCK, count - start))
        rows = np.random.default_rng(start).normal(size=(len(items), DIM)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        times = np.full(len(items), np.nan)
        hashes = {item.item_id: "0-0" for item in items}
        index.add(Embeddings(items, times, times, rows), content_hash_by_item_id=hashes, set_name="set")
        print(f"{start + len(items):,} items", flush=True)


def measure(run: Callable[[], int], other: Callable[[], int], *, repeats: int) -> tuple[float, float, int, int]:
    """Median milliseconds of two functions that take turns, and what they found."""
    times: tuple[list[float], list[float]] = ([], [])
    found = [run(), other()]
    for _ in range(repeats):
        for each, own in zip((run, other), times, strict=True):
            begin = time.perf_counter()
            each()
            own.append(1000 * (time.perf_counter() - begin))
    return float(np.median(times[0])), float(np.median(times[1])), *found


def compare(index: LanceIndex, folder: Path, *, repeats: int) -> list[str]:
    """Rows of the table of latencies."""
    table, known = lancedb.connect(folder).open_table("segments"), load_approximation(folder)
    query = np.random.default_rng(7).normal(size=DIM)
    columns = [*HIT_COLUMNS, "segment", "vector"]

    def ask_bare(condition: str | None) -> int:
        search = table.search(query.astype(np.float32), vector_column_name="vector").distance_type("cosine")
        if condition is not None:
            search = search.where(condition, prefilter=True)
        if known is not None:
            search = search.minimum_nprobes(known.probe_count).maximum_nprobes(0)
        return len(search.limit(K).select([*columns, "_distance"]).to_arrow())

    lines = []
    for name, where in FILTERS.items():
        condition = write_condition(where)
        own, bare, found, found_bare = measure(
            lambda where=where: len(index.search(query, k=K, where=where)),
            lambda condition=condition: ask_bare(condition),
            repeats=repeats,
        )
        passing = table.count_rows(condition) if condition else table.count_rows()
        lines.append(f"| {name} | {passing:,} | {bare:.1f} | {own:.1f} | {own / bare:.2f} | {found_bare} / {found} |")
        print(lines[-1], flush=True)
    return lines


def correct(index: LanceIndex, count: int) -> float:
    """Seconds in which facts of many items are corrected; no encoder is loaded in this process."""
    items = make_items(0, BLOCK if count > BLOCK else count)[:CORRECTED]
    corrected = [replace(item, place="Corrected", event_date="2001-05-04") for item in items]
    begin = time.perf_counter()
    index.update_facts(corrected, content_hash_by_item_id={item.item_id: "0-1" for item in items})
    return time.perf_counter() - begin


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="facts-"))
    try:
        index = LanceIndex.create(folder, fingerprint="bench", dim=DIM, exact_rows=0)
        fill(index, options.items)
        index.optimize()
        lines = compare(index, folder, repeats=options.repeats)
        seconds = correct(index, options.items)
    finally:
        shutil.rmtree(folder)
    text = "\n".join(
        [
            "# Filters by facts beside the bare store",
            "",
            f"`python benchmarks/facts.py --items {options.items}`, {date.today()}, two shared cores; LanceDB "
            f"{lancedb.__version__}. Medians of {options.repeats} searches for {K} items, both in turn; one segment, "
            f"{DIM} dimensions each.",
            "The bare store is LanceDB itself, with the same table, index, probes, condition and columns.",
            "",
            "| filter | items that pass | bare store, ms | with facts, ms | ratio | found |",
            "|---|---:|---:|---:|---:|---:|",
            *lines,
            "",
            f"Facts of {min(CORRECTED, options.items):,} items corrected in {seconds:.1f} s, without an encoder.",
            "",
        ]
    )
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
