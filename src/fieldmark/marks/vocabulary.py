"""The words for marks: parts with their traits, size, shape, habits, habitat and voice, and how near two marks are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

BODY = "body"
"""The part of a trait that no part is named with."""

PARTS: Mapping[str, str] = {
    BODY: "bird birds body bodies plumage plumages overall feather feathers feathered coloration colored covering",
    "bill": "bill bills beak beaks billed beaked mandible",
    "head": "head heads headed hood hooded",
    "crown": "crown crowns crowned cap caps capped",
    "forehead": "forehead foreheads fronted",
    "crest": "crest crests crested tuft tufts",
    "nape": "nape napes naped neck necks necked hindneck collar collared",
    "face": "face faces faced cheek cheeks cheeked lores auriculars browed",
    "eye": "eye eyes eyed iris",
    "throat": "throat throats throated chin chins chinned bib",
    "breast": "breast breasts breasted chest chests chested",
    "belly": "belly bellies bellied abdomen stomach vent vented",
    "flank": "flank flanks flanked side sides sided",
    "underparts": "underparts underpart underside undersides underneath below",
    "back": "back backs backed mantle mantled",
    "rump": "rump rumps rumped",
    "wing": "wing wings winged wingfeathers primaries secondaries coverts tertials shoulder shoulders",
    "upperparts": "upperparts upperpart upperside topside above",
    "tail": "tail tails tailed rectrices retrices tailfeathers",
    "uppertail": "uppertail",
    "undertail": "undertail",
    "leg": "leg legs legged foot feet footed tarsus tarsi talon talons claw claws thigh thighs",
}
"""Words for the parts that traits belong to."""

COLORS: Mapping[str, str] = {
    "black": "black blackish sooty ebony dark jet inky",
    "white": "white whitish snowy ivory whites",
    "gray": "gray grey grayish greyish slate slaty silver silvery ash ashy lead charcoal bluegray",
    "brown": "brown brownish umber chocolate sepia earth browns",
    "rufous": "rufous rusty rust chestnut cinnamon russet ruddy copper coppery auburn bay",
    "buff": "buff buffy buffish tan beige cream creamy pale fawn sandy khaki biscuit",
    "red": "red reddish crimson scarlet ruby vermilion maroon",
    "pink": "pink pinkish rose rosy raspberry magenta salmon",
    "orange": "orange orangish apricot tangerine amber",
    "yellow": "yellow yellowish golden gold lemon straw",
    "olive": "olive olivaceous",
    "green": "green greenish emerald moss leaf",
    "blue": "blue bluish azure indigo navy turquoise cobalt sapphire teal",
    "purple": "purple purplish violet lilac",
    "iridescent": "iridescent glossy shiny metallic shimmering sheen",
}
PATTERNS: Mapping[str, str] = {
    "spotted": "spotted spots spot speckled speckles mottled dotted dots spotting flecked freckled scaled",
    "striped": "striped stripe stripes stripped streaked streaks streaky streaking lined lines",
    "barred": "barred bars bar barring bands banded band banding",
    "solid": "solid plain unmarked uniform unbarred unstreaked clean",
    "multicolored": "multicolored multicoloured varied mixed",
    "patched": "patch patches patched",
    "ring": "ring rings ringed spectacles eyering eyerings",
    "mask": "mask masked bandit",
    "stripe over the eye": "eyebrow eyebrows supercilium superciliary brow",
    "stripe through the eye": "eyestripe eyeline",
    "stripe on the cheek": "malar moustache mustache moustachial",
    "edged": "edged edges edge edging fringed fringes tips tipped tip",
    "checkered": "checkered chequered",
    "crested": "crested crest crests tuft tufts",
}
SHAPES: Mapping[str, str] = {
    "long": "long longer lengthy elongated",
    "short": "short shorter stubby stumpy tiny",
    "as long as the head": "",
    "slender": "slender thin slim narrow fine sleek",
    "thick": "thick stout heavy broad wide stocky plump chunky round robust",
    "pointed": "pointed pointy sharp tapered tapering",
    "needle": "needle",
    "dagger": "dagger straight spear chisel",
    "curved": "curved decurved downcurved curvy curving sickle",
    "hooked": "hooked",
    "conical": "conical cone triangular",
    "spatulate": "spatulate",
    "rounded": "rounded",
    "forked": "forked",
    "notched": "notched",
    "fanned": "fan fanned",
    "squared": "squared square",
    "missing": "",
}
HABITS: Mapping[str, str] = {
    "flicks its tail": "",
    "bobs": "bobs bobbing bob teeters",
    "climbs trees": "climbs climbing clings clinging creeps creeping",
    "dives": "dives diving dive plunges submerges",
    "hovers": "hovers hovering hover",
    "swims": "swims swimming swim floats dabbles dabbling",
    "wades": "wades wading wader",
    "soars": "soars soaring soar glides gliding",
    "walks": "walks walking struts",
    "hops": "hops hopping",
    "flocks": "flocks flock flocking",
    "feeds on the ground": "",
    "hangs upside down": "",
    "catches insects in flight": "flycatching hawking sallies",
    "eats seeds": "seeds seed",
    "eats insects": "insects insect insectivorous",
    "eats fish": "fish fishes",
    "eats nectar": "nectar",
    "eats fruit": "berries fruit fruits",
}
HABITATS: Mapping[str, str] = {
    "forest": "forest forests woods woodland woodlands forested coniferous deciduous trees pines",
    "open land": "field fields grassland grasslands meadow meadows prairie prairies pasture pastures farmland",
    "scrub": "shrub shrubs shrubby scrub brush brushy thicket thickets undergrowth bushes hedges",
    "wetland": "marsh marshes marshy wetland wetlands swamp swamps reeds cattails bog bogs",
    "fresh water": "lake lakes pond ponds river rivers stream streams",
    "coast": "coast coastal shore shores shoreline beach beaches sea ocean offshore islands cliffs",
    "gardens": "garden gardens feeder feeders backyard backyards suburban urban parks towns",
    "mountains": "mountain mountains alpine",
    "desert": "desert deserts arid",
    "holes": "cavity cavities burrows burrow nestbox",
}
VOICES: Mapping[str, str] = {
    "whistle": "whistle whistles whistled whistling",
    "trill": "trill trills trilled trilling",
    "buzz": "buzz buzzes buzzy buzzing",
    "chirp": "chirp chirps chirping chip chips cheep",
    "rattle": "rattle rattles rattling",
    "warble": "warble warbles warbling warbled liquid",
    "harsh": "harsh raspy rasping grating hoarse squawk squawks croak croaks scream screams screech",
    "musical": "musical melodious sweet flutelike flute melodic",
    "chatter": "chatter chatters chattering twitter twittering twitters",
    "caw": "caw caws cawing kaw",
    "quack": "quack quacks quacking honk honks honking",
    "coo": "coo coos cooing hoot hoots hooting",
    "drum": "drum drums drumming",
    "mimic": "mimic mimics mimicry mimicking imitates",
    "rising": "rising rises climbs upslurred ascending",
    "falling": "falling drops downslurred descending descends lower",
    "level": "level even",
    "high": "high higher shrill squeaky",
    "low": "low deep",
    "loud": "loud noisy",
    "soft": "soft quiet",
    "fast": "fast rapid hurried quick",
    "slow": "slow unhurried",
    "once": "once",
    "twice": "twice",
    "repeated": "repeated repeats repeating thrice repetitive",
}
SIZES: Mapping[str, tuple[float, float]] = {
    "very small": (3.0, 5.0),
    "small": (5.0, 9.0),
    "medium": (9.0, 16.0),
    "large": (16.0, 32.0),
    "very large": (32.0, 72.0),
}
"""Lengths from bill to tail in inches, in the steps of CUB-200-2011."""
SIZE_WORDS: Mapping[str, str] = {
    "very small": "tiny minuscule",
    "small": "small little smallish",
    "medium": "medium mediumsized",
    "large": "large big largish",
    "very large": "huge giant enormous",
}
BIRD_INCHES: Mapping[str, float] = {
    "hummingbird": 3.5, "kinglet": 4.0, "wren": 4.8, "warbler": 5.0, "chickadee": 5.0, "tit": 5.0, "goldfinch": 5.0,
    "finch": 5.5, "sparrow": 6.0, "swallow": 6.5, "bluebird": 7.0, "lark": 7.0, "cardinal": 8.7, "starling": 8.5,
    "blackbird": 9.5, "thrush": 9.0, "robin": 10.0, "jay": 11.0, "dove": 12.0, "pigeon": 13.0, "grackle": 12.5,
    "kestrel": 10.0, "crow": 18.0, "gull": 19.0, "duck": 22.0, "mallard": 23.0, "hawk": 20.0, "raven": 25.0,
    "turkey": 44.0, "goose": 36.0, "heron": 42.0, "eagle": 33.0, "swan": 55.0, "pelican": 60.0,
}  # fmt: skip
"""About the length of birds that others are compared with, in inches (common field guides' figures)."""
FORMS: Mapping[str, str] = {
    "duck": "ducklike duck ducks waterfowl",
    "gull": "gulllike",
    "hummingbird": "hummingbirdlike hummingbirds",
    "hawk": "hawklike raptor raptors",
    "owl": "owllike owl owls",
    "pigeon": "pigeonlike",
    "perching bird": "perchinglike songbird songbirds passerine finch finches sparrow sparrows warbler warblers",
    "swallow": "swallowlike swallow swallows",
    "tree climber": "woodpecker woodpeckers nuthatch nuthatches",
    "sandpiper": "sandpiperlike sandpiper sandpipers shorebird shorebirds plover",
    "long-legged wader": "heron herons egret egrets crane",
    "marsh bird": "rail rails coot",
    "ground bird": "quail pheasant grouse partridge",
    "upright water bird": "cormorant cormorants puffin auklet guillemot penguin",
}

GROUPS: Mapping[str, Mapping[str, str]] = {
    "color": COLORS,
    "pattern": PATTERNS,
    "shape": SHAPES,
}
"""Traits that a part has."""
OWN_GROUPS: Mapping[str, Mapping[str, str]] = {
    "size": SIZE_WORDS,
    "form": FORMS,
    "habit": HABITS,
    "habitat": HABITATS,
    "voice": VOICES,
}
"""Traits of the whole bird; the group stands in the place of a part."""

PHRASES: Mapping[str, str] = {
    "wing bar": "wing:barred", "wing bars": "wing:barred", "wing stripe": "wing:barred", "wing stripes": "wing:barred",
    "wingbar": "wing:barred", "wingbars": "wing:barred",
    "eye ring": "eye:ring", "eye rings": "eye:ring", "eye stripe": "face:stripe through the eye",
    "eye line": "face:stripe through the eye", "line through the eye": "face:stripe through the eye",
    "stripe through the eye": "face:stripe through the eye", "stripe through its eye": "face:stripe through the eye",
    "eye brow": "face:stripe over the eye", "stripe above the eye": "face:stripe over the eye",
    "stripe over the eye": "face:stripe over the eye", "line above the eye": "face:stripe over the eye",
    "line over the eye": "face:stripe over the eye", "stripe above its eye": "face:stripe over the eye",
    "ring around the eye": "eye:ring", "ring around its eye": "eye:ring", "malar stripe": "face:stripe on the cheek",
    "whisker mark": "face:stripe on the cheek",
    "top of the head": "=crown", "top of its head": "=crown", "side of the head": "=face", "sides of the head": "=face",
    "back of the head": "=nape", "back of its head": "=nape", "upper tail": "=uppertail", "under tail": "=undertail",
    "upper parts": "=upperparts", "under parts": "=underparts", "upper side": "=upperparts",
    "under side": "=underparts",
    "upper body": "=upperparts", "lower body": "=underparts", "lower belly": "=belly", "ear patch": "=face",
    "primary color": "=body", "tail feathers": "=tail", "wing feathers": "=wing", "tail feather": "=tail",
    "wing feather": "=wing", "breast feathers": "=breast", "body feathers": "=body",
    "as long as the head": "~as long as the head", "as long as its head": "~as long as the head",
    "about the same as head": "~as long as the head", "same as head": "~as long as the head",
    "shorter than the head": "~short", "shorter than its head": "~short", "shorter than head": "~short",
    "longer than the head": "~long", "longer than its head": "~long", "longer than head": "~long",
    "multi colored": "~multicolored", "multi coloured": "~multicolored", "many colors": "~multicolored",
    "black and white": "~black ~white", "dark blue": "~blue", "dark brown": "~brown", "dark gray": "~gray",
    "dark grey": "~gray", "dark green": "~green", "dark red": "~red", "pale gray": "~gray", "pale grey": "~gray",
    "pale blue": "~blue", "pale yellow": "~yellow", "pale green": "~green", "pale brown": "~brown",
    "pale pink": "~pink",
    "light brown": "~brown", "light gray": "~gray", "light grey": "~gray", "light blue": "~blue", "pale red": "~red",
    "light yellow": "~yellow", "light green": "~green", "blue gray": "~gray ~blue", "blue grey": "~gray ~blue",
    "gray blue": "~gray ~blue", "grey blue": "~gray ~blue", "gray brown": "~gray ~brown", "grey brown": "~gray ~brown",
    "olive green": "~olive", "olive brown": "~olive ~brown", "rose pink": "~pink", "rose red": "~pink",
    "reddish brown": "~rufous", "red brown": "~rufous", "brownish red": "~rufous", "orange brown": "~rufous",
    "orange red": "~red ~orange", "blue green": "~blue ~green", "sky blue": "~blue", "jet black": "~black",
    "snow white": "~white", "off white": "~white", "dark eye": "eye:black", "dark eyes": "eye:black",
    "flicks its tail": "habit:flicks its tail", "flicking its tail": "habit:flicks its tail",
    "wags its tail": "habit:flicks its tail", "pumps its tail": "habit:flicks its tail",
    "tail flicking": "habit:flicks its tail", "tail wagging": "habit:flicks its tail",
    "bobs its tail": "habit:flicks its tail", "cocks its tail": "habit:flicks its tail",
    "on the ground": "habit:feeds on the ground", "upside down": "habit:hangs upside down",
    "head first": "habit:hangs upside down", "catches insects": "habit:catches insects in flight",
    "tree trunks": "habit:climbs trees", "tree trunk": "habit:climbs trees", "seed eating": "habit:eats seeds",
    "very small": "size:very small", "very large": "size:very large", "very big": "size:very large",
    "medium sized": "size:medium", "medium size": "size:medium", "small sized": "size:small",
    "large sized": "size:large", "mid sized": "size:medium",
    "water birds": "form:duck", "duck like": "form:duck", "gull like": "form:gull",
    "perching like": "form:perching bird",
    "hummingbird like": "form:hummingbird", "hawk like": "form:hawk", "owl like": "form:owl",
    "pigeon like": "form:pigeon", "swallow like": "form:swallow", "tree clinging like": "form:tree climber",
    "sandpiper like": "form:sandpiper", "long legged like": "form:long-legged wader",
    "chicken like marsh": "form:marsh bird", "upland ground like": "form:ground bird",
    "upright perching water like": "form:upright water bird",
    "high pitched": "voice:high", "low pitched": "voice:low", "two notes": "voice:twice",
    "second lower": "voice:falling", "second higher": "voice:rising", "repeated twice": "voice:repeated",
    "three times": "voice:repeated", "given twice": "voice:twice", "given once": "voice:once",
    "one note": "voice:level", "not repeated": "voice:once",
}  # fmt: skip
"""Words that mean something together: `part:trait`, `=part`, or `~trait` (several traits with spaces between)."""

NEAR_COLORS: Mapping[tuple[str, str], float] = {
    ("brown", "rufous"): 0.5, ("brown", "buff"): 0.4, ("white", "buff"): 0.3, ("rufous", "orange"): 0.4,
    ("rufous", "red"): 0.4, ("red", "orange"): 0.4, ("red", "pink"): 0.5, ("pink", "purple"): 0.3,
    ("orange", "yellow"): 0.3,
    ("buff", "yellow"): 0.2, ("buff", "rufous"): 0.3, ("olive", "green"): 0.5, ("olive", "yellow"): 0.3,
    ("olive", "brown"): 0.3, ("blue", "purple"): 0.4, ("blue", "gray"): 0.2, ("gray", "black"): 0.2,
    ("gray", "white"): 0.2, ("gray", "brown"): 0.2, ("black", "brown"): 0.2, ("iridescent", "green"): 0.4,
    ("iridescent", "blue"): 0.3, ("iridescent", "purple"): 0.4, ("buff", "orange"): 0.2, ("pink", "orange"): 0.2,
    ("striped", "barred"): 0.5, ("striped", "spotted"): 0.3, ("multicolored", "barred"): 0.3,
    ("multicolored", "striped"): 0.3, ("multicolored", "spotted"): 0.3, ("multicolored", "patched"): 0.4,
    ("mask", "stripe through the eye"): 0.5, ("stripe over the eye", "striped"): 0.4,
    ("stripe through the eye", "striped"): 0.4,
    ("conical", "thick"): 0.5, ("conical", "short"): 0.3, ("needle", "slender"): 0.6, ("needle", "long"): 0.4,
    ("dagger", "pointed"): 0.5, ("dagger", "long"): 0.4, ("curved", "hooked"): 0.4, ("forked", "notched"): 0.5,
    ("slender", "pointed"): 0.3, ("rounded", "thick"): 0.2,
    ("very small", "small"): 0.4, ("small", "medium"): 0.25, ("medium", "large"): 0.3, ("large", "very large"): 0.4,
    ("trill", "rattle"): 0.3, ("whistle", "musical"): 0.3, ("warble", "musical"): 0.4, ("chirp", "chatter"): 0.3,
    ("buzz", "trill"): 0.2, ("fresh water", "wetland"): 0.4, ("open land", "scrub"): 0.3, ("forest", "scrub"): 0.2,
    ("dives", "swims"): 0.4, ("hovers", "eats nectar"): 0.3,
}  # fmt: skip
"""How much of one trait writers mean by another."""
NEAR_PARTS: Mapping[tuple[str, str], float] = {
    ("crown", "head"): 0.6, ("crown", "forehead"): 0.6, ("crown", "crest"): 0.5, ("crown", "nape"): 0.3,
    ("head", "face"): 0.5, ("head", "forehead"): 0.5, ("head", "nape"): 0.4, ("head", "crest"): 0.4,
    ("head", "throat"): 0.3, ("head", "eye"): 0.1, ("face", "eye"): 0.3, ("face", "throat"): 0.2,
    ("underparts", "breast"): 0.7, ("underparts", "belly"): 0.7, ("underparts", "flank"): 0.5,
    ("underparts", "throat"): 0.3, ("breast", "belly"): 0.5, ("breast", "throat"): 0.4, ("belly", "flank"): 0.4,
    ("breast", "flank"): 0.3, ("upperparts", "back"): 0.8, ("upperparts", "wing"): 0.5, ("upperparts", "rump"): 0.4,
    ("upperparts", "nape"): 0.3, ("upperparts", "tail"): 0.2, ("back", "wing"): 0.4, ("back", "nape"): 0.3,
    ("back", "rump"): 0.3, ("wing", "tail"): 0.2, ("tail", "uppertail"): 0.8, ("tail", "undertail"): 0.6,
    ("uppertail", "rump"): 0.4, ("belly", "undertail"): 0.2,
    **{(BODY, part): 0.3 for part in PARTS if part not in (BODY, "bill", "eye", "leg", "crest")},
}  # fmt: skip
"""How much of one part writers mean by another."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A trait of a part of a bird, or of the whole bird: part `crown`, trait `red`; part `size`, trait `small`."""

    part: str
    trait: str

    def __str__(self) -> str:
        return f"{self.part} {self.trait}"


def _list_marks() -> Iterator[Mark]:
    for part in PARTS:
        for traits in GROUPS.values():
            yield from (Mark(part, trait) for trait in traits)
    for group, traits in OWN_GROUPS.items():
        yield from (Mark(group, trait) for trait in traits)


MARKS = tuple(_list_marks())
"""Every mark there is, in the order of columns."""
COLUMN: Mapping[Mark, int] = {mark: column for column, mark in enumerate(MARKS)}
_GROUP_OF = {trait: group for group, traits in GROUPS.items() for trait in traits}
_SYMMETRIC = {pair: value for (a, b), value in NEAR_COLORS.items() for pair in ((a, b), (b, a))}
_SYMMETRIC_PARTS = {pair: value for (a, b), value in NEAR_PARTS.items() for pair in ((a, b), (b, a))}


def get_group(mark: Mark) -> str:
    """Return the group of a mark's trait: `color`, `pattern`, `shape`, or that of the whole bird."""
    return mark.part if mark.part in OWN_GROUPS else _GROUP_OF[mark.trait]


@cache
def measure_nearness() -> Float[np.ndarray, "mark mark"]:
    """Return how much of the mark of each row writers mean by the mark of each column; 1 on the diagonal."""
    count = len(MARKS)
    near = np.zeros((count, count))
    groups = [get_group(mark) for mark in MARKS]
    for row, mark in enumerate(MARKS):
        for column, other in enumerate(MARKS):
            if groups[row] != groups[column]:
                continue
            part = 1.0 if mark.part == other.part else _SYMMETRIC_PARTS.get((mark.part, other.part), 0.0)
            trait = 1.0 if mark.trait == other.trait else _SYMMETRIC.get((mark.trait, other.trait), 0.0)
            near[row, column] = part * trait
    near.setflags(write=False)
    return near


@cache
def measure_part_nearness() -> Float[np.ndarray, "mark mark"]:
    """Return how much of the part of each row's mark writers mean by that of each column's, in one group of traits."""
    groups = [get_group(mark) for mark in MARKS]
    near = np.zeros((len(MARKS), len(MARKS)))
    for row, mark in enumerate(MARKS):
        for column, other in enumerate(MARKS):
            if groups[row] == groups[column]:
                near[row, column] = (
                    1.0 if mark.part == other.part else _SYMMETRIC_PARTS.get((mark.part, other.part), 0.0)
                )
    near.setflags(write=False)
    return near
