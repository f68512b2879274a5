"""Write the collection of an invented museum: photos, field notes, clips and tapes, and the table that lists them.

    python examples/make_collection.py cabinet

The birds are invented, so are numbers, days and places. The guide for museums begins with this collection.
"""

import argparse
import csv
import datetime
import re
from pathlib import Path

import numpy as np

import fieldmark

PLACES = (("North Marsh", 53.61, 8.12), ("Hill Wood", 53.52, 8.31), ("Salt Quay", 53.70, 8.05))
"""Names, latitudes and longitudes."""
COLUMNS = (
    "catalog_number", "medium", "path", "text", "species", "collected", "place", "lat", "lon",
    "group", "start_seconds", "end_seconds",
)  # fmt: skip
"""Names of a museum's own for some columns, those of fieldmark for the others."""


def write_name(item: fieldmark.Item) -> str:
    """Return the species as a museum writes it: "Snowy-breasted Hasplilt"."""
    return re.sub("_(?=[a-z])", "-", item.class_name or "").replace("_", " ")


def make_collection(folder: Path, *, class_count: int, items_per_medium: int, seed: int) -> Path:
    """Write the media and `records.csv`, and return the path of the table."""
    manifest = fieldmark.synthesize(
        folder / "media", class_count=class_count, items_per_medium=items_per_medium, seed=seed, difficulty=0.3
    )
    rng = np.random.default_rng(seed)
    visits: dict[str, tuple[str, str, float, float]] = {}
    table = folder / "records.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, item in enumerate(fieldmark.read_manifest(manifest), start=1):
            # Two notes of one page, or two parts of one tape, are of one day and place.
            origin = item.group or item.item_id
            if origin not in visits:
                place, latitude, longitude = PLACES[rng.integers(len(PLACES))]
                day = datetime.date(1996, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 365)))
                visits[origin] = (day.isoformat(), place, latitude, longitude)
            path = "" if item.path is None else item.path.relative_to(folder.resolve()).as_posix()
            span = [item.start_seconds, item.end_seconds]
            writer.writerow(
                [f"B {number:04d}", item.medium, path, item.text, write_name(item), *visits[origin], origin, *span]
            )
    return table


def main() -> None:
    """Write a collection to the folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--items", type=int, default=12, help="of each species and medium")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    table = make_collection(folder, class_count=options.classes, items_per_medium=options.items, seed=options.seed)
    print(f"{options.folder / table.name}: {options.classes} species, {options.items} records of each in four media")


if __name__ == "__main__":
    main()
