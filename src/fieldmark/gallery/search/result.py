"""The result of a search: its hits, whether the collection holds the query's class, and files for other programs."""

import csv
import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, assert_never

from fieldmark.errors import RequestError, list_first
from fieldmark.gallery.naming.name_offers import NameOffer
from fieldmark.gallery.naming.typed_names import NameUse
from fieldmark.gallery.search.description import DescriptionAnswer, ShownMarks
from fieldmark.gallery.search.records import get_record_id
from fieldmark.records.darwin_core import (
    DarwinRecord,
    Identification,
    collect_records,
    disarm_formula,
    write_darwin_csv,
    write_inaturalist_csv,
)
from fieldmark.records.licenses import normalize_license
from fieldmark.records.ranges import Sighting
from fieldmark.segment_table import FACTS
from fieldmark.subject import Subject, get_words
from fieldmark.types import Hit, Item, Medium

# ---------------------------------------------------------------- the result

_HIT_KEYS = (
    *("rank", "score", "probability", "item_id", "medium", "class_name", "set_name", "group", "path"),
    *("start_seconds", "end_seconds", "text", "source", "license", "margin", "look_alike"),
    *("called", "called_probability", "matched", "record_id", "unlikely", "is_compared"),
)
"""The first keys of a hit, in this order; all other facts of its item follow."""


def describe_hit(hit: Hit) -> dict[str, object]:
    """Return the plain values of a hit, by key: how it ranks, and all facts of its item."""
    values: dict[str, object] = {**hit._asdict(), **describe_facts(hit.item), "record_id": get_record_id(hit.item)}
    del values["item"]
    return {key: values.pop(key) for key in _HIT_KEYS} | values


def describe_facts(item: Item) -> dict[str, object]:
    """Return the plain values of an item's facts, by column; those of unknown columns of its manifest as `facts`."""
    values: dict[str, object] = {}
    for fact in FACTS:
        value = getattr(item, fact.name)
        if fact.name == "extra":
            values["facts"] = dict(value)
        else:
            values[fact.column] = None if value is None else fact.encode(value)
    return {**values, "license_form": None if item.license is None else normalize_license(item.license)}


LIKELY = 1 / 2
"""From this probability on a hit is an answer; those below it are neighbors."""
UNLIKELY = 1 / 3
"""Below this, two to one against, a class is "probably" not there; up to the threshold of an answer, "perhaps" not."""


@dataclass(frozen=True, slots=True)
class OpenSetAnswer:
    """The answer to whether the collection holds the query's class.

    Args:
        probability: That it does, where as many queries are of a class that it lacks as of one that it holds.
        threshold: From here on the answer is "likely".
        can_tell: False where the class is not likely there, but nothing says that it is missing either.
    """

    probability: float
    threshold: float
    can_tell: bool = True

    json_keys: ClassVar = (
        "probability",
        "is_likely",
        "is_unlikely",
        "threshold",
        "can_tell",
    )

    @property
    def is_likely(self) -> bool:
        """True where the class is taken to be there."""
        return self.probability >= self.threshold

    @property
    def is_unlikely(self) -> bool:
        """True where it is taken to be missing."""
        return self.can_tell and self.probability < min(UNLIKELY, self.threshold)


@dataclass(frozen=True, slots=True)
class LikelyClass:
    """A class, or a species by what encoders call items, that a query may show, and how probable that is."""

    name: str
    probability: float

    json_keys: ClassVar = ("name", "probability")


@dataclass(frozen=True, slots=True)
class QueryPart:
    """The answer to one of several queries that show different classes, as if it had been asked alone."""

    medium: Medium
    likeliest: tuple[LikelyClass, ...]
    collection: OpenSetAnswer | None

    json_keys: ClassVar = ("medium", "likeliest", "collection")


@dataclass(frozen=True, slots=True)
class ReadName:
    """A name that was read in a text, and its class here; None where the gallery has none that is surely this."""

    name: str
    class_name: str | None

    json_keys: ClassVar = ("name", "class_name")


@dataclass(frozen=True, slots=True)
class MarkedItems:
    """The hits that a person marked right, and those marked wrong; `check` tells whether some are both."""

    relevant: frozenset[str] = frozenset()
    irrelevant: frozenset[str] = frozenset()

    def check(self) -> None:
        """Check that no item is marked both ways.

        Raises:
            RequestError: Some are.
        """
        both = sorted(self.relevant & self.irrelevant)
        if both:
            raise RequestError(
                f"Some items are marked both right and wrong: {list_first(both)}. A mark is one or the other. "
                "Choose one of the two marks for each.",
                kind="contradictory_marks",
            )


