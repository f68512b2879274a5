"""The synthetic aviary: invented species that differ in a few field marks, in four media."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import soundfile
from av.video.stream import VideoStream
from jaxtyping import Int
from numpy.random import Generator

from fieldmark.aviary.media import FRAMES_PER_SECOND, RATE_HZ, Frames, Plumage, Song, draw_bird, draw_clip, sing
from fieldmark.data.manifest import write_manifest
from fieldmark.errors import ManifestExistsError, OutOfRangeError
from fieldmark.types import MEDIA, Item, Medium, Reporter, Split

LARGEST_CLASS_COUNT = 1_000
PHOTO_PIXELS, FRAME_PIXELS = 176, 128
TRAIN_SHARE = 0.6

# ---------------------------------------------------------------- the field marks and their names

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
PLUMAGE_VALUES: dict[str, tuple[str, ...]] = {
    **{mark: values for mark, (values, _) in _COLORED_PARTS.items()},
    **{mark: tuple(words) for mark, words in _SHAPES.items()},
}
"""Every value of every mark of a `Plumage`."""
SONG_VALUES: dict[str, tuple[str, ...]] = {mark: tuple(words) for mark, words in _VOICES.items()}
"""Every value of every mark of a `Song`."""


# ---------------------------------------------------------------- species


@dataclass(frozen=True, slots=True)
class Species:
    """An invented species: its name and the field marks that tell it.

    Args:
        genus: The last word of the class name; sister species share it, and most of their marks.
    """

    class_name: str
    genus: str
    plumage: Plumage
    song: Song

    @property
    def field_marks(self) -> dict[str, str]:
        """Every mark and its value, plumage first."""
        return {**asdict(self.plumage), **asdict(self.song)}


_COLOR_EPITHETS = {
    "black": "Sooty", "white": "Snowy", "rufous": "Ruddy", "yellow": "Golden", "red": "Scarlet", "blue": "Azure",
    "brown": "Umber", "gray": "Ashy", "green": "Mossy", "navy": "Indigo", "sandy": "Sandy", "orange": "Amber",
    "buff": "Fawn", "rose": "Rosy", "horn": "Bone",
}  # fmt: skip
# Legs, eye rings and crests are left out: too small, or of too few values, to tell sister species by.
_EPITHETS: dict[str, dict[str, str]] = {
    **{
        mark: {value: f"{_COLOR_EPITHETS[value]}_{part}" for value in PLUMAGE_VALUES[mark]}
        for mark, part in (
            ("bill_color", "billed"), ("crown_color", "capped"), ("back_color", "backed"),
            ("breast_color", "breasted"), ("belly_color", "bellied"),
        )
    },
    "bill_shape": {
        "conical": "Stout_billed", "thin": "Needle_billed", "hooked": "Hook_billed", "curved": "Sickle_billed",
        "dagger": "Dagger_billed",
    },
    "face": {"plain": "Plain_faced", "masked": "Masked", "browed": "Browed"},
    "wing_bars": {"none": "Plain_winged", "one": "Single_barred", "two": "Double_barred"},
    "breast_pattern": {"plain": "Clear", "streaked": "Streaked", "spotted": "Spotted", "banded": "Banded"},
    "tail_length": {"short": "Stumpy", "medium": "Common", "long": "Trailing"},
}  # fmt: skip
_GENUS_HEADS = (
    "Lint", "Thimble", "Cinder", "Dapple", "Larch", "Marl", "Nettle", "Pebble", "Rill", "Tarn", "Vetch", "Withy",
    "Yarrow", "Bramble", "Clover", "Drizzle", "Ember", "Fathom", "Gorse", "Hasp", "Ivory", "Juniper", "Kettle",
    "Lantern", "Mallow", "Nimble", "Orchard", "Puddle", "Quartz", "Russet", "Saddle", "Tinder",
)  # fmt: skip
_GENUS_TAILS = (
    "wing", "lilt", "peep", "flit", "whit", "chirr", "hopper", "piper", "tuft", "crest", "quill", "perch", "dart",
    "skip", "wisp", "plume",
)  # fmt: skip


def invent_species(class_count: int, *, seed: int) -> tuple[Species, ...]:
    """Species in genera of two or three, the same for a seed; asking for more only adds to the end.

    Sister species differ in one mark of plumage and one of song. Species of two genera differ in at least three marks
    of plumage. No two species share a song.

    Args:
        class_count: 2 to `LARGEST_CLASS_COUNT`.

    Raises:
        OutOfRangeError: `class_count` lies outside its range.
    """
    if not 2 <= class_count <= LARGEST_CLASS_COUNT:
        raise OutOfRangeError(name="class_count", got=class_count, smallest=2, largest=LARGEST_CLASS_COUNT)
    return tuple(islice(_species(np.random.default_rng([seed, 0])), class_count))


def _species(rng: Generator) -> Iterator[Species]:
    looks, calls = list(PLUMAGE_VALUES), list(SONG_VALUES)
    values = {**PLUMAGE_VALUES, **SONG_VALUES}
    known = np.empty((0, len(values)), dtype=np.int64)
    for genus in rng.permutation([head + tail for head in _GENUS_HEADS for tail in _GENUS_TAILS]).tolist():
        look, sisters = _invent_genus(known, rng)
        known = np.concatenate([known, sisters])
        for codes in sisters.tolist():
            marks = {mark: options[code] for (mark, options), code in zip(values.items(), codes, strict=True)}
            yield Species(
                class_name=f"{_EPITHETS[look][marks[look]]}_{genus}",
                genus=genus,
                plumage=Plumage(**{mark: marks[mark] for mark in looks}),
                song=Song(**{mark: marks[mark] for mark in calls}),
            )


def _invent_genus(known: Int[np.ndarray, "class mark"], rng: Generator) -> tuple[str, Int[np.ndarray, "sister mark"]]:
    """The plumage mark that tells the sisters of a new genus, and their marks as places in the lists of values."""
    look_count, options = len(PLUMAGE_VALUES), [len(each) for each in (*PLUMAGE_VALUES.values(), *SONG_VALUES.values())]
    while True:
        look = rng.choice(list(_EPITHETS))
        varied = (list(PLUMAGE_VALUES).index(look), int(rng.integers(look_count, len(options))))
        sisters = np.tile(rng.integers(options), (int(rng.integers(2, 4)), 1))
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


def describe(species: Species, *, difficulty: float, rng: Generator) -> str:
    """A text that names some of the field marks, in the words of a field guide or of a notebook, and never the species.

    Args:
        difficulty: 0 to 1; names 95 % of the marks at 0, half of them at 1, and adds asides.
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


