"""`fieldmark data split`: assign a split to every item of a manifest."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.split import count_items, format_counts, split_items
from fieldmark.errors import OutOfRangeError, list_first
from fieldmark.leakage import Findings, link_contents, read_findings
from fieldmark.types import MEDIA, Item, Split


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The result of a split.

    Args:
        unseen: Classes with test items only.
        moved_count: Items that were in another split before.
        untested: By medium, the classes with items of it but, for too few groups, no test items.
    """

    manifest: Path
    seed: int
    counts: Mapping[str, Mapping[str, int]]
    moved_count: int
    unseen: tuple[str, ...]
    untested: Mapping[str, tuple[str, ...]]

    json_keys: ClassVar = (
        "manifest",
        "seed",
        "counts",
        "moved_count",
        "unseen_classes=unseen",
        "classes_without_test=untested",
    )

    def to_text(self) -> str:
        """Return the counts, and the classes that lack training or test items."""
        lines = [f"{self.manifest}, seed {self.seed}"]
        lines += format_counts(self.counts)
        lines += [f"{self.moved_count:,} items were in another split before"] if self.moved_count else []
        lines += [f"classes only in test: {list_first(self.unseen, limit=8)}"] if self.unseen else []
        lines += [
            f"classes without {medium} in test, for too few groups: {list_first(names, limit=8)}"
            for medium, names in self.untested.items()
        ]
        return "\n".join(lines)


def split_manifest(  # noqa: PLR0913 - users set each of them independently
    manifest: Path,
    *,
    out: Path,
    validation: float = 0.1,
    test: float = 0.3,
    unseen_classes: int = 0,
    seed: int = 0,
    keep: Collection[Split] = (),
    findings: Path | None = None,
) -> SplitReport:
    """Split a manifest so that nothing leaks; the split of a group follows from the seed and its name alone.

    What has a common origin or the same content (`link_contents`) goes into one split. Rows added later, and the order
    of the rows, change no split, but for the few that `split_items` names.

    Args:
        validation: Share of the items, 0 to 1.
        test: Share of the items, 0 to 1; the rest is for training.
        unseen_classes: Number of randomly drawn classes that go to the test split as a whole.
        keep: Splits whose present items stay in them.
        findings: What `data check --json` printed for the manifest, so that near duplicates go together too.

    Raises:
        ManifestError: The manifest is not valid, or the findings are not.
        OutOfRangeError: A share or a count is outside its range.
    """
    if validation + test > 1:
        raise OutOfRangeError(name="validation + test", got=validation + test, smallest=0, largest=1)
    shares = {Split.TRAIN: 1 - validation - test, Split.VALIDATION: validation, Split.TEST: test}
    found = Findings() if findings is None else read_findings(findings)
    before = read_manifest(manifest)
    items = split_items(
        before,
        shares=shares,
        seed=seed,
        unseen_class_count=unseen_classes,
        kept=keep,
        links=[*link_contents(before), *found.links],
    )
    write_manifest(items, out)
    return SplitReport(
        manifest=out,
        seed=seed,
        counts=count_items(items),
        moved_count=sum(old.split not in (None, new.split) for old, new in zip(before, items, strict=True)),
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