_LISTING = "items that meet the conditions, in no order of likeness: there is nothing to compare them with"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, best first.

    Args:
        media: Of the queries, in their order.
        collection: None where nothing could be calibrated.
        class_name: The class, or the species without a class, that a text query names, if any.
        species_name: The species that the text names, where its class goes by a name that is known by its items alone.
        is_by_encoders: Whether probabilities are what the encoders' own scores say, rather than fitted on labels.
        is_called: Whether the answer for the collection is about what encoders call its items, for want of labels.
        left_out: Media that the query cannot be compared with.
        names: All names that were read in the text; `name_use` tells how.
        offered: Names of the gallery that the text may mean, where it is none as it stands.
        likeliest: The classes that the queries most likely show; empty where a text names one.
        parts: What each query shows alone, where they contradict each other; empty where they do not.
        absent_media: Media that were wanted and have nothing of the named class, though others have.
        is_understood: False where the words of a text mean nothing to the encoder; there are no hits then.
        is_listing: Whether the hits are the items that meet conditions, with nothing to rank them by.
        is_on_topic: False where the words of a text speak of nothing that the gallery's texts and names speak of; its
            hits are near, but no answer.
        notes: What a person should know of the queries, such as a file whose name is not what it holds.
        seen: When and where the query was made, where that was asked for; see `judge_result`.
        unlikely: Why the species that a text names is unlikely there and then.
        description: What was read in a text that describes; None for other queries, and without profiles of marks.
        encode_seconds: What reading the queries took.
        rank_seconds: What the rest took.
    """

    media: tuple[Medium, ...]
    hits: tuple[Hit, ...]
    collection: OpenSetAnswer | None = None
    class_name: str | None = None
    species_name: str | None = None
    is_by_encoders: bool = False
    is_called: bool = False
    left_out: tuple[Medium, ...] = ()
    names: tuple[ReadName, ...] = ()
    name_use: NameUse | None = None
    offered: tuple[NameOffer, ...] = ()
    likeliest: tuple[LikelyClass, ...] = ()
    parts: tuple[QueryPart, ...] = ()
    absent_media: tuple[Medium, ...] = ()
    is_understood: bool = True
    is_on_topic: bool = True
    is_listing: bool = False
    notes: tuple[str, ...] = ()
    subject: Subject = Subject.THINGS
    seen: Sighting | None = None
    unlikely: str | None = None
    description: DescriptionAnswer | None = None
    encode_seconds: float = field(default=0.0, compare=False)
    rank_seconds: float = field(default=0.0, compare=False)

    @property
    def medium(self) -> Medium:
        """Of the first query."""
        return self.media[0]

    @property
    def likely_count(self) -> int | None:
        """The number of first hits that are as likely as not of the query's class; None without probabilities."""
        chances = [hit.probability for hit in sorted(self.hits, key=lambda hit: hit.rank)]
        if not chances or any(chance is None for chance in chances):
            return None
        return next((rank for rank, chance in enumerate(chances) if (chance or 0) < LIKELY), len(chances))

    @property
    def is_without_name(self) -> bool:
        """True where a name was read that no class and no hit surely bears, and nothing tells that it is missing."""
        is_open = self.class_name is not None and self.collection is None and bool(self.hits)
        return is_open and not any((hit.probability or 0) >= LIKELY for hit in self.hits)

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "query": {
                "medium": self.medium,
                "media": self.media,
                "class_name": self.class_name,
                "species_name": self.species_name,
                "names": self.names,
                "name_use": self.name_use,
                "is_understood": self.is_understood,
                "is_on_topic": self.is_on_topic,
                "is_listing": self.is_listing,
                "notes": self.notes,
            },
            "offered": self.offered,
            "likeliest": self.likeliest,
            "parts": self.parts,
            "absent_media": self.absent_media,
            "subject": self.subject,
            "collection": self.collection,
            "is_by_encoders": self.is_by_encoders,
            "is_called": self.is_called,
            "likely_count": self.likely_count,
            "left_out": self.left_out,
            "seen": None if self.seen is None else self.seen.to_text(),
            "unlikely": self.unlikely,
            "description": None if self.description is None else self.description.json_values(),
            "hits": [describe_hit(hit) for hit in self.hits],
        }

    def to_text(self, *, explains: bool = False, folder: Path | None = None) -> str:
        """Return as text what was read, whether the class is there, what it is likeliest, and each hit with its moment.

        Args:
            explains: Whether each hit also has its score and its margin over a look-alike.
            folder: What is below it is written as seen from it; None writes whole paths.
        """
        words = get_words(self.subject)
        lines = [
            *self.notes,
            *([_LISTING] if self.is_listing else []),
            *self._describe_name(),
            *self._describe_marks(),
            *self._describe_seen(),
            *self._describe_collection(),
            *self._describe_likeliest(),
        ]
        if self.left_out:
            lines.append(f"left out, as no encoder compares it with the query: {', '.join(self.left_out)}")
        if not self.hits:
            nothing = [] if self.absent_media or not self.is_understood else ["nothing found"]
            return "\n".join([*lines, *nothing])
        if self.is_by_encoders and self.collection is not None and self.collection.is_likely:
            lines.append("percentages are the encoders' own, since too little is labeled to check them")
        width = max(len(_name(hit)) for hit in self.hits)
        shows = {} if self.description is None else {each.item_id: each for each in self.description.hits}
        shown = [
            _line(hit, width, explains=explains, folder=folder) + _describe_shown(shows.get(hit.item_id))
            for hit in self.hits
        ]
        is_ranked = all(one.rank < other.rank for one, other in zip(self.hits, self.hits[1:], strict=False))
        if is_ranked and self.likely_count is not None and 0 < self.likely_count < len(shown):
            shown.insert(self.likely_count, f"---- hits below this line are probably other {words.many} ----")
        return "\n".join([*lines, *shown])

    def _describe_name(self) -> Iterator[str]:
        """Yield what the text names, or might."""
        if not self.is_understood:
            yield "these words are not understood: nothing that reads texts here knows most of them"
        if not self.is_on_topic:
            yield "probably not here: your words speak of nothing that the texts and names here do; nearest hits:"
        matched = [hit.matched for hit in self.hits if hit.matched is not None]
        if matched:
            fact = matched[0].replace("path", "file name").replace("_", " ")
            if len(matched) == 1:
                yield f"one item has this {fact}; what follows it is like it, or like the text"
            else:
                yield f"{len(matched)} items have this {fact}; what follows them is like them, or like the text"
        if len(self.names) > 1 or self.name_use is NameUse.CORRECTED:
            names = " or ".join(self._call(each) for each in self.names)
            yield f"read as {names}" if self.name_use is NameUse.CORRECTED else f"the text names {names}"
        elif self.species_name is not None:
            yield f'the text names {self.species_name}, here "{self.class_name}"'
        elif self.class_name is not None:
            yield f"the text names {self.class_name}"
        yield from self._describe_other_names()

    def _describe_seen(self) -> Iterator[str]:
        """Yield the place and date by which hits were judged."""
        if self.seen is None:
            return
        if not self.seen.is_known:
            yield "neither place nor date of the query is known, so no species is called unlikely"
            return
        count = sum(hit.unlikely is not None for hit in self.hits)
        yield f"{count} of {len(self.hits)} hits are of species that are unlikely there and then: {self.seen.to_text()}"
        if self.unlikely is not None:
            yield f"the species that the text names is unlikely: {self.unlikely}"

    def _describe_marks(self) -> Iterator[str]:
        """Yield what was read in a description, what was not, and what to add to it."""
        answer = self.description
        if answer is None or not (answer.marks or answer.unread):
            return
        if answer.marks:
            yield f"marks read: {', '.join(each.mark for each in answer.marks)}"
        else:
            yield "no mark was read"
        if answer.unread:
            yield f"words that name no known mark: {', '.join(answer.unread)}"
        if answer.exclusive:
            yield f"named and denied at once: {', '.join(answer.exclusive)}"
        if answer.question is not None:
            yield f"one more mark would tell most: {answer.question.text}"

    def _describe_collection(self) -> Iterator[str]:
        """Yield whether the collection holds the species, where that is in doubt."""
        answer, words = self.collection, get_words(self.subject)
        if self.is_without_name:
            yield f"nothing here is surely {self.class_name}; nearest hits:"
        if answer is None or answer.is_likely:
            return
        if self.is_called:
            yield f"nothing here is called {self.class_name}, by the encoders' own scores"
            nearest = f"nearest hits, probably of other {words.many}:"
        elif not answer.can_tell:
            yield f"cannot tell whether the {words.one} is in this collection"
            nearest = "nearest hits; their percentages assume that it is there:"
        else:
            doubt = "probably" if answer.is_unlikely else "perhaps"
            yield f"{doubt} not in this collection ({_percent(answer.probability).strip()} likely that it is)"
            nearest = f"nearest hits; their percentages assume that the {words.one} is there:"
        if self.hits:
            yield nearest

    def _describe_likeliest(self) -> Iterator[str]:
        """Yield the classes that the queries most likely show, together or each alone."""
        if self.parts:
            yield f"the queries show different {get_words(self.subject).many}:"
        for number, part in enumerate(self.parts, start=1):
            yield f"  {number}. {part.medium:<5}  {_list_classes(part.likeliest)}"
        if self.likeliest:
            yield f"most likely: {_list_classes(self.likeliest)}"

    def _describe_other_names(self) -> Iterator[str]:
        """Yield the names that the text may mean instead, and the media that have nothing of the named class."""
        called = [self._call(each) for each in self.names]
        offered = [each.name for each in self.offered if each.name not in called]
        if offered and (called or not self.is_understood):
            yield f"did you mean {' or '.join(offered)}?"
        elif offered:
            yield f"names like it: {', '.join(offered)}"
        if self.absent_media:
            named = " or ".join(called) or self.class_name
            surely = "surely " if self.is_by_encoders else ""
            yield f"no {' or '.join(self.absent_media)} {surely}of {named} here"

    def _call(self, name: ReadName) -> str:
        return name.class_name or name.name


