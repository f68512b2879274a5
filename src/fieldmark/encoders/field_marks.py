"""Field marks that a text names, as parts with traits: "the belly is yellow and white" -> belly yellow, belly white."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import ClassVar, final

import torch
from jaxtyping import Float32
from torch import Tensor

from fieldmark.encoders.encoder import Encoder, FeatureFacts, get_contents
from fieldmark.encoders.field_mark_scope import REPHRASED, drop_denied, drop_names
from fieldmark.types import Decoding, Segment, TextContent

_BODY = "body"
"""The part of a trait that no part is named with."""

PARTS = {
    _BODY: "bird birds body plumage overall feather feathers color",
    "bill": "bill bills beak beaks",
    "head": "head heads",
    "crown": "crown crowns cap",
    "forehead": "forehead",
    "crest": "crest crested",
    "nape": "nape neck hindneck collar",
    "face": "face cheek cheeks eyebrow eyestripe eyeline supercilium mask lores auriculars",
    "eye": "eye eyes eyering",
    "throat": "throat chin bib",
    "breast": "breast breasts breasted chest chests",
    "belly": "belly bellies abdomen stomach vent",
    "flank": "flank flanks side sides",
    "underparts": "underparts underside undersides underneath below",
    "back": "back backs mantle rump",
    "wing": "wing wings winged primaries secondaries coverts",
    "upperparts": "upperparts upperside above",
    "tail": "tail tails rectrices",
    "uppertail": "uppertail",
    "undertail": "undertail",
    "leg": "leg legs foot feet tarsus tarsi",
    "size": "size",
    "shape": "shape shaped",
}
REGIONS = {
    "any head": ("head", "crown", "forehead", "crest", "nape", "face"),
    "any underparts": ("throat", "breast", "belly", "flank", "underparts"),
    "any upperparts": ("back", "wing", "upperparts"),
    "any tail": ("tail", "uppertail", "undertail"),
}
"""Parts that writers take for one another."""

BEARERS = {
    "bill": "billed beaked",
    "head": "headed",
    "crown": "crowned",
    "forehead": "fronted",
    "nape": "necked naped collared",
    "face": "faced cheeked browed masked",
    "eye": "eyed",
    "throat": "throated chinned",
    "belly": "bellied vented",
    "flank": "flanked sided",
    "back": "backed rumped mantled",
    "tail": "tailed",
    "leg": "legged footed",
}
"""Words for a bird that has the part: "white-throated" tells of the throat. Unknown to the first grammar."""

TRAITS = {
    "black": "black blackish",
    "white": "white whitish",
    "gray": "gray grey grayish greyish slate slaty silver",
    "brown": "brown brownish chestnut rufous rusty cinnamon",
    "buff": "buff buffy tan beige cream pale",
    "red": "red reddish crimson scarlet",
    "rose": "rose rosy pink pinkish raspberry purple purplish",
    "orange": "orange orangish",
    "yellow": "yellow yellowish golden gold",
    "green": "green greenish olive emerald",
    "blue": "blue bluish indigo",
    "glossy": "iridescent glossy shiny metallic",
    "spotted": "spotted spots speckled mottled dotted",
    "striped": "striped stripe stripes stripped barred bar bars wingbar wingbars streaked streaks streaky lines",
    "patched": "patch patches",
    "ringed": "ring rings",
    "checkered": "checkered",
    "solid": "solid plain",
    "multicolored": "multi",
    "long": "long longer",
    "short": "short shorter small tiny",
    "as long as the head": "aslongasthehead",
    "large": "large big broad",
    "slender": "slender thin tapered",
    "pointed": "pointed pointy sharp dagger needle",
    "curved": "curved hooked",
    "conical": "cone conical thick stubby triangular",
    "rounded": "round rounded",
    "forked": "forked notched",
    "fanned": "fan",
    "squared": "squared",
}

_COLORS = ("black", "white", "gray", "brown", "buff", "red", "rose", "orange", "yellow", "green", "blue")

GRAMMAR = 2
"""Raised whenever a text has other marks. The first one read names as marks, and marks that a text denies."""

_PART_BY_WORD = {word: part for part, words in PARTS.items() for word in words.split()}
_PART_BY_BEARER = {word: part for part, words in BEARERS.items() for word in words.split()}
_TRAIT_BY_WORD = {word: trait for trait, words in TRAITS.items() for word in words.split()}
_MARK_WORDS = frozenset({*_PART_BY_WORD, *_PART_BY_BEARER, *_TRAIT_BY_WORD})
_COLOR_WORDS = frozenset(word for color in _COLORS for word in TRAITS[color].split())
_REGION_BY_PART = {part: region for region, parts in REGIONS.items() for part in parts}

_PHRASES = (
    (re.compile("-"), " "),
    (re.compile(r"\b(upper|under) tail\b"), r"\1tail"),
    (re.compile(r"\babout as long as (?:the|its) head\b"), "aslongasthehead"),
    (re.compile(r"\b(shorter|longer) than (?:the|its) head\b"), r"\1"),
)
_SENTENCE_END = re.compile(r"[.;!?()\n]")
_CLAUSE_END = re.compile(r"[,:/]|\b(?:and|with|has|have|but|while|whose|its|plus|along)\b")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class _Clause:
    """The parts and traits that a clause names, each with its position among the clause's words."""

    parts: tuple[tuple[int, str], ...]
    traits: tuple[tuple[int, str], ...]

    @property
    def waits_for_traits(self) -> bool:
        """True if traits before the clause may belong to its part."""
        return bool(self.parts) and (not self.traits or self.traits[0] < self.parts[0])

    def join(self) -> Iterator[tuple[str, str]]:
        """Yield each trait with the nearest part; of two equally near, with the one that follows."""
        for position, trait in self.traits:
            yield min(self.parts, key=lambda part: 2 * abs(part[0] - position) - (part[0] > position))[1], trait


