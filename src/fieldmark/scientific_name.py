"""The parts of a scientific name: genus, epithets, hybrid sign, author and rank."""

import re
import unicodedata
from dataclasses import dataclass

_OPEN = re.compile(r"\(?(sp|spp|cf|aff|nr|indet|agg)(\.|\)|$)|\?$")
"""Words that leave the species open."""

_MARKERS = {"subsp.": "subspecies", "ssp.": "subspecies", "subsp": "subspecies", "ssp": "subspecies"} | {
    "var.": "variety",
    "f.": "form",
    "forma": "form",
}
_HYBRID_SIGN = re.compile(r"(?:^|\s)[x\u00d7X](?=\s)|\u00d7")
_GENUS = re.compile(r"[A-Z][a-z\u00e0-\u00ff-]+")
_EPITHET = re.compile(r"[a-z\u00e0-\u00ff]{2,}(-[a-z\u00e0-\u00ff]+)*")
_IS_SURELY_AUTHOR = re.compile(r"\d{4}|^\(")
"""A year, or parentheses."""

_SENSE = re.compile(r"(?:^|\s)(sensu|auctt?\.?|non|nec|nom\.|emend\.?|s\.\s?(l|s|lat|str)\.).*$")
"""Words behind an author that tell in which sense a name is meant; the species is the same."""
_NOTE = re.compile(r"\s*(\[[^\[\]]*\]|\([^()]*\))$")
"""A note in brackets at the end, such as the group of a species in eBird's names."""

_PARTICLES = frozenset(
    (
        *("de", "da", "di", "do", "du", "la", "le", "von", "van", "der", "den", "zu", "zur"),
        *("et", "ex", "in", "and", "y", "al"),
    )
)
"""Words in small letters with which the names of authors begin, or which stand between them."""

_NO_EPITHETS = _PARTICLES | {"sensu", "auct", "auctt", "non", "nec", "nom", "emend"}

RANKS = ("subspecies", "variety", "form", "species", "genus", "family", "order", "class", "phylum", "kingdom")
"""The ranks that matter here, the narrowest first."""

_RANK_WORDS = {"subsp": "subspecies", "ssp": "subspecies", "infraspecificname": "subspecies", "issf": "subspecies"}


@dataclass(frozen=True, slots=True)
class ScientificName:
    """A scientific name in its parts.

    Args:
        species: Genus and epithet; both parents of a hybrid; a single word for what is no species.
        epithet: Of a subspecies or a lower rank; None for none.
        authorship: Author and year, as written; None for none.
        rank: As the name itself shows it.
        is_open: Whether it says that the species is not known.
    """

    species: str
    epithet: str | None = None
    authorship: str | None = None
    rank: str = "species"
    is_hybrid: bool = False
    is_open: bool = False

    @property
    def is_species(self) -> bool:
        """True for the name of one species, or of a part of one."""
        return " " in self.species and not self.is_open and not self.is_hybrid


def parse_scientific_name(text: str) -> ScientificName | None:
    """Return the parts of a scientific name; None for what is none, such as an English name.

    Example:
        >>> name = parse_scientific_name("Motacilla alba yarrellii Gould, 1837")
        >>> name.species, name.epithet, name.authorship, name.rank
        ('Motacilla alba', 'yarrellii', 'Gould, 1837', 'subspecies')
        >>> parse_scientific_name("Spinus tristis (Linnaeus, 1758)").species, parse_scientific_name("Blue Jay")
        ('Spinus tristis', None)
        >>> parse_scientific_name("Anas platyrhynchos x acuta").species
        'Anas platyrhynchos \u00d7 Anas acuta'
    """
    plain = " ".join(unicodedata.normalize("NFC", text).replace("_", " ").split())
    if _HYBRID_SIGN.search(plain):
        return _parse_hybrid(plain)
    words = plain.split()
    if not words or not _GENUS.fullmatch(words[0]):
        return None
    rest = words[1:]
    if rest and re.fullmatch(r"\([A-Z][a-z]+\)", rest[0]) and len(rest) > 1 and _is_epithet(rest[1]):
        rest = rest[1:]  # a subgenus
    if _is_left_open(rest):
        return ScientificName(words[0], is_open=True, rank="genus")
    if not rest or not _is_epithet(rest[0]):
        return _parse_higher(words[0], rest)
    epithet, rank, behind = _split_lower_rank(rest[1:])
    author = _find_authorship(behind, is_joined="_" in text)
    if author is None:
        return None
    return ScientificName(f"{words[0]} {rest[0]}", epithet, author or None, rank)