def _list_classes(likeliest: Sequence[LikelyClass]) -> str:
    return "; ".join(f"{each.name} {_percent(each.probability).strip()}" for each in likeliest) or "nothing known"


def _describe_shown(shown: ShownMarks | None) -> str:
    """The asked marks that a hit shows and lacks."""
    if shown is None or not (shown.shows or shown.lacks):
        return ""
    told = [*(f"+{name}" for name in shown.shows), *(f"-{name}" for name in shown.lacks)]
    return f"  {{{', '.join(told)}}}"


def _line(hit: Hit, width: int, *, explains: bool, folder: Path | None) -> str:
    """One hit with its probability, or, where there is none, its score; both and the margin where it explains."""
    score = f"{hit.score:.3f}" if hit.is_compared else ""
    number = f"{score:>5}" if hit.probability is None else f"{_percent(hit.probability):>5}"
    why = ""
    if explains and hit.is_compared:
        margin = "" if hit.margin is None else f", {hit.margin:+.3f} to {hit.look_alike}"
        why = f"  (score {score}{margin})"
    name = f"{_name(hit):<{width}}"
    record = _describe_record(hit.item)
    doubt = "" if hit.unlikely is None else f"  UNLIKELY: {hit.unlikely}"
    return f"{hit.rank:>3}  {number}  {hit.medium:<5}  {name}  {_place(hit, folder)}{record}{why}{doubt}"


