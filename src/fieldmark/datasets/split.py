"""`fieldmark data split`: assign a split to every item of a manifest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.split import count_items, format_counts, split_items
from fieldmark.errors import OutOfRangeError, list_first
from fieldmark.types import MEDIA, Item, Split


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The result of a split.

    Args:
        unseen: Classes with test items only.
        untested: By medium, the classes with items of it but, for too few groups, no test items.
    """

    manifest: Path
    seed: int
    counts: Mapping[str, Mapping[str, int]]
    unseen: tuple[str, ...]
    untested: Mapping[str, tuple[str, ...]]

    json_keys: ClassVar = (
        "manifest",
        "seed",
        "counts",
        "unseen_classes=unseen",
        "classes_without_test=untested",
    )

    def to_text(self) -> str:
        """Return the counts, and the classes that lack training or test items."""
        lines = [f"{self.manifest}, seed {self.seed}"]
        lines += format_counts(self.counts)
        lines += [f"classes only in test: {list_first(self.unseen, limit=8)}"] if self.unseen else []
        lines += [
            f"classes without {medium} in test, for too few groups: {list_first(names, limit=8)}"
            for medium, names in self.untested.items()
        ]
        return "\n".join(lines)


def split_manifest(
    manifest: Path,
    *,
    out: Path,
    validation: float = 0.1,
    test: float = 0.3,
    unseen_classes: int = 0,
    seed: int = 0,
) -> SplitReport:
    """Split a manifest by class and medium and keep each group in one split; the same seed gives the same splits.

    Args:
        validation: Share of the items, 0 to 1.
        test: Share of the items, 0 to 1; the rest is for training.
        unseen_classes: Number of randomly drawn classes that go to the test split as a whole.

    Raises:
        ManifestError: The manifest is not valid.
        OutOfRangeError: A share or a count is outside its range.
    """
    if validation + test > 1:
        raise OutOfRangeError(name="validation + test", got=validation + test, smallest=0, largest=1)
    shares = {Split.TRAIN: 1 - validation - test, Split.VALIDATION: validation, Split.TEST: test}
    items = split_items(
        read_manifest(manifest),
        shares=shares,
        unseen_class_count=unseen_classes,
        generator=np.random.default_rng(seed),
    )
    write_manifest(items, out)
    return SplitReport(
        manifest=out,
        seed=seed,
        counts=count_items(items),
        unseen=tuple(
            sorted(_class_names(items) - _class_names(item for item in items if item.split is not Split.TEST))
        ),
        untested=_find_untested(items),
    )


def _class_names(items: Iterable[Item]) -> set[str]:
    return {item.class_name for item in items if item.class_name is not None}


def _find_untested(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """Find the classes of each medium that have items of it but no test items."""
    found = {}
    for medium in MEDIA:
        own = [item for item in items if item.medium is medium]
        names = _class_names(own) - _class_names(item for item in own if item.split is Split.TEST)
        if names:
            found[medium.value] = tuple(sorted(names))
    return found
