"""Drops from a text what it does not say of its bird: words of names, and marks that it denies or finds in another."""

import re

_NAMES = (
    "bald eagle, barred owl, black phoebe, black scoter, black skimmer, black swift, black tern, black vulture, "
    "black and white warbler, blue grosbeak, blue jay, brown booby, brown creeper, brown pelican, brown thrasher, "
    "golden eagle, golden plover, gray catbird, grey catbird, gray jay, grey jay, gray partridge, grey partridge, "
    "gray vireo, great blue heron, great gray owl, great grey owl, green heron, green jay, green kingfisher, "
    "green woodpecker, indigo bunting, little blue heron, mottled duck, pied wagtail, purple finch, "
    "purple gallinule, purple martin, red crossbill, red kite, red knot, red phalarope, rose finch, rusty blackbird, "
    "scarlet ibis, scarlet tanager, snow bunting, song sparrow, spotted flycatcher, spotted owl, spotted sandpiper, "
    "spotted towhee, white ibis, white pelican, white stork, white wagtail, yellow rail, yellow wagtail, yellow warbler"
)
"""Names of species that begin with a word for a trait of no certain part: a golden eagle is brown."""

_HEADS = (
    "auklet bishop bittern blackbird bluebird booby bunting cardinal catbird chickadee cormorant cowbird crane creeper "
    "crow cuckoo curlew dove duck eagle egret falcon finch flycatcher goldfinch goose grebe grosbeak grouse guillemot "
    "gull harrier hawk heron hummingbird ibis jaeger jay junco kestrel kingbird kingfisher kinglet kite lark loon "
    "magpie martin meadowlark merganser mockingbird nuthatch oriole osprey owl parrot partridge pelican petrel phoebe "
    "pigeon pipit plover puffin quail rail raven redstart robin sandpiper shrike sparrow starling stork swallow swan "
    "swift tanager teal tern thrasher thrush tit titmouse towhee turkey vireo vulture wagtail warbler waxwing "
    "woodpecker wren"
)
"""The nouns that names of species end with."""

_LISTED_NAME = re.compile(rf"\b(?:{'|'.join(name.replace(' ', '[ -]') for name in _NAMES.split(', '))})s?\b", re.I)
_WRITTEN_NAME = re.compile(
    rf"\b(?:[A-Z][a-z']+(?:-[A-Za-z][a-z]+)*\s+){{1,3}}(?:{'|'.join(each.title() for each in _HEADS.split())})s?\b"
)
_NAMED_PART = re.compile(r"\w+-\w+ed\b")
"""White-throated: a name, and a mark of whatever bears it."""


def drop_names(text: str) -> str:
    """Return a text without the words of names that only look like marks, as "Golden Eagle"; its case still counts.

    A part with its trait stays: the throat of a White-throated Sparrow is white.
    """
    for pattern in (_WRITTEN_NAME, _LISTED_NAME):
        text = pattern.sub(lambda name: " ".join(_NAMED_PART.findall(name[0])) or "one", text)
    return text


# ---------------------------------------------------------------- denial

REPHRASED = (
    (re.compile(r"n['\u2019]t\b"), " not"),
    (re.compile(r"\bcannot\b"), "can not"),
    (re.compile(r"\b(\w+)-less\b"), r"\1less"),
    (re.compile(r"\b(?:non|un)-(?=\w)"), "non "),
    (re.compile(r"\b(?:rather than|instead of|as opposed to|in contrast (?:to|with))\b"), "unlike"),
    (re.compile(r"\b(?:confused|mistaken) (?:with|for)\b"), "unlike"),
    (re.compile(r"\b(?:similar to|resembl(?:es|ing)|related to) (?:a|an|the)\b"), "unlike"),
    (re.compile(r"\bfree (?:of|from)\b"), "without"),
    (re.compile(r"\bdevoid of\b"), "without"),
    (re.compile(r"\b(?:above|below|underneath) (?=(?:the|its|his|her|their|each|a|an)\b)"), "near "),
    (re.compile(r"\bback of (?:the|its|his|her) (?:head|neck)\b"), "nape"),
    (re.compile(r"\bsides? of (?:the|its|his|her) (?:head|face)\b"), "face"),
    (re.compile(r"\btop of (?:the|its|his|her) head\b"), "crown"),
)
"""Before hyphens go: other ways to deny, and places that are told by other parts."""