def _describe_record(item: Item) -> str:
    """The number, date and place of an item's record, in brackets; nothing where there is none."""
    place = ", ".join(
        filter(None, (item.place and textwrap.shorten(item.place, 40, placeholder=" ..."), item.country_code))
    )
    told = "; ".join(filter(None, (item.catalog_number, item.event_date, place)))
    return f"  [{told}]" if told else ""


def _name(hit: Hit) -> str:
    """The class of a hit, or what the encoder calls it, in parentheses."""
    if hit.class_name is None and hit.called is not None and hit.called_probability is not None:
        return f"({hit.called} {_percent(hit.called_probability).strip()})"
    return hit.class_name or "-"


def _percent(share: float) -> str:
    """In four places; only certainty is called 0 % or 100 %."""
    if 0 < share < 0.01:
        return " <1%"
    return ">99%" if 0.99 < share < 1 else f"{share:4.0%}"


def _place(hit: Hit, folder: Path | None) -> str:
    """The moment and the file of a hit, or the beginning of its text."""
    if hit.item.text is not None:
        return textwrap.shorten(hit.item.text, 80, placeholder=" ...")
    moment = "" if hit.start_seconds is None else f"  at {hit.start_seconds:.1f}-{hit.end_seconds:.1f} s"
    path = hit.item.path
    if path is not None and folder is not None and path.is_relative_to(folder):
        path = path.relative_to(folder)
    return f"{path or hit.item_id}{moment}"


# ---------------------------------------------------------------- files of other programs

_HIGHEST_HZ = 15_000.0
"""Raven wants a box; a search knows no band, so the box spans 0 Hz to this, the band that BirdNET hears."""
_UNKNOWN = "unknown"
"""The label of a moment without a class: readers of selections and of labels refuse an empty one."""


class ExportFormat(StrEnum):
    """The formats of exported hits."""

    CSV = "csv"
    RAVEN = "raven"
    AUDACITY = "audacity"
    DARWIN_CORE = "dwc"
    INATURALIST = "inaturalist"


ARCHIVE_FORMAT = "dwca"
"""The format of hits as a Darwin Core Archive, which is no text; see `collect_found`."""