def _is_left_open(rest: list[str]) -> bool:
    """Tell whether what follows a genus leaves the species open: `sp.`, `cf. canus`, `argentatus?`, `corone/cornix`."""
    if not rest:
        return False
    if rest[0].startswith("?") or rest[-1] == "(?)":
        return True
    is_choice = all(_is_epithet(part) for part in rest[0].rstrip("?").split("/")) and ("/" in rest[0] or "?" in rest[0])
    return is_choice or bool(_OPEN.match(rest[0])) or (_is_epithet(rest[0]) and bool(_OPEN.match(" ".join(rest[1:2]))))


def _parse_higher(word: str, rest: list[str]) -> ScientificName | None:
    """Return the name of a genus or above, which is one word and perhaps its author, with a year or in parentheses."""
    author = " ".join(rest)
    if author and not _IS_SURELY_AUTHOR.search(author):
        return None
    rank = "family" if word.endswith("idae") else "order" if word.endswith("iformes") else "genus"
    return ScientificName(word, None, author or None, rank)


def _parse_hybrid(plain: str) -> ScientificName | None:
    parts = [part.strip() for part in _HYBRID_SIGN.split(plain) if part.strip()]
    if len(parts) == 2 and _GENUS.fullmatch(parts[0]) and _is_epithet(parts[1].split()[0]):  # has a name of its own
        return ScientificName(f"{parts[0]} \u00d7 {parts[1].split()[0]}", rank="hybrid", is_hybrid=True)
    genus = ""
    names = []
    for part in parts:
        words = part.split()
        if _GENUS.fullmatch(words[0]):
            genus = words[0]
        elif genus and _is_epithet(words[0]):
            words = [genus, *words]
        elif genus and words[0] == f"{genus[0]}.":
            words = [genus, *words[1:]]
        else:
            return None
        parsed = parse_scientific_name(" ".join(words))
        if parsed is None:
            return None
        names.append(parsed.species)
    return ScientificName(" \u00d7 ".join(names), rank="hybrid", is_hybrid=True) if names else None


def _split_lower_rank(words: list[str]) -> tuple[str | None, str, str]:
    """Return the epithet below the species, its rank, and the author; the last epithet counts."""
    epithet, rank, start = None, "species", 0
    for index, word in enumerate(words):
        if word in _MARKERS and index + 1 < len(words) and _is_epithet(words[index + 1]):
            epithet, rank, start = words[index + 1], _MARKERS[word], index + 2
        elif index == start and epithet is None and _is_epithet(word):
            epithet, rank, start = word, "subspecies", index + 1
        elif index == start and epithet is None and "/" in word and all(map(_is_epithet, word.split("/"))):
            start = index + 1  # one of several subspecies
    return epithet, rank, " ".join(words[start:])


def _is_epithet(word: str) -> bool:
    return bool(_EPITHET.fullmatch(word)) and word not in _NO_EPITHETS


def _find_authorship(text: str, *, is_joined: bool) -> str | None:
    """Return the author and year behind a name, without notes; empty for none, None where it is something else."""
    author = _SENSE.sub("", text).strip()
    while not _is_authorship(author, is_joined=is_joined) and _NOTE.search(author):
        author = _NOTE.sub("", author)
    if not author or _is_authorship(author, is_joined=is_joined):
        return re.sub(r"\s+\[[^\[\]]*\]$", "", author)
    return None


def _is_authorship(text: str, *, is_joined: bool) -> bool:
    """Tell whether a text may be an author and a year.

    In a name joined by underscores it needs the year or parentheses: `Red_winged_Blackbird` is an English name.
    """
    if is_joined and not _IS_SURELY_AUTHOR.search(text):
        return False
    words = re.findall(r"[^\W\d_]+", text)
    return bool(words) and all(word[0].isupper() or word in _PARTICLES or len(word) <= 2 for word in words)


def normalize_rank(text: str) -> str:
    """Return a rank in small letters, of one spelling."""
    plain = text.strip().lower().rstrip(".")
    return _RANK_WORDS.get(re.sub(r"[^a-z]", "", plain), plain)


def is_above_species(rank: str) -> bool:
    """Tell whether a rank is that of several species."""
    return normalize_rank(rank) in (
        *("genus", "subgenus", "family", "subfamily", "superfamily", "tribe", "order", "suborder", "class", "phylum"),
        *("kingdom", "domain", "spuh", "slash", "unranked", "species aggregate"),
    )
