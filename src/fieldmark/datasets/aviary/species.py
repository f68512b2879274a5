"""Invent species in orders, families and genera."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
from jaxtyping import Int
from numpy.random import Generator

from fieldmark.data.taxonomy import Taxon
from fieldmark.datasets.aviary.marks import PLUMAGE_VALUES, SONG_VALUES, Plumage, Song
from fieldmark.errors import OutOfRangeError

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
