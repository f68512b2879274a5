"""Invented species: the field marks that they may have, their orders, families and genera, and descriptions of them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
from jaxtyping import Int
from numpy.random import Generator

from fieldmark.data.taxonomy import Taxon
from fieldmark.errors import OutOfRangeError

# ---------------------------------------------------------------- field marks

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "black": (36, 34, 38), "white": (246, 244, 236), "rufous": (178, 82, 36), "yellow": (242, 204, 48),
    "red": (204, 38, 42), "blue": (62, 124, 208), "brown": (116, 80, 50), "gray": (126, 132, 140),
    "green": (74, 128, 66), "navy": (44, 58, 112), "sandy": (206, 174, 122), "orange": (238, 134, 38),
    "buff": (224, 192, 144), "rose": (232, 130, 148), "horn": (166, 160, 150),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plumage:
    """The field marks an eye can see; `PLUMAGE_VALUES` lists what each may be."""

    build: str
    bill_shape: str
    bill_color: str
    crest: str
    crown_color: str
    face: str
    eye_ring: str
    back_color: str
    wing_bars: str
    breast_color: str
    breast_pattern: str
    belly_color: str
    tail_length: str
    leg_color: str


@dataclass(frozen=True, slots=True)
class Song:
    """The field marks an ear can hear: two syllables make a phrase, sung so many times."""

    opening: str
    ending: str
    pitch: str
    tempo: str
    phrases: str


# ---------------------------------------------------------------- the marks in words

_COLOR_WORDS = {
    "black": ("black", "jet-black", "inky black"),
    "white": ("white", "snow-white", "clean white"),
    "rufous": ("rufous", "chestnut", "rusty"),
    "yellow": ("yellow", "lemon-yellow", "golden"),
    "red": ("red", "scarlet", "crimson"),
    "blue": ("blue", "sky-blue", "azure"),
    "brown": ("brown", "earth-brown", "umber"),
    "gray": ("gray", "ash-gray", "lead-colored"),
    "green": ("green", "moss-green", "leaf-green"),
    "navy": ("dark blue", "navy", "indigo"),
    "sandy": ("sandy", "pale tan", "sand-colored"),
    "orange": ("orange", "apricot", "tangerine"),
    "buff": ("buff", "fawn", "biscuit-colored"),
    "rose": ("pink", "rose-pink", "rosy"),
    "horn": ("pale gray", "horn-colored", "bone-gray"),
}
_COLORED_PARTS = {
    "bill_color": (("black", "yellow", "red", "horn"), ("bill", "beak")),
    "crown_color": (("black", "white", "rufous", "yellow", "red", "blue"), ("crown", "cap", "top of the head")),
    "back_color": (("brown", "gray", "green", "navy", "sandy"), ("back", "mantle", "upper side")),
    "breast_color": (("white", "yellow", "orange", "rose", "gray", "buff"), ("breast", "chest", "throat and breast")),
    "belly_color": (("white", "yellow", "gray", "buff"), ("belly", "underside", "vent and belly")),
    "leg_color": (("black", "yellow", "red", "rose"), ("legs", "feet")),
}
_SHAPES: dict[str, dict[str, tuple[str, ...]]] = {
    "build": {
        "compact": ("a compact build", "a round-bodied shape", "a plump body"),
        "slender": ("a slender build", "a slim body held level", "a lean, level shape"),
        "upright": ("an upright stance", "a body held bolt upright", "a steeply upright posture"),
        "long_legged": ("a long neck and long legs", "stilt-like legs and a long neck", "a tall, long-necked shape"),
    },
    "bill_shape": {
        "conical": ("a short, thick bill", "a stubby cone of a beak", "a heavy seed-cracking bill"),
        "thin": ("a thin bill", "a fine needle of a beak", "a slight, slender bill"),
        "hooked": ("a hooked bill", "a beak with a hooked tip", "a strong bill bent down at the tip"),
        "curved": ("a long, downcurved bill", "a sickle-shaped beak", "a long bill that bends down"),
        "dagger": ("a long, straight bill", "a dagger of a beak", "a spear-like bill"),
    },
    "crest": {
        "none": ("no crest", "a smooth, round head", "a rounded head"),
        "crested": ("a spiky crest", "a raised tuft on the head", "a ragged crest"),
    },
    "face": {
        "plain": ("a plain face", "an unmarked face", "no stripe on the face"),
        "masked": ("a black mask", "a dark stripe through the eye", "a black band across the face"),
        "browed": ("a white eyebrow", "a pale stripe over the eye", "a bold white brow"),
    },
    "eye_ring": {
        "none": ("no eye ring", "a dark eye without a ring", "a bare dark eye"),
        "white": ("a white eye ring", "a pale ring around the eye", "white spectacles"),
        "yellow": ("a yellow eye ring", "a golden ring around the eye", "yellow spectacles"),
    },
    "wing_bars": {
        "none": ("plain wings", "no wing bars", "unbarred wings"),
        "one": ("one white wing bar", "a single pale bar on the wing", "one bar across the wing"),
        "two": ("two white wing bars", "a pair of pale bars on the wing", "double wing bars"),
    },
    "breast_pattern": {
        "plain": ("an unmarked breast", "a breast without spots or streaks", "a clean breast"),
        "streaked": ("dark streaks on the breast", "a streaky breast", "a breast lined with dark streaks"),
        "spotted": ("dark spots on the breast", "a spotted breast", "a breast sprinkled with dark dots"),
        "banded": ("a dark band across the breast", "a black breast band", "a dark bar on the chest"),
    },
    "tail_length": {
        "short": ("a short tail", "a stumpy tail", "hardly any tail"),
        "medium": ("a tail of middling length", "a medium tail", "a tail neither long nor short"),
        "long": ("a long tail", "a very long tail", "a tail longer than the body"),
    },
}
_SYLLABLES: dict[str, tuple[str, ...]] = {
    "rising whistle": ("a rising whistle", "a whistle that climbs", "an upslurred whistle"),
    "falling whistle": ("a falling whistle", "a whistle that drops", "a downslurred whistle"),
    "level whistle": ("a level whistle", "a pure, even whistle", "a whistle on one note"),
    "warble": ("a warble", "a wavering warble", "a liquid, wavering note"),
    "trill": ("a trill", "a quick trill", "a silvery trill"),
    "buzz": ("a buzz", "a dry buzz", "a buzzing, insect-like note"),
    "chirps": ("three chirps", "a row of chirps", "sharp chirps"),
    "rattle": ("a rattle", "a hard rattle", "a wooden, rattling noise"),
}
_VOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "opening": _SYLLABLES,
    "ending": _SYLLABLES,
    "pitch": {"low": ("low", "deep"), "middle": ("mid-pitched", "of middle pitch"), "high": ("high", "high-pitched")},
    "tempo": {"slow": ("slow", "unhurried"), "steady": ("even-paced", "steady"), "fast": ("fast", "hurried")},
    "phrases": {
        "once": ("given once", "not repeated"),
        "twice": ("given twice", "repeated once"),
        "thrice": ("given three times", "repeated twice"),
    },
}
COUNTS = {"none": 0, "one": 1, "two": 2, "once": 1, "twice": 2, "thrice": 3}
PLUMAGE_VALUES: dict[str, tuple[str, ...]] = {
    **{mark: values for mark, (values, _) in _COLORED_PARTS.items()},
    **{mark: tuple(words) for mark, words in _SHAPES.items()},
}
"""Every value of every mark of a `Plumage`."""
SONG_VALUES: dict[str, tuple[str, ...]] = {mark: tuple(words) for mark, words in _VOICES.items()}
"""Every value of every mark of a `Song`."""


# ---------------------------------------------------------------- species

LARGEST_CLASS_COUNT = 1_000


@dataclass(frozen=True, slots=True)
class Species:
    """An invented species: its names and field marks.

    Args:
        genus: The last word of the class name; species of a genus share most marks.
        family: Genera of a family share build, bill and tail.
        order: Families of an order share their build.
    """

    class_name: str
    genus: str
    family: str
    order: str
    scientific_name: str
    synonym: str
    plumage: Plumage
    song: Song

    @property
    def taxon(self) -> Taxon:
        """The row of the taxonomy."""
        return Taxon(self.class_name, self.genus, self.family, self.order, self.scientific_name, (self.synonym,))

    @property
    def field_marks(self) -> dict[str, str]:
        """The value of every mark, plumage first."""
        return {**asdict(self.plumage), **asdict(self.song)}


_COLOR_EPITHETS = {
    "black": "Sooty", "white": "Snowy", "rufous": "Ruddy", "yellow": "Golden", "red": "Scarlet", "blue": "Azure",
    "brown": "Umber", "gray": "Ashy", "green": "Mossy", "navy": "Indigo", "sandy": "Sandy", "orange": "Amber",
    "buff": "Fawn", "rose": "Rosy", "horn": "Bone",
}  # fmt: skip
# The marks that distinguish species of a genus. Legs, eye rings and crests are too small or have too few values, and
# build, bill and tail are shared within a family.
_EPITHETS: dict[str, dict[str, str]] = {
    **{
        mark: {value: f"{_COLOR_EPITHETS[value]}_{part}" for value in PLUMAGE_VALUES[mark]}
        for mark, part in (
            ("bill_color", "billed"), ("crown_color", "capped"), ("back_color", "backed"),
            ("breast_color", "breasted"), ("belly_color", "bellied"),
        )
    },
    "face": {"plain": "Plain_faced", "masked": "Masked", "browed": "Browed"},
    "wing_bars": {"none": "Plain_winged", "one": "Single_barred", "two": "Double_barred"},
    "breast_pattern": {"plain": "Clear", "streaked": "Streaked", "spotted": "Spotted", "banded": "Banded"},
}  # fmt: skip
_LATIN_COLORS = {
    "black": "nigri", "white": "albi", "rufous": "rufi", "yellow": "flavi", "red": "rubri", "blue": "cyani",
    "brown": "brunnei", "gray": "cinerei", "green": "viridi", "navy": "atri", "sandy": "areni", "orange": "aurei",
    "buff": "fulvi", "rose": "rosei", "horn": "palli",
}  # fmt: skip
_LATIN_PARTS = {
    "bill_color": "rostris", "crown_color": "ceps", "back_color": "dorsalis", "breast_color": "pectoralis",
    "belly_color": "ventris",
}  # fmt: skip
_LATIN: dict[str, dict[str, str]] = {
    **{mark: {v: f"{_LATIN_COLORS[v]}{part}" for v in PLUMAGE_VALUES[mark]} for mark, part in _LATIN_PARTS.items()},
    "face": {"plain": "simplex", "masked": "personatus", "browed": "superciliosus"},
    "wing_bars": {"none": "unicolor", "one": "unifasciatus", "two": "bifasciatus"},
    "breast_pattern": {"plain": "immaculatus", "streaked": "striatus", "spotted": "guttatus", "banded": "torquatus"},
}
_REGIONS = ("Fen", "Heath", "Coast", "Hill")
_ORDERS = {
    "compact": "Globiformes", "slender": "Graciliformes", "upright": "Erectiformes", "long_legged": "Grallatiformes",
}  # fmt: skip
_FAMILY_ROOTS = (
    "Salt", "Mur", "Vel", "Corn", "Pil", "Tamb", "Nid", "Ost", "Ram", "Quer", "Lun", "Fal", "Del", "Bar", "Ger", "Hed",
    "Ist", "Jan", "Kal", "Lom", "Mend", "Nov", "Oxy", "Par", "Rost", "Sib", "Tern", "Urs", "Vim", "Zon",
)  # fmt: skip
_FAMILY_MARKS = ("build", "bill_shape", "tail_length")
_GENERA_OF_A_FAMILY = 3  # before the next family follows
_GENUS_HEADS = (
    "Lint", "Thimble", "Cinder", "Dapple", "Larch", "Marl", "Nettle", "Pebble", "Rill", "Tarn", "Vetch", "Withy",
    "Yarrow", "Bramble", "Clover", "Drizzle", "Ember", "Fathom", "Gorse", "Hasp", "Ivory", "Juniper", "Kettle",
    "Lantern", "Mallow", "Nimble", "Orchard", "Puddle", "Quartz", "Russet", "Saddle", "Tinder",
)  # fmt: skip
_GENUS_TAILS = (
    "wing", "lilt", "peep", "flit", "whit", "chirr", "hopper", "piper", "tuft", "crest", "quill", "perch", "dart",
    "skip", "wisp", "plume",
)  # fmt: skip


def draw_species(class_count: int, *, seed: int) -> tuple[Species, ...]:
    """Invent species in genera of two or three; the same seed gives the same species, and a larger count adds to them.

    Species of a genus differ in one mark of plumage and one of song. Species of different genera differ in at least
    three marks of plumage. No two species share a song. The genera of a family share build, bill and tail.

    Args:
        class_count: 2 to `LARGEST_CLASS_COUNT`.

    Raises:
        OutOfRangeError: `class_count` is outside its range.
    """
    if not 2 <= class_count <= LARGEST_CLASS_COUNT:
        raise OutOfRangeError(name="class_count", got=class_count, smallest=2, largest=LARGEST_CLASS_COUNT)
    return tuple(islice(_generate_species(np.random.default_rng([seed, 0])), class_count))


@dataclass(frozen=True, slots=True)
class _Family:
    """A family, and the values of `_FAMILY_MARKS` that its genera share, as indices into the lists of values."""

    name: str
    codes: tuple[int, ...]

    @property
    def order(self) -> str:
        return _ORDERS[PLUMAGE_VALUES["build"][self.codes[0]]]


def _invent_families(rng: Generator) -> list[_Family]:
    """Invent one family per name, all with different marks; orders alternate."""
    builds, *others = (len(PLUMAGE_VALUES[mark]) for mark in _FAMILY_MARKS)
    pairs = [(one, two) for one in range(others[0]) for two in range(others[1])]
    drawn = {build: rng.permutation(pairs).tolist() for build in range(builds)}
    roots = rng.permutation(_FAMILY_ROOTS).tolist()
    first = rng.permutation(builds).tolist()
    return [
        _Family(f"{root}idae", (first[index % builds], *drawn[first[index % builds]][index // builds]))
        for index, root in enumerate(roots)
    ]


def _generate_species(rng: Generator) -> Iterator[Species]:
    values = {**PLUMAGE_VALUES, **SONG_VALUES}
    known = np.empty((0, len(values)), dtype=np.int64)
    families = _invent_families(rng)
    for index, genus in enumerate(rng.permutation([head + tail for head in _GENUS_HEADS for tail in _GENUS_TAILS])):
        family = families[index // _GENERA_OF_A_FAMILY % len(families)]
        look, sisters = _invent_genus(known, family, rng)
        known = np.concatenate([known, sisters])
        regions = rng.permutation(_REGIONS).tolist()
        for codes, region in zip(sisters.tolist(), regions, strict=False):
            marks = {mark: options[code] for (mark, options), code in zip(values.items(), codes, strict=True)}
            yield Species(
                class_name=f"{_EPITHETS[look][marks[look]]}_{genus}",
                genus=str(genus),
                family=family.name,
                order=family.order,
                scientific_name=f"{str(genus).capitalize()}ia {_LATIN[look][marks[look]]}",
                synonym=f"{region} {genus}",
                plumage=Plumage(**{mark: marks[mark] for mark in PLUMAGE_VALUES}),
                song=Song(**{mark: marks[mark] for mark in SONG_VALUES}),
            )


def _invent_genus(
    known: Int[np.ndarray, "class mark"], family: _Family, rng: Generator
) -> tuple[str, Int[np.ndarray, "sister mark"]]:
    """Return the plumage mark that distinguishes the species of a new genus, and their marks as indices."""
    look_count, options = len(PLUMAGE_VALUES), [len(each) for each in (*PLUMAGE_VALUES.values(), *SONG_VALUES.values())]
    marks = list(PLUMAGE_VALUES)
    while True:
        look = str(rng.choice(list(_EPITHETS)))
        varied = (marks.index(look), int(rng.integers(look_count, len(options))))
        sisters = np.tile(rng.integers(options), (int(rng.integers(2, 4)), 1))
        sisters[:, [marks.index(mark) for mark in _FAMILY_MARKS]] = family.codes
        for mark in varied:
            sisters[:, mark] = rng.permutation(options[mark])[: len(sisters)]
        differs = sisters[:, None] != known[None]
        if (differs[..., :look_count].sum(-1) >= 3).all() and differs[..., look_count:].any(-1).all():
            return look, sisters


# ---------------------------------------------------------------- descriptions

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
    calls = {m: rng.choice(_VOICES[m][value]) for m, value in asdict(species.song).items() if rng.random() < share}
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
    if mark in _SHAPES:
        return str(rng.choice(_SHAPES[mark][value]))
    color, part = rng.choice(_COLOR_WORDS[value]), rng.choice(_COLORED_PARTS[mark][1])
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