def read_field_marks(text: str, *, grammar: int = GRAMMAR) -> list[tuple[str, str]]:
    """Read the field marks in an English text: parts and traits of `PARTS` and `TRAITS`, in the text's order.

    What the text denies ("no crest", "lacks wing bars", "not white but brown", "tail absent"), finds in another bird
    ("unlike the red-bellied woodpecker") or only names ("Golden Eagle") is no mark. "White-throated" is one.

    Inside a clause a trait goes to the part nearest to it. A clause of parts alone shares the traits before it ("a
    white belly and breast"). Traits alone go to the part before them ("the belly is yellow and white"), and to the part
    after them where that has no traits, or has its own in front ("a black and white head"). Traits without a part are
    the body's.

    Args:
        grammar: 1 reads as the first version did, for networks that were trained on its features.

    Example:
        >>> read_field_marks("A small bird with a white belly and breast; the bill is long and pointed.")
        [('body', 'short'), ('belly', 'white'), ('breast', 'white'), ('bill', 'long'), ('bill', 'pointed')]
    """
    if grammar == 1:
        sentences = _SENTENCE_END.split(_rephrase(text.casefold(), _PHRASES))
        parts = _PART_BY_WORD
    else:
        text = _rephrase(drop_names(text).casefold(), (*REPHRASED, *_PHRASES))
        sentences = [drop_denied(each, marks=_MARK_WORDS, colors=_COLOR_WORDS) for each in _SENTENCE_END.split(text)]
        parts = _PART_BY_WORD | _PART_BY_BEARER
    return [mark for sentence in sentences for mark in _read_sentence(_read_clauses(sentence, parts))]


def _rephrase(text: str, phrases: Sequence[tuple[re.Pattern[str], str]]) -> str:
    for pattern, plain in phrases:
        text = pattern.sub(plain, text)
    return text


