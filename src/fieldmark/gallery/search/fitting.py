"""Fits a calibration on the gallery's own labelled items, or on a sample of them where these have changed."""

import hashlib
import itertools
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldmark.errors import DamagedGalleryError, MediaError
from fieldmark.gallery.files import GalleryPlace
from fieldmark.gallery.item_state import read_content_hash
from fieldmark.gallery.naming.name_reader import NameReader
from fieldmark.gallery.search.calibration import (
    FORMAT_VERSION,
    MIN_QUERIES,
    UNCALIBRATED,
    Curve,
    MediumCenter,
    PairScale,
    ScoreCalibration,
    compute_text_length,
    fit_curve,
    read_calibration,
    write_calibration,
)
from fieldmark.gallery.search.called import add_overlap_curves
from fieldmark.gallery.search.description import DescriptionReader, sample_held
from fieldmark.gallery.search.open_set_fitting import find_center, fit_open_set_curve, make_cases, scale_depth
from fieldmark.gallery.search.query import QueryEncoder, TextMover, count_items_by_class, read_words, weigh_segments
from fieldmark.gallery.store import Filter, SegmentIndex, StoredItem, iterate_pages
from fieldmark.names import Spellings
from fieldmark.origin import number_origins
from fieldmark.types import MEDIA, Embeddings, Item, Medium, Split

# ---------------------------------------------------------------- fitting

