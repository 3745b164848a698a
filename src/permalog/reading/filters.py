"""Filters: which events of a log a page, a summary or an export is about. One set of rules for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict, get_args

from permalog.errors import InvalidQuery
from permalog.event import Outcome, Source
from permalog.ids import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

Moment: TypeAlias = datetime | date | str

LONGEST_SEARCH: Final = 200
"""Bounds what one comparison with an event's text costs."""
MOST_ACTIONS: Final = 100
"""Bounds the length of a query; no catalogue comes near it."""
_LONGEST: Final = {
    "action": 100,
    "actor_id": 255,
    "actor_email": 320,
    "resource_type": 100,
    "resource_id": 512,
    "correlation_id": 255,
    "search": LONGEST_SEARCH,
}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)


class FilterArguments(TypedDict, total=False):
    """The filters as keyword arguments: see `Filters`."""

    action: str | Iterable[str]
    actor_id: str | None
    actor_email: str | None
    resource_type: str | None
    resource_id: str | None
    outcome: str | None
    correlation_id: str | None
    source: str | None
    search: str | None
    start: Moment | None
    end: Moment | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events: all given filters hold at once; none given means every event.

    ``action`` takes one name or several, any of which may match; it is kept as a sorted tuple. ``actor_email`` is
    compared by the database's ``lower()`` with the address as it was when the event happened. ``search`` is a
    substring, taken literally and compared by ``lower()``, of any one string or number value at any depth of the
    metadata, or of the resource type, the resource id or the correlation id. ``start`` is inclusive, ``end``
    exclusive: a time (UTC where it names no zone), a date (its first moment) or either as an RFC 3339 string; both
    are kept as times in UTC.

    Raises:
        InvalidQuery: a filter breaks a rule; `field` names it. Whether the database knows an action is found out
            when the filters are used.
    """

    action: str | Iterable[str] = ()
    actor_id: str | None = None
    actor_email: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    outcome: str | None = None
    correlation_id: str | None = None
    source: str | None = None
    search: str | None = None
    start: Moment | None = None
    end: Moment | None = None

    def __post_init__(self) -> None:
        """Checks every filter, and brings it to the form in which equal filters are equal."""
        _set(self, "action", _actions(self.action))
        for name in ("actor_id", "actor_email", "resource_type", "resource_id", "correlation_id", "search"):
            _check_text(name, getattr(self, name))
        _check_choice("outcome", self.outcome, get_args(Outcome))
        _check_choice("source", self.source, get_args(Source))
        start, end = _moment("start", self.start), _moment("end", self.end)
        _set(self, "start", start)
        _set(self, "end", end)
        if start is not None and end is not None and end < start:
            raise InvalidQuery("end", "is before start")

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions, sorted and without repetitions; none: all."""
        return tuple(self.action)

    @property
    def first_moment(self) -> datetime | None:
        """`start` as it is kept: in UTC."""
        return self.start if isinstance(self.start, datetime) else None

    @property
    def last_moment(self) -> datetime | None:
        """`end` as it is kept: in UTC; the events end just before it."""
        return self.end if isinstance(self.end, datetime) else None

    def given(self) -> Iterator[tuple[str, str | tuple[str, ...]]]:
        """The filters that were given, by name, times as RFC 3339 text in UTC with six decimals."""
        for field in fields(self):
            value: object = getattr(self, field.name)
            if isinstance(value, datetime):
                yield field.name, rfc3339(value)
            elif isinstance(value, str | tuple) and value:
                yield field.name, value


def rfc3339(moment: datetime) -> str:
    """A time in UTC as answers and exports give it: RFC 3339, six decimals, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _set(filters: Filters, name: str, value: object) -> None:
    object.__setattr__(filters, name, value)


def _actions(given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        given = (given,)
    if not isinstance(given, Iterable):
        raise InvalidQuery("action", "must be a name or several")
    names: set[str] = set()
    for name in given:  # pyright: ignore[reportUnknownVariableType]  each is checked
        _check_text("action", name)  # pyright: ignore[reportUnknownArgumentType]
        names.add(str(name))  # pyright: ignore[reportUnknownArgumentType]
        if len(names) > MOST_ACTIONS:
            raise InvalidQuery("action", f"more than {MOST_ACTIONS} are given")
    return tuple(sorted(names))


def _check_text(field: str, value: object) -> None:
    if value is None and field != "action":
        return
    if not isinstance(value, str):
        raise InvalidQuery(field, "must be a string")
    if not 1 <= len(value) <= _LONGEST[field]:
        raise InvalidQuery(field, f"must have 1 to {_LONGEST[field]} characters")
    if "\0" in value:
        raise InvalidQuery(field, "holds a NUL character, which no event can have")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidQuery(field, "holds a lone surrogate, which is no character") from None


def _check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise InvalidQuery(field, f"must be one of {', '.join(choices)}")


def _moment(field: str, value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        if not _TIME.fullmatch(value):
            raise InvalidQuery(field, "must be a date or an RFC 3339 time with at most six decimals")
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError:
            raise InvalidQuery(field, "is no date") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise InvalidQuery(field, "must be a time, a date, or text of either")
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise InvalidQuery(field, "is no date") from None
    if moment < EPOCH:
        raise InvalidQuery(field, "is before 1970, when no event can be")
    return moment


EVERYTHING: Final = Filters()
"""No filter: all events."""
