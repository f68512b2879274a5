"""The verb `demo`: the whole pipeline on a small synthetic set, from data to ranked results."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fieldmark.config_file import load_config
from fieldmark.data.manifest import read_manifest
from fieldmark.datasets.aviary.synthesize import synthesize
from fieldmark.datasets.check import CheckReport, check
from fieldmark.errors import ManifestError
from fieldmark.evaluation.result import Evaluation
from fieldmark.reports.contact_sheet import Tile, draw_sheet
from fieldmark.runtime import Runtime
from fieldmark.types import MEDIA, Hit, Item, Split
from fieldmark.workflows.embed import embed
from fieldmark.workflows.evaluate import evaluate
from fieldmark.workflows.index import index
from fieldmark.workflows.search import Gallery
from fieldmark.workflows.train import TrainReport, train

_CLASS_COUNT = 20
_ITEMS_PER_MEDIUM = 20
_DIFFICULTY = 0.3
CONFIG = "tiny"
_SHOWN_HITS = 2
"""Hits of each medium that are shown for a query."""
_MARKER_NAME = "fieldmark-demo.txt"
_MADE_NAMES = ("aviary", "run", "embeddings", "gallery", "results.png")
"""The files that a demo makes, and that a later one replaces."""


@dataclass(frozen=True, slots=True)
class DemoQuery:
    """One search of the demo: an item of the test split against all the others."""

    item: Item
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The results of the demo, and their folder."""

    folder: Path
    check: CheckReport
    training: TrainReport
    evaluation: Evaluation
    queries: tuple[DemoQuery, ...]
    seconds: float

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "folder": self.folder,
            "seconds": round(self.seconds, 1),
            "check": self.check,
            "training": self.training,
            "evaluation": self.evaluation,
            "searches": [
                {"item_id": query.item.item_id, "hits": [hit.item_id for hit in query.hits]} for query in self.queries
            ],
        }

    def to_text(self) -> str:
        """Return the table, the searches and commands to try next as text."""
        lines = [self.evaluation.to_text(), "", "Searches, without the query itself:"]
        for query in self.queries:
            lines.append(f"  {query.item.medium} of {query.item.class_name}")
            lines += [
                f"    {hit.score:.3f}  {hit.medium:<5}  {hit.class_name}"
                + ("  same species" if hit.class_name == query.item.class_name else "")
                for hit in query.hits
            ]
        gallery, photo = self.folder / "gallery", self.queries[0].item.path
        return "\n".join(
            [
                *lines,
                "",
                f"Done in {self.seconds:.0f} s. Everything is in {self.folder}:",
                "  aviary/manifest.csv   the data: drawn birds and clips, synthesized songs, written descriptions",
                "  run/                  configuration, checkpoints, metrics.csv, receipt.json",
                "  embeddings/           of the test split",
                "  gallery/              what is searched",
                "  results.png           the searches above, as a picture",
                "",
                "Try:",
                f"  fieldmark search {photo} --gallery {gallery}",
                f'  fieldmark search "a red cap and a trilling song" --gallery {gallery} --medium image,audio',
                f"  fieldmark serve --gallery {gallery}",
            ]
        )


def run_demo(
    out: Path | str,
    *,
    seed: int = 0,
    class_count: int = _CLASS_COUNT,
    items_per_medium: int = _ITEMS_PER_MEDIUM,
    overrides: Sequence[str] = (),
    runtime: Runtime | None = None,
) -> DemoReport:
    """Make a synthetic four-media set, check it, train FGCrossNet on it, evaluate, index and search.

    Args:
        out: A folder that is new, empty, or of an earlier demo; files of an earlier demo are replaced.
        overrides: `key=value` for the configuration, as in `load_config`.

    Raises:
        ManifestError: The folder holds something else.
    """
    folder, runtime = Path(out), runtime or Runtime.from_environment()
    started = time.monotonic()
    _clear(folder)
    say = runtime.reporter.say
    say(f"1/6 make {class_count} invented species with {items_per_medium} items in each of four media")
    manifest = synthesize(
        folder / "aviary",
        class_count=class_count,
        items_per_medium=items_per_medium,
        seed=seed,
        difficulty=_DIFFICULTY,
        report=runtime.reporter,
    )
    say("2/6 check: decode every file, look for duplicates and leaks")
    checked = check(manifest, reporter=runtime.reporter)
    say(checked.to_text())
    say(f"3/6 train FGCrossNet, preset {CONFIG}")
    config = load_config(CONFIG, overrides=[f"seed={seed}", *overrides])
    training = train(manifest, out=folder / "run", config=config, runtime=runtime)
    say("4/6 embed and evaluate the test split")
    embed(manifest, checkpoint=folder / "run", out=folder / "embeddings", runtime=runtime)
    evaluation = evaluate(folder / "embeddings")
    say("5/6 build the gallery")
    index(folder / "embeddings", checkpoint=folder / "run", gallery=folder / "gallery", runtime=runtime)
    say("6/6 search with a photo, a text, a clip and a song")
    queries = _search(folder / "gallery", read_manifest(manifest), runtime)
    _draw(queries, read_manifest(manifest)).save(folder / "results.png", optimize=True)
    return DemoReport(folder, checked, training, evaluation, queries, time.monotonic() - started)


def _clear(folder: Path) -> None:
    """Empty the folder of an earlier demo; files of other origin are never deleted."""
    marker = folder / _MARKER_NAME
    if folder.exists() and not marker.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ManifestError(
            f"'{folder}' holds files that no demo made. Choose a new or empty folder with --out.", kind="demo_folder"
        )
    for made in (folder / name for name in _MADE_NAMES):
        if made.is_dir() and not made.is_symlink():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(
        "Made by `fieldmark demo`, which replaces its own files here when it is run again.\n", encoding="utf-8"
    )


def _search(folder: Path, items: tuple[Item, ...], runtime: Runtime) -> tuple[DemoQuery, ...]:
    """Search once with each medium, each time for another species."""
    gallery = Gallery.open(folder, runtime=runtime)
    class_names = sorted({item.class_name for item in items if item.class_name})
    queries = []
    for number, medium in enumerate(MEDIA):
        class_name = class_names[(number * len(class_names)) // len(MEDIA)]
        item = next(i for i in items if (i.medium, i.class_name, i.split) == (medium, class_name, Split.TEST))
        hits: list[Hit] = []
        for wanted in MEDIA:
            found = gallery.search(item, k=_SHOWN_HITS + 1, media=[wanted]).hits
            hits += [hit for hit in found if hit.item_id != item.item_id][:_SHOWN_HITS]
        queries.append(DemoQuery(item, tuple(sorted(hits, key=lambda hit: -hit.score))))
    return tuple(queries)


def _draw(queries: tuple[DemoQuery, ...], items: tuple[Item, ...]) -> Image.Image:
    """Draw each query beside the best hit of each medium."""
    item_by_id = {item.item_id: item for item in items}
    rows = []
    for query in queries:
        best = [next(hit for hit in query.hits if hit.medium is medium) for medium in MEDIA]
        hits = [
            Tile(
                item_by_id[hit.item_id],
                caption=hit.class_name or "",
                note=f"{hit.medium}, score {hit.score:.2f}",
                is_marked=hit.class_name == query.item.class_name,
            )
            for hit in best
        ]
        rows.append(
            [Tile(query.item, query.item.class_name or "", f"query: {query.item.medium}", is_marked=False), *hits]
        )
    return draw_sheet(rows, title="Ask with any medium: the nearest item of each (green: same species)")
