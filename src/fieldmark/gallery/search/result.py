"""The result of a search: its hits, and whether the collection holds the query's class at all."""

import textwrap
from dataclasses import dataclass, field
from typing import ClassVar

from fieldmark.segment_table import FACTS
from fieldmark.types import Hit, Item, Medium

HIT_KEYS = (
    *("rank", "score", "probability", "item_id", "medium", "class_name", "set_name", "group", "path"),
    *("start_seconds", "end_seconds", "text", "source", "license", "margin", "look_alike"),
)
"""The first keys of a hit, in this order; all other facts of its item follow."""


def describe_hit(hit: Hit) -> dict[str, object]:
    """Return the plain values of a hit, by key: how it ranks, and all facts of its item."""
    values: dict[str, object] = {**hit._asdict(), **describe_facts(hit.item)}
    del values["item"]
    return {key: values.pop(key) for key in HIT_KEYS} | values


def describe_facts(item: Item) -> dict[str, object]:
    """Return the plain values of an item's facts, by column; those of unknown columns of its manifest as `facts`."""
    values: dict[str, object] = {}
    for fact in FACTS:
        value = getattr(item, fact.name)
        if fact.name == "extra":
            values["facts"] = dict(value)
        else:
            values[fact.column] = None if value is None else fact.encode(value)
    return values


UNLIKELY = 1 / 3
"""Below this, two to one against, a class is "probably" not there; up to the threshold of an answer, "perhaps" not."""


@dataclass(frozen=True, slots=True)
class CollectionAnswer:
    """The answer to whether the collection holds the query's class.

    Args:
        probability: That it does, where as many queries are of a class that it lacks as of one that it holds.
        threshold: From here on the answer is "likely".
    """

    probability: float
    threshold: float

    json_keys: ClassVar = (
        "probability",
        "is_likely",
        "is_unlikely",
        "threshold",
    )

    @property
    def is_likely(self) -> bool:
        """True where the class is taken to be there."""
        return self.probability >= self.threshold

    @property
    def is_unlikely(self) -> bool:
        """True where it is taken to be missing."""
        return self.probability < min(UNLIKELY, self.threshold)


@dataclass(frozen=True, slots=True)
class Marks:
    """The hits that a person marked right, and those marked wrong."""

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
    hits: tuple[Hit, ...]
    collection: CollectionAnswer | None = None
    class_name: str | None = None
    encode_seconds: float = field(default=0.0, compare=False)
    rank_seconds: float = field(default=0.0, compare=False)

    @property
    def medium(self) -> Medium:
        """Of the first query."""
        return self.media[0]

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "query": {"medium": self.medium, "media": self.media, "class_name": self.class_name},
            "collection": self.collection,
            "hits": [describe_hit(hit) for hit in self.hits],
        }

    def to_text(self) -> str:
        """Return as text whether the class is there, then each hit with its moment and its margin over a look-alike."""
        lines = []
        if self.class_name is not None:
            lines.append(f"the text names {self.class_name}")
        if self.collection is not None and not self.collection.is_likely:
            doubt = "probably" if self.collection.is_unlikely else "perhaps"
            chance = _percent(self.collection.probability).strip()
            lines.append(f"{doubt} not in this collection ({chance} likely that it is)")
            if self.hits:
                lines.append("nearest hits; their percentages assume that the species is there:")
        if not self.hits:
            return "\n".join([*lines, "nothing found"])
        width = max(len(hit.class_name or "-") for hit in self.hits)
        return "\n".join([*lines, *(_line(hit, width) for hit in self.hits)])


def _line(hit: Hit, width: int) -> str:
    probability = "   -" if hit.probability is None else _percent(hit.probability)
    why = "" if hit.margin is None else f"  ({hit.margin:+.3f} to {hit.look_alike})"
    name = f"{hit.class_name or '-':<{width}}"
    return f"{hit.rank:>3}  {probability}  {hit.score:.3f}  {hit.medium:<5}  {name}  {_place(hit)}{why}"


def _percent(share: float) -> str:
    """In four places; only certainty is called 0 % or 100 %."""
    if 0 < share < 0.01:
        return " <1%"
    return ">99%" if 0.99 < share < 1 else f"{share:4.0%}"


def _place(hit: Hit) -> str:
    """The moment and the file of a hit, or the beginning of its text."""
    if hit.item.text is not None:
        return textwrap.shorten(hit.item.text, 80, placeholder=" ...")
    moment = "" if hit.start_seconds is None else f"  at {hit.start_seconds:.1f}-{hit.end_seconds:.1f} s"
    return f"{hit.item.path or hit.item_id}{moment}"
