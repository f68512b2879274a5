"""`fieldmark data check`: decode every item, report what is broken, repeated or leaking, and clean the manifest."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from fieldmark.data.manifest import read_rows, write_manifest
from fieldmark.data.split import count_items, format_counts
from fieldmark.data.table import write_csv
from fieldmark.datasets.checks.inspection import Inspection, inspect_items
from fieldmark.datasets.checks.problems import Problem, ProblemKind, Severity, find_problems
from fieldmark.errors import list_first, write_count
from fieldmark.io import open_replacement
from fieldmark.leakage import link_contents
from fieldmark.origin import Link
from fieldmark.reports.findings_page import Finding, FindingGroup, write_findings_page
from fieldmark.types import Item, MediaLimits, Reporter, SilentReporter, Split

# ---------------------------------------------------------------- the check

_MAX_ROUNDS = 5
_MEANINGS: Mapping[ProblemKind, str] = {
    ProblemKind.BAD_ROW: "invalid rows of the manifest",
    ProblemKind.MISSING_FILE: "missing files",
    ProblemKind.UNREADABLE: "files that cannot be decoded to their end",
    ProblemKind.EMPTY: "empty files",
    ProblemKind.NOT_PROSE: "files of characters that are no notes",
    ProblemKind.MEDIUM_MISMATCH: "files whose content differs from their row or suffix",
    ProblemKind.TOO_LONG: "files beyond a limit",
    ProblemKind.GROUP_STRADDLES_SPLITS: "groups in several splits",
    ProblemKind.DUPLICATE_ACROSS_SPLITS: "duplicates across splits",
    ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS: "near duplicates across splits",
    ProblemKind.DUPLICATE: "duplicates",
    ProblemKind.NEAR_DUPLICATE: "near duplicates",
    ProblemKind.DAMAGED: "files of which a part is missing",
    ProblemKind.JOINED: "files with another one behind their end",
    ProblemKind.OPPOSITE_CHANNELS: "recordings whose channels cancel each other",
    ProblemKind.SILENT_CHANNEL: "recordings with a silent channel",
    ProblemKind.ODD_SCALE: "recordings of an odd scale",
    ProblemKind.DC_OFFSET: "recordings with an offset from zero",
    ProblemKind.ULTRASOUND: "recordings of what the encoder does not hear",
    ProblemKind.SILENT: "silent recordings",
    ProblemKind.ENCODING: "texts in another encoding than UTF-8, or with stray bytes",
    ProblemKind.TOO_SHORT: "recordings and videos that are too short",
    ProblemKind.IMPOSSIBLE_DATE: "records whose date cannot be",
    ProblemKind.IMPOSSIBLE_COORDINATES: "records whose coordinates are no place",
    ProblemKind.SWAPPED_COORDINATES: "records whose latitude and longitude seem to be swapped",
    ProblemKind.ZERO_COORDINATES: "records whose latitude and longitude are 0",
    ProblemKind.REPEATED_NUMBER: "catalog numbers of several records",
    ProblemKind.CLASS_WITHOUT_MEDIUM: "classes that lack a medium",
}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check.

    Args:
        items: The items of all valid rows.
        inspections: The inspection of each item.
        counts: Items by medium and split.
        links: Between items of the same content.
    """

    items: tuple[Item, ...]
    inspections: tuple[Inspection, ...]
    problems: tuple[Problem, ...]
    counts: Mapping[str, Mapping[str, int]]
    links: tuple[Link, ...] = ()

    json_keys: ClassVar = (
        "item_count",
        "problems",
        "counts",
    )

    @property
    def item_count(self) -> int:
        """The number of valid rows in the manifest."""
        return len(self.items)

    @property
    def has_errors(self) -> bool:
        """True if any problem makes an item unusable or a result wrong."""
        return self.has_errors_above(0.0)

    def has_errors_above(self, allowed_share: float) -> bool:
        """Tell whether any problem makes a result wrong, or more than a share of the items cannot be used."""
        errors = [problem for problem in self.problems if problem.severity is Severity.ERROR]
        unusable = {item_id for each in errors if each.kind in _UNUSABLE for item_id in each.item_ids}
        return len(unusable) > allowed_share * self.item_count or any(each.kind not in _UNUSABLE for each in errors)

    def to_text(self) -> str:
        """Return the counts, then each kind of problem with its first few items."""
        lines = [write_count(self.item_count, "item")]
        lines += format_counts(self.counts)
        found = Counter((problem.severity, problem.kind) for problem in self.problems)
        for (severity, kind), count in found.items():
            lines.append(f"{severity.value}: {kind.value}, {count:,}")
            shown = [problem for problem in self.problems if problem.kind is kind][:3]
            lines += [
                f"  {problem.detail}" + (f" ({list_first(problem.item_ids, limit=3)})" if problem.item_ids else "")
                for problem in shown
            ]
            lines += [f"  and {count - 3:,} more; --json lists all"] if count > 3 else []
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        counts = Counter(problem.severity for problem in self.problems)
        return ", ".join(f"{counts[severity]:,} {severity.value}s" for severity in Severity)


