"""The class or species that a text names."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from fieldmark.data.naming import NameSources, resolve_classes
from fieldmark.data.taxonomy import Taxonomy
from fieldmark.names import (
    KnownNames,
    Reason,
    Resolution,
    Spellings,
    is_species_name,
    keeps_words,
    name_key,
    split_name,
)
from fieldmark.types import Medium

# ---------------------------------------------------------------- what may be a name in a text

FRAME_WORDS = frozenset(
    "a an the of for by and with in any all some this that my find show search me like "  # noqa: SIM905 - reads as text
    "photo photos picture pictures image images video videos clip clips sound sounds recording recordings text texts "
    "song songs call calls singing calling voice bird birds species male males female females adult adults "
    "young juvenile juveniles".split()
)
"""English words that people put around a name: "song of the blue jay"."""

_REGION_WORDS = frozenset(["northern", "southern", "eastern", "western", "american", "european", "eurasian", "common"])
"""Words that a full English name begins with and a collection may omit: "northern" in "northern cardinal"."""

COLORS = frozenset(
    "black white gray brown red orange yellow green blue purple violet pink buff rufous chestnut golden".split()  # noqa: SIM905
)
"""Words that a name may end with, as "Clouded Yellow" does, and that are no name by themselves."""

_SCIENTIFIC = re.compile(r"[A-Z][a-z]+[ _][a-z]+(-[a-z]+)?")
_YEAR = re.compile(r".*\b(1[789]|20)\d\d\W*")
_SUBSPECIES = re.compile(r"((subsp|ssp|var|f)\.? )?[a-z-]+")
_BETWEEN_AUTHORS = frozenset(["&", "and", "et", "al.", "ex", "in", "de", "von", "van"])


def _list_names(text: str) -> Iterator[str]:
    """Yield what may be the name in a text, the longest first: the text without some of the words around the name."""
    words = split_text(text)
    if text != " ".join(words):
        yield text
    starts, ends = _list_cuts(words), _list_cuts(words[::-1])
    cuts = [(start, end) for start in starts for end in ends if start + end < len(words)]
    for start, end in sorted(cuts, key=sum):
        yield " ".join(words[start : len(words) - end])


def _list_cuts(words: Sequence[str]) -> list[int]:
    """Return how many words may stand before a name, which may begin with two of them, as "Song Sparrow" does."""
    count = _count_frame_words(words)
    return sorted({0, *range(max(0, count - 2), count + 1)})


def split_text(text: str) -> list[str]:
    """Return the words of a text as they are written, without punctuation around them."""
    return re.findall(r"[^\s,;:.!?\"()\[\]]+", text)


def _count_frame_words(words: Sequence[str]) -> int:
    """Return how many words stand before the first that may belong to nothing but a name."""
    return next((at for at, word in enumerate(words) if word.casefold() not in FRAME_WORDS), len(words))


def strip_frame(text: str) -> str:
    """Return a text without all the words around a name; nothing where it has no others."""
    words = split_text(text)
    start = _count_frame_words(words)
    return " ".join(words[start : len(words) - _count_frame_words(words[::-1])])


def _is_author(text: str) -> bool:
    """Tell whether a text may be the author of a scientific name, as "Vieillot & Oudart" is."""
    words = text.replace(",", " ").split()
    return bool(words) and all(word[0].isupper() or word in _BETWEEN_AUTHORS for word in words)


# ---------------------------------------------------------------- the answer


@dataclass(frozen=True, slots=True)
class NamedSpecies:
    """A class or species that a text names.

    Args:
        name: A name of it that the gallery knows.
        query_name: The name that its embedding is made of.
        class_name: The class that it surely is; None where it has none, or only classes that it may be.
        names: All known names of the species; empty where the text names a class of which nothing more is known.
        other_classes: The classes that are surely other species.
        is_agreed: Whether the class goes by another name, and is this one by what the encoders call its items.
    """

    name: str
    query_name: str
    class_name: str | None
    names: tuple[str, ...]
    other_classes: frozenset[str]
    is_agreed: bool = False

    def judge(self, class_name: str | None) -> int:
        """Return 1 for a class that is the named one, -1 for one that is surely another, 0 where that is open."""
        if class_name is None:
            return 0
        return 1 if class_name == self.class_name else -int(class_name in self.other_classes)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The species that a class stands for.

    Args:
        keys: What the names of these species share in all spellings; empty where they are not known.
        is_one: Whether it is one species, surely.
        is_definite: Whether the class is surely none of all other species.
    """

    resolution: Resolution
    keys: frozenset[str] = frozenset()
    is_one: bool = False
    is_definite: bool = False