# ---------------------------------------------------------------- items


@dataclass(frozen=True, slots=True)
class _Origin:
    """One photo, page, clip or recording: what its items share.

    Args:
        first: The number of its first item within class and medium.
    """

    folder: Path
    species: Species
    medium: Medium
    split: Split
    first: int
    item_count: int
    seed: int
    difficulty: float

    def file(self, suffix: str, *, place: int = 0) -> Path:
        """Where the file of its item at a place goes."""
        return self.folder / self.medium / self.species.class_name / f"{self.first + place:04d}{suffix}"

    def item(
        self,
        place: int = 0,
        *,
        path: Path | None = None,
        text: str | None = None,
        span: Sequence[float | None] = (None, None),
    ) -> Item:
        """Its item at a place."""
        stem = f"{self.species.class_name}-{self.medium}"
        return Item(
            item_id=f"{stem}-{self.first + place:04d}",
            medium=self.medium,
            path=path,
            text=text,
            class_name=self.species.class_name,
            split=self.split,
            group=f"{stem}-{self.first:04d}",
            start_seconds=span[0],
            end_seconds=span[1],
            source=f"synthetic aviary, seed {self.seed}, difficulty {self.difficulty:g}",
            license="CC0-1.0",
            extra=(("field_marks", "; ".join(f"{mark}={value}" for mark, value in self.species.field_marks.items())),),
        )


def _plan(item_count: int, rng: Generator, *, is_shared: bool) -> list[tuple[int, int, Split]]:
    """The first number, the size (one or, where shared, also two) and the split of each group."""
    sizes: list[int] = []
    while (left := item_count - sum(sizes)) > 0:
        # Both splits need a group, so two items never make one.
        sizes.append(min(left, int(rng.integers(1, 3))) if is_shared and item_count > 2 else 1)
    train_count = min(max(round(TRAIN_SHARE * len(sizes)), 1), len(sizes) - 1)
    is_train = rng.permutation(len(sizes)) < train_count
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [
        (first, size, Split.TRAIN if train else Split.TEST)
        for first, size, train in zip(firsts, sizes, is_train, strict=True)
    ]


def _photograph(origin: _Origin, rng: Generator) -> list[Item]:
    path = origin.file(".jpg")
    photo = draw_bird(origin.species.plumage, side_pixels=PHOTO_PIXELS, difficulty=origin.difficulty, rng=rng)
    photo.save(path, quality=int(rng.integers(80, 96)))
    return [origin.item(path=path)]