class Action(StrEnum):
    """The change made to a row."""

    DROPPED = "dropped"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed row.

    Args:
        item_id: Empty for a row that could not be parsed.
    """

    item_id: str
    action: Action
    kind: ProblemKind
    detail: str


@dataclass(frozen=True, slots=True)
class CleanedItems:
    """The remaining items, in manifest order, and every change."""

    items: tuple[Item, ...]
    changes: tuple[Change, ...]


def check(
    manifest: Path | str,
    *,
    limits: MediaLimits | None = None,
    workers: int = 1,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> CheckReport:
    """Decode every item of a manifest from beginning to end and report all problems at once.

    Args:
        workers: Processes that decode; 1 decodes in the current process. More are spawned, so the calling script must
            not do its work on import.
        cache: Folder that caches inspections by content, so that the next check decodes only new files; None disables
            it.

    Raises:
        ManifestError: The file is not a manifest; invalid rows are reported as problems.
    """
    rows = read_rows(Path(manifest))
    reporter = reporter or SilentReporter()
    inspections = inspect_items(
        rows.items, limits=limits or MediaLimits(), workers=workers, cache=cache, reporter=reporter
    )
    bad_rows = tuple(Problem(ProblemKind.BAD_ROW, (), detail) for detail in rows.problems)
    links = link_contents(rows.items)
    return CheckReport(
        items=rows.items,
        inspections=tuple(inspections),
        problems=bad_rows + find_problems(rows.items, inspections, links=links),
        counts=count_items(rows.items),
        links=links,
    )


def write_clean(report: CheckReport, out: Path) -> CleanedItems:
    """Write a cleaned manifest, and beside it a table of the rows that were dropped or moved, and why.

    The table has the name of the manifest with the suffix `.changes.csv`.
    """
    cleaned = clean_items(report.items, report.problems)
    for _ in range(_MAX_ROUNDS):  # moving a group may separate near duplicates
        left = find_problems(cleaned.items, report.inspections, links=report.links)
        if not any(problem.severity is Severity.ERROR for problem in left):
            break
        again = clean_items(cleaned.items, left)
        cleaned = CleanedItems(again.items, cleaned.changes + again.changes)
    write_manifest(cleaned.items, out)
    with open_replacement(out.with_suffix(".changes.csv")) as file:
        rows = ([each.item_id, each.action, each.kind, each.detail] for each in cleaned.changes)
        write_csv(file, names=["item_id", "action", "kind", "detail"], rows=rows)
    return cleaned


def write_findings(report: CheckReport, out: Path, *, title: str) -> None:
    """Write the problems as one HTML page that opens without a network.

    Args:
        title: The name of what was checked.
    """
    item_by_id = {item.item_id: item for item in report.items}
    groups = []
    for kind in ProblemKind:
        problems = [problem for problem in report.problems if problem.kind is kind]
        findings = tuple(
            Finding(each.detail, each.item_ids, tuple(item_by_id[i] for i in each.item_ids if i in item_by_id))
            for each in problems
        )
        if problems:
            groups.append(FindingGroup(kind.value, problems[0].severity.value, _MEANINGS[kind], findings))
    summary = f"{write_count(report.item_count, 'item')}. {report.to_text().splitlines()[-1]}."
    write_findings_page(out, title=title, summary=summary, counts=report.counts, groups=groups)


# ---------------------------------------------------------------- cleaning

_UNUSABLE = {
    ProblemKind.MISSING_FILE,
    ProblemKind.UNREADABLE,
    ProblemKind.EMPTY,
    ProblemKind.NOT_PROSE,
    ProblemKind.MEDIUM_MISMATCH,
    ProblemKind.TOO_LONG,
    ProblemKind.SILENT,
}
_EXACT = {ProblemKind.DUPLICATE, ProblemKind.DUPLICATE_ACROSS_SPLITS}
_NEAR = {ProblemKind.NEAR_DUPLICATE, ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS}


def clean_items(items: Sequence[Item], problems: Sequence[Problem]) -> CleanedItems:
    """Remove the problems found in a data set.

    - Unusable and silent items are dropped.
    - A group in several splits moves as a whole to the first of them in the order train, validation, test, so that
      nothing is lost and no training data is tested on.
    - One of each set of duplicates is kept. Duplicates with different classes are all dropped, since a label is wrong.
    - Near duplicates in several splits are kept in the last of them only, so that a published test set stays whole.
    """
    changes = {
        item_id: Change(item_id, Action.DROPPED, problem.kind, problem.detail)
        for problem in problems
        if problem.kind in _UNUSABLE and (problem.severity is Severity.ERROR or problem.kind is ProblemKind.SILENT)
        for item_id in problem.item_ids
    }
    kept = {item.item_id: item for item in items if item.item_id not in changes}
    moves: dict[str, Change] = {}
    for problem in (each for each in problems if each.kind is ProblemKind.GROUP_STRADDLES_SPLITS):
        _move_to_one_split(kept, problem, moves)
    for problem in (each for each in problems if each.kind in _EXACT | _NEAR):
        for item_id in _choose_surplus(kept, problem):
            del kept[item_id]
            moves.pop(item_id, None)
            changes[item_id] = Change(item_id, Action.DROPPED, problem.kind, problem.detail)
    bad_rows = [
        Change("", Action.DROPPED, each.kind, each.detail) for each in problems if each.kind is ProblemKind.BAD_ROW
    ]
    ordered = [change for item in items for change in (changes.get(item.item_id), moves.get(item.item_id)) if change]
    return CleanedItems(tuple(kept.values()), (*bad_rows, *ordered))


def _move_to_one_split(kept: dict[str, Item], problem: Problem, moves: dict[str, Change]) -> None:
    """Move all items of a group into the first of its splits."""
    members = [kept[item_id] for item_id in problem.item_ids if item_id in kept]
    splits = [split for split in Split if any(item.split is split for item in members)]
    for item in members:
        if item.split is not None and item.split is not splits[0]:
            kept[item.item_id] = replace(item, split=splits[0])
            detail = f"From {item.split} to {splits[0]}. {problem.detail}"
            moves[item.item_id] = Change(item.item_id, Action.MOVED, problem.kind, detail)


def _choose_surplus(kept: Mapping[str, Item], problem: Problem) -> list[str]:
    """Return the ids of the duplicates or near duplicates to drop."""
    members = [kept[item_id] for item_id in problem.item_ids if item_id in kept]
    is_exact = problem.kind in _EXACT
    if is_exact and len({item.class_name for item in members if item.class_name is not None}) > 1:
        return [item.item_id for item in members]
    splits = [split for split in Split if any(item.split is split for item in members)]
    staying = [item for item in members if not splits or item.split is splits[-1]]
    if is_exact:
        staying = staying[:1]
    elif len(splits) <= 1:
        return []
    keys = {item.item_id for item in staying}
    return [item.item_id for item in members if item.item_id not in keys and (is_exact or item.split is not None)]
