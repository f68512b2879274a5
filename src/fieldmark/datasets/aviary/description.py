"""Write descriptions of invented birds in the words of field guides and notebooks."""

from collections.abc import Sequence
from dataclasses import asdict

from numpy.random import Generator

from fieldmark.datasets.aviary.marks import COLOR_WORDS, COLORED_PARTS, SHAPES, VOICES
from fieldmark.datasets.aviary.species import Species

_OPENERS = ("This bird has", "Look for", "Note", "It shows", "In good light one sees", "The bird wears", "Told by")
_ASIDES = (
    "Seen at the edge of a wet wood.",
    "It kept low and was hard to follow.",
    "Two were about, one of them half hidden.",
    "Common here in most years.",
    "Watched from the hide for ten minutes.",
    "Wary, and soon gone.",
)


def write_description(species: Species, *, difficulty: float, rng: Generator) -> str:
    """Return a text that names some of the field marks, but never the species.

    Args:
        difficulty: 0 to 1; at 0 the text names 95 % of the marks, at 1 half of them, with asides.
    """
    share = 0.95 - 0.45 * difficulty
    looks = [_phrase(mark, value, rng) for mark, value in asdict(species.plumage).items() if rng.random() < share]
    looks = rng.permutation(looks).tolist() if looks else [_phrase("crown_color", species.plumage.crown_color, rng)]
    calls = {m: rng.choice(VOICES[m][value]) for m, value in asdict(species.song).items() if rng.random() < share}
    is_notebook = rng.random() < 0.35
    if is_notebook:
        lines = ["; ".join(looks).capitalize() + "."]
        lines += ["Voice: " + "; ".join(_song_clauses(calls, verbs=False)) + "."] if calls else []
    else:
        lines = []
        while looks:
            count = rng.integers(2, 5)
            lines.append(f"{rng.choice(_OPENERS)} {_listed(looks[:count])}.")
            looks = looks[count:]
        subject = rng.choice(["The song", "Its song", "What it sings"])
        lines += [f"{subject} {_listed(_song_clauses(calls, verbs=True))}."] if calls else []
    if rng.random() < 0.3 + 0.5 * difficulty:
        lines.insert(rng.integers(0, len(lines) + 1), str(rng.choice(_ASIDES)))
    return " ".join(lines)


def _phrase(mark: str, value: str, rng: Generator) -> str:
    if mark in SHAPES:
        return str(rng.choice(SHAPES[mark][value]))
    color, part = rng.choice(COLOR_WORDS[value]), rng.choice(COLORED_PARTS[mark][1])
    article = "" if mark == "leg_color" else "an " if color[0] in "aeiou" else "a "
    return f"{article}{color} {part}"


def _song_clauses(calls: dict[str, str], *, verbs: bool) -> list[str]:
    adjectives = [calls[mark] for mark in ("tempo", "pitch") if mark in calls]
    clauses = [("is " if verbs else "") + " and ".join(adjectives)] if adjectives else []
    if "opening" in calls:
        clauses.append(f"opens with {calls['opening']}" if verbs else f"first {calls['opening']}")
    if "ending" in calls:
        clauses.append(f"ends in {calls['ending']}" if verbs else f"then {calls['ending']}")
    if "phrases" in calls:
        clauses.append(("is " if verbs else "") + calls["phrases"])
    return clauses


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
