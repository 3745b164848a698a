"""Filters take what their docstring says, and name what they refuse."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from permalog.errors import InvalidQuery
from permalog.reading.filters import Filters


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"action": [""]}, "action"),
        ({"action": 7}, "action"),
        ({"action": [None]}, "action"),
        ({"action": ["a" * 101]}, "action"),
        ({"action": [f"a.b{n}" for n in range(101)]}, "action"),
        ({"actor_id": ""}, "actor_id"),
        ({"actor_id": 7}, "actor_id"),
        ({"actor_email": "a" * 321}, "actor_email"),
        ({"resource_type": "a\0"}, "resource_type"),
        ({"resource_id": "\ud800"}, "resource_id"),
        ({"correlation_id": b"a"}, "correlation_id"),
        ({"outcome": "won"}, "outcome"),
        ({"outcome": ""}, "outcome"),
        ({"source": "Web"}, "source"),
        ({"search": ""}, "search"),
        ({"search": "a" * 201}, "search"),
        ({"search": "\0"}, "search"),
        ({"start": "yesterday"}, "start"),
        ({"start": ""}, "start"),
        ({"start": "2026-02-30"}, "start"),
        ({"start": "2026-01-01T24:61:00Z"}, "start"),
        ({"start": "2026-01-01T00:00:00.1234567Z"}, "start"),
        ({"start": "2026-W01-1"}, "start"),
        ({"start": "20260101"}, "start"),
        ({"start": "٢٠٢٦-01-01"}, "start"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "start"),
        ({"start": "0001-01-01"}, "start"),
        ({"start": "1969-12-31T23:59:59.999999Z"}, "start"),
        ({"end": "9999-12-31T23:59:59-01:00"}, "end"),
        ({"end": "99999-01-01"}, "end"),
        ({"end": 1_700_000_000}, "end"),
        ({"start": "2026-01-02", "end": "2026-01-01"}, "end"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        Filters(**given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T09:00:00.5Z", datetime(2026, 1, 31, 9, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31t09:00:00z", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31T09:00:00+02:00", datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("2026-01-31T09:00:00", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        (datetime(2026, 1, 31, 9), datetime(2026, 1, 31, 9, tzinfo=UTC)),  # noqa: DTZ001  without a zone on purpose
        (datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("1970-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_times_are_kept_in_utc(given: Any, moment: datetime) -> None:
    assert Filters(start=given).first_moment == moment
    assert Filters(end=given).last_moment == moment


def test_an_empty_range_is_no_error() -> None:
    assert Filters(start="2026-01-01", end="2026-01-01T00:00:00Z")


def test_equal_filters_are_equal_however_they_are_given() -> None:
    assert Filters(action=["b.b", "a.a", "b.b"]) == Filters(action=("a.a", "b.b"))
    assert Filters(action="a.a") == Filters(action=["a.a"])
    assert Filters(start="2026-01-01T01:00:00+01:00") == Filters(start=date(2026, 1, 1))


def test_only_given_filters_are_named() -> None:
    chosen = Filters(action="a.a", search="x", end="2026-01-01")
    assert dict(chosen.given()) == {"action": ("a.a",), "search": "x", "end": "2026-01-01T00:00:00.000000Z"}
