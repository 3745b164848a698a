"""The summary of a log: how many events, of which actions, by whom, on which days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.rows import args_row

from permalog.filters import EVERYTHING, Filters, rfc3339
from permalog.ids import id_time
from permalog.selection import select
from permalog.sql import query
from permalog.stored import SUPPORT, people_of
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from datetime import datetime

    from permalog.database import Connection, Database
    from permalog.event import Owner

# The bits of SQL's grouping(action, actor_type, day): a bit is 0 where the row is grouped by the column.
_TOTAL: Final = 0b111
_BY_ACTION: Final = 0b011
_BY_ACTOR: Final = 0b101
_BY_DAY: Final = 0b110


@dataclass(frozen=True, slots=True)
class ActionCount:
    """How many events of one action."""

    action: str
    count: int


@dataclass(frozen=True, slots=True)
class ActorCount:
    """How many events by one actor; staff count as one, without an id."""

    type: str
    id: str | None
    name: str | None
    """That of their latest event in the selection; None for programs without one, and once erased."""
    count: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many events on one day of UTC."""

    day: str
    """``YYYY-MM-DD``."""
    count: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over all events that filters select, of one moment."""

    total: int
    first: datetime | None
    """When the first of them happened, in UTC; None if there are none."""
    last: datetime | None
    by_action: tuple[ActionCount, ...]
    """The most frequent first, then by name."""
    by_actor: tuple[ActorCount, ...]
    """The most active first, then by name."""
    by_day: tuple[DayCount, ...]
    """In the order of days; those without events are left out."""

    def as_json(self) -> dict[str, Any]:
        """The summary as docs/record-format.md gives it."""
        return {
            "total": self.total,
            "first": None if self.first is None else rfc3339(self.first),
            "last": None if self.last is None else rfc3339(self.last),
            "by_action": [{"action": one.action, "count": one.count} for one in self.by_action],
            "by_actor": [
                {"type": one.type, "id": one.id, "name": one.name, "count": one.count} for one in self.by_actor
            ],
            "by_day": [{"day": one.day, "count": one.count} for one in self.by_day],
        }


class _Group(NamedTuple):
    grouping: int
    action: str
    actor_type: str
    actor_id: str | None
    day: str
    events: int
    first: str | None
    last: str | None


def summary(database: Database, owner: Owner, filters: Filters = EVERYTHING, viewer: Viewer = Viewer.STAFF) -> Summary:
    """Counts over the events that the filters select: exact.

    Without filters they come from what the sealer has counted, and from the events that wait for it, so that the size
    of the log does not count; else from one scan.

    Raises:
        InvalidQuery: an action is unknown.
    """
    with database.reading(owner.log_id, viewer) as connection:
        if filters == EVERYTHING:
            groups = _groups(connection, sql.SQL(query("summary", "all_counts")), {"log_id": owner.log_id})
        else:
            selection = select(connection, owner.log_id, filters)
            statement = sql.SQL(query("summary", "counts")).format(where=selection.where)
            groups = _groups(connection, statement, selection.parameters)
        actors = _actors(connection, owner.log_id, [group for group in groups if group.grouping == _BY_ACTOR])
    total = next(group for group in groups if group.grouping == _TOTAL)
    actions = [ActionCount(group.action, group.events) for group in groups if group.grouping == _BY_ACTION]
    days = [DayCount(group.day, group.events) for group in groups if group.grouping == _BY_DAY]
    return Summary(
        total=total.events,
        first=None if total.first is None else id_time(UUID(total.first)),
        last=None if total.last is None else id_time(UUID(total.last)),
        by_action=tuple(sorted(actions, key=lambda one: (-one.count, one.action))),
        by_actor=tuple(sorted(actors, key=lambda one: (-one.count, one.name or "", one.type, one.id or ""))),
        by_day=tuple(sorted(days, key=lambda one: one.day)),
    )


def _groups(connection: Connection, statement: sql.SQL | sql.Composed, parameters: dict[str, Any]) -> list[_Group]:
    with connection.cursor(row_factory=args_row(_Group)) as cursor:
        return cursor.execute(statement, parameters, prepare=False).fetchall()


def _actors(connection: Connection, log_id: UUID, groups: list[_Group]) -> list[ActorCount]:
    named = [group.last for group in groups if group.actor_type in {"user", "api_key"}]
    latest: dict[str, bytes] = {}
    if named:
        parameters = {"log_id": log_id, "ids": [UUID(last) for last in named if last is not None]}
        latest = dict(connection.execute(query("summary", "identities_of_events"), parameters, prepare=False))
    people = people_of(connection, log_id, list(set(latest.values())))
    names = {event_id: people[identity].name for event_id, identity in latest.items() if identity in people}
    return [
        ActorCount("staff", None, SUPPORT, group.events)
        if group.actor_type == "staff"
        else ActorCount(group.actor_type, group.actor_id, names.get(group.last or ""), group.events)
        for group in groups
    ]
