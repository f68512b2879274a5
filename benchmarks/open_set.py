"""Honest scores on real birds: calibration, "not in this collection", photo with song, marks, and songs to photos.

    python benchmarks/open_set.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml --out runs/open

Trains twice: on all species, and with some left out of training (with all their training items). The gallery is all
items of the manifest; queries are test items, their own group left out. Every parameter is fitted on the test items of
one half of the classes and measured on those of the other half, and the other way round. With `--outside MANIFEST`, all
items of that manifest ask, of species that the gallery holds and of others; no curve was fitted on them. "Before" is
the answer of one curve for each query medium, which always tells.
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

import fieldmark
from fieldmark.build import Model, load_model
from fieldmark.data.shards import read_embeddings
from fieldmark.embedding import FailureLog, embed_items
from fieldmark.gallery.search import open_set_fitting
from fieldmark.gallery.search.calibration import Curve, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.fitting import TextReader, cut_texts, fit_calibration, score_items
from fieldmark.gallery.search.fusion import combine_logits
from fieldmark.gallery.search.open_set import (
    DEPTH,
    THRESHOLD,
    BestItems,
    answer_open_set,
    compute_open_set_score,
    weigh_evidence,
)
from fieldmark.gallery.search.query import QueryEmbedding, read_words
from fieldmark.gallery.search.result import UNLIKELY, OpenSetAnswer
from fieldmark.origin import number_origins
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime
from fieldmark.training.layout import find_checkpoint
from fieldmark.types import MEDIA, Embeddings, Item, Medium, Split

K = 12
RESAMPLES = 2000


class Calibrations(NamedTuple):
    """A calibration, and the open-set curves as they were before."""

    now: ScoreCalibration
    before: ScoreCalibration


@dataclass(frozen=True, slots=True)
class Table:
    """All items as arrays, and the calibrations fitted on either half of the classes.

    Args:
        calibrations: By half; the first is fitted on the classes of half 0, and is for the queries of half 1.
        word_count: Of texts; 0 for others.
    """

    items: tuple[Item, ...]
    segment: np.ndarray
    mean: np.ndarray
    first: np.ndarray
    medium: np.ndarray
    class_name: np.ndarray
    origin: np.ndarray
    is_test: np.ndarray
    half: np.ndarray
    calibrations: tuple[Calibrations, Calibrations]
    word_count: np.ndarray

    def query_embedding(self, place: int, *, is_negative: bool = False) -> QueryEmbedding:
        """An item that asks, or is marked."""
        words = int(self.word_count[place]) or None
        return QueryEmbedding(MEDIA[self.medium[place]], self.mean[place], is_negative=is_negative, word_count=words)

    def both(self, query: int) -> Calibrations:
        """Those that did not see the query's class."""
        return self.calibrations[1 - self.half[query]]

    def calibration(self, query: int) -> ScoreCalibration:
        """The one that did not see the query's class."""
        return self.both(query).now

    def scores(self, query: int) -> np.ndarray:
        """Of one item with all."""
        return score_items(self.mean[query : query + 1], self.segment, first=self.first)[0]

    def logits(self, query: int, score: np.ndarray) -> np.ndarray:
        """Calibrated, by a calibration that did not see the query's class."""
        return self.combined([score], [self.query_embedding(query)], self.calibration(query))

    def combined(
        self, score: Sequence[np.ndarray], queries: Sequence[QueryEmbedding], calibration: ScoreCalibration
    ) -> np.ndarray:
        """Log-odds of all items for several queries."""
        logit = np.full(len(self.items), -np.inf)
        for code, medium in enumerate(MEDIA):
            columns = self.medium == code
            part = combine_logits(np.stack(score)[:, columns], queries=queries, medium=medium, calibration=calibration)
            if part is not None:
                logit[columns] = part
        return logit


