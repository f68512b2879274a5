"""Fits a gallery's calibration on a sample of its own items, where these have changed."""

import hashlib
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldmark.errors import DamagedGalleryError, MediaError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search.calibration import (
    FORMAT_VERSION,
    UNCALIBRATED,
    ScoreCalibration,
    read_calibration,
    write_calibration,
)
from fieldmark.gallery.search.fitting import TextPart, fit_calibration, is_new_to_model
from fieldmark.gallery.search.query import QueryEncoder, read_words
from fieldmark.gallery.store import Filter, SegmentIndex, StoredItem, iterate_pages
from fieldmark.types import Item, Medium

ITEMS_PER_MEDIUM = 5_000
"""Most items of a medium that a calibration is fitted on; more would cost seconds and change no digit that is shown."""
FEWEST_WORDS = 2
"""Of a part of a text."""
PARTS = 2
"""Of each text: one of few words, one of more. One alone left the curves to chance, three told no more."""


def recalibrate(folder: Path, *, index: SegmentIndex, encoder: QueryEncoder) -> ScoreCalibration:
    """Fit the calibration of a gallery on a sample of its items, and write it into the gallery's folder.

    The sample is the same for the same items; a calibration that was fitted on the same items is returned as it is.

    Raises:
        OSError: The file cannot be written.
    """
    path, stored = GalleryLayout(folder).calibration, [each for page in iterate_pages(index) for each in page]
    fitted_on = _hash_items(stored, encoder=encoder)
    try:
        known = read_calibration(path)
    except DamagedGalleryError:
        known = UNCALIBRATED
    if known.fitted_on == fitted_on:
        return known
    generator = np.random.default_rng(0)
    chosen = _sample([each.item for each in stored], encoder=encoder, generator=generator)
    if chosen:
        calibration = fit_calibration(
            index.embeddings(Filter(item_ids=frozenset(chosen))),
            trained_classes=frozenset(encoder.class_names),
            generator=generator,
            read_texts=lambda items: cut_texts(items, encoder=encoder),
        )
    else:
        calibration = UNCALIBRATED
    calibration = replace(calibration, fitted_on=fitted_on)
    write_calibration(calibration, path)
    return calibration


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
        whole.append(TextPart(item.item_id, len(words), None))
        if len(words) <= FEWEST_WORDS:
            continue
        generator = np.random.default_rng(zlib.crc32(" ".join(words).encode()))
        bounds = np.geomspace(FEWEST_WORDS, len(words), PARTS + 1)
        for low, high in itertools.pairwise(bounds.tolist()):
            count = round(low * (high / low) ** generator.random())
            start = int(generator.integers(len(words) - count + 1))
            cut.append(Item(item.item_id, Medium.TEXT, text=" ".join(words[start : start + count])))
    parts = [
        TextPart(cut[index].item_id, len((cut[index].text or "").split()), embedding)
        for index, embedding in encoder.embed_texts(cut).items()
    ]
    return whole + parts


def _sample(items: Sequence[Item], *, encoder: QueryEncoder, generator: np.random.Generator) -> list[str]:
    """Return item ids, a limited number of each medium; half of them, where possible, of items new to the model."""
    trained = frozenset(encoder.class_names)
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


def _hash_items(stored: Sequence[StoredItem], *, encoder: QueryEncoder) -> str:
    """Return a hash that changes with the model, and with the content, the facts or the label of any item."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {encoder.fingerprint}".encode())
    for each in stored:
        digest.update(json.dumps([each.item.item_id, each.content_hash, each.item.class_name]).encode())
    return digest.hexdigest()