_DENIES = frozenset(
    ["no", "not", "non", "without", "lack", "lacks", "lacked", "never", "neither", "nor", "unlike", "hardly"]
)
_DENIES_BESIDE = frozenset(["absent", "missing", "lacking", "none"])
"""These deny what follows; where no word of a mark does, what stands before."""
_DENIES_A_NOUN = frozenset(["without", "lack", "lacks", "lacked", "lacking", "unlike"])
"""Their object ends where the verb begins: "birds without a crest are brown"."""
_NOT = frozenset(["not", "never"])
_NO_DENIAL_AFTER_NOT = frozenset(["only", "just", "merely", "simply", "without", "lacking", "absent", "missing"])
_ENDS = frozenset(
    re.findall(r"\S+", ", : / but with has have had while whose which though although however whereas yet except")
)
_VERBS = frozenset(["is", "are", "was", "were", "shows"])
_ARTICLES = frozenset(["a", "an"])
_BEGINS_ANEW = _VERBS | _ENDS | _ARTICLES | frozenset(["the", "its", "his", "her", "their", "some", "two"])
"""Words after "and" that begin what is not denied: "no crest and a white belly"; but "lacks a crest and a bib"."""
_TOKEN = re.compile(r"[a-z]+|[,:/]")


def drop_denied(sentence: str, *, marks: frozenset[str], colors: frozenset[str]) -> str:
    """Return the words of a sentence without those under a denial.

    A denial reaches to the next comma, "but", "with" or the like; over "or" and "nor"; and over "and" where a bare noun
    follows, as in "no crest and wing bars", but not in "no crest and white wing bars".

    Args:
        sentence: In lower case, without hyphens.
        marks: The words for parts and traits.
        colors: The words that begin a new mark after "and".
    """
    words = _TOKEN.findall(sentence)
    denied: set[int] = set()
    for index in range(len(words)):
        if _denies(words, index):
            start, end = index, _reach_on(words, index, colors=colors)
            if words[index] in _DENIES_BESIDE and marks.isdisjoint(words[start:end]):
                start, end = _reach_back(words, index), index
            denied.update(range(start, end))
    return " ".join(word for index, word in enumerate(words) if index not in denied)


def _denies(words: list[str], index: int) -> bool:
    """Tell whether a word denies others; "not only" and "never absent" deny nothing."""
    word, before = words[index], words[index - 1] if index else ""
    if word in _NO_DENIAL_AFTER_NOT and before in _NOT:
        return False
    if word in _NOT and (before == "if" or not _NO_DENIAL_AFTER_NOT.isdisjoint(words[index + 1 : index + 2])):
        return False
    return word in _DENIES or word in _DENIES_BESIDE


def _reach_on(words: list[str], index: int, *, colors: frozenset[str]) -> int:
    """Return where the denial that begins at a word ends."""
    denies_noun = words[index] in _DENIES_A_NOUN
    ends = _ENDS | _VERBS if denies_noun else _ENDS
    begins_anew = (_BEGINS_ANEW - _ARTICLES if denies_noun else _BEGINS_ANEW) | colors
    for place in range(index + 1, len(words)):
        following = words[place + 1] if place + 1 < len(words) else ""
        if words[place] == "," and following in ("or", "nor"):
            continue
        if words[place] in ends or (words[place] == "and" and following in begins_anew):
            return place
    return len(words)


def _reach_back(words: list[str], index: int) -> int:
    """Return where the denial that a word ends begins: "wing bars: absent", "the tail is absent"."""
    place = index
    while place > 0 and (words[place - 1] not in _ENDS | {"and"} or (words[place - 1] == ":" and place == index)):
        place -= 1
    return place