def main() -> None:
    """Trains, measures and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--unseen", type=int, default=6, help="species left out of training in the second model")
    parser.add_argument("--outside", type=Path, help="manifest with further items, that no curve is fitted on")
    arguments = parser.parse_args()
    items = fieldmark.read_manifest(arguments.manifest)
    names = sorted({item.class_name for item in items if item.class_name})
    unseen = set(np.random.default_rng(0).permutation(names)[: arguments.unseen].tolist())
    folder = embedded(items, left_out=set(), out=arguments.out / "all", config=arguments.config)
    seen_all = load(folder)
    print_reliability(seen_all)
    print_first_hits(seen_all)
    print_songs_to_photos(seen_all)
    print_fusion(seen_all)
    print_marks(seen_all)
    print_short_texts(seen_all, load(folder, by_length=False), model=model_of(folder))
    print_open_set(seen_all, np.array(names), title="species that the model was trained on")
    some = load(embedded(items, left_out=unseen, out=arguments.out / "some", config=arguments.config))
    print_open_set(some, np.array(sorted(unseen)), title="species that training never saw")
    if arguments.outside is not None:
        print_outside(fieldmark.read_manifest(arguments.outside), out=arguments.out / "all")


def embedded(items: Sequence[Item], *, left_out: set[str], out: Path, config: str) -> Path:
    """The embeddings of all items by a model trained without some classes; what is there already is used."""
    out.mkdir(parents=True, exist_ok=True)
    kept = [item for item in items if item.class_name not in left_out or item.split is Split.TEST]
    if not (out / "run" / "receipt.json").is_file():
        fieldmark.write_manifest(kept, out / "train.csv")
        fieldmark.train(out / "train.csv", out=out / "run", config=fieldmark.load_config(config))
    fieldmark.write_manifest(items, out / "all.csv")
    fieldmark.embed(out / "all.csv", checkpoint=out / "run", out=out / "embeddings", split="all")
    return out / "embeddings"


@dataclass(frozen=True, slots=True)
class ItemRows:
    """Items as arrays.

    Args:
        mean: The item's own embedding, of length 1.
        first: Its first row among the segments.
    """

    items: tuple[Item, ...]
    mean: np.ndarray
    first: np.ndarray
    medium: np.ndarray


def items_of(embeddings: Embeddings) -> ItemRows:
    """The items, each with its mean."""
    rows = embeddings.items
    first = np.array([row for row in range(len(rows)) if row == 0 or rows[row] is not rows[row - 1]])
    items = tuple(rows[row] for row in first)
    total = np.add.reduceat(embeddings.embedding, first, axis=0)
    mean = total / np.linalg.norm(total, axis=1, keepdims=True)
    return ItemRows(items, mean, first, np.array([MEDIA.index(item.medium) for item in items]))


def model_of(folder: Path) -> Model:
    """The model of an embeddings folder."""
    return load_model(find_checkpoint(folder.parent / "run"), device=Runtime.from_environment().choose_device())


def reader_of(model: Model) -> TextReader:
    """As `index` has texts read."""
    return lambda items: cut_texts(items, encoder=ModelQueryEncoder(model, runtime=Runtime.from_environment()))


def words_of(item: Item, model: Model) -> tuple[str, ...]:
    """Of a text; none of other media."""
    return read_words(item, limits=model.limits) if item.medium is Medium.TEXT else ()


def load(folder: Path, *, by_length: bool = True) -> Table:
    """The table of an embeddings folder.

    Args:
        by_length: Whether the curves follow the length of a text.
    """
    embeddings, info = read_embeddings(folder)
    model = model_of(folder)
    reader = reader_of(model) if by_length else None
    rows = items_of(embeddings)
    items = rows.items
    class_name = np.array([item.class_name or "" for item in items])
    names = np.unique(class_name)
    of_half = dict(zip(names, np.random.default_rng(1).permutation(len(names)) % 2, strict=True))
    return Table(
        items=items,
        segment=embeddings.embedding,
        mean=rows.mean,
        first=rows.first,
        medium=rows.medium,
        class_name=class_name,
        origin=number_origins(items),
        is_test=np.array([item.split is Split.TEST for item in items]),
        half=np.array([of_half[name] for name in class_name]),
        calibrations=tuple(
            fit_half(embeddings, {*info.class_names, *of_half}, of_half, half, reader) for half in (0, 1)
        ),
        word_count=np.array([len(words_of(item, model)) for item in items]),
    )


def fit_half(
    embeddings: Embeddings, known: set[str], of_half: dict[str, int], half: int, reader: TextReader | None
) -> Calibrations:
    """The calibration of which only the test items of one half of the classes ask; all items stand in the gallery."""
    hidden = {
        item: replace(item, split=Split.TRAIN) for item in set(embeddings.items) if of_half[item.class_name] != half
    }
    asked = replace(embeddings, items=tuple(hidden.get(item, item) for item in embeddings.items))
    return fit_both(asked, known, reader)


def queries(table: Table, *media: Medium) -> Iterator[int]:
    """Test items of some media."""
    for place in np.flatnonzero(table.is_test):
        if MEDIA[table.medium[place]] in media:
            yield int(place)


def interval(values: Sequence[float], groups: Sequence[str]) -> str:
    """Mean with its 95 % interval, by resampling groups."""
    names, code = np.unique(np.array(groups), return_inverse=True)
    sums, counts = np.bincount(code, weights=values), np.bincount(code)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return f"{np.mean(values):.3f} ({low:.3f} to {high:.3f})"


def print_reliability(table: Table) -> None:
    """Expected calibration error of each pair of media, on classes that the curves did not see."""
    first = f"first {K}"
    heading("query", "hit", "pairs", "ECE, all pairs", f"ECE, {first}", f"said, {first}", f"true, {first}")
    for medium in MEDIA:
        said: dict[int, list[np.ndarray]] = {code: [] for code in range(4)}
        true: dict[int, list[np.ndarray]] = {code: [] for code in range(4)}
        for query in queries(table, medium):
            logit = table.logits(query, table.scores(query))
            others = table.origin != table.origin[query]
            for code in range(4):
                columns = np.flatnonzero(others & (table.medium == code))
                columns = columns[np.argsort(-logit[columns], kind="stable")]
                said[code].append(compute_sigmoid(logit[columns]))
                true[code].append(table.class_name[columns] == table.class_name[query])
        for code, hit in enumerate(MEDIA):
            p, y = np.concatenate(said[code]), np.concatenate(true[code])
            p12, y12 = (np.concatenate([each[:K] for each in values[code]]) for values in (said, true))
            line(medium, hit, f"{p.size:,}", f"{ece(p, y):.4f}", ece(p12, y12), float(p12.mean()), float(y12.mean()))


def heading(*names: str) -> None:
    """The first two lines of a table."""
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")


def line(*cells: object) -> None:
    """A line of a table; shares to three places."""
    print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def ece(probability: np.ndarray, relevant: np.ndarray, bins: int = 15) -> float:
    """Mean gap between what is said and what is true, in parts of equally many cases."""
    parts = np.array_split(np.argsort(probability, kind="stable"), bins)
    return float(
        sum(
            part.size / probability.size * abs(probability[part].mean() - relevant[part].mean())
            for part in parts
            if part.size
        )
    )


def print_first_hits(table: Table) -> None:
    """Print the media of the first hits, the share that is right, and MAP over all media, by score and probability."""
    heading("query", "order", *MEDIA, f"right among {K}", "MAP to all")
    for medium in MEDIA:
        found: dict[str, list[tuple[np.ndarray, float, float]]] = {"score": [], "probability": []}
        for query in queries(table, medium):
            score = table.scores(query)
            others = table.origin != table.origin[query]
            relevant = table.class_name == table.class_name[query]
            for name, value in (("score", score), ("probability", table.logits(query, score))):
                order = listed(value, table.medium, others, by_turn=name == "probability")
                right = relevant[order]
                precision = np.cumsum(right) / np.arange(1, right.size + 1)
                share = np.bincount(table.medium[order[:K]], minlength=4) / K
                found[name].append((share, right[:K].mean(), precision[right].mean() if right.any() else 0.0))
        for name, values in found.items():
            shares = [f"{share:.2f}" for share in np.mean([share for share, _, _ in values], axis=0)]
            line(medium, name, *shares, *(float(np.mean([each[place] for each in values])) for place in (1, 2)))


def listed(value: np.ndarray, medium: np.ndarray, allowed: np.ndarray, *, by_turn: bool) -> np.ndarray:
    """Items in the order of a search: by value, or, from 99 % on, the media in turns."""
    order = np.flatnonzero(allowed)[np.argsort(-value[allowed], kind="stable")]
    if not by_turn:
        return order
    certain = order[compute_sigmoid(value[order]) >= 0.99]
    turn = np.array([np.sum(medium[certain[:place]] == medium[item]) for place, item in enumerate(certain)])
    return np.concatenate(
        [certain[np.lexsort((medium[certain], turn))] if certain.size else certain, order[certain.size :]]
    )


def print_songs_to_photos(table: Table) -> None:
    """A song as query: how many of the first 10 photos are of its species."""
    for name, photos in (("all photos", table.medium == 0), ("test photos", (table.medium == 0) & table.is_test)):
        asked = list(queries(table, Medium.AUDIO))
        right = [precision_at_10(table, table.scores(query), query, photos) for query in asked]
        shown = interval(right, table.origin[asked])
        print(f"\nsong to photo ({name}, {photos.sum()}), {len(asked)} recordings: first 10 right {shown}")


def precision_at_10(table: Table, value: np.ndarray, query: int, allowed: np.ndarray) -> float:
    """Share of the first 10 allowed items that are of the query's class."""
    places = np.flatnonzero(allowed)
    order = places[np.argsort(-value[places], kind="stable")[:10]]
    return float((table.class_name[order] == table.class_name[query]).mean())


