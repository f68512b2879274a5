"""The field marks of invented birds: what they are, how they look in color, and what people call them."""

from dataclasses import dataclass

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

COLOR_WORDS = {
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
COLORED_PARTS = {
    "bill_color": (("black", "yellow", "red", "horn"), ("bill", "beak")),
    "crown_color": (("black", "white", "rufous", "yellow", "red", "blue"), ("crown", "cap", "top of the head")),
    "back_color": (("brown", "gray", "green", "navy", "sandy"), ("back", "mantle", "upper side")),
    "breast_color": (("white", "yellow", "orange", "rose", "gray", "buff"), ("breast", "chest", "throat and breast")),
    "belly_color": (("white", "yellow", "gray", "buff"), ("belly", "underside", "vent and belly")),
    "leg_color": (("black", "yellow", "red", "rose"), ("legs", "feet")),
}
SHAPES: dict[str, dict[str, tuple[str, ...]]] = {
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
VOICES: dict[str, dict[str, tuple[str, ...]]] = {
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
    **{mark: values for mark, (values, _) in COLORED_PARTS.items()},
    **{mark: tuple(words) for mark, words in SHAPES.items()},
}
"""Every value of every mark of a `Plumage`."""
SONG_VALUES: dict[str, tuple[str, ...]] = {mark: tuple(words) for mark, words in VOICES.items()}
"""Every value of every mark of a `Song`."""