MIN_RELEVANT = 30
"""Fewest pairs of one class from which a curve is fitted; it has two parameters."""
_SMALLEST_DEVIATION = 1e-6
_QUERIES_PER_MEDIUM = 400
"""Most items of a medium that are queries; the curves have two parameters."""
_TEXTS = 200
"""Most texts that are queries in parts, three queries each; the curves have four parameters."""
_QUERIES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text item as a query: all its words, or some, as a person may type them.

    Args:
        embedding: Of length 1; None for all words, whose embedding is the item's own.
        text: The words; empty where nobody asks for them.
    """

    item_id: str
    word_count: int
    embedding: Float[np.ndarray, " dim"] | None
    text: str = ""


TextReader = Callable[[Sequence[Item]], Sequence[TextPart]]
"""Returns the parts of text items; an item that cannot be read has none."""


@dataclass(frozen=True, slots=True)
class _Table:
    """Items as arrays.

    Args:
        mean: The item's own embedding, with which it asks.
        first: The item's first row among the segments.
        label: Below zero where unknown.
        origin: Of the item, by number; see `number_origins`.
    """

    items: tuple[Item, ...]
    segment: Float[np.ndarray, "row dim"]
    mean: Float[np.ndarray, "item dim"]
    first: Int[np.ndarray, " item"]
    medium: Int[np.ndarray, " item"]
    label: Int[np.ndarray, " item"]
    origin: Int[np.ndarray, " item"]


@dataclass(frozen=True, slots=True)
class _Queries:
    """The queries of a fit, as arrays.

    Args:
        item: The index of the item that is the query, or that the query is a part of.
        length: As a text; None where nothing is known of it.
    """

    item: Int[np.ndarray, " query"]
    embedding: Float[np.ndarray, "query dim"]
    length: Float[np.ndarray, " query"] | None


def fit_calibration(  # noqa: PLR0913 - what a search does, the fit does too
    embeddings: Embeddings,
    *,
    trained_classes: Collection[str],
    generator: np.random.Generator,
    read_texts: TextReader | None = None,
    sampled_share: Mapping[Medium, float] | None = None,
    weight: Float[np.ndarray, " row"] | None = None,
    mover: TextMover | None = None,
) -> ScoreCalibration:
    """Fit a calibration on a gallery's items; each is a query in turn, with its own origin left out.

    Only items that the model was not trained on are queries: those of the validation and test splits, and those of
    classes that it does not know. Items it was trained on lie nearer to their class than any new query will, so that
    their probabilities would be too high. Where none are left, all items show at least which scores are usual.

    Args:
        trained_classes: The class names of the model.
        read_texts: Cuts texts into parts, so that the curves depend on a text's length; None leaves that out.
        sampled_share: Of the gallery's items of each medium, the share that these are; None for all of them.
        weight: Of each segment where its item asks; None for equal ones.
        mover: Moves the embeddings of texts as a search does; None for none.
    """
    table = _table_of(embeddings, np.ones(len(embeddings.items)) if weight is None else weight)
    trained = Spellings(trained_classes)
    is_new = np.array([is_new_to_model(item, trained) for item in table.items], dtype=bool)
    scales: dict[tuple[Medium, Medium], PairScale] = {}
    open_set_curves: dict[Medium, Curve | None] = {}
    elsewhere_curves: dict[Medium, Curve | None] = {}
    centers: dict[Medium, MediumCenter] = {}
    depth = {medium: scale_depth((sampled_share or {}).get(medium, 1.0)) for medium in MEDIA}
    lengths = (0.0, 0.0)
    for code, medium in enumerate(MEDIA):
        of_medium = np.flatnonzero(table.medium == code)
        new = of_medium[is_new[of_medium]]
        asked = generator.permutation(new if new.size else of_medium)[:_QUERIES_PER_MEDIUM]
        if not asked.size:
            continue
        if medium is Medium.TEXT and new.size and read_texts is not None:
            queries = _text_queries(table, asked[:_TEXTS], read_texts=read_texts, mover=mover) or _item_queries(
                table, asked
            )
        else:
            queries = _item_queries(table, asked)
        if queries.length is not None:
            lengths = float(queries.length.min()), float(queries.length.max())
        score = score_items(queries.embedding, table.segment, first=table.first)
        counts = table.origin[queries.item][:, None] != table.origin[None, :]
        label = table.label[queries.item] if new.size else np.full(len(queries.item), -1)
        scales |= _fit_scales(score, medium=medium, counts=counts, label=label, queries=queries, table=table)
        if not new.size:
            continue
        logits = _compute_logits(score, medium=medium, queries=queries, table=table, scales=scales)
        logits[~counts] = -np.inf
        names = [table.items[index].class_name for index in queries.item]
        everywhere, elsewhere = make_cases(logits, medium=medium, class_names=names, items=table.items, depth=depth)
        open_set_curves[medium] = fit_open_set_curve(everywhere, query_item=queries.item, length=queries.length)
        elsewhere_curves[medium] = fit_open_set_curve(elsewhere, query_item=queries.item, length=queries.length)
        centers[medium] = find_center(table.mean[of_medium], queries.embedding)
    return ScoreCalibration(scales, lengths, _drop_none(open_set_curves), "", _drop_none(elsewhere_curves), centers)


def _drop_none(curves: Mapping[Medium, Curve | None]) -> dict[Medium, Curve]:
    return {medium: curve for medium, curve in curves.items() if curve is not None}


def _fit_scales(
    score: Float[np.ndarray, "query item"],
    *,
    medium: Medium,
    counts: Bool[np.ndarray, "query item"],
    label: Int[np.ndarray, " query"],
    queries: _Queries,
    table: _Table,
) -> dict[tuple[Medium, Medium], PairScale]:
    """Fit the scales of a query medium with each medium of hits."""
    scales = {}
    for hit_code, hit_medium in enumerate(MEDIA):
        columns = table.medium == hit_code
        scale = fit_scale(
            score[:, columns],
            counts=counts[:, columns],
            labels=(label, table.label[columns]),
            query_item=queries.item,
            length=queries.length,
        )
        if scale is not None:
            scales[medium, hit_medium] = scale
    return scales


def fit_scale(
    score: Float[np.ndarray, "query gallery"],
    *,
    counts: Bool[np.ndarray, "query gallery"],
    labels: tuple[np.ndarray, np.ndarray],
    query_item: Int[np.ndarray, " query"] | None = None,
    length: Float[np.ndarray, " query"] | None = None,
) -> PairScale | None:
    """Fit the scale of one pair of media; None where fewer than two scores count.

    Args:
        score: Of each query with each item of the gallery.
        counts: True for scores that count: not those of an item with itself or with its own origin.
        labels: The labels of queries and of the gallery, below zero where unknown.
        query_item: The item that each query is, or is a part of; None where each is another.
        length: Of each query, as a text; None where they are no texts.
    """
    chosen = score[counts]
    if chosen.size < 2:
        return None
    known = counts & (labels[0][:, None] >= 0) & (labels[1][None, :] >= 0)
    relevant = known & (labels[0][:, None] == labels[1][None, :])
    deviation = max(float(chosen.std()), _SMALLEST_DEVIATION)
    curve = None
    query_item = np.arange(len(score)) if query_item is None else query_item
    query_count = len(np.unique(query_item[relevant.any(axis=1)]))
    if relevant.sum() >= MIN_RELEVANT and query_count >= MIN_QUERIES and (known & ~relevant).any():
        lengths = None if length is None else np.broadcast_to(length[:, None], score.shape)[known]
        curve = fit_curve(score[known], relevant[known], query_count=query_count, length=lengths)
    return PairScale(mean=float(chosen.mean()), deviation=deviation, curve=curve)


def _item_queries(table: _Table, asked: Int[np.ndarray, " query"]) -> _Queries:
    """Make queries of whole items."""
    return _Queries(asked, table.mean[asked], None)


def _text_queries(
    table: _Table, asked: Int[np.ndarray, " query"], *, read_texts: TextReader, mover: TextMover | None
) -> _Queries | None:
    """Make queries of parts of texts; None where no text can be read."""
    parts = read_texts([table.items[index] for index in asked])
    if not parts:
        return None
    index_of = {table.items[index].item_id: index for index in asked}
    index = np.array([index_of[part.item_id] for part in parts])
    given = [
        table.mean[at] if part.embedding is None else part.embedding for at, part in zip(index, parts, strict=True)
    ]
    if mover is not None:
        given = [mover.move(own, part.text) for own, part in zip(given, parts, strict=True)]
    return _Queries(index, np.stack(given), np.array([compute_text_length(part.word_count) for part in parts]))


def is_new_to_model(item: Item, trained: Spellings) -> bool:
    """Tell whether an item has a label and was surely not seen by the model in training."""
    if item.class_name is None:
        return False
    return item.split in (Split.VALIDATION, Split.TEST) or not trained.find(item.class_name)


def score_items(
    query: Float[np.ndarray, "query dim"], segment: Float[np.ndarray, "row dim"], *, first: Int[np.ndarray, " item"]
) -> Float[np.ndarray, "query item"]:
    """Return the score of each item, that of its best segment, as a store ranks it.

    Args:
        first: The first row of each item; rows of one item stand together.
    """
    blocks = [query[start : start + _QUERIES_AT_ONCE] for start in range(0, max(len(query), 1), _QUERIES_AT_ONCE)]
    return np.concatenate([np.maximum.reduceat(block @ segment.T, first, axis=1) for block in blocks])


def _compute_logits(
    score: Float[np.ndarray, "query item"],
    *,
    medium: Medium,
    queries: _Queries,
    table: _Table,
    scales: Mapping[tuple[Medium, Medium], PairScale],
) -> Float[np.ndarray, "query item"]:
    """Return calibrated log-odds; minus infinity for items of media without a curve."""
    length = np.zeros(len(score)) if queries.length is None else queries.length
    logits = np.full(score.shape, -np.inf)
    for hit_code, hit_medium in enumerate(MEDIA):
        scale = scales.get((medium, hit_medium))
        if scale is not None and scale.curve is not None:
            columns = table.medium == hit_code
            logits[:, columns] = scale.curve.compute_logit(score[:, columns], length[:, None])
    return logits


def _table_of(embeddings: Embeddings, weight: Float[np.ndarray, " row"]) -> _Table:
    rows = embeddings.items
    first = [row for row in range(len(rows)) if row == 0 or rows[row].item_id != rows[row - 1].item_id]
    items = tuple(rows[row] for row in first)
    total = np.add.reduceat(weight[:, None] * embeddings.embedding, first, axis=0)
    classes = {name: label for label, name in enumerate(sorted({i.class_name for i in items if i.class_name}))}
    return _Table(
        items=items,
        segment=embeddings.embedding,
        mean=total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), np.finfo(np.float64).tiny),
        first=np.array(first),
        medium=np.array([MEDIA.index(item.medium) for item in items]),
        label=np.array([classes.get(item.class_name or "", -1) for item in items]),
        origin=number_origins(items),
    )


# ---------------------------------------------------------------- a gallery that has changed

ITEMS_PER_MEDIUM = 5_000
"""Most items of a medium that a calibration is fitted on; more would cost seconds and change no digit that is shown."""
FEWEST_WORDS = 2
"""Of a part of a text."""
PARTS = 2
"""Of each text: one of few words, one of more. One alone left the curves to chance, three told no more."""


def recalibrate(folder: GalleryPlace, *, index: SegmentIndex, encoder: QueryEncoder) -> ScoreCalibration:
    """Fit the calibration of a gallery on a sample of its items, and write it among the gallery's files.

    Texts are moved by the marks that they name, where the gallery has profiles of marks, as a search moves them.

    The sample is the same for the same items; a calibration that was fitted on the same items is returned as it is.

    Raises:
        OSError: The file cannot be written.
    """
    stored = [each for page in iterate_pages(index) for each in page]
    names = NameReader(folder, resolutions=encoder.resolutions)
    reader = DescriptionReader(
        folder,
        encoder=encoder,
        list_known=lambda: (
            names.read(
                held=count_items_by_class(index.counts()), trained=frozenset(encoder.class_names)
            ).index.meanings.known
        ),
        held=sample_held(index),
    )
    fitted_on = _hash_items(stored, encoder=encoder, profiles=reader.read_fingerprint())
    try:
        known = read_calibration(folder)
    except DamagedGalleryError:
        known = UNCALIBRATED
    if known.fitted_on == fitted_on:
        return known
    generator = np.random.default_rng(0)
    chosen = _sample([each.item for each in stored], encoder=encoder, generator=generator)
    if chosen:
        embeddings = index.embeddings(Filter(item_ids=frozenset(chosen)))
        weight = _weigh_segments(embeddings, encoder=encoder)
        sampled_share = _share_sampled([each.item for each in stored], chosen)
        calibration = fit_calibration(
            embeddings,
            trained_classes=frozenset(encoder.class_names),
            generator=generator,
            read_texts=lambda items: cut_texts(items, encoder=encoder),
            sampled_share=sampled_share,
            weight=weight,
            mover=reader,
        )
        calibration = add_overlap_curves(calibration, embeddings, encoder=encoder)
    else:
        calibration = UNCALIBRATED
    calibration = replace(calibration, fitted_on=fitted_on)
    write_calibration(calibration, folder)
    return calibration


def _weigh_segments(embeddings: Embeddings, *, encoder: QueryEncoder) -> Float[np.ndarray, " row"]:
    medium = np.array([MEDIA.index(item.medium) for item in embeddings.items])
    weight = np.ones(len(medium))
    for code in (MEDIA.index(Medium.VIDEO), MEDIA.index(Medium.AUDIO)):  # all others have one segment
        rows = np.flatnonzero(medium == code)
        if rows.size:
            weight[rows] = weigh_segments(embeddings.embedding[rows], medium=MEDIA[code], encoder=encoder)
    return weight


def cut_texts(items: Sequence[Item], *, encoder: QueryEncoder) -> list[TextPart]:
    """Return each text whole, and some runs of its words; short runs are as likely as long ones, in logarithms.

    The same text has the same parts, so that their features are computed once.
    """
    whole: list[TextPart] = []
    cut: list[Item] = []
    for item in items:
        try:
            words = read_words(item, limits=encoder.limits)
        except MediaError:
            continue
        whole.append(TextPart(item.item_id, len(words), None, " ".join(words)))
        if len(words) <= FEWEST_WORDS:
            continue
        generator = np.random.default_rng(zlib.crc32(" ".join(words).encode()))
        bounds = np.geomspace(FEWEST_WORDS, len(words), PARTS + 1)
        for low, high in itertools.pairwise(bounds.tolist()):
            count = round(low * (high / low) ** generator.random())
            start = int(generator.integers(len(words) - count + 1))
            cut.append(Item(item.item_id, Medium.TEXT, text=" ".join(words[start : start + count])))
    parts = [
        TextPart(cut[index].item_id, len((cut[index].text or "").split()), embedding, cut[index].text or "")
        for index, embedding in encoder.embed_texts(cut).items()
    ]
    return whole + parts


def _sample(items: Sequence[Item], *, encoder: QueryEncoder, generator: np.random.Generator) -> list[str]:
    """Return item ids, a limited number of each medium; half of them, where possible, of items new to the model."""
    trained = Spellings(encoder.class_names)
    by_medium: dict[Medium, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for item in items:
        new, others = by_medium[item.medium]
        (new if is_new_to_model(item, trained) else others).append(item.item_id)
    chosen: list[str] = []
    for new, others in by_medium.values():
        half = max(ITEMS_PER_MEDIUM // 2, ITEMS_PER_MEDIUM - len(others))
        some = generator.permutation(new)[:half].tolist()
        chosen += some + generator.permutation(others)[: ITEMS_PER_MEDIUM - len(some)].tolist()
    return chosen


def _share_sampled(items: Sequence[Item], chosen: Sequence[str]) -> dict[Medium, float]:
    """Return the share of the items of each medium that were chosen."""
    sampled = frozenset(chosen)
    total = Counter(item.medium for item in items)
    taken = Counter(item.medium for item in items if item.item_id in sampled)
    return {medium: taken[medium] / count for medium, count in total.items()}


def _hash_items(stored: Sequence[StoredItem], *, encoder: QueryEncoder, profiles: str = "") -> str:
    """Return a hash that changes with the model, and with the content, label, split or origin of any item.

    Args:
        profiles: Changes with the profiles of marks.
    """
    digest = hashlib.sha256(f"{FORMAT_VERSION} {encoder.fingerprint}{profiles}".encode())
    for each, origin in zip(stored, number_origins([each.item for each in stored]).tolist(), strict=True):
        content = read_content_hash(each.content_hash)
        facts = [each.item.item_id, content, each.item.class_name, each.item.split, origin]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()