def print_fusion(table: Table) -> None:
    """A text, or a photo, with a song of the same species, against each alone."""
    rng = np.random.default_rng(0)
    heading("first", "second", "hits", "pairs", "first alone", "second alone", "both", "both less the better")
    for medium in (Medium.IMAGE, Medium.TEXT):
        for hit in (Medium.TEXT, Medium.IMAGE, Medium.AUDIO):
            rows = []
            groups = []
            for song in queries(table, Medium.AUDIO):
                mates = [place for place in queries(table, medium) if table.class_name[place] == table.class_name[song]]
                if not mates:
                    continue
                found = fused(table, int(rng.choice(mates)), song, MEDIA.index(hit))
                if found is not None:
                    rows.append(found)
                    groups.append(table.origin[song])
            first, second, both = np.array(rows).T
            better = first if first.mean() >= second.mean() else second
            alone = float(first.mean()), float(second.mean())
            line(medium, "audio", hit, len(rows), *alone, interval(both, groups), interval(both - better, groups))


def fused(table: Table, first: int, second: int, hit: int) -> tuple[float, ...] | None:
    """Average precision of the test items of one medium for two queries and for both; None without relevant ones."""
    others = ~np.isin(table.origin, table.origin[[first, second]]) & (table.medium == hit) & table.is_test
    score = [table.scores(first), table.scores(second)]
    queries = [table.query_embedding(place) for place in (first, second)]
    both = table.combined(score, queries, table.calibration(first))
    relevant = table.class_name == table.class_name[first]
    if not (relevant & others).any():
        return None
    return tuple(average_precision(value[others], relevant[others]) for value in (*score, both))