def _write_page(origin: _Origin, rng: Generator) -> list[Item]:
    """Texts of one page; a quarter of the pages stand in the manifest itself."""
    is_inline, items = rng.random() < 0.25, []
    for place in range(origin.item_count):
        text, path = describe(origin.species, difficulty=origin.difficulty, rng=rng), origin.file(".txt", place=place)
        if not is_inline:
            path.write_text(text + "\n", encoding="utf-8")
        items.append(origin.item(place, text=text) if is_inline else origin.item(place, path=path))
    return items


def _film(origin: _Origin, rng: Generator) -> list[Item]:
    path = origin.file(".mp4")
    write_clip(draw_clip(origin.species.plumage, side_pixels=FRAME_PIXELS, difficulty=origin.difficulty, rng=rng), path)
    return [origin.item(path=path)]


def _record(origin: _Origin, rng: Generator) -> list[Item]:
    """One file; where it holds two bouts, each item is a stretch of it."""
    path = origin.file(str(rng.choice([".ogg", ".flac"])))
    bouts = sing(origin.species.song, bout_count=origin.item_count, difficulty=origin.difficulty, rng=rng)
    soundfile.write(path, np.concatenate(bouts), RATE_HZ)
    if len(bouts) == 1:
        return [origin.item(path=path)]
    ends = np.cumsum([bout.size / RATE_HZ for bout in bouts]).round(3).tolist()
    spans = zip([0.0, *ends], ends, strict=False)
    return [origin.item(place, path=path, span=span) for place, span in enumerate(spans)]


_MAKERS: dict[Medium, Callable[[_Origin, Generator], list[Item]]] = {
    Medium.IMAGE: _photograph,
    Medium.TEXT: _write_page,
    Medium.VIDEO: _film,
    Medium.AUDIO: _record,
}


def write_clip(frames: Frames, path: Path) -> None:
    """Writes an MP4: H.264 where the installed FFmpeg has its encoder, else MPEG-4."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(FRAMES_PER_SECOND))
        assert isinstance(stream, VideoStream)  # noqa: S101  for the type checker: both codecs are of video
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.options = {"preset": "veryfast", "crf": "21"} if codec == "libx264" else {"qscale": "4"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def synthesize(
    folder: Path,
    *,
    class_count: int,
    items_per_medium: int,
    seed: int,
    difficulty: float = 0.5,
    report: Reporter | None = None,
) -> Path:
    """Writes a four-media set of invented birds and gives the path of its manifest.

    Every photo, page, clip and recording is a group, and no group straddles the splits; a page gives one text or two, a
    recording one item or two. The extra column `field_marks` tells the true marks. The same arguments give the same
    manifest, and the same pixels, samples and words before encoding.

    Args:
        class_count: Number of species, 2 to `LARGEST_CLASS_COUNT`.
        items_per_medium: Items of each species in each medium, over both splits; at least 2.
        difficulty: 0 to 1; how far individuals, light, sound and wording stray.

    Raises:
        OutOfRangeError: A number lies outside its range.
        ManifestExistsError: The folder holds a manifest already.

    Example:
        >>> manifest = synthesize(Path("aviary"), class_count=20, items_per_medium=30, seed=7)  # doctest: +SKIP
    """
    for name, got, smallest, largest in (
        ("items_per_medium", items_per_medium, 2, 9_999),
        ("seed", seed, 0, 2**63 - 1),
        ("difficulty", difficulty, 0, 1),
    ):
        if not smallest <= got <= largest:
            raise OutOfRangeError(name=name, got=got, smallest=smallest, largest=largest)
    flock, manifest = invent_species(class_count, seed=seed), folder / "manifest.csv"
    if manifest.exists():
        raise ManifestExistsError(path=manifest)
    items: list[Item] = []
    for label, species in enumerate(flock):
        for code, medium in enumerate(MEDIA):
            (folder / medium / species.class_name).mkdir(parents=True, exist_ok=True)
            planner = np.random.default_rng([seed, 1, label, code])
            for first, size, split in _plan(items_per_medium, planner, is_shared=medium in {Medium.TEXT, Medium.AUDIO}):
                origin = _Origin(folder, species, medium, split, first, size, seed, difficulty)
                items += _MAKERS[medium](origin, np.random.default_rng([seed, 2, label, code, first]))
            if report:
                total = class_count * len(MEDIA) * items_per_medium
                report.step("synthesize", done=len(items), total=total, note=species.class_name)
    write_manifest(items, manifest)
    return manifest
