"""The summary of a log: how many events, of which actions, by whom, on which days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.rows import args_row

from permalog.ids import id_time
from permalog.reading.filters import EVERYTHING, Filters, rfc3339
from permalog.reading.selection import select
from permalog.reading.stored import SUPPORT
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from datetime import datetime

    from permalog.event import Owner
    from permalog.postgres.database import Connection, Database

# The bits of SQL's grouping(action, actor_type, day): a bit is 0 where the row is grouped by the column.
_TOTAL: Final = 0b111
_BY_ACTION: Final = 0b011
_BY_ACTOR: Final = 0b101
_BY_DAY: Final = 0b110
FEW_WAITING: Final = 20_000
"""Events that wait are read one by one up to here, and by a join from there on."""


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
    action: str | None
    actor_type: str | None
    actor_id: str | None
    day: str | None
    events: int
    first: str | None
    last: str | None

    def plus(self, other: _Group) -> _Group:
        """Both together; ids are ordered as their texts are."""
        return self._replace(
            events=self.events + other.events,
            first=min(self.first or other.first or "", other.first or self.first or ""),
            last=max(self.last or "", other.last or ""),
        )


_NONE: Final = _Group(_TOTAL, None, None, None, None, 0, None, None)


def summary(database: Database, owner: Owner, filters: Filters = EVERYTHING, viewer: Viewer = Viewer.STAFF) -> Summary:
    """Counts over the events that the filters select: exact.

    Without filters they come from what the sealer has counted, and from the events that wait for it, so that the size
    of the log does not count; else from one scan.

    Raises:
        InvalidQuery: an action is unknown.
    """
    with database.reading(owner.log_id, viewer) as connection:
        if filters == EVERYTHING:
            groups = _of_everything(connection, owner.log_id)
        else:
            selection = select(connection, owner.log_id, filters)
            statement = sql.SQL(query("summary", "counts")).format(where=selection.where)
            groups = _groups(connection, statement, selection.parameters)
        actors = _actors(connection, owner.log_id, [group for group in groups if group.grouping == _BY_ACTOR])
    total = next(group for group in groups if group.grouping == _TOTAL)
    actions = [ActionCount(group.action, group.events) for group in groups if group.action is not None]
    days = [DayCount(group.day, group.events) for group in groups if group.day is not None]
    return Summary(
        total=total.events,
        first=None if total.first is None else id_time(UUID(total.first)),
        last=None if total.last is None else id_time(UUID(total.last)),
        by_action=tuple(sorted(actions, key=lambda one: (-one.count, one.action))),
        by_actor=tuple(sorted(actors, key=lambda one: (-one.count, one.name or "", one.type, one.id or ""))),
        by_day=tuple(sorted(days, key=lambda one: one.day)),
    )


def _of_everything(connection: Connection, log_id: UUID) -> list[_Group]:
    """What the sealer has counted, and the few events that wait for it: read by their ids, as it reads them itself."""
    parameters: dict[str, Any] = {"log_id": log_id, "most": FEW_WAITING + 1}
    waiting = connection.execute(query("summary", "waiting"), parameters, prepare=True).fetchall()
    if len(waiting) > FEW_WAITING:
        return _groups(connection, sql.SQL(query("summary", "all_counts")), parameters)
    rows = connection.execute(query("summary", "counted"), parameters, prepare=True).fetchall()
    groups = {row[:5]: _Group._make(row) for row in rows}
    if waiting:
        ids = [event_id for (event_id,) in waiting]
        parameters |= {"ids": f"{{{','.join(ids)}}}", "first": ids[0], "last": ids[-1]}
        found = connection.execute(query("summary", "counts_of_waiting"), parameters, prepare=False)
        for action, kind, actor, day, *counts in found.fetchall():
            for part in (
                (_TOTAL, None, None, None, None),
                (_BY_ACTION, action, None, None, None),
                (_BY_ACTOR, None, kind, actor, None),
                (_BY_DAY, None, None, None, day),
            ):
                one = _Group._make((*part, *counts))
                known = groups.get(part)
                groups[part] = one if known is None else known.plus(one)
    groups.setdefault((_TOTAL, None, None, None, None), _NONE)
    return list(groups.values())


def _groups(connection: Connection, statement: sql.SQL | sql.Composed, parameters: dict[str, Any]) -> list[_Group]:
    with connection.cursor(row_factory=args_row(_Group)) as cursor:
        return cursor.execute(statement, parameters, prepare=False).fetchall()


def _actors(connection: Connection, log_id: UUID, groups: list[_Group]) -> list[ActorCount]:
    named = sorted(group.last for group in groups if group.actor_type in {"user", "api_key"} and group.last)
    names: dict[str, str | None] = {}
    if named:
        parameters = {"log_id": log_id, "ids": f"{{{','.join(named)}}}", "first": named[0], "last": named[-1]}
        names = dict(connection.execute(query("summary", "names"), parameters, prepare=False).fetchall())
    return [
        ActorCount("staff", None, SUPPORT, group.events)
        if group.actor_type == "staff"
        else ActorCount(group.actor_type or "", group.actor_id, names.get(group.last or ""), group.events)
        for group in groups
    ]