def average_precision(value: np.ndarray, relevant: np.ndarray) -> float:
    """Divided by all relevant items, of which there is one at least."""
    right = relevant[np.argsort(-value, kind="stable")]
    precision = np.cumsum(right) / np.arange(1, right.size + 1)
    return float(precision[right].mean())


def print_marks(table: Table) -> None:
    """Right hits among the first 10 before and after a person marked the first three, which are left out of both."""
    heading("query", "hits", "queries", "before", "after 3 marks", "gain")
    for medium in MEDIA:
        for hit in (Medium.IMAGE, Medium.TEXT, Medium.AUDIO):
            rows = [marked(table, query, MEDIA.index(hit)) for query in queries(table, medium)]
            before, after = np.array(rows).T
            groups = table.origin[list(queries(table, medium))]
            gain = interval(after - before, groups)
            line(medium, hit, len(rows), float(before.mean()), interval(after, groups), gain)


def marked(table: Table, query: int, hit: int) -> tuple[float, float]:
    """Precision of the first 10 test items of one medium, before and after marks on the first three of all media."""
    score = table.scores(query)
    logit = table.logits(query, score)
    others = (table.origin != table.origin[query]) & table.is_test
    marks = listed(logit, table.medium, others, by_turn=True)[:3]
    queries = [table.query_embedding(query)]
    queries += [
        table.query_embedding(int(m), is_negative=table.class_name[m] != table.class_name[query]) for m in marks
    ]
    scores = [score, *(table.scores(int(mark)) for mark in marks)]
    after = table.combined(scores, queries, table.calibration(query))
    allowed = others & (table.medium == hit) & ~np.isin(table.origin, table.origin[marks])
    return precision_at_10(table, logit, query, allowed), precision_at_10(table, after, query, allowed)