_OPEN = frozenset([Reason.CONTAINED, Reason.AMBIGUOUS, Reason.UNKNOWN])
"""Reasons that the items of a class may correct."""


@final
class ClassMeanings:
    """The species that classes stand for: the one place that answers this for a gallery.

    Args:
        species: All names of each species that the encoder of a medium tells apart.
        taxonomy: Further names of the classes.
        resolutions: What training found out about the classes of its model, also by how encoders name their items.
        listed: Further names of species, from world lists.
    """

    def __init__(
        self,
        species: Mapping[Medium, Sequence[Sequence[str]]],
        taxonomy: Taxonomy,
        *,
        resolutions: Iterable[Resolution] = (),
        listed: Sequence[Sequence[str]] = (),
    ) -> None:
        self.known = KnownNames(names for each in (*species.values(), listed) for names in each)
        self.species = tuple(dict.fromkeys(tuple(names) for each in species.values() for names in each))
        self.named_media = frozenset(species)
        self.called = {
            medium: tuple(self.known.choose_name(names[0]) or names[0] for names in each)
            for medium, each in species.items()
        }
        """One name of each species that a medium's encoder knows, in the order of its scores."""
        self.taxonomy = taxonomy
        self._taxon_by_class = {taxon.class_name: taxon for taxon in taxonomy.taxa}
        self._class_of_name = {name: each.class_name for each in taxonomy.taxa for name in each.other_names}
        self._class_of_name |= {name: name for name in self._taxon_by_class}
        self._spellings = Spellings(self._class_of_name)
        self._trained = {each.class_name: each for each in resolutions}
        self._trained_spellings = Spellings(self._trained)
        self._meanings: dict[str, _Meaning] = {}
        self.learn(self._taxon_by_class)

    def learn(self, class_names: Iterable[str]) -> None:
        """Find out what species classes stand for; those that are known already take no time."""
        new = [each for each in class_names if each not in self._meanings]
        for each in resolve_classes(new, self.known, sources=NameSources(self.taxonomy)):
            resolution = self._choose(each)
            keys = self.list_keys(resolution.names or resolution.candidates)
            is_definite = bool(keys) and resolution.reason is not Reason.AGREEMENT
            self._meanings[each.class_name] = _Meaning(
                resolution,
                keys,
                is_one=len(resolution.names) == 1,
                is_definite=is_definite or not is_species_name(each.class_name),
            )

    def get(self, class_name: str) -> _Meaning:
        """Return the meaning of a class that was learned."""
        return self._meanings[class_name]

    def list_taxa(self, name: str) -> list[str]:
        """Return the classes that a name belongs to in the taxonomy."""
        found = [each for each in self._spellings.find(name) if keeps_words(name, each)]
        return list(dict.fromkeys(self._class_of_name[each] for each in found))

    def list_ends(self, class_name: str) -> Iterator[tuple[str, ...]]:
        """Yield the words that each name of a class ends with, and its genus, as `split_name` gives them."""
        meaning, taxon = self.get(class_name), self._taxon_by_class.get(self.taxonomy.class_named(class_name) or "")
        names = [class_name, *(() if taxon is None else taxon.common_names)]
        names += self.known.find_all_names(meaning.resolution.names) if meaning.is_one else ()
        for words in (split_name(name) for name in names if not _SCIENTIFIC.fullmatch(name) or name == class_name):
            yield from (words[start:] for start in range(1, len(words)))
        if taxon is not None and taxon.genus:
            yield split_name(taxon.genus)

    def list_names(self, class_name: str) -> tuple[str, ...]:
        """Return a class, its names in the taxonomy, and those of the species that it surely is."""
        meaning, taxon = self.get(class_name), self.taxonomy.find(class_name)
        known = self.known.find_all_names(meaning.resolution.names) if meaning.is_one else ()
        own = () if taxon is None else (taxon.class_name, *taxon.other_names)
        return tuple(dict.fromkeys((class_name, *own, *known)))

    def list_keys(self, names: Iterable[str]) -> frozenset[str]:
        """Return what all names of the species with some names share in all spellings."""
        return frozenset(map(name_key, self.known.find_all_names(names)))

    def _choose(self, own: Resolution) -> Resolution:
        """Return what training found out about a class where its name leaves that open, or where somebody decided."""
        trained = self._trained.get(self._trained_spellings.find_one(own.class_name) or "")
        if trained is None or trained.reason is Reason.UNKNOWN:
            return own
        return trained if trained.reason is Reason.MAPPED or own.reason in _OPEN else own


