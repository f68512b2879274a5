r"""Few words find the bird: questions of one to three marks and parts of texts, with and without profiles of marks.

    python benchmarks/few_words.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml \\
        --traits ../shared/data/fgbirds/meta --descriptions ../shared/data/species_book/accounts.csv --seeds 3

For each seed a model is trained (or `--runs` are taken), its test items are indexed, and everything is asked of the
real search. The table of traits judges and is never known. Notes that the data set made from that table (`origin`
`attribute_template`) are among the training texts; "without notes" leaves them out of what is known of marks, though
the network was trained on them all the same.

"Told" is the mean probability of the first 12 hits beside the share of right ones.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import fieldmark
from fieldmark import Medium, Split
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search.fitting import recalibrate
from fieldmark.gallery.store import Filter
from fieldmark.marks.profile import SourceKind, Tally, encode_tallies, tally_texts
from fieldmark.marks.questions import make_questions
from fieldmark.marks.traits import TraitsTable, read_traits
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime
from fieldmark.workflows.marks import read_mark_sources
from fieldmark.workflows.search import Gallery

NOTES = "attribute_template"
WORDS = (3, 5, 10)
DEPTH, WORDS_DEPTH = 10, 12
Figures = dict[tuple[str, str], float]


def main() -> None:
    """Train, index and ask for each seed, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--traits", type=Path, required=True)
    parser.add_argument("--descriptions", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and galleries")
    parser.add_argument("--runs", type=Path, nargs="*", help="trained runs, one a seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=120, help="of each number of marks")
    parser.add_argument("--texts", type=int, default=400, help="most texts, drawn by the seed, that ask in parts")
    arguments = parser.parse_args()
    items = fieldmark.read_manifest(arguments.manifest)
    table = read_traits(arguments.traits)
    runs = arguments.runs or [arguments.out / f"seed-{seed}" for seed in range(arguments.seeds)]
    found: list[Figures] = []
    for seed, run in enumerate(runs):
        if not run.exists():
            config = fieldmark.load_config(arguments.config, overrides=[f"seed={seed}"])
            fieldmark.train(arguments.manifest, out=run, config=config)
        gallery = index_test_items(items, run=run, folder=arguments.out / f"gallery-{seed}")
        found.append(dict(measure(gallery, items, table=table, arguments=arguments, seed=seed)))
        print(f"\nseed {seed}", flush=True)
        print_tables(found[-1:])
    if len(found) > 1:
        print(f"\nmean of {len(found)} seeds (smallest to largest)")
        print_tables(found)


def index_test_items(items: Sequence[fieldmark.Item], *, run: Path, folder: Path) -> Gallery:
    """Return a gallery of the test items."""
    if not GalleryLayout(folder).finished.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        manifest = folder.with_suffix(".csv")
        fieldmark.write_manifest([item for item in items if item.split is Split.TEST], manifest)
        fieldmark.index(manifest, gallery=folder, checkpoint=run)
    return Gallery.open(folder)


def measure(
    gallery: Gallery,
    items: Sequence[fieldmark.Item],
    *,
    table: TraitsTable,
    arguments: argparse.Namespace,
    seed: int,
) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield each figure by what is known of marks and by its name."""
    trained = frozenset(gallery.model.class_names)
    for known, tallies in list_knowledge(gallery, items, arguments.descriptions):
        marks = GalleryLayout(gallery.folder).marks
        marks.unlink(missing_ok=True)
        if tallies:
            marks.write_bytes(encode_tallies(tallies))
        encoder = ModelQueryEncoder(gallery.model, runtime=Runtime.from_environment())
        recalibrate(gallery.folder, index=gallery.index, encoder=encoder)
        opened = Gallery(gallery.folder, index=gallery.index, model=gallery.model)
        for name, value in ask_questions(opened, table, trained=trained, count=arguments.questions, seed=seed):
            yield (known, name), value
        for name, value in ask_texts(opened, items, count=arguments.texts, seed=seed):
            yield (known, name), value
        print(f"asked with {known}", flush=True)


def list_knowledge(
    gallery: Gallery, items: Sequence[fieldmark.Item], descriptions: Path | None
) -> Iterator[tuple[str, list[Tally]]]:
    """Yield what may be known of marks, by its name."""
    texts = [item for item in items if item.split is Split.TRAIN and item.medium is Medium.TEXT]
    every = tally_items(gallery, texts)
    plain = tally_items(gallery, [item for item in texts if dict(item.extra).get("origin") != NOTES])
    yield "nothing, as before", []
    yield "training texts", [every]
    yield "training texts without notes", [plain]
    if descriptions is not None:
        book = list(read_mark_sources(descriptions=descriptions, traits=None).tallies)
        yield "training texts and book", [every, *book]
        yield "training texts without notes, and book", [plain, *book]
        yield "book", book


def tally_items(gallery: Gallery, texts: Sequence[fieldmark.Item]) -> Tally:
    """Return the marks of each class by some texts."""
    names = {each.class_name: (each.class_name, *each.names) for each in gallery.model.resolutions}
    by_class: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for item in texts:
        own = item.class_name or ""
        by_class[names.get(own, (own,))].append(read_text(item))
    kept = {own: each for own, each in by_class.items() if own[0] in gallery.model.class_names}
    return tally_texts(kept, kind=SourceKind.TEXTS, source="training texts")


def read_text(item: fieldmark.Item) -> str:
    """Return the words of a text item."""
    return item.text if item.text is not None else item.path.read_text(encoding="utf-8")


def ask_questions(
    gallery: Gallery, table: TraitsTable, *, trained: frozenset[str], count: int, seed: int
) -> Iterator[tuple[str, float]]:
    """Yield precision and mean average precision of questions, and the share that is told "not here"."""
    held = sorted({each.class_name for each in gallery.index.counts() if each.class_name})
    photos = gallery.index.count_by_medium()[Medium.IMAGE]
    for title, classes in (("seen", trained & set(held)), ("unseen", set(held) - trained)):
        if not classes:
            continue
        asked = [
            q for q in make_questions(table, held, count=4 * count, seed=seed) if classes.issuperset(q.class_names)
        ]
        for mark_count in (1, 2, 3):
            own = [q for q in asked if len(q.marks) == mark_count][:count]
            figures = defaultdict(list)
            for question in own:
                result = gallery.search(question.text, k=photos, media=(Medium.IMAGE,))
                right = np.array([hit.class_name in question.class_names for hit in result.hits])
                if right.any():
                    figures["precision at 10"].append(right[:DEPTH].mean())
                    figures["first"].append(right[0])
                    figures["MAP"].append((np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).mean())
                    figures["chance"].append(right.mean())
                    figures["not here"].append(result.collection is not None and not result.collection.is_likely)
            for name, values in figures.items():
                yield f"{title}, {mark_count} marks: {name}", float(np.mean(values))
            yield f"{title}, {mark_count} marks: questions", len(figures["MAP"])


def ask_texts(
    gallery: Gallery, items: Sequence[fieldmark.Item], *, count: int, seed: int
) -> Iterator[tuple[str, float]]:
    """Yield the share of right ones among the first hits of parts of texts, and what they were told to be."""
    generator = np.random.default_rng(seed)
    tested = [item for item in items if item.split is Split.TEST and item.medium is Medium.TEXT]
    chosen = [tested[index] for index in generator.permutation(len(tested))[:count].tolist()]
    photos = gallery.index.count_by_medium()[Medium.IMAGE]
    for length in (*WORDS, None):
        found, told, captions, average = [], [], [], []
        for item in chosen:
            words = read_text(item).split()
            if length is not None and len(words) < length:
                continue
            start = 0 if length is None else int(generator.integers(len(words) - length + 1))
            query = " ".join(words[start : None if length is None else start + length])
            where = Filter(exclude_item_ids=frozenset({item.item_id}))
            hits = gallery.search(query, k=photos, media=(Medium.IMAGE,), where=where).hits
            right = np.array([hit.class_name == item.class_name for hit in hits])
            found.append(right[:WORDS_DEPTH].mean())
            told.append(np.mean([hit.probability or 0.0 for hit in hits[:WORDS_DEPTH]]))
            if length is None and right.any():
                average.append((np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).mean())
                if dict(item.extra).get("origin") == "human_caption":
                    captions.append(average[-1])
        title = "whole texts" if length is None else f"{length} words"
        yield f"{title}: right among 12", float(np.mean(found))
        yield f"{title}: told", float(np.mean(told))
        if length is None:
            yield f"{title}: MAP to photos", float(np.mean(average))
            if captions:
                yield f"{title}: MAP of captions", float(np.mean(captions))


def print_tables(found: Sequence[Mapping[tuple[str, str], float]]) -> None:
    """Print each figure, a column for everything that may be known."""
    columns = list(dict.fromkeys(known for known, _ in found[0]))
    print(f"| figure | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in dict.fromkeys(name for _, name in found[0]):
        cells = []
        for known in columns:
            values = [each[known, name] for each in found if (known, name) in each]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
