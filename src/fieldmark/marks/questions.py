"""Questions of one, two and three marks, made from a table of traits, with the classes that fit each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fieldmark.marks.traits import TraitsTable
from fieldmark.marks.vocabulary import BODY, MARKS, Mark, get_group
from fieldmark.names import Spellings

HAS, LACKS = 0.5, 0.2
"""A class has a mark that this share of its birds have, and lacks one that fewer have; between, no question asks."""
MOST_FITTING = 4
"""Most classes that fit a question."""
_GROUPS = ("color", "pattern", "shape", "size")
_LEFT_OUT = frozenset(("solid", "multicolored", "as long as the head"))
_TRIES = 50
_BARE = {"mask": "a mask", "crested": "a crest", "ring": "an eye ring", "stripe over the eye": "a stripe over the eye",
         "stripe through the eye": "a stripe through the eye", "stripe on the cheek": "a malar stripe"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """A few marks as a person may ask for them, and the classes that have them all.

    Args:
        marks: One or more.
        class_names: Those that fit; one or more.
    """

    text: str
    marks: tuple[Mark, ...]
    class_names: tuple[str, ...]


def make_questions(
    table: TraitsTable, class_names: Sequence[str], *, count: int, mark_counts: Sequence[int] = (1, 2, 3), seed: int = 0
) -> tuple[Question, ...]:
    """Make questions about some classes, `count` for each number of marks, fewer where there are not so many.

    A class has a mark that at least half of its birds have. Up to `MOST_FITTING` classes fit a question, and none is in
    doubt: none has all the other marks, and one that more than `LACKS` and fewer than `HAS` of its birds have, or of a
    part of which the table says nothing.

    Args:
        class_names: Those that items of the benchmark have; ones that the table lacks never fit.
        seed: The same one makes the same questions of the same table and classes.
    """
    held, share = _align(table, class_names)
    has = np.nan_to_num(share) >= HAS
    is_open = ((np.nan_to_num(share) > LACKS) | _find_untold(share)) & ~has
    usable = [at for at, mark in enumerate(MARKS) if _can_ask(mark) and has[:, at].any()]
    generator = np.random.default_rng(seed)
    questions: dict[tuple[Mark, ...], Question] = {}
    for mark_count in mark_counts:
        made = 0
        for _ in range(_TRIES * count):
            if made == count or not held:
                break
            columns = _draw(has, usable, mark_count=mark_count, generator=generator)
            marks = tuple(MARKS[at] for at in columns)
            fits = has[:, columns].all(axis=1)
            in_doubt = (has | is_open)[:, columns].all(axis=1) & ~fits
            if len(columns) < mark_count or marks in questions or in_doubt.any() or not 1 <= fits.sum() <= MOST_FITTING:
                continue
            names = tuple(name for name, fit in zip(held, fits.tolist(), strict=True) if fit)
            questions[marks] = Question(write_question(marks), marks, names)
            made += 1
    return tuple(questions.values())


def _align(table: TraitsTable, class_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the classes that the table has, and their rows."""
    names = Spellings(tuple(sorted(set(class_names))))
    row_by_name: dict[str, int] = {}
    for row, own in enumerate(table.names):
        for name in own:
            found = names.find_one(name)
            if found is not None:
                row_by_name.setdefault(found, row)
    held = sorted(row_by_name)
    return held, table.share[[row_by_name[name] for name in held]]


def _find_untold(share: Float[np.ndarray, "class mark"]) -> Bool[np.ndarray, "class mark"]:
    """Return the marks of which a class may or may not have one: those of parts of which nothing is told."""
    part = np.unique([mark.part for mark in MARKS], return_inverse=True)[1]
    told = np.stack([np.isfinite(share[:, part == each]).any(axis=1) for each in range(part.max() + 1)], axis=1)
    untold: Bool[np.ndarray, "class mark"] = ~told[:, part]
    return untold


def _can_ask(mark: Mark) -> bool:
    return get_group(mark) in _GROUPS and mark.trait not in _LEFT_OUT


def _draw(
    has: Bool[np.ndarray, "class mark"], usable: Sequence[int], *, mark_count: int, generator: np.random.Generator
) -> list[int]:
    """Draw a class, then marks that it has, of different parts, in the order of columns."""
    own = [at for at in usable if has[int(generator.integers(len(has))), at]]
    chosen: list[int] = []
    for at in generator.permutation(own).tolist():
        if len(chosen) < mark_count and MARKS[at].part not in {MARKS[each].part for each in chosen}:
            chosen.append(at)
    return sorted(chosen)


def write_question(marks: Sequence[Mark]) -> str:
    """Write marks as a person asks for them: "a small bird with a blue crown and a spotted breast"."""
    whole = sorted((mark for mark in marks if mark.part in ("size", BODY)), key=lambda mark: mark.part != "size")
    front = " ".join(mark.trait for mark in whole)
    told = list(_tell(marks))
    return " ".join(f"a {front} bird {'with ' if told else ''}{' and '.join(told)}".split())


def _tell(marks: Sequence[Mark]) -> Iterator[str]:
    for mark in marks:
        if mark.part not in ("size", BODY):
            plural = {
                "leg": "legs",
                "underparts": "underparts",
                "upperparts": "upperparts",
                "eye": "eyes",
                "wing": "wings",
            }
            part = plural.get(
                mark.part, mark.part.replace("uppertail", "upper tail").replace("undertail", "under tail")
            )
            article = "" if part.endswith("s") else "an " if mark.trait[0] in "aeiou" else "a "
            yield _BARE.get(mark.trait) or f"{article}{mark.trait} {part}"
