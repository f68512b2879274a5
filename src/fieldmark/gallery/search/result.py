"""What a search answers: its hits, and whether the collection holds the query's class at all."""

import textwrap
from dataclasses import asdict, dataclass, field

from fieldmark.types import Medium


@dataclass(frozen=True, slots=True)
class RankedHit:
    """One item, or one segment, that a search found.

    Args:
        rank: Counted from 1.
        score: Cosine similarity; larger is nearer. Of several queries, the mean.
        probability: That the hit is of the query's class, where the gallery holds that class at all; None where nothing
            could be calibrated.
        margin: How much nearer the hit's class is than the nearest other class, in score units, among the hit's
            medium; below zero for a hit of another class than the nearest. None where there is no other class.
        look_alike: That other class.
        text: The text of a text item, where the gallery holds it.
    """

    rank: int
    score: float
    probability: float | None
    item_id: str
    medium: Medium
    class_name: str | None
    set_name: str | None
    group: str | None
    path: str | None
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    source: str | None
    license: str | None
    margin: float | None
    look_alike: str | None

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {**asdict(self), "medium": self.medium.value}


UNLIKELY = 1 / 3
"""Below this, two to one against, a class is "probably" not there; up to the threshold of an answer, "perhaps" not."""


@dataclass(frozen=True, slots=True)
class CollectionAnswer:
    """Whether the collection holds the query's class.

    Args:
        probability: That it does, where as many queries are of a class that it lacks as of one that it holds.
        threshold: From here on the answer is "likely".
    """

    probability: float
    threshold: float

    @property
    def is_likely(self) -> bool:
        """Whether the class is taken to be there."""
        return self.probability >= self.threshold

    @property
    def is_unlikely(self) -> bool:
        """Whether it is taken to be missing."""
        return self.probability < min(UNLIKELY, self.threshold)

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "probability": self.probability,
            "is_likely": self.is_likely,
            "is_unlikely": self.is_unlikely,
            "threshold": self.threshold,
        }


@dataclass(frozen=True, slots=True)
class Marks:
    """Which hits a person found right, and which wrong."""

    relevant: frozenset[str] = frozenset()
    irrelevant: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, best first.

    Args:
        media: Of the queries, in their order.
        collection: None where nothing could be calibrated.
        class_name: The class that a text query names, if any.
        encode_seconds: What reading the queries took.
        rank_seconds: What the rest took.
    """

    media: tuple[Medium, ...]
    hits: tuple[RankedHit, ...]
    collection: CollectionAnswer | None = None
    class_name: str | None = None
    encode_seconds: float = field(default=0.0, compare=False)
    rank_seconds: float = field(default=0.0, compare=False)

    @property
    def medium(self) -> Medium:
        """Of the first query."""
        return self.media[0]

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "query": {
                "medium": self.medium.value,
                "media": [medium.value for medium in self.media],
                "class_name": self.class_name,
            },
            "collection": None if self.collection is None else self.collection.to_json(),
            "hits": [hit.to_json() for hit in self.hits],
        }

    def to_text(self) -> str:
        """Whether the class is there, then one line for each hit with its moment and its margin over a look-alike."""
        lines = []
        if self.class_name is not None:
            lines.append(f"the text names {self.class_name}")
        if self.collection is not None and not self.collection.is_likely:
            doubt = "probably" if self.collection.is_unlikely else "perhaps"
            chance = _percent(self.collection.probability).strip()
            lines.append(f"{doubt} not in this collection ({chance} likely that it is)")
            if self.hits:
                lines.append("the nearest that it has; their percentages are for the case that it is there:")
        if not self.hits:
            return "\n".join([*lines, "nothing found"])
        width = max(len(hit.class_name or "-") for hit in self.hits)
        return "\n".join([*lines, *(_line(hit, width) for hit in self.hits)])


def _line(hit: RankedHit, width: int) -> str:
    probability = "   -" if hit.probability is None else _percent(hit.probability)
    why = "" if hit.margin is None else f"  ({hit.margin:+.3f} to {hit.look_alike})"
    name = f"{hit.class_name or '-':<{width}}"
    return f"{hit.rank:>3}  {probability}  {hit.score:.3f}  {hit.medium:<5}  {name}  {_place(hit)}{why}"


def _percent(share: float) -> str:
    """In four places; only certainty is called 0 % or 100 %."""
    if 0 < share < 0.01:
        return " <1%"
    return ">99%" if 0.99 < share < 1 else f"{share:4.0%}"


def _place(hit: RankedHit) -> str:
    """Where the hit is: the moment and the file, or the beginning of the text."""
    if hit.text is not None:
        return textwrap.shorten(hit.text, 80, placeholder=" ...")
    moment = "" if hit.start_seconds is None else f"  at {hit.start_seconds:.1f}-{hit.end_seconds:.1f} s"
    return f"{hit.path or hit.item_id}{moment}"
