"""Reads the marks in an English text: what it says that a bird has, what it denies, and the words it does not know."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from fieldmark.marks.vocabulary import (
    BIRD_INCHES,
    BODY,
    COLUMN,
    GROUPS,
    OWN_GROUPS,
    PARTS,
    PHRASES,
    SIZES,
    Mark,
)

LONGEST_TEXT = 20_000
"""Characters of a text that are read; an account of a species has fewer."""


@dataclass(frozen=True, slots=True)
class ReadMark:
    """A mark that a text names.

    Args:
        marks: One, or several of which the bird has any: "a red or orange crown", "larger than a robin".
        is_denied: Whether the text says that the bird lacks it.
        words: The words that say so, in the text's order.
    """

    marks: tuple[Mark, ...]
    is_denied: bool
    words: tuple[str, ...]

    def __str__(self) -> str:
        said = " or ".join(dict.fromkeys(map(str, self.marks)))
        return f"no {said}" if self.is_denied else said


@dataclass(frozen=True, slots=True)
class Reading:
    """The marks that were read in a text.

    Args:
        marks: Those that it names, in its order, each once.
        unread: The words that say nothing which is known here, in their order, each once.
    """

    marks: tuple[ReadMark, ...]
    unread: tuple[str, ...]

    @property
    def exclusive(self) -> tuple[Mark, ...]:
        """The marks that the text both names and denies."""
        denied = {mark for each in self.marks if each.is_denied for mark in each.marks}
        named = [mark for each in self.marks if not each.is_denied and len(each.marks) == 1 for mark in each.marks]
        return tuple(mark for mark in dict.fromkeys(named) if mark in denied)


# ---------------------------------------------------------------- words


def _split(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SENTENCE_END = frozenset(".;!?()\n")
_CLAUSE_END = _split(", : and with has have had but while whose its plus along")
_DENIES = _split("no not non without lack lacks lacked never neither nor hardly")
_DENIES_BEFORE = _split("absent missing lacking none")
_DENIAL_END = _split(", : but with has have while whose though although however whereas yet except")
_OTHER = _split("unlike than like resembles resembling versus")
"""What follows tells of another bird, to the end of the clause."""
_ANEW = _split("a an the its his her their some two is are was were shows has have")
_OR = frozenset(("or", "/"))
_FILLER = _split(
    "a an the this that these those it its his her their they he she him them is are was were be been being has "
    "have had having with and or but of on in at to from by for as very quite rather somewhat more most less "
    "mostly mainly often usually sometimes some all both each i saw seen see look looks looking like show shows "
    "showing shown note noted which who whose where when while also only just about one two three other others "
    "there here my me we our you your so such than then into over under around near across along between up down "
    "s t male males female females adult adults juvenile juveniles breeding season bird one's entire whole almost "
    "nearly much many few little bit kind sort color colour colored coloured colors mark marks marking markings "
    "pattern patterned patterns shaped shape shapes size sized well field feature features appears appear any "
    "either if not no what do does did can may could would should part parts area areas distinctive notable thing "
    "something medium otherwise during upper lower inner outer tone tones toned hint tinge tint wash washed "
    "tinged light bright dull deep faint vivid rich inches inch cm ft long-ish please find us photo photos "
    "picture song call calls voice sings sound sounds notes singing called"
)
_VOICE_CONTEXT = _split("song songs call calls voice sings sing singing sang note notes calling sound sounds pitch")
_VAGUE_VOICES = _split("rising falling level high low loud soft fast slow once twice repeated musical harsh")
"""Words for these tell of the voice only where the sentence does."""
_SIZE_OF_PART = {"very small": "short", "small": "short", "large": "thick", "very large": "thick"}
_OWN_PART = {
    "mask": "face",
    "stripe over the eye": "face",
    "stripe through the eye": "face",
    "stripe on the cheek": "face",
    "ring": "eye",
    "crested": "head",
}
"""Patterns that name their part: a mask is on the face."""


def _index(groups: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    return {
        word: (group, trait)
        for group, traits in groups.items()
        for trait, words in traits.items()
        for word in words.split()
    }


_PART_BY_WORD = {word: part for part, words in PARTS.items() for word in words.split()}
_TRAIT_BY_WORD = _index(GROUPS)
_OWN_BY_WORD = _index(OWN_GROUPS)
_PHRASE_BY_WORDS = {tuple(phrase.split()): meaning for phrase, meaning in PHRASES.items()}
_LONGEST_PHRASE = max(map(len, _PHRASE_BY_WORDS))
_TOKEN = re.compile(r"[a-z]+|[,.;:!?()/\n]")
_GROUP_BY_TRAIT = {trait: group for group, traits in GROUPS.items() for trait in traits}
_BIRDS = "|".join(BIRD_INCHES)
_COMPARED = re.compile(
    r"\b(?:(?P<more>larger|bigger)|(?P<less>smaller)|(?:(?:about |roughly )?(?:the |same )*size (?:of|as)"
    r"|as (?:big|large|small) as|similar (?:in size )?to))"
    rf" (?:than )?(?:an? |the )?(?:\w+ )?(?P<bird>{_BIRDS})s?\b|\b(?P<sized>{_BIRDS})[ -]sized?\b"
)


@dataclass(frozen=True, slots=True)
class _Element:
    """A part or a trait among the words of a sentence.

    Args:
        group: Of a trait; "part" for a part.
        index: Of its first word in the sentence.
        choice: The number that alternatives share; -1 for none.
        is_quiet: A part that is only there for its own pattern.
    """

    group: str
    value: str
    index: int
    words: tuple[str, ...]
    is_denied: bool = False
    choice: int = -1


def read_marks(text: str) -> Reading:
    """Read the marks in a text, and list the words that say nothing that is known here.

    "No wing bars" is denied; what follows "unlike" or "like" tells of another bird. "A red or orange crown" is one mark
    with two alternatives, "larger than a robin" the sizes that are. Order and filler do not count. English only.

    Example:
        >>> [str(each) for each in read_marks("small bird, rusty cap, no wing bars").marks]
        ['size small', 'crown rufous', 'no wing barred']
    """
    text = text[:LONGEST_TEXT].casefold().replace("'s", " ")
    compared, text = _read_comparisons(text)
    found: list[ReadMark] = compared
    unread: list[str] = []
    for sentence in _split_sentences(_TOKEN.findall(text)):
        elements, strange = _find_elements(sentence)
        found += _join_elements(sentence, elements)
        unread += strange
    return Reading(tuple(_merge(found)), tuple(dict.fromkeys(unread)))


def _merge(found: Sequence[ReadMark]) -> Iterator[ReadMark]:
    """Yield each mark once, in order."""
    met: dict[tuple[tuple[Mark, ...], bool], ReadMark] = {}
    for each in found:
        known = met.get((each.marks, each.is_denied))
        words = each.words if known is None else tuple(dict.fromkeys((*known.words, *each.words)))
        met[each.marks, each.is_denied] = replace(each, words=words)
    yield from met.values()


def _read_comparisons(text: str) -> tuple[list[ReadMark], str]:
    """Read sizes told by other birds, and return the text without them."""
    found = []
    for match in _COMPARED.finditer(text):
        inches = BIRD_INCHES[match["bird"] or match["sized"]]
        if match["more"]:
            sizes = [name for name, (_, high) in SIZES.items() if high > 1.2 * inches]
        elif match["less"]:
            sizes = [name for name, (low, _) in SIZES.items() if low < inches / 1.2]
        else:
            sizes = [name for name, (low, high) in SIZES.items() if low <= inches < high]
        found.append(
            ReadMark(tuple(Mark("size", name) for name in sizes), is_denied=False, words=tuple(match[0].split()))
        )
    return found, _COMPARED.sub(" , ", text)


def _split_sentences(tokens: Sequence[str]) -> Iterator[list[str]]:
    sentence: list[str] = []
    for token in tokens:
        if token in _SENTENCE_END:
            yield sentence
            sentence = []
        else:
            sentence.append(token)
    yield sentence


def _find_elements(words: Sequence[str]) -> tuple[list[_Element], list[str]]:
    """Return the parts and traits of a sentence, and its words that are unknown."""
    elements: list[_Element] = []
    strange: list[str] = []
    tells_of_voice = not _VOICE_CONTEXT.isdisjoint(words) or any(
        _OWN_BY_WORD.get(word, ("", ""))[0] == "voice" and _OWN_BY_WORD[word][1] not in _VAGUE_VOICES for word in words
    )
    index = 0
    while index < len(words):
        length, new = _read_at(words, index, tells_of_voice=tells_of_voice)
        if length == 0:
            word = words[index]
            if (
                word not in _FILLER
                and word not in _DENIES | _DENIES_BEFORE | _OTHER | _CLAUSE_END | _OR
                and len(word) > 1
            ):
                strange.append(word)
            length = 1
        elements += new
        index += length
    return _mark_choices(words, _mark_denied(words, elements)), strange


def _read_at(words: Sequence[str], index: int, *, tells_of_voice: bool) -> tuple[int, list[_Element]]:
    """Return how many words mean something together at a place, and what; 0 where nothing is known."""
    for length in range(min(_LONGEST_PHRASE, len(words) - index), 0, -1):
        own = tuple(words[index : index + length])
        if own in _PHRASE_BY_WORDS:
            return length, _read_phrase(_PHRASE_BY_WORDS[own], index, own)
    word = words[index]
    new = []
    if word in _PART_BY_WORD:
        new.append(_Element("part", _PART_BY_WORD[word], index, (word,)))
    if word in _TRAIT_BY_WORD:
        group, trait = _TRAIT_BY_WORD[word]
        if trait in _OWN_PART and not new:
            new.append(_Element("part", _OWN_PART[trait], index, (word,)))
        new.append(_Element(group, trait, index, (word,)))
    elif word in _OWN_BY_WORD and not new:
        group, trait = _OWN_BY_WORD[word]
        if group != "voice" or tells_of_voice or trait not in _VAGUE_VOICES:
            new.append(_Element(group, trait, index, (word,)))
    return int(bool(new)), new


def _read_phrase(meaning: str, index: int, words: tuple[str, ...]) -> list[_Element]:
    if meaning.startswith("="):
        return [_Element("part", meaning[1:], index, words)]
    if meaning.startswith("~"):
        traits = [each.strip() for each in meaning.split("~") if each.strip()]
        return [_Element(_GROUP_BY_TRAIT[trait], trait, index, words) for trait in traits]
    part, trait = meaning.split(":")
    if part in OWN_GROUPS:
        return [_Element(part, trait, index, words)]
    return [_Element("part", part, index, words), _Element(_GROUP_BY_TRAIT[trait], trait, index, words)]


def _mark_denied(words: Sequence[str], elements: Sequence[_Element]) -> list[_Element]:
    """Return the elements without those of other birds, and those under a denial as denied.

    A denial reaches to the next comma, "but", "with" or the like, over "or" and "nor", and over "and" where a bare noun
    follows.
    """
    denied: set[int] = set()
    other: set[int] = set()
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in _DENIES and following not in ("only", "just", "merely", "simply"):
            denied.update(range(index, _reach(words, index)))
        elif word in _DENIES_BEFORE:
            before = index
            while before > 0 and words[before - 1] not in (",", "and", "but", "with"):
                before -= 1
            denied.update(range(before, index))
        elif word in _OTHER and (word in ("unlike", "than") or following not in ("a", "an", *_TRAIT_BY_WORD)):
            other.update(range(index, _reach(words, index)))
    kept = [each for each in elements if each.index not in other]
    return [replace(each, is_denied=True) if each.index in denied else each for each in kept]


def _reach(words: Sequence[str], index: int) -> int:
    colors = _TRAIT_BY_WORD
    for place in range(index + 1, len(words)):
        following = words[place + 1] if place + 1 < len(words) else ""
        if words[place] == "," and following in ("or", "nor"):
            continue
        if words[place] in _DENIAL_END:
            return place
        if words[place] == "and" and (following in _ANEW or following in colors):
            return place
    return len(words)


def _mark_choices(words: Sequence[str], elements: Sequence[_Element]) -> list[_Element]:
    """Number the traits, or parts, that stand on both sides of an "or"."""
    marked = list(elements)
    for at in range(1, len(marked)):
        before, after = marked[at - 1], marked[at]
        between = words[before.index + len(before.words) : after.index]
        is_kind = before.group == after.group or {before.group, after.group} <= set(GROUPS)
        if (
            is_kind
            and not _OR.isdisjoint(between)
            and all(each in _OR | _FILLER for each in between)
            and not after.is_denied
        ):
            choice = before.choice if before.choice >= 0 else before.index
            marked[at - 1], marked[at] = replace(before, choice=choice), replace(after, choice=choice)
    return marked


# ---------------------------------------------------------------- traits to their parts


@dataclass(frozen=True, slots=True)
class _Clause:
    parts: tuple[_Element, ...]
    traits: tuple[_Element, ...]

    @property
    def waits_for_traits(self) -> bool:
        """True if traits before the clause may belong to its part."""
        return bool(self.parts) and (not self.traits or self.traits[0].index < self.parts[0].index)

    def join(self) -> Iterator[tuple[_Element, _Element]]:
        """Yield each trait with the nearest part; of two equally near, with the one that follows."""
        for trait in self.traits:
            yield (
                min(self.parts, key=lambda part: 2 * abs(part.index - trait.index) - (part.index > trait.index)),
                trait,
            )


def _join_elements(words: Sequence[str], elements: Sequence[_Element]) -> list[ReadMark]:
    """Return the marks of a sentence; alternatives are one."""
    clauses = list(_split_clauses(words, elements))
    own = [each for each in elements if each.group in OWN_GROUPS and each.group != "size"]
    pairs = [(Mark(each.group, each.value), each) for each in own]
    for part, trait in _pair(clauses):
        mark = _make_mark(part, trait)
        if mark in COLUMN:
            denied = trait.is_denied or (part is not None and part.is_denied)
            spoken = (*(() if part is None else part.words), *trait.words)
            words_of = tuple(dict.fromkeys(spoken))
            choice = trait.choice if trait.choice >= 0 or part is None else part.choice
            pairs.append((mark, replace(trait, words=words_of, is_denied=denied, choice=choice)))
    return _gather_choices(_soften_denials(pairs))


def _make_mark(part: _Element | None, trait: _Element) -> Mark:
    if trait.group == "size":
        if part is None or part.value == BODY:
            return Mark("size", trait.value)
        return Mark(part.value, _SIZE_OF_PART.get(trait.value, ""))
    if part is None:
        return Mark(_OWN_PART.get(trait.value, BODY), trait.value)
    if trait.value == "crested":
        return Mark("head", "crested")
    return Mark(part.value, trait.value)


def _soften_denials(pairs: Sequence[tuple[Mark, _Element]]) -> list[tuple[Mark, _Element]]:
    """Leave out denied colors of parts whose pattern is denied: "no white wing bars" denies the bars alone."""
    patterned = {mark.part for mark, each in pairs if each.is_denied and each.group == "pattern"}
    return [
        (mark, each)
        for mark, each in pairs
        if not (each.is_denied and each.group != "pattern" and mark.part in patterned)
    ]


def _gather_choices(pairs: Sequence[tuple[Mark, _Element]]) -> list[ReadMark]:
    found: dict[object, ReadMark] = {}
    for number, (mark, each) in enumerate(pairs):
        key: object = (each.choice, each.is_denied) if each.choice >= 0 else -1 - number
        known = found.get(key)
        marks = (mark,) if known is None else tuple(dict.fromkeys((*known.marks, mark)))
        spoken = each.words if known is None else tuple(dict.fromkeys((*known.words, *each.words)))
        found[key] = ReadMark(marks, each.is_denied, spoken)
    return list(found.values())


def _split_clauses(words: Sequence[str], elements: Sequence[_Element]) -> Iterator[_Clause]:
    ends = [index for index, word in enumerate(words) if word in _CLAUSE_END]
    attached = [each for each in elements if each.group == "part" or each.group in GROUPS or each.group == "size"]
    start = 0
    for end in [*ends, len(words)]:
        own = [each for each in attached if start <= each.index < max(end, start)]
        # A phrase may hold the word that ends a clause, as "as long as its head" does.
        parts = tuple(each for each in own if each.group == "part")
        traits = tuple(each for each in own if each.group != "part")
        if parts or traits:
            yield _Clause(parts, traits)
        start = end


def _pair(clauses: Sequence[_Clause]) -> Iterator[tuple[_Element | None, _Element]]:
    """Yield each trait of a sentence with its part, as `encoders.field_marks` joins them; None for the body."""
    part: _Element | None = None
    shared: list[_Element] = []
    waiting: list[_Element] = []
    for clause, following in zip_longest(clauses, clauses[1:]):
        own = list(clause.traits)
        if not clause.parts:
            if part is None:  # a size without a part is that of the bird, whatever follows
                yield from ((None, trait) for trait in own if trait.group == "size")
                own = [trait for trait in own if trait.group != "size"]
            waits = following is not None and following.waits_for_traits
            if part is not None:
                # Of two birds in a row, a size is that of the second: "wings black, small and yellow bird".
                yield from ((part, trait) for trait in own if trait.group != "size" or not waits)
            if part is None or waits:
                waiting += own
            continue
        if own:
            yield from ((clause.parts[0], trait) for trait in waiting)
            yield from clause.join()
            shared = [*waiting, *own]
        else:
            shared = waiting or shared
            yield from ((each, trait) for each in clause.parts for trait in shared)
        part, waiting = clause.parts[-1], []
    if part is None:
        yield from ((None, trait) for trait in waiting)
