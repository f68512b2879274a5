"""Search a collection of things that are no birds: pictures, sounds and names that lie beside each other in folders.

    python examples/own_things.py FOLDER --out OUT --config CONFIG --query "robot"

Each folder is a class; a picture `robot.png`, a sound `robot.ogg` and a text `robot.txt` with the same name belong
together. Debian's `tuxpaint-stamps-default` has such a folder: /usr/share/tuxpaint/stamps.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import fieldmark
from fieldmark import Item, Medium, Split

SUFFIXES = {
    ".png": Medium.IMAGE,
    ".jpg": Medium.IMAGE,
    ".txt": Medium.TEXT,
    ".ogg": Medium.AUDIO,
    ".wav": Medium.AUDIO,
}


def collect(folder: Path) -> Iterator[Item]:
    """Yield all pictures, texts and sounds of a folder, each with the name of its folder as its class.

    Of a text, the first line is its name in English; the lines after it are translations, as Tux Paint has them. Every
    third thing is kept for testing, with all its files.
    """
    things = sorted({path.with_suffix("") for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES})
    for number, thing in enumerate(things):
        for path in sorted(thing.parent.glob(f"{thing.name}.*")):
            medium = SUFFIXES.get(path.suffix.lower())
            if medium is None:
                continue
            text = path.read_text(encoding="utf-8").splitlines()[0] if medium is Medium.TEXT else None
            yield Item(
                item_id=str(path.relative_to(folder)),
                medium=medium,
                path=None if text else path,
                text=text,
                class_name=thing.parent.name,
                group=str(thing.relative_to(folder)),
                split=Split.TEST if number % 3 == 2 else Split.TRAIN,
            )


def build(folder: Path, *, out: Path, config: fieldmark.Config, runtime: fieldmark.Runtime | None = None) -> Path:
    """Train on the things of a folder, index all of them, and return the gallery."""
    out.mkdir(parents=True, exist_ok=True)
    fieldmark.write_manifest(list(collect(folder)), out / "manifest.csv")
    fieldmark.train(out / "manifest.csv", out=out / "run", config=config, runtime=runtime)
    fieldmark.index(out / "manifest.csv", gallery=out / "things.gallery", checkpoint=out / "run", runtime=runtime)
    return out / "things.gallery"


def main() -> None:
    """Build a gallery and search it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="ready")
    parser.add_argument("--query", required=True)
    arguments = parser.parse_args()
    gallery = build(arguments.folder, out=arguments.out, config=fieldmark.load_config(arguments.config))
    print(fieldmark.Gallery.open(gallery).search(arguments.query, k=5).to_text())


if __name__ == "__main__":
    main()
