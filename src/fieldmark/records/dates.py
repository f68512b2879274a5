"""Dates of records: ISO 8601 as in Darwin Core, from a year to an interval; and dates as spreadsheets write them."""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from fieldmark.errors import RequestError

_PART = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:[T ](.+))?")
_ORDINAL = re.compile(r"(\d{4})-(\d{3})")
_SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})")
_SHORT_END = re.compile(r"\d{1,2}(-\d{1,2})?([T ].+)?|T?\d{2}:\d{2}.*")
_MONTHS = {name.lower(): number for names in (calendar.month_name, calendar.month_abbr)
           for number, name in enumerate(names) if name}  # fmt: skip
_MONTH_WORDS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAY_FIRST = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})")
_SIDES = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})")
_CLOCK = re.compile(
    r"(?P<day>.+?)[ T](?P<hour>\d{1,2}):(?P<rest>\d{2}(:\d{2}(\.\d+)?)?)"
    r" ?(?P<half>[AaPp]\.?[Mm]\.?)?(?P<zone> ?(UTC|GMT|Z|[+-]\d{2}:?\d{2}))?",
)
_WORDED = (
    re.compile(r"(?P<day>\d{1,2})(?:st|nd|rd|th)?[ .-]+(?P<month>[A-Za-z]{3})[a-z]*\.?[ ,.-]+(?P<year>\d{4})"),
    re.compile(r"(?P<month>[A-Za-z]{3})[a-z]*\.?[ -]+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?[ -]+(?P<year>\d{4})"),
    re.compile(r"(?P<month>[A-Za-z]{3})[a-z]*\.?[ -]+(?P<year>\d{4})"),
)


@dataclass(frozen=True, slots=True)
class DateSpan:
    """The days on which something was, as far as a date tells: a year stands for all of its days."""

    first: date
    last: date

    @property
    def months(self) -> frozenset[int]:
        """The months, from 1 to 12, that some of its days are in."""
        begin, end = self.first.year * 12 + self.first.month - 1, self.last.year * 12 + self.last.month - 1
        return frozenset(month % 12 + 1 for month in range(begin, min(end, begin + 11) + 1))

    def is_within(self, other: "DateSpan") -> bool:
        """Tell whether all its days are days of another span."""
        return other.first <= self.first and self.last <= other.last


def parse_event_date(text: str) -> DateSpan | None:
    """Return the days that an ISO 8601 date or interval stands for; None for what is no date, or cannot be one.

    A day or month of 0 is unknown. The days are those that are written, whatever the time zone. What has not come yet
    cannot be the date of a record.

    Example:
        >>> parse_event_date("2001-04-28/2001-05-03").months
        frozenset({4, 5})
        >>> parse_event_date("2000-02").last, parse_event_date("2001-02-30")
        (datetime.date(2000, 2, 29), None)
    """
    text = text.strip()
    if slashed := _SLASHED.fullmatch(text):
        text = "-".join(slashed.groups())
    start, slash, end = text.partition("/")
    first = _parse_part(start.strip())
    last = _parse_part(_complete_end(start.strip(), end.strip())) if slash else first
    if first is None or last is None or first.first > last.last:
        return None
    if first.first > datetime.now(UTC).date() + timedelta(days=1):  # somewhere it is tomorrow already
        return None
    return DateSpan(first.first, last.last)


def _parse_part(text: str) -> DateSpan | None:
    """Return the days of a date without an interval."""
    try:
        if _ORDINAL.fullmatch(text):
            day = datetime.strptime(text, "%Y-%j").date()
            if day.year != int(text[:4]):  # day 366 of a year of 365
                return None
            return DateSpan(day, day)
        found = _PART.fullmatch(text)
        return None if found is None else _fill_span(*(int(part or 0) for part in found.groups()[:3]), clock=found[4])
    except ValueError:  # no such day, month or time
        return None


def _fill_span(year: int, month: int, day: int, *, clock: str | None) -> DateSpan | None:
    """Return the days of a date whose month or day may be 0, for unknown.

    Raises:
        ValueError: There is no such day or time.
    """
    if clock is not None:
        time.fromisoformat(clock.strip().replace("Z", "+00:00"))
    if (day and not month) or (clock is not None and not day):
        return None
    if not month:
        return DateSpan(date(year, 1, 1), date(year, 12, 31))
    if not day:
        return DateSpan(date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1]))
    return DateSpan(date(year, month, day), date(year, month, day))


def _complete_end(start: str, end: str) -> str:
    """Return the end of an interval with what it shares with the start: `04-28/05-03`, or `/07` for the same month."""
    if not _SHORT_END.fullmatch(end):
        return end
    own, *clock = re.split(r"[T ]", end, maxsplit=1)
    if ":" in own or end.startswith("T"):  # a time of the same day
        return f"{start[:10]}T{end.removeprefix('T')}"
    parts, given = re.split(r"[T ]", start, maxsplit=1)[0].split("-"), own.split("-")
    return "T".join(["-".join([*parts[: max(0, len(parts) - len(given))], *given]), *clock])