@final
class NameIndex:
    """All names by which a text finds the classes of a gallery and the species of its encoders.

    A text names a class by its own name, by its names in a taxonomy, and by the names that encoders have for its
    species; or by a part of its name that no other class has. Case, hyphens, accents and plurals make no difference,
    nor do words such as "song of the" around a name. A text that says more is a description and names nothing.

    Where the encoders know the name of a species, it is this species, and a class only where that is surely the same:
    "Common Redstart" does not name a class "Redstart", which may be the American one.

    Args:
        held: The classes of the gallery's items.
        trained: The classes that the model was trained on.

    Example:
        >>> species = [("Cardinalis cardinalis", "Northern Cardinal"), ("Turdus migratorius", "American Robin")]
        >>> meanings = ClassMeanings({Medium.AUDIO: species}, Taxonomy(()))
        >>> index = NameIndex(held=["Cardinal", "Blue_Jay"], trained=[], meanings=meanings)
        >>> index.find("Song of the northern cardinal").class_name
        'Cardinal'
    """

    def __init__(self, *, held: Collection[str], trained: Collection[str], meanings: ClassMeanings) -> None:
        self.held, self._trained = frozenset(held), frozenset(trained)
        self.meanings = meanings
        meanings.learn(sorted(self.held | self._trained))
        self._spellings = (Spellings(sorted(held)), Spellings(sorted(trained)))
        self._classes_by_key: defaultdict[str, set[str]] = defaultdict(set)
        self._classes_by_end: tuple[defaultdict[tuple[str, ...], set[str]], ...] = (defaultdict(set), defaultdict(set))
        for classes, by_end in zip((self.held, self._trained), self._classes_by_end, strict=True):
            for each in classes:
                for key in meanings.get(each).keys:
                    self._classes_by_key[key].add(each)
                for end in meanings.list_ends(each):
                    by_end[end].add(each)
        self._definite = frozenset(each for each in self.held if meanings.get(each).is_definite)
        self._no_species = frozenset(each for each in self.held if not is_species_name(each))
        self._taxon_by_class = {
            each: taxon for each in self.held if (taxon := meanings.taxonomy.class_named(each)) is not None
        }

    def find(self, text: str) -> NamedSpecies | None:
        """Return the class or species that a text names; None for a description."""
        return (
            self._find_spelled(text) or self._find_in_parts(text) or self._find_in_region(text) or self._find_end(text)
        )

    def find_exactly(self, name: str) -> NamedSpecies | None:
        """Return the class or species with a name, in any spelling, with no other words around it."""
        classes = self._list_classes(name)
        if len(classes) == 1:
            return self._name_class(classes[0])
        return None if classes else self._find_species(name)

    def name_held(self, name: str) -> NamedSpecies | None:
        """Return a class of the gallery, or a species by the name that encoders call items; None for neither."""
        return self._name_class(name) if name in self.held else self._find_species(name)

    def list_open_classes(self, named: NamedSpecies) -> frozenset[str]:
        """Return the classes of the gallery that may be a named species, which none of them surely is."""
        return frozenset() if named.class_name in self.held else self.held - named.other_classes

    def is_trained(self, name: str) -> bool:
        """Tell whether a name is that of a class that the model was trained on."""
        return bool(self._spellings[1].find(name))

    def _find_spelled(self, text: str) -> NamedSpecies | None:
        """Find a name as it is spelled, in the words of a text around it."""
        for name in _list_names(text):
            classes = self._list_classes(name)
            found = self._name_class(classes[0]) if len(classes) == 1 else self._find_species(name)
            if found is not None or classes:
                return found
        return None

    def _find_in_parts(self, text: str) -> NamedSpecies | None:
        """Find a name with its author or a second name beside it, which must agree."""
        parts = [part.strip() for part in re.split(r"[()\[\]]|\s[-\u2013\u2014]\s", text) if strip_frame(part)]
        if len(parts) < 2:
            return self._find_with_tail(text)
        found = []
        for part in parts:
            named = self._find_spelled(part)
            if named is not None:
                found.append(named)
            elif not (_YEAR.fullmatch(part) or (_SCIENTIFIC.fullmatch(parts[0]) and _is_author(part))):
                return None
        return found[0] if len({(each.class_name, frozenset(each.names)) for each in found}) == 1 else None

    def _find_with_tail(self, text: str) -> NamedSpecies | None:
        """Find a scientific name with its author or its subspecies behind it."""
        words = text.split()
        name, tail = " ".join(words[:2]), " ".join(words[2:])
        is_year = bool(_YEAR.fullmatch(tail))
        is_tail = is_year or _is_author(tail) or _SUBSPECIES.fullmatch(tail)
        found = self._find_spelled(name) if is_tail else None
        names = () if found is None else found.names
        is_scientific = any(name_key(each) == name_key(name) and _SCIENTIFIC.fullmatch(each) for each in names)
        return found if is_year or is_scientific else None

    def _find_in_region(self, text: str) -> NamedSpecies | None:
        """Find a class by its name with a region before it, where no encoder knows better."""
        words = strip_frame(text).split()
        while len(words) > 1 and words[0].casefold() in _REGION_WORDS:
            del words[0]
            classes = self._list_classes(" ".join(words))
            if len(classes) == 1 and self.meanings.get(classes[0]).resolution.reason is Reason.UNKNOWN:
                return self._name_class(classes[0])
        return None

    def _find_end(self, text: str) -> NamedSpecies | None:
        """Find the only class whose name ends with a text: "cardinal" is the Northern Cardinal where there is no other.

        That an item of the class is a cardinal is true, and that one of another class is none.
        """
        if not strip_frame(text):
            return None
        for words in map(split_name, _list_names(text)):
            for by_end in self._classes_by_end:
                classes = by_end.get(words, ())
                if len(classes) == 1 and not COLORS.issuperset(words):
                    return self._name_class(next(iter(classes)))
                if classes:
                    return None
        return None

    def _list_classes(self, name: str) -> list[str]:
        """Return the classes with a name: one, or several where the spelling does not decide."""
        held, trained = self._spellings
        found = _list_spelled(held, name)
        if not found:
            taxa = self.meanings.list_taxa(name)
            found = list(dict.fromkeys(held.find_one(each) or trained.find_one(each) or each for each in taxa))
        return found or _list_spelled(trained, name)

    def _name_class(self, class_name: str) -> NamedSpecies:
        """Return a class as what the text names; the held class of the same species where the gallery lacks it."""
        meaning = self.meanings.get(class_name)
        if class_name not in self.held and meaning.is_one:
            class_name = self._choose_class(meaning.keys, self.held) or class_name
        names = meaning.resolution.names
        known = names[0] if names else class_name
        return NamedSpecies(
            name=class_name,
            query_name=self._choose_query_name(class_name, meaning.keys if meaning.is_one else frozenset(), known),
            class_name=class_name,
            names=self.meanings.known.find_all_names(names),
            other_classes=self._list_others(meaning.keys, class_name),
        )

    def _find_species(self, name: str) -> NamedSpecies | None:
        """Return the species that encoders know by a name, and the class that is surely this species."""
        known, key = self.meanings.known, name_key(name)
        found = [each for names in known.find(name) for each in names if name_key(each) == key]
        spelled = next((each for each in found if keeps_words(name, each)), None)
        if spelled is None:
            return None
        resolution = known.resolve(spelled)
        names = resolution.names or resolution.candidates
        keys = self.meanings.list_keys(names)
        one = keys if len(resolution.names) == 1 else frozenset()
        class_name = self._choose_class(one, self.held) or self._choose_class(one, self._trained)
        return NamedSpecies(
            name=spelled,
            query_name=self._choose_query_name(class_name or spelled, one, spelled),
            class_name=class_name,
            names=known.find_all_names(names),
            other_classes=self._list_others(keys, class_name),
            is_agreed=class_name is not None and self.meanings.get(class_name).resolution.reason is Reason.AGREEMENT,
        )

    def _choose_class(self, keys: Collection[str], classes: frozenset[str]) -> str | None:
        """Return the only one of some classes that surely is one species; None for none or several."""
        found = {
            each
            for key in keys
            for each in self._classes_by_key.get(key, ())
            if each in classes and self.meanings.get(each).is_one
        }
        return next(iter(found)) if len(found) == 1 else None

    def _choose_query_name(self, class_name: str, keys: Collection[str], known: str) -> str:
        """Return the name of a class that the model was trained on, else a name that encoders know."""
        return self._spellings[1].find_one(class_name) or self._choose_class(keys, self._trained) or known

    def _list_others(self, keys: Collection[str], class_name: str | None) -> frozenset[str]:
        """Return the classes of the gallery that are surely not the one that is named.

        Where no encoder knows names, a class is all that its name says. Where encoders do, a class that none of them
        knows may be any species: its name may be of another language.
        """
        if not self.meanings.known:
            return self.held - {class_name}
        possible = {each for key in keys for each in self._classes_by_key.get(key, ())}
        others = self._definite if keys or class_name in self._no_species else self._no_species
        if class_name is not None and (own := self.meanings.taxonomy.class_named(class_name)) is not None:
            others |= {each for each, taxon in self._taxon_by_class.items() if taxon != own}
        return others - possible - {class_name}


def _list_spelled(spellings: Spellings, name: str) -> list[str]:
    return [each for each in spellings.find(name) if keeps_words(name, each)]