def print_short_texts(by_length: Table, by_whole: Table, *, model: Model) -> None:
    """Some words that stand together in each test text, as a person types them, by either kind of curve."""
    heading(
        "words", "curves", "queries", f"ECE, first {K}", f"said, first {K}", f"true, first {K}",
        "there: below 1/2, 1/3", "not there: below 1/2, 1/3",
    )  # fmt: skip
    for count in (3, 5, 7, 10, None):
        cut = cut_table_texts(by_length, count, model=model)
        for name, table in (("of whole texts", by_whole), ("by length", by_length)):
            first, true, there, gone = [], [], [], []
            for query, words, embedding in cut:
                asking = with_query(table, query, words, embedding)
                logit = asking.logits(query, asking.scores(query))
                order = listed(logit, table.medium, table.origin != table.origin[query], by_turn=True)[:K]
                first.append(compute_sigmoid(logit[order]))
                true.append(table.class_name[order] == table.class_name[query])
                there.append(ask_collection(asking, query, "there").probability)
                gone.append(ask_collection(asking, query, "absent").probability)
            p, y = np.concatenate(first), np.concatenate(true)
            below = [
                ", ".join(f"{(np.array(said, dtype=float) < limit).mean():.2f}" for limit in (THRESHOLD, UNLIKELY))
                for said in (there, gone)
            ]
            line(count or "all", name, len(cut), ece(p, y), float(p.mean()), float(y.mean()), *below)


def with_query(table: Table, place: int, word_count: int, embedding: np.ndarray) -> Table:
    """The table with another embedding of one item as query, which is no hit of itself."""
    mean, words = table.mean.copy(), table.word_count.copy()
    mean[place], words[place] = embedding, word_count
    return replace(table, mean=mean, word_count=words)


def cut_table_texts(table: Table, count: int | None, *, model: Model) -> list[tuple[int, int, np.ndarray]]:
    """So many words of each test text that has more, drawn by the text; all words for None."""
    rng = np.random.default_rng(2)
    places, cut = [], []
    for place in queries(table, Medium.TEXT):
        words = words_of(table.items[place], model)
        if count is not None and len(words) <= count:
            continue
        start = 0 if count is None else int(rng.integers(len(words) - count + 1))
        places.append((place, count or len(words)))
        cut.append(Item(str(place), Medium.TEXT, text=" ".join(words[start:][: count or len(words)])))
    log = FailureLog(total=len(cut), allowed_share=0.0, reporter=Runtime.from_environment().reporter)
    blocks = embed_items(cut, model=model, runtime=Runtime.from_environment(), failures=log)
    rows = np.concatenate([embeddings.embedding for embeddings, _ in blocks])
    return [(place, words, row) for (place, words), row in zip(places, rows, strict=True)]