def normalize_date(text: str, *, is_day_first: bool | None = None) -> str | None:
    """Return a date of a spreadsheet as ISO 8601; None where it is no date, or may be two.

    Args:
        is_day_first: Whether the day comes first where slashes separate numbers; None where nothing tells.

    Example:
        >>> normalize_date("4.5.2019"), normalize_date("May 4, 2019"), normalize_date("2019-05-04T06:30")
        ('2019-05-04', '2019-05-04', '2019-05-04T06:30')
        >>> normalize_date("13/05/2019"), normalize_date("4/5/2019")
        ('2019-05-13', None)
        >>> normalize_date("2019-05-04 10:30:00 UTC"), normalize_date("2019-05-04 06:30 PM"), normalize_date("20190504")
        ('2019-05-04T10:30:00Z', '2019-05-04T18:30', '2019-05-04')
    """
    text = _write_clock(" ".join(text.split()))
    if re.fullmatch(r"(1[5-9]|20)\d{6}", text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    if parse_event_date(text) is not None:
        return re.sub(r"(-00)+$", "", text)
    found = {each for each in _read_spreadsheet_date(text, is_day_first=is_day_first) if parse_event_date(each)}
    return found.pop() if len(found) == 1 else None


def _write_clock(text: str) -> str:
    """Return a date whose time of day is written as ISO 8601 has it: `6:30 PM` and `10:30:00 UTC` are not."""
    found = _CLOCK.fullmatch(text)
    if found is None or ("/" in found["day"] and found["day"].count("/") != 2):  # no time, or an interval
        return text
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            return text
        hour = hour % 12 + (12 if found["half"].upper().startswith("P") else 0)
    zone = re.sub(r"^(UTC|GMT|Z)$", "Z", (found["zone"] or "").strip().upper())
    day = "-".join(slashed.groups()) if (slashed := _SLASHED.fullmatch(found["day"])) else found["day"]
    return f"{day}{'T' if re.match(r'[0-9]{4}-', day) else ' '}{hour:02}:{found['rest']}{zone}"


def _read_spreadsheet_date(text: str, *, is_day_first: bool | None) -> Iterator[str]:
    """Yield the dates that a text may be."""
    timed = re.fullmatch(r"(.+) (\d{2}:\d{2}\S*)", text)
    text, after = (timed[1], f"T{timed[2]}") if timed else (text, "")
    if found := _DAY_FIRST.fullmatch(text):
        yield f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}{after}"
    if found := _SIDES.fullmatch(text):
        if is_day_first is not False:
            yield f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}{after}"
        if is_day_first is not True:
            yield f"{found[3]}-{int(found[1]):02}-{int(found[2]):02}{after}"
    for pattern in _WORDED:
        worded = pattern.fullmatch(text)
        if worded and worded["month"].lower() in _MONTH_WORDS:
            parts = worded.groupdict()
            day = f"-{int(parts['day']):02}" if "day" in parts else ""
            yield f"{parts['year']}-{_MONTH_WORDS[parts['month'].lower()]:02}{day}{after}"
            return


def join_date(year: str, month: str, day: str) -> str | None:
    """Return a date from cells of their own, as far as they are filled; None without a year, or where it is none."""
    parts = [each.strip().removesuffix(".0") for each in (year, month, day)]
    known = parts[: next((index for index, each in enumerate(parts) if each in ("", "0")), 3)]
    text = "-".join(each.zfill(4 if index == 0 else 2) for index, each in enumerate(known))
    return text if text and parse_event_date(text) else None


def parse_months(text: str) -> frozenset[int]:
    """Return the months that a text names.

    Raises:
        RequestError: It names none.

    Example:
        >>> sorted(parse_months("Nov-feb")), parse_months("5")
        ([1, 2, 11, 12], frozenset({5}))
    """
    first, _, last = text.partition("-")
    begin, end = (_read_month(part, text) for part in (first, last or first))
    return frozenset((begin - 1 + step) % 12 + 1 for step in range((end - begin) % 12 + 1))


def _read_month(part: str, text: str) -> int:
    name = part.strip().lower()
    number = _MONTHS.get(name) or (int(name) if re.fullmatch(r"\d{1,2}", name) else 0)
    if not 1 <= number <= 12:
        raise RequestError(
            f"'{text}' names no months. Give numbers from 1 to 12 or English names, such as 5, may or 11-2.",
            kind="bad_month",
        )
    return number


def list_month_ranges(wanted: frozenset[int]) -> frozenset[str]:
    """Return all ranges of months, as `write_month_range` writes them, that lie within some months."""
    ranges = (
        (first, [(first + step) % 12 + 1 for step in range(count)]) for first in range(12) for count in range(1, 13)
    )
    return frozenset(f"{months[0]}-{months[-1]}" for _, months in ranges if wanted.issuperset(months))


def write_month_range(span: DateSpan) -> str:
    """Return the months of a span as `first-last`, such as `12-1`; any twelve are `1-12`."""
    months = span.months
    return "1-12" if len(months) == 12 else f"{span.first.month}-{span.last.month}"
