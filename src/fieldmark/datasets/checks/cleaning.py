"""Clean a data set: drop unusable and duplicate items, and move leaking groups into one split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fieldmark.datasets.checks.problems import Problem, ProblemKind, Severity
from fieldmark.types import Item, Split

_UNUSABLE = {
    ProblemKind.MISSING_FILE,
    ProblemKind.UNREADABLE,
    ProblemKind.EMPTY,
    ProblemKind.MEDIUM_MISMATCH,
    ProblemKind.TOO_LONG,
    ProblemKind.SILENT,
}
_EXACT = {ProblemKind.DUPLICATE, ProblemKind.DUPLICATE_ACROSS_SPLITS}
_NEAR = {ProblemKind.NEAR_DUPLICATE, ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS}


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