CASES = ("there", "only in other media", "absent")
SAID = ("likely", "not here", "cannot tell")
UNRESOLVED = frozenset(
    {"Cardinal", "Whip_poor_Will", "White_Pelican", "Geococcyx", "Green_Violetear", "Cape_Glossy_Starling"}
    | {"White_breasted_Kingfisher", "Horned_Puffin", "Ivory_Gull", "Red_faced_Cormorant"}
)
"""Species that no encoder knows by this name."""


def print_open_set(table: Table, names: np.ndarray, *, title: str) -> None:
    """Each query of some classes: with its class, without those of its items that are of its medium, without any."""
    print(f"\n{title}: {len(names)} species, each taken out in turn")
    heading("query", "class is", "queries", "before: likely", *(f"now: {said}" for said in SAID))
    for medium in MEDIA:
        asked = [query for query in queries(table, medium) if table.class_name[query] in names]
        for case in CASES:
            found = {query: ask_collection(table, query, case) for query in asked}
            print_answers(medium, case, {k: v for k, v in found.items() if v}, table.origin)


def print_answers(medium: Medium, case: str, found: Mapping[int, "Answer"], origin: np.ndarray) -> None:
    """A line: the share of each answer with its interval, by group.

    Args:
        found: The answer to each query.
    """
    if not found:
        return
    groups = origin[list(found)]
    said = [name_answer(answer) for answer in found.values()]
    shares = [interval([float(each == name) for each in said], groups) for name in SAID]
    earlier = interval([float(answer.earlier) for answer in found.values()], groups)
    line(medium, case, len(said), earlier, *shares)


@dataclass(frozen=True, slots=True)
class Answer(OpenSetAnswer):
    """An answer, and whether the class would be likely by one curve for each query medium, without doubt."""

    earlier: bool = False


def name_answer(answer: OpenSetAnswer) -> str:
    """One of `SAID`; "perhaps not here" counts as "not here"."""
    return SAID[0] if answer.is_likely else SAID[1] if answer.can_tell else SAID[2]


def print_outside(items: Sequence[Item], *, out: Path) -> None:
    """Print what the gallery's own calibration says of items from elsewhere, with and without species of odd names."""
    fieldmark.write_manifest(items, out / "outside.csv")
    fieldmark.embed(out / "outside.csv", checkpoint=out / "run", out=out / "outside", split="all")
    gallery, info = read_embeddings(out / "embeddings")
    model = model_of(out / "embeddings")
    calibrations = fit_both(gallery, info.class_names, reader_of(model))
    asked, held = items_of(read_embeddings(out / "outside")[0]), items_of(gallery)
    score = score_items(asked.mean, gallery.embedding, first=held.first)
    heading("query", "class is", "queries", "before: likely", *(f"now: {said}" for said in SAID))
    origin = number_origins(asked.items)
    for left_out in (frozenset[str](), UNRESOLVED):
        for medium, case in itertools.product(MEDIA, CASES):
            found = {}
            for row, item in enumerate(asked.items):
                if item.medium is medium and item.class_name not in left_out:
                    query = QueryEmbedding(medium, asked.mean[row], word_count=len(words_of(item, model)) or None)
                    found[row] = ask_outside(
                        case,
                        query=query,
                        item=item,
                        held=held,
                        score=score[row],
                        calibrations=calibrations,
                    )
            name = f"{case}, odd names left out" if left_out else case
            print_answers(medium, name, {k: v for k, v in found.items() if v}, origin)


