"""Train on a small invented set, put it into a gallery, and search with each of the four media.

    python examples/search_with_python.py made-by-python

Everything here can be done with `fieldmark` on the command line as well.
"""

import argparse
from pathlib import Path

import fieldmark


def build_gallery(folder: Path, *, class_count: int, items_per_medium: int, epochs: int) -> Path:
    """Make data, train on their train split, and index all of them; return the folder of the gallery."""
    manifest = fieldmark.synthesize(
        folder / "aviary", class_count=class_count, items_per_medium=items_per_medium, seed=5, difficulty=0.3
    )
    config = fieldmark.load_config("tiny", overrides=[f"train.epochs={epochs}"])
    fieldmark.train(manifest, out=folder / "run", config=config)
    return fieldmark.index(manifest, checkpoint=folder / "run", gallery=folder / "gallery").gallery


def search_with_each_medium(gallery: fieldmark.Gallery, items: tuple[fieldmark.Item, ...]) -> None:
    """Print, for a test item of each medium, the best photo, text, clip and song of other items."""
    for medium in fieldmark.Medium:
        query = next(item for item in items if item.medium is medium and item.split is fieldmark.Split.TEST)
        print(f"{medium} of {query.class_name}")
        for wanted in fieldmark.Medium:
            found = gallery.search(query, k=2, media=[wanted]).hits
            best = next(hit for hit in found if hit.item_id != query.item_id)
            print(f"  {best.score:.3f}  {wanted:<5}  {best.class_name}")


def main() -> None:
    """Build a gallery in the folder that is given, and search it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--items", type=int, default=12, help="of each species and medium")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    folder = build_gallery(
        options.folder, class_count=options.classes, items_per_medium=options.items, epochs=options.epochs
    )
    items = fieldmark.read_manifest(options.folder / "aviary" / "manifest.csv")
    search_with_each_medium(fieldmark.Gallery.open(folder), items)


if __name__ == "__main__":
    main()