def export_marks(found: Sequence[Hit | Item], *, format: ExportFormat) -> str:  # noqa: A002 - the faces' word
    """Return the text of a file with these hits or items, in their order.

    Raven and Audacity mark moments of sounds and of videos: what has no moment is left out.
    """
    match format:
        case ExportFormat.CSV:
            return _csv(found)
        case ExportFormat.RAVEN:
            return _raven(found)
        case ExportFormat.AUDACITY:
            return _audacity(found)
        case ExportFormat.DARWIN_CORE:
            return write_darwin_csv(collect_found(found))
        case ExportFormat.INATURALIST:
            return write_inaturalist_csv(map(_item_of, found))
        case _:
            assert_never(format)


def _csv(found: Iterable[Hit | Item]) -> str:
    """The keys of a hit's JSON as columns, then the unknown columns of the manifest; an item has those it knows."""
    rows = [_describe(each) for each in found]
    columns = [key for key in _HIT_KEYS if key != "is_compared"]
    for row in rows:
        if not row.pop("is_compared", True):
            row["score"] = None
    facts = [row.pop("facts") for row in rows]
    columns = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    column_by_fact: dict[str, str] = {}
    for name in dict.fromkeys(name for each in facts for name in each):
        column = name
        while column in columns:  # a manifest may have a column `score` of its own
            column = f"fact_{column}"
        columns.append(column)
        column_by_fact[name] = column
    for row, each in zip(rows, facts, strict=True):
        row |= {column_by_fact[name]: value for name, value in each.items()}
    return _table(columns, ([row.get(column) for column in columns] for row in rows), separator=",")


def _describe(each: Hit | Item) -> dict[str, Any]:
    if isinstance(each, Hit):
        return describe_hit(each)
    return {**describe_facts(each), "start_seconds": each.start_seconds, "end_seconds": each.end_seconds}


def _raven(found: Iterable[Hit | Item]) -> str:
    """A selection table of Raven Pro: one selection for each moment, times within its own file."""
    names = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)")
    more = ("Begin Path", "File Offset (s)", "Species", "Score")
    rows: list[tuple[object, ...]] = []
    for each in _moments(found):
        start, end = f"{each.start_seconds:.6f}", f"{each.end_seconds:.6f}"
        score = f"{each.score:.4f}" if isinstance(each, Hit) and each.is_compared else ""
        box = (len(rows) + 1, "Spectrogram 1", 1, start, end, 0.0, _HIGHEST_HZ)
        rows.append((*box, _item_of(each).path or "", start, each.class_name or _UNKNOWN, score))
    return _table((*names, *more), rows, separator="\t")


def _audacity(found: Iterable[Hit | Item]) -> str:
    """A label file of Audacity: start, end, label, without a header; the label names the file."""
    lines = []
    for each in _moments(found):
        label = _tab_cell(f"{each.class_name or _UNKNOWN} [{Path(_item_of(each).path or each.item_id).name}]")
        lines.append(f"{each.start_seconds:.6f}\t{each.end_seconds:.6f}\t{label}\n")
    return "".join(lines)


def collect_found(found: Sequence[Hit | Item]) -> list[DarwinRecord]:
    """Return the records of some hits or items; what fieldmark says of a hit is an identification, and no fact."""
    named = []
    for each in found:
        if isinstance(each, Hit) and each.class_name is None and each.called is not None:
            named.append(Identification(each.item_id, each.called, each.called_probability))
        elif isinstance(each, Hit) and each.probability is not None:
            named.append(Identification(each.item_id, "", each.probability))
    data_sets = {each.item_id: each.set_name for each in found if isinstance(each, Hit) and each.set_name}
    return collect_records(map(_item_of, found), identifications=named, data_sets=data_sets)


def _item_of(each: Hit | Item) -> Item:
    return each.item if isinstance(each, Hit) else each


def _moments(found: Iterable[Hit | Item]) -> Iterable[Hit | Item]:
    timed = (Medium.AUDIO, Medium.VIDEO)
    return (e for e in found if e.medium in timed and e.start_seconds is not None and e.end_seconds is not None)


def _table(names: Sequence[str], rows: Iterable[Sequence[object]], *, separator: str) -> str:
    text = io.StringIO()
    if separator == ",":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(["" if value is None else disarm_formula(str(value)) for value in row] for row in rows)
    else:
        for row in (names, *rows):
            text.write(separator.join(_tab_cell(str(value)) for value in row) + "\n")
    return text.getvalue()


def _tab_cell(text: str) -> str:
    """A cell that reads the same whether a program knows quotes or not: none begins with one."""
    line = _one_line(text)
    return line.replace('"', "'") if line.startswith('"') else line


def _one_line(text: str) -> str:
    return " ".join(text.split())