def _read_clauses(sentence: str, part_by_word: Mapping[str, str]) -> list[_Clause]:
    clauses = []
    for clause in _CLAUSE_END.split(sentence):
        words = _WORD.findall(clause)
        parts = tuple((index, part_by_word[word]) for index, word in enumerate(words) if word in part_by_word)
        traits = tuple((index, _TRAIT_BY_WORD[word]) for index, word in enumerate(words) if word in _TRAIT_BY_WORD)
        if parts or traits:
            clauses.append(_Clause(parts, traits))
    return clauses


def _read_sentence(clauses: Sequence[_Clause]) -> Iterator[tuple[str, str]]:
    part: str | None = None
    shared: list[str] = []
    waiting: list[str] = []
    for clause, following in zip_longest(clauses, clauses[1:]):
        own = [trait for _, trait in clause.traits]
        if not clause.parts:
            if part is not None:
                yield from ((part, trait) for trait in own)
            if part is None or (following is not None and following.waits_for_traits):
                waiting += own
            continue
        if own:
            yield from ((clause.parts[0][1], trait) for trait in waiting)
            yield from clause.join()
            shared = [*waiting, *own]
        else:
            shared = waiting or shared
            yield from ((each, trait) for _, each in clause.parts for trait in shared)
        part, waiting = clause.parts[-1][1], []
    if part is None:
        yield from ((_BODY, trait) for trait in waiting)


@final
class FieldMarkTextEncoder:
    """Counts the field marks in a text: features for each trait of a part, of a region, and anywhere.

    What a caption calls "a black cap" and a template "crown black" is one feature here, and "any head black" is common
    to all who write of a black head. Mean reciprocal rank of the class of a held-out text .75 with these beside words
    and sentence embeddings, .70 without (fgbirds, logistic regression, 2026-11-25). A mark named n times counts
    1 + ln n. The vector then has length 1; that of a text without field marks is zero. English only. Nothing is fitted.

    Args:
        grammar: As for `read_field_marks`.

    Example:
        >>> from fieldmark.types import Segment, TextContent
        >>> first, second = FieldMarkTextEncoder().encode(
        ...     [Segment(TextContent("A bird with a black cap.")), Segment(TextContent("crown black"))]
        ... )
        >>> bool((first == second).all())
        True
    """

    is_costly: ClassVar[bool] = False
    named_scores: ClassVar[Mapping[str, int]] = MappingProxyType({})
    _columns: ClassVar[Mapping[tuple[str, str], int]] = MappingProxyType(
        {
            (owner, trait): index
            for index, (owner, trait) in enumerate(
                (owner, trait) for owner in (*PARTS, *REGIONS, "anywhere") for trait in TRAITS
            )
        }
    )

    def __init__(self, *, grammar: int = GRAMMAR) -> None:
        self._grammar = grammar
        self.decoding = Decoding()
        vocabulary = {
            "parts": PARTS,
            "regions": REGIONS,
            "traits": TRAITS,
            **({"bearers": BEARERS} if grammar > 1 else {}),
        }
        self.facts = FeatureFacts.collect({"kind": "field_mark_text", "grammar": grammar, **vocabulary})
        self.fingerprint = self.facts.fingerprint

    @property
    def earlier_forms(self) -> Mapping[str, Encoder]:
        """The encoder with the grammars that earlier versions had."""
        forms = [FieldMarkTextEncoder(grammar=grammar) for grammar in range(1, self._grammar)]
        return {form.fingerprint: form for form in forms}

    @property
    def shape(self) -> tuple[int]:
        """Number of traits for each part, each region, and anywhere."""
        return (len(self._columns),)

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment dim"]:
        """Return the features of some texts.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        features = torch.zeros(len(segments), *self.shape)
        for row, content in zip(features, get_contents(segments, TextContent), strict=True):
            for mark, count in Counter(_widen(read_field_marks(content.text, grammar=self._grammar))).items():
                row[self._columns[mark]] = 1 + math.log(count)
        return torch.nn.functional.normalize(features, dim=1)


def _widen(marks: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each mark, the same trait for the part's region, and the same trait anywhere."""
    for part, trait in marks:
        yield part, trait
        yield "anywhere", trait
        if part in _REGION_BY_PART:
            yield _REGION_BY_PART[part], trait
