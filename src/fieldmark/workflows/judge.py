"""How a gallery's scores are to be read: fitted on its own labelled items, kept beside them."""

import hashlib
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldmark.build import Model
from fieldmark.embedding import FailureLog, embed_items, read_words
from fieldmark.errors import DamagedGalleryError, MediaError
from fieldmark.gallery.search.calibration_file import FORMAT_VERSION, read_judgment, write_judgment
from fieldmark.gallery.search.fitting import NOTHING_KNOWN, Judgment, TextPart, fit_judgment, is_new_to_model
from fieldmark.gallery.store import Filter, SegmentIndex, StoredItem
from fieldmark.runtime import Runtime
from fieldmark.types import Item, Medium, SilentReporter

JUDGMENT_NAME = "calibration.json"
ITEMS_PER_MEDIUM = 5_000
"""Most items of a medium that a judgment is fitted on; more would cost seconds and change no digit that is shown."""
PAGE_ITEMS = 10_000
FEWEST_WORDS = 2
"""Of a part of a text."""
PARTS = 2
"""Of each text: one of few words, one of more. One alone left the curves to chance, three told no more."""


def judge_gallery(folder: Path, *, index: SegmentIndex, model: Model, runtime: Runtime) -> Judgment:
    """Fits the judgment of a gallery on a sample of its items, and keeps it in the gallery's folder.

    The sample is the same for the same items, and what was fitted on the same items already stays.

    Raises:
        OSError: The file cannot be written.
    """
    stored = _all_items(index)
    fitted_on = _stamp(stored, model=model)
    try:
        known = read_judgment(folder / JUDGMENT_NAME)
    except DamagedGalleryError:
        known = NOTHING_KNOWN
    if known.fitted_on == fitted_on:
        return known
    generator = np.random.default_rng(0)
    chosen = _sample([each.item for each in stored], model=model, generator=generator)
    if chosen:
        embeddings = index.embeddings(Filter(item_ids=frozenset(chosen)))
        judgment = fit_judgment(
            embeddings,
            trained_classes=frozenset(model.class_names),
            generator=generator,
            read_texts=lambda items: text_parts(items, model=model, runtime=runtime),
        )
    else:
        judgment = NOTHING_KNOWN
    judgment = replace(judgment, fitted_on=fitted_on)
    write_judgment(judgment, folder / JUDGMENT_NAME)
    return judgment


def text_parts(items: Sequence[Item], *, model: Model, runtime: Runtime) -> list[TextPart]:
    """All words of each text, and some that stand together: few are as likely as many, counted in logarithms.

    The same text has the same parts, so that their features are computed once.
    """
    whole: list[TextPart] = []
    cut: list[Item] = []
    for item in items:
        try:
            words = read_words(item, limits=model.limits)
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
    silent = replace(runtime, reporter=SilentReporter())  # to a reader these are no items
    log = FailureLog(total=len(cut), allowed_share=1.0, reporter=silent.reporter)
    parts = [
        TextPart(item.item_id, len((item.text or "").split()), embedding)
        for embeddings, _ in embed_items(cut, model=model, runtime=silent, failures=log)
        for item, embedding in zip(embeddings.items, embeddings.embedding, strict=True)
    ]
    return whole + parts


def _sample(items: Sequence[Item], *, model: Model, generator: np.random.Generator) -> list[str]:
    """Item ids, so many of each medium at most; half of them, where there are, of items new to the model."""
    trained = frozenset(model.class_names)
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


def _all_items(index: SegmentIndex) -> list[StoredItem]:
    items: list[StoredItem] = []
    while page := index.items(start_after=items[-1].item.item_id if items else None, limit=PAGE_ITEMS):
        items += page
    return items


def _stamp(stored: Sequence[StoredItem], *, model: Model) -> str:
    """Changes with the model, and with any item: its content and facts, which its hash stands for, or its label."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {model.fingerprint}".encode())
    for each in stored:
        digest.update(json.dumps([each.item.item_id, each.content_hash, each.item.class_name]).encode())
    return digest.hexdigest()
