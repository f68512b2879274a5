"""Names of species: the one place that decides whether two names mean the same species.

Collections, taxonomies and encoders spell names in their own ways: "Cardinal", "Northern Cardinal", "Cardinalis
cardinalis (Linnaeus, 1758)". `KnownNames` holds every name that encoders and taxonomies know, and resolves the name of
a class to some of them, with a reason and a confidence. What stays ambiguous is listed, never guessed.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, wraps
from typing import ClassVar, TypeVar, final

from fieldmark.scientific_name import parse_scientific_name

# ---------------------------------------------------------------- spelling

_NO_SPECIES = frozenset(
    (
        *("background", "noise", "environmental", "engine", "fireworks", "siren", "gun", "power tools", "dog", "human"),
        *("human vocal", "human non vocal", "human whistle", "none", "no bird", "no animal", "unknown", "other"),
        *("nothing", "empty", "blank", "mystery mystery", "identity unknown", "sonus naturalis", "soundscape"),
    )
)
"""Labels of classifiers that stand for no wild species; names of recorders and cameras for what is not one."""

_NOT_ONE = frozenset(("x", "\u00d7", "or", "and", "vs", "cf", "aff", "nr", "sp", "spp", "hybrid", "indet", "undefined"))
"""Words in a scientific name that make it the name of no single species."""

_T = TypeVar("_T")


def _remember_names(function: Callable[[str], _T]) -> Callable[[str], _T]:
    """Remember what a function says of names, as many as all birds have in two languages, and of no long text.

    Names are linked, looked up and listed one time after the other.
    """
    remembered = lru_cache(maxsize=2**15)(function)

    @wraps(function)
    def call(name: str) -> _T:
        return remembered(name) if len(name) <= 64 else function(name)

    return call


_LETTER_RUNS = re.compile(r"[^\W\d_]+")
_WORD_RUNS = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['\u2019](s\b)?")
_ANY_POSSESSIVE = re.compile(r"['\u2019\u02bc`\u00b4](s\b)?")
_CLASS_NUMBER = re.compile(r"^\d+\.")
_BINOMIAL = re.compile(r"[A-Z]?[a-z]+[ _][a-z]+(-[a-z]+)?")
_LATIN_ACCENTS = re.compile(r"[\u0300-\u036f]")
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})


def normalize_name(name: str) -> str:
    """Return a species' name without the usual differences: case, hyphens, numbers, possessives, "grey" for "gray".

    Models and galleries hold hashes of names in this form, so it must not change. To compare two names, use `name_key`.

    Example:
        >>> normalize_name("Swainson's_Warbler"), normalize_name("045.Grey-crowned_Rosy_Finch")
        ('swainson warbler', 'gray crowned rosy finch')
    """
    words = _LETTER_RUNS.findall(_POSSESSIVE.sub("", name.casefold().replace("_", " ")))
    return " ".join("gray" if word == "grey" else word for word in words)


def name_key(name: str) -> str:
    """Return what all spellings of a name share.

    Case, accents, composed or decomposed characters, spaces, hyphens, possessives, plurals, a leading class number and
    "grey" for "gray" make no difference.

    Example:
        >>> name_key("Le Conte's Sparrows") == name_key("LeConte_Sparrow"), name_key("Rüppell\u2019s Vulture")
        (True, 'ruppellvulture')
    """
    return "".join(split_name(name))


@_remember_names
@lru_cache(maxsize=1024)  # a text is split for every list of names that it is looked up in
def split_name(name: str) -> tuple[str, ...]:
    """Return the words of a name, as `name_key` joins them."""
    text = _CLASS_NUMBER.sub("", name.strip()).casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).translate(_LETTERS)
        # Accents of Latin letters go; vowel signs of other scripts stay.
        text = unicodedata.normalize("NFC", _LATIN_ACCENTS.sub("", text))
    words = _WORD_RUNS.findall(_ANY_POSSESSIVE.sub("", text.replace("_", " ")))
    return tuple(_reduce_word(word) for word in words if word != "s")  # of "Swainson s Thrush"


@_remember_names
def _reduce_word(word: str) -> str:
    """Return a word without a plural or possessive ending, the same for both forms."""
    if word == "grey":
        return "gray"
    if len(word) > 4 and re.search(r"ies?$", word):  # "canaries" and "magpie", whose plurals look alike
        return re.sub(r"ies?$", "y", word)
    if len(word) > 4 and re.search(r"(s|x|ch|sh)es$", word):
        word = word[:-2]
    return word if len(word) < 4 or word.endswith("ss") else word.removesuffix("s")


@_remember_names
def is_species_name(name: str) -> bool:
    """Tell whether a classifier's label may name a species; "background", "Engine" or "Noise" do not."""
    return normalize_name(name) not in _NO_SPECIES and bool(name_key(name))