def ask_outside(
    case: str,
    *,
    query: QueryEmbedding,
    item: Item,
    held: ItemRows,
    score: np.ndarray,
    calibrations: Calibrations,
) -> Answer | None:
    """The answer to an item from elsewhere; None where it does not belong to the case."""
    names = np.array([each.class_name or "" for each in held.items])
    same, own = names == item.class_name, MEDIA.index(query.medium)
    is_other = np.array([(each.group or each.item_id) != (item.group or item.item_id) for each in held.items])
    shown = is_other & show_case(case, same=same, medium=held.medium, own=own)
    if same.any() == (case == "absent") or (case != "absent" and not (shown & same).any()):
        return None
    logit = np.full(len(names), -np.inf)
    for code, hit in enumerate(MEDIA):
        curve = calibrations.now.get_curve(query.medium, hit, word_count=query.word_count)
        if curve is not None:
            logit[held.medium == code] = curve.compute_logit(score[held.medium == code])
    return answer_query(logit, query=query, shown=shown, names=names, medium=held.medium, calibrations=calibrations)


def show_case(case: str, *, same: np.ndarray, medium: np.ndarray, own: int) -> np.ndarray:
    """The items that are in the gallery in one of `CASES`."""
    return ~same if case == "absent" else ~(same & (medium == own)) if case == CASES[1] else np.ones_like(same)


def ask_collection(table: Table, query: int, case: str) -> Answer | None:
    """Return the open-set answer of a search in one of `CASES`; None where the table does not hold it."""
    shown = table.origin != table.origin[query]
    same = table.class_name == table.class_name[query]
    own = int(table.medium[query])
    if not (
        shown & same & show_case(case if case != "absent" else "there", same=same, medium=table.medium, own=own)
    ).any():
        return None
    logit = table.logits(query, table.scores(query))
    return answer_query(
        logit,
        query=table.query_embedding(query),
        shown=shown & show_case(case, same=same, medium=table.medium, own=own),
        names=table.class_name,
        medium=table.medium,
        calibrations=table.both(query),
    )


def answer_query(
    logit: np.ndarray,
    *,
    query: QueryEmbedding,
    shown: np.ndarray,
    names: np.ndarray,
    medium: np.ndarray,
    calibrations: Calibrations,
) -> Answer | None:
    """The answer of a search among the items that are shown; None where nothing can be said."""
    media_of: dict[str, set[Medium]] = {}
    for name, code in Counter(zip(names[shown].tolist(), medium[shown].tolist(), strict=True)):
        media_of.setdefault(name, set()).add(MEDIA[code])
    best = {}
    for code, hit in enumerate(MEDIA):
        rows = np.flatnonzero(shown & (medium == code) & np.isfinite(logit))
        rows = rows[np.argsort(-logit[rows], kind="stable")[:DEPTH]]
        if rows.size:
            best[hit] = BestItems(logit[rows], names[rows].tolist())
    evidence = weigh_evidence(best, query=query, calibration=calibrations.now, media_of=media_of)
    answer = None if evidence is None else answer_open_set([evidence])
    if answer is None:
        return None
    curve = calibrations.before.get_open_set_curve(query.medium, word_count=query.word_count)
    earlier = is_likely_by_one_curve(best, query=query, curve=curve)
    return Answer(answer.probability, answer.threshold, answer.can_tell, earlier)


def is_likely_by_one_curve(best: Mapping[Medium, BestItems], *, query: QueryEmbedding, curve: Curve | None) -> bool:
    """Tell whether a class would be likely by the curve of its medium alone."""
    score = compute_open_set_score(best, medium=query.medium)
    return score is not None and curve is not None and curve.compute_logit(np.array([score]))[0] >= 0


def fit_both(embeddings: Embeddings, known: Collection[str], reader: TextReader | None) -> Calibrations:
    """The calibration, and the one with the line between the two cases where it stood before."""
    found = []
    for sure_part in (open_set_fitting.SURE_PART, 0.0):
        with mock.patch.object(open_set_fitting, "SURE_PART", sure_part):
            generator = np.random.default_rng(0)
            found.append(fit_calibration(embeddings, trained_classes=known, generator=generator, read_texts=reader))
    return Calibrations(*found)


if __name__ == "__main__":
    main()
