"""How a gallery's scores are to be read: fitted on its own labelled items, kept beside them."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from fieldmark.build import Model
from fieldmark.gallery.interface import Filter, SegmentIndex
from fieldmark.relevance.calibration import Calibration
from fieldmark.relevance.fitting import Judgment, fit_judgment, is_new_to_model
from fieldmark.relevance.stored import write_judgment
from fieldmark.types import Item, Medium

JUDGMENT_NAME = "calibration.json"
ITEMS_PER_MEDIUM = 5_000
"""Most items of a medium that a judgment is fitted on; more would cost seconds and change no digit that is shown."""
PAGE_ITEMS = 10_000


def judge_gallery(folder: Path, *, index: SegmentIndex, model: Model) -> Judgment:
    """Fits the judgment of a gallery on a sample of its items, and keeps it in the gallery's folder.

    The sample is the same for the same items.

    Raises:
        OSError: The file cannot be written.
    """
    generator = np.random.default_rng(0)
    chosen = _sample(index, model=model, generator=generator)
    if chosen:
        embeddings = index.embeddings(Filter(item_ids=frozenset(chosen)))
        judgment = fit_judgment(embeddings, trained_classes=frozenset(model.class_names), generator=generator)
    else:
        judgment = Judgment(Calibration({}), {})
    write_judgment(judgment, folder / JUDGMENT_NAME)
    return judgment


def _sample(index: SegmentIndex, *, model: Model, generator: np.random.Generator) -> list[str]:
    """Item ids, so many of each medium at most; half of them, where there are, of items new to the model."""
    trained = frozenset(model.class_names)
    by_medium: dict[Medium, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for item in _all_items(index):
        new, others = by_medium[item.medium]
        (new if is_new_to_model(item, trained) else others).append(item.item_id)
    chosen: list[str] = []
    for new, others in by_medium.values():
        half = max(ITEMS_PER_MEDIUM // 2, ITEMS_PER_MEDIUM - len(others))
        some = generator.permutation(new)[:half].tolist()
        chosen += some + generator.permutation(others)[: ITEMS_PER_MEDIUM - len(some)].tolist()
    return chosen


def _all_items(index: SegmentIndex) -> list[Item]:
    items: list[Item] = []
    last: str | None = None
    while page := index.items(start_after=last, limit=PAGE_ITEMS):
        items += [stored.item for stored in page]
        last = page[-1].item.item_id
    return items
