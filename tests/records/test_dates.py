"""Dates of records, as museums and spreadsheets write them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.records.dates import (
    DateSpan,
    join_date,
    list_month_ranges,
    normalize_date,
    parse_event_date,
    write_month_range,
)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2001", "2001-01-01", "2001-12-31"),
        ("2000-02", "2000-02-01", "2000-02-29"),
        ("1999-02-02T06:30:00Z", "1999-02-02", "1999-02-02"),
        ("2020-05-30T04:57:37+02:00", "2020-05-30", "2020-05-30"),
        ("2001-04-04 06:30", "2001-04-04", "2001-04-04"),
        ("2001-04-28/2001-05-03", "2001-04-28", "2001-05-03"),
        ("2001-04-28/05-03", "2001-04-28", "2001-05-03"),
        ("2001-04-04/07", "2001-04-04", "2001-04-07"),
        ("1809-02-12T06:30Z/07:00Z", "1809-02-12", "1809-02-12"),
        ("2001/2003", "2001-01-01", "2003-12-31"),
        ("2014-05-00", "2014-05-01", "2014-05-31"),
        ("1964-034", "1964-02-03", "1964-02-03"),
    ],
)
def test_date_stands_for_its_days(text, first, last):
    assert parse_event_date(text) == DateSpan(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    "text",
    [
        *("2001-02-30", "2001-13", "0000-00-00", "2001-00-04", "2999-01-01", "2001-04-07/2001-04-04", "May", ""),
        *("2001-04-04T25:00", "2001-04T06:30", "1963-366", "2001-04-04/", "/2001"),
    ],
)
def test_date_that_cannot_be_is_none(text):
    assert parse_event_date(text) is None


@given(st.dates(date(1000, 1, 1), date(2020, 1, 1)), st.integers(0, 800))
def test_months_of_an_interval_are_those_of_its_days(first, days):
    last = date.fromordinal(first.toordinal() + days)
    span = parse_event_date(f"{first}/{last}")
    months = {date.fromordinal(day).month for day in range(first.toordinal(), last.toordinal() + 1)}
    assert span is not None
    assert span.months == months
    for wanted in (months, set(range(1, 13)), months - {first.month}):
        assert (write_month_range(span) in list_month_ranges(frozenset(wanted))) == (months <= wanted)


@pytest.mark.parametrize(
    ("text", "is_day_first", "expected"),
    [
        ("4.5.2019", None, "2019-05-04"),
        ("13/05/2019", None, "2019-05-13"),
        ("05/13/2019", None, "2019-05-13"),
        ("4/5/2019", None, None),
        ("4/5/2019", False, "2019-04-05"),
        ("04-May-2019", None, "2019-05-04"),
        ("May 4, 2019", None, "2019-05-04"),
        ("31.02.2019", None, None),
        ("2019-05-04T06:30", None, "2019-05-04T06:30"),
        ("2019-05-04 10:30:00 UTC", None, "2019-05-04T10:30:00Z"),
        ("2019-05-04 06:30:00 -0400", None, "2019-05-04T06:30:00-0400"),
        ("2019-05-04 6:30 PM", None, "2019-05-04T18:30"),
        ("2019-05-04 13:30 PM", None, None),
        ("14/5/2019 12:05 am", None, "2019-05-14T00:05"),
        ("4/5/2019 6:30", None, None),
        ("4. 5. 2019 6:30", None, "2019-05-04T06:30"),
        ("May 4, 2019 6:30 AM", None, "2019-05-04T06:30"),
        ("2016/08/16 06:30", None, "2016-08-16T06:30"),
        ("20190504", None, "2019-05-04"),
        ("20191304", None, None),
        ("12345678", None, None),
    ],
)
def test_date_of_a_spreadsheet_becomes_iso_where_it_is_one_day(text, is_day_first, expected):
    assert normalize_date(text, is_day_first=is_day_first) == expected


def test_date_of_three_cells():
    assert join_date("1998", "1", "") == "1998-01"
    assert join_date("1998.0", "2.0", "3.0") == "1998-02-03"
    assert join_date("1998", "0", "4") == "1998"
    assert join_date("", "1", "2") is None
    assert join_date("1998", "2", "30") is None