def link_key(name: str) -> str:
    """Return what two sources share of one name; of a name with hardly a letter, such as "C++", all of it."""
    key = name_key(name)
    return key if len(key) > 2 or not key.isascii() else _exact_key(name)


def _exact_key(name: str) -> str:
    """Return a name as it stands, but for case, the composition of its characters, and underscores."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("_", " ").split())


# ---------------------------------------------------------------- resolutions


class Reason(StrEnum):
    """The ground on which a name was resolved, or why it was not."""

    MAPPED = "names_map"
    EXACT = "same_name"
    SPELLING = "spelling"
    AUTHOR = "author_or_rank"
    SYNONYM = "synonym"
    CONTAINED = "contained"
    AGREEMENT = "agreement"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


_CONFIDENCE: Mapping[Reason, float] = {
    Reason.MAPPED: 1.0,
    Reason.EXACT: 1.0,
    Reason.SPELLING: 0.99,
    Reason.AUTHOR: 0.99,
    Reason.SYNONYM: 0.98,
    Reason.CONTAINED: 0.9,
    Reason.AGREEMENT: 0.9,
    Reason.AMBIGUOUS: 0.0,
    Reason.UNKNOWN: 0.0,
}
"""Confidence in a resolution by its reason; those found by comparing words or scores may be wrong, and are listed."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The species that a class name stands for.

    Args:
        names: One known name of each species that it stands for; several where another taxonomy has split it. Empty
            where it is not resolved.
        confidence: From 0 to 1.
        candidates: Known names among which the choice is open.
    """

    class_name: str
    names: tuple[str, ...]
    reason: Reason
    confidence: float
    candidates: tuple[str, ...] = ()

    json_keys: ClassVar = ("class_name", "names", "reason", "confidence", "candidates")

    @property
    def is_resolved(self) -> bool:
        """True where it stands for a known species."""
        return bool(self.names)

    @property
    def is_plain(self) -> bool:
        """True where nobody needs to look at it: the name itself is known."""
        return self.reason in (Reason.EXACT, Reason.SPELLING)

    def describe(self) -> str:
        """Return the resolution as one line."""
        names = " + ".join(self.names)
        match self.reason:
            case Reason.AMBIGUOUS:
                return f"{self.class_name}: not resolved, it may be {_join(self.candidates)}"
            case Reason.UNKNOWN:
                return f"{self.class_name}: not resolved, no encoder knows the name"
            case Reason.AGREEMENT:
                return f"{self.class_name}: {names}, as the encoders name its items ({self.confidence:.0%})"
            case Reason.CONTAINED:
                return f"{self.class_name}: {names}, the only known name that contains it"
            case _:
                return f"{self.class_name}: {names} ({self.reason.value.replace('_', ' ')})"


def _join(names: Sequence[str], *, shown: int = 4) -> str:
    more = f" or {len(names) - shown} more" if len(names) > shown else ""
    return " or ".join(names[:shown]) + more


@final
class KnownNames:
    """All names of the species that encoders and taxonomies know.

    Args:
        species: The names of each species, of one source; the same species may come from several sources, which are
            linked where they share a name.

    Example:
        >>> known = KnownNames([("Cardinalis cardinalis", "Northern Cardinal"), ("Cyanocitta cristata", "Blue Jay")])
        >>> known.resolve("Cardinalis cardinalis (Linnaeus, 1758)").names
        ('Northern Cardinal',)
        >>> known.resolve("Cardinal").describe()
        'Cardinal: Northern Cardinal, the only known name that contains it'
    """

    def __init__(self, species: Iterable[Sequence[str]]) -> None:
        entries = dict.fromkeys(tuple(name for name in names if is_species_name(name)) for names in species)
        self._entries = [names for names in entries if names]
        self._by_exact: defaultdict[str, list[int]] = defaultdict(list)
        self._by_key: defaultdict[str, list[int]] = defaultdict(list)
        self._by_word: defaultdict[str, set[int]] = defaultdict(set)
        self._heads: set[str] = set()
        self._genera: set[str] = set()
        for index, names in enumerate(self._entries):
            for name in names:
                words = split_name(name)
                self._by_exact[_exact_key(name)].append(index)
                self._by_key["".join(words)].append(index)
                for word in words:
                    self._by_word[word].add(index)
                if is_binomial(name):
                    self._genera.add(words[0])
                else:
                    self._heads.add(words[-1])
        self._species = self._link_entries()
        self._members: defaultdict[int, list[int]] = defaultdict(list)
        for index, each in enumerate(self._species):
            self._members[each].append(index)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def list_all(self) -> tuple[tuple[str, ...], ...]:
        """Return all names of each species, of all sources."""
        return tuple(self._names_of(species) for species in sorted(set(self._species)))

    def list_words(self) -> frozenset[str]:
        """Return all words of all names, as `split_name` gives them."""
        return frozenset(self._by_word)

    def find(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Return all names of each species with this name, in any spelling; none if nobody knows it."""
        return tuple(self._names_of(species) for species in self._list_species(self._find_spelled(name)))

    def find_all_names(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return all names, of all sources, of the species with these names, and unknown names as they are."""
        names = tuple(names)
        return tuple(dict.fromkeys((*names, *(each for name in names for own in self.find(name) for each in own))))

    def choose_name(self, name: str) -> str | None:
        """Return the name by which a species is called here, from any of its names; None where they are several."""
        species = self._list_species(self._find_spelled(name))
        return self._name(species[0]) if len(species) == 1 else None

    def resolve(self, class_name: str, *, other_names: Sequence[str] = (), genera: Collection[str] = ()) -> Resolution:
        """Return the species that a class name stands for.

        Args:
            other_names: Further names of the class, from a taxonomy.
            genera: The genera it may belong to, such as those of its family; none for any.
        """
        if not is_species_name(class_name):
            return _resolution(class_name, Reason.UNKNOWN)
        if found := self._find_spelled(class_name):
            is_exact = _exact_key(class_name) in self._by_exact
            return self._settle(class_name, found, Reason.EXACT if is_exact else Reason.SPELLING)
        if found := self._find_in_parts(class_name):
            return self._settle(class_name, found, Reason.AUTHOR)
        synonyms = [self._find_spelled(name) or self._find_in_parts(name) for name in other_names]
        if found := sorted({index for each in synonyms for index in each}):
            return self._settle(class_name, found, Reason.SYNONYM, is_sum=True)
        found = self.find_containing(class_name, genera=genera)
        if found or (found := self.find_containing(_cut_to_species(class_name), genera=genera)):
            return self._settle(class_name, found, Reason.CONTAINED)
        return _resolution(class_name, Reason.UNKNOWN)

    def find_containing(self, class_name: str, *, genera: Collection[str] = ()) -> list[int]:
        """Return the indices of species with a name that holds all words of a class name, or its species epithet."""
        words = split_name(class_name)
        if not words or _is_of_several(class_name):
            return []
        found = set.intersection(*(self._by_word.get(word, set()) for word in words))
        found = {index for index in found if any(_contains(name, words) for name in self._entries[index])}
        if not found and self._is_old_binomial(class_name):
            found = {index for index in range(len(self._entries)) if self._has_moved(index, words)}
        wanted = {name_key(genus) for genus in genera}
        if wanted:
            found = {index for index in found if self._genus(index) in wanted | {None}}
        return sorted(found)

    def is_compatible(self, class_name: str, name: str) -> bool:
        """Tell whether a class may have a name that its items suggest: one that is longer or shorter.

        "Cardinal" may be the Northern Cardinal, "Cape Glossy Starling" the Cape Starling, and "Class 17" or "Blauhäher"
        any species. "Horned Puffin" is no Atlantic Puffin, however much the photos look like one: its last word is one
        that names of species end with, so the class has a name, and it is another.
        """
        words = split_name(class_name)
        if not words or (words[-1] not in self._heads and words[0] not in self._genera):
            return True
        others = self.find_all_names([name])
        return any(
            _contains(other, words) or (len(split_name(other)) > 1 and _contains(class_name, split_name(other)))
            for other in others
        ) or (
            self._is_old_binomial(class_name)
            and any(self._has_moved(index, words) for index in self._find_spelled(name))
        )

    def _find_spelled(self, name: str) -> list[int]:
        found = self._by_exact.get(_exact_key(name)) or self._by_key.get(name_key(name), [])
        return list(dict.fromkeys(found))

    def _find_in_parts(self, name: str) -> list[int]:
        """Find a name with its author, its subspecies, or a second name beside it."""
        if _is_of_several(name):
            return []
        parts = [part for part in re.split(r"[()\[\]]|\s[-\u2013\u2014]\s|_{2,}", name) if name_key(part)]
        found = [self._find_spelled(part) for part in parts] if len(parts) > 1 else []
        if (binomial := _cut_to_species(name)) != name:
            by_two = self._find_spelled(binomial)
            found.append([index for index in by_two if any(is_binomial(each) for each in self._entries[index])])
        return sorted({index for each in found for index in each})

    def _settle(self, class_name: str, found: Sequence[int], reason: Reason, *, is_sum: bool = False) -> Resolution:
        """Resolve to the species found if they are one, or may be summed; otherwise call it ambiguous."""
        species = self._list_species(found)
        names = tuple(map(self._name, species))
        if len(species) > 1 and not is_sum:
            return _resolution(class_name, Reason.AMBIGUOUS, candidates=names)
        return _resolution(class_name, reason, names=names)

    def _link_entries(self) -> list[int]:
        """Return the species of each entry, as the first of the entries that share a name with it or its like."""
        first = list(range(len(self._entries)))

        def find_first(index: int) -> int:
            while first[index] != index:
                first[index] = index = first[first[index]]
            return index

        owner: dict[str, int] = {}
        for index, names in enumerate(self._entries):
            for key in map(link_key, names):
                one, other = sorted((find_first(owner.setdefault(key, index)), find_first(index)))
                first[other] = one
        return [find_first(index) for index in range(len(self._entries))]

    def _list_species(self, entries: Iterable[int]) -> list[int]:
        return sorted({self._species[index] for index in entries})

    def _names_of(self, species: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for index in self._members[species] for name in self._entries[index]))

    def _name(self, species: int) -> str:
        """Return the English name, which comes last; the scientific one where another species shares it."""
        names = self._entries[species]
        return names[-1] if self._list_species(self._find_spelled(names[-1])) == [species] else names[0]

    def _is_old_binomial(self, name: str) -> bool:
        """Tell whether a name looks scientific, so that it may be one under which no source has the species now."""
        words = split_name(name)
        return len(words) == 2 and is_binomial(name) and words[1] not in self._heads

    def _has_moved(self, index: int, words: Sequence[str]) -> bool:
        """Tell whether a species may have stood in this genus: it has the epithet, inflected or not."""
        epithets = {split_name(name)[1] for name in self._entries[index] if is_binomial(name)}
        if words[0] in self._genera:  # a species that nobody knows may well have the epithet of another
            return words[1] in epithets
        return _stem_epithet(words[1]) in map(_stem_epithet, epithets)

    def _genus(self, index: int) -> str | None:
        return next((split_name(name)[0] for name in self._entries[index] if is_binomial(name)), None)


def _resolution(
    class_name: str, reason: Reason, *, names: Sequence[str] = (), candidates: Sequence[str] = ()
) -> Resolution:
    return Resolution(class_name, tuple(names), reason, _CONFIDENCE[reason], tuple(candidates))


def _contains(name: str, words: Sequence[str]) -> bool:
    """Tell whether a name has all these words in their order and ends with the last, or begins with the only one.

    "Northern Cardinal" contains "cardinal", and "Geococcyx velox" contains its genus; "Cardinal Lory" is a lory.
    """
    own = split_name(name)
    if len(words) == 1 and is_binomial(name):
        return own[0] == words[0]
    rest = iter(own)
    return own[-1:] == tuple(words[-1:]) and all(word in rest for word in words)


def group_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the names that differ only in spelling, author or rank, together; the shortest of them first.

    Example:
        >>> group_names(["Cardinalis cardinalis (Linnaeus, 1758)", "Blue Jay", "Cardinalis_cardinalis"])
        [('Blue Jay',), ('Cardinalis_cardinalis', 'Cardinalis cardinalis (Linnaeus, 1758)')]
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[link_key(_cut_to_species(name))].append(name)
    return sorted(tuple(sorted(own, key=lambda name: (len(name), name))) for own in groups.values())


def is_binomial(name: str) -> bool:
    """Tell whether a name looks scientific: two words, the second in lower case."""
    return bool(_BINOMIAL.fullmatch(name.strip()))


def _cut_to_species(name: str) -> str:
    """Return a scientific name, in small letters too, without its author and rank; any other name as it is."""
    parsed = parse_scientific_name(name) or parse_scientific_name(name[:1].upper() + name[1:])
    return parsed.species if parsed is not None and (parsed.is_species or parsed.is_hybrid) else name


def _is_of_several(name: str) -> bool:
    """Tell whether a name is that of a hybrid, or leaves the species open."""
    parsed = parse_scientific_name(name)
    is_said = parsed is not None and (parsed.is_hybrid or parsed.is_open)
    return is_said or not _NOT_ONE.isdisjoint(split_name(name))


def _stem_epithet(epithet: str) -> str:
    """Return an epithet without its ending, which follows the gender of the genus."""
    return re.sub(r"(us|a|um|is|e|er|ra|rum|i|u)$", "", epithet)


# ---------------------------------------------------------------- names in any spelling


@final
class Spellings:
    """Names that are found in any spelling; the nearest spelling decides.

    Example:
        >>> names = Spellings(["Blue_Jay", "C++", "C#"])
        >>> names.find("blue jays"), names.find("c#"), names.find("C")
        (('Blue_Jay',), ('C#',), ())
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_spelling: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            for spelling in _list_spellings(name):
                self._by_spelling[spelling].append(name)

    def find(self, name: str) -> tuple[str, ...]:
        """Return the names that are spelled most like this one; several where it stands between them."""
        for spelling in _list_spellings(name):
            if found := self._by_spelling.get(spelling):
                return tuple(found)
        return ()

    def find_one(self, name: str) -> str | None:
        """Return the name that is spelled most like this one; None where there is none, or more than one."""
        found = self.find(name)
        return found[0] if len(found) == 1 else None


def _list_spellings(name: str) -> tuple[tuple[int, str], ...]:
    """Return a name in its forms, each with how much of the spelling it drops."""
    return (0, name), (1, _exact_key(name)), (2, link_key(name))


def keeps_words(text: str, name: str) -> bool:
    """Tell whether a text that is spelled like a name also has its words, so that it is the name and no description.

    A space inside a word of the name makes a description, such as "black cap", unless another word agrees.

    Example:
        >>> keeps_words("black cap", "Blackcap"), keeps_words("black-cap", "Blackcap")
        (False, True)
        >>> keeps_words("le conte's sparrow", "LeConte's Sparrow"), keeps_words("blackcap", "Black_Cap")
        (True, True)
    """
    own = _spans(split_name(name))
    spaced = _spans(["".join(split_name(word)) for word in re.split(r"[\s_]+", text)])
    return {end for _, end in spaced} <= {end for _, end in own} or bool(_spans(split_name(text)) & own)


def _spans(words: Iterable[str]) -> set[tuple[int, int]]:
    """Return first and last place of each word, in the letters of all."""
    spans, start = set(), 0
    for word in words:
        if word:
            spans.add((start, start + len(word)))
            start += len(word)
    return spans
