"""What an address of the log's page asks for: filters and a place. Everything that one sees is in the address."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from permalog.errors import InvalidQuery
from permalog.reading.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILTERS: Final = (
    "search", "action", "actor_id", "actor_email", "resource_type", "resource_id", "outcome", "correlation_id",
    "source", "start", "end",
)  # fmt: skip
"""As the API has them, in the order in which an address and the chips give them."""
LABELS: Final = {
    "search": "contains",
    "action": "action",
    "actor_id": "actor",
    "actor_email": "e-mail",
    "resource_type": "kind",
    "resource_id": "resource",
    "outcome": "outcome",
    "correlation_id": "operation",
    "source": "through",
    "start": "from",
    "end": "before",
}
_PLACES: Final = ("before", "after")
_UNTIL: Final = "until"
"""A form's last day, which is part of what is shown: it becomes the `end` of the day after."""


class Chip(NamedTuple):
    """A filter that is set."""

    label: str
    value: str
    href: str
    """The same without it."""


class Preset(NamedTuple):
    """A range of dates that is often asked for."""

    label: str
    href: str
    is_set: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, as it was given; `filters` checks it."""

    path: str
    """Of the page."""
    given: tuple[tuple[str, str], ...]
    """Filters in the order of `FILTERS`."""
    place: tuple[tuple[str, str], ...] = ()
    faults: tuple[tuple[str, str], ...] = field(default=())
    is_canonical: bool = True
    """Whether the address is the one that `href` gives."""

    @classmethod
    def read(cls, path: str, asked: Iterable[tuple[str, str]]) -> Wanted:
        """Takes the parameters of an address, or of a form, whose empty fields ask for nothing."""
        pairs = list(asked)
        found: dict[str, list[str]] = {}
        faults: list[tuple[str, str]] = []
        for name, value in pairs:
            if value and value not in found.setdefault(name, []):
                found[name].append(value)
        if until := found.pop(_UNTIL, None):
            found["end"] = [_day_after(until[0], faults)]
        for name, values in found.items():
            if name not in FILTERS and name not in _PLACES:
                faults.append((name[:100], "is no filter"))
            elif len(values) > 1 and name != "action":
                faults.append((name, "is given more than once"))
        given = tuple((name, value) for name in FILTERS for value in found.get(name, ()))
        place = tuple((name, found[name][0]) for name in _PLACES if found.get(name))
        return cls(path, given, place, tuple(faults), [*given, *place] == sorted(pairs, key=_order))

    @property
    def href(self) -> str:
        """The address of what is wanted."""
        return _href(self.path, (*self.given, *self.place))

    @property
    def query(self) -> str:
        """The filters as the part of an address after its question mark."""
        return urlencode(self.given)

    def filters(self) -> dict[str, Any]:
        """The filters by name, as the library takes them.

        Raises:
            InvalidQuery: one of them breaks a rule, or there is none of its name.
        """
        for name, reason in self.faults:
            raise InvalidQuery(name, reason)
        arguments: dict[str, Any] = dict(self.given)
        if actions := self.values("action"):
            arguments["action"] = list(actions)
        Filters(**arguments)
        return arguments

    def cursors(self) -> dict[str, str]:
        """Where in the log, for the library."""
        return dict(self.place)

    def value(self, name: str) -> str:
        """A filter's value; empty where it is not set."""
        return next((value for given, value in self.given if given == name), "")

    def values(self, name: str) -> tuple[str, ...]:
        """All values of a filter."""
        return tuple(value for given, value in self.given if given == name)

    def with_(self, **changes: str | None) -> str:
        """The address with some filters set to something else, or to nothing; from the newest event on."""
        kept = [pair for pair in self.given if pair[0] not in changes]
        added = [(name, value) for name, value in changes.items() if value is not None]
        return _href(self.path, sorted([*kept, *added], key=_order))

    def at(self, **place: str) -> str:
        """The address of another page of the same."""
        return _href(self.path, (*self.given, *place.items()))

    def chips(self, labels: Mapping[str, str]) -> list[Chip]:
        """The filters that are set; `labels` are those of actions."""
        shown: list[Chip] = []
        for pair in self.given:
            name, value = pair
            rest = _href(self.path, [other for other in self.given if other != pair])
            shown.append(Chip(LABELS[name], labels.get(value, value) if name == "action" else value, rest))
        return shown

    def presets(self, today: date) -> list[Preset]:
        """Ranges that end now: their first days are in the address, so that a link shows the same tomorrow."""
        month = today.replace(day=1)
        before = (month - timedelta(days=1)).replace(day=1)
        ranges: list[tuple[str, date | None, date | None]] = [
            ("Today", today, None),
            ("7 days", today - timedelta(days=6), None),
            ("30 days", today - timedelta(days=29), None),
            ("This month", month, None),
            ("Last month", before, month),
            ("All time", None, None),
        ]
        return [
            Preset(
                label,
                self.with_(start=_text(start), end=_text(end)),
                (self.value("start"), self.value("end")) == (_text(start) or "", _text(end) or ""),
            )
            for label, start, end in ranges
        ]

    @property
    def first_day(self) -> str:
        """`start` for a field that takes dates; empty where it is none."""
        return self.value("start")[:10]

    @property
    def last_day(self) -> str:
        """The last day that is part of what is shown, likewise."""
        try:
            end = datetime.fromisoformat(self.value("end").upper())
        except ValueError:
            return ""
        moment = end.replace(tzinfo=UTC) if end.tzinfo is None else end.astimezone(UTC)
        try:
            return (moment - timedelta(microseconds=1)).date().isoformat()
        except OverflowError:
            return ""


def _day_after(day: str, faults: list[tuple[str, str]]) -> str:
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        faults.append(("end", "is no date"))
        return day


def _text(day: date | None) -> str | None:
    return None if day is None else datetime.combine(day, time()).date().isoformat()


def _order(pair: tuple[str, str]) -> int:
    return FILTERS.index(pair[0]) if pair[0] in FILTERS else len(FILTERS)


def _href(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(pairs))
    return f"{path}?{query}" if query else path
