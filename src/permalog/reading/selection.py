"""The one place where filters become SQL: what a page, a summary and an export select is the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from permalog.errors import InvalidQuery
from permalog.ids import id_floor
from permalog.sql import query

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.postgres.database import Connection
    from permalog.reading.filters import Filters

SHORT: Final = 3
"""A needle of fewer characters has no trigram, so that no index can ever help to find it."""

_SIGMA: Final = frozenset("\N{GREEK SMALL LETTER SIGMA}\N{GREEK SMALL LETTER FINAL SIGMA}")


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions on an event ``e``, and the parameters that they speak of."""

    conditions: tuple[sql.SQL, ...]
    """All but the search."""
    search: sql.SQL | None
    needle: str
    """What is searched for, lower-cased by the database; empty without a search."""
    pattern: str | None
    """What `permalog.searchable` is LIKE where the needle is to be found; None where no search index helps."""
    parameters: dict[str, Any]
    is_uneven: bool = False
    """Whether it must be planned for the log at hand: staff have no id to follow an index by in the events' order, so
    that only the log's own figures tell whether to sort their few events or to pass over everybody else's."""

    @property
    def is_short_search(self) -> bool:
        """Whether the search is one that no index helps, and that pages therefore bound."""
        return self.search is not None and len(self.needle) < SHORT

    @property
    def where(self) -> sql.Composed:
        """Every condition."""
        return _all_of(self.conditions if self.search is None else (*self.conditions, self.search))

    @property
    def where_unsearched(self) -> sql.Composed:
        """Every condition but the search."""
        return _all_of(self.conditions)

    def apart_from(self, correlation_id: str) -> Selection:
        """The same selection without the events of one operation."""
        return Selection(
            (*self.conditions, _condition("apart_from_operation")),
            self.search,
            self.needle,
            self.pattern,
            {**self.parameters, "apart_from": correlation_id},
            self.is_uneven,
        )


def select(connection: Connection, log_id: UUID, filters: Filters) -> Selection:
    """The selection that filters mean, inside a transaction of `Database.reading`.

    Looks up, where such a filter is given: whether the actions are known, who had an e-mail address, and what the
    database makes of a search in lower case.

    Raises:
        InvalidQuery: an action is not in the database's catalogue.
    """
    made = _Selecting(connection, {"log_id": log_id})
    made.bound_times(filters)
    made.only_actions(filters.actions)
    made.only_actor(filters.actor_id)
    made.only_address(filters.actor_email)
    for name in ("resource_type", "resource_id", "correlation_id", "source"):
        if (value := getattr(filters, name)) is not None:
            made.add(name, **{name: value})
    if filters.outcome is not None:
        made.add("outcome" if filters.outcome == "success" else "not_success", outcome=filters.outcome)
    search, needle, pattern = made.searched(filters.search)
    return Selection(tuple(made.conditions), search, needle, pattern, made.parameters, is_uneven=made.is_uneven)


class _Selecting:
    """A selection on its way."""

    def __init__(self, connection: Connection, parameters: dict[str, Any]) -> None:
        self.connection = connection
        self.parameters = parameters
        self.conditions = [_condition("log")]
        self.is_uneven = False

    def add(self, name: str, **parameters: object) -> None:
        self.conditions.append(_condition(name))
        self.parameters.update(parameters)

    def bound_times(self, filters: Filters) -> None:
        """Times become bounds on the id, which carries its event's time, leads the index and prunes partitions."""
        if filters.first_moment is not None:
            self.add("start", start=id_floor(filters.first_moment))
        if filters.last_moment is not None:
            self.add("end", end=id_floor(filters.last_moment))

    def only_actions(self, actions: tuple[str, ...]) -> None:
        if not actions:
            return
        rows = self.connection.execute(query("filters", "known_actions"), {"actions": list(actions)}).fetchall()
        unknown = sorted(set(actions) - {row[0] for row in rows})
        if unknown:
            raise InvalidQuery("action", f"{unknown[0]!r} is not in the catalogue")
        if len(actions) == 1:
            self.add("one_action", action=actions[0])
        else:
            self.add("actions", actions=list(actions))

    def only_actor(self, actor_id: str | None) -> None:
        if actor_id is None:
            return
        self.parameters["actor_id"] = actor_id
        row = self.connection.execute(query("filters", "staff_of_id"), self.parameters).fetchone()
        if row is None or row[0] is None:
            self.add("actor_id")
        else:
            self.add("staff_id", staff_by_id=row[0])
            self.is_uneven = True

    def only_address(self, email: str | None) -> None:
        if email is None:
            return
        found: list[tuple[str | None, list[bytes]]] = self.connection.execute(
            query("filters", "people_of_email"), {"email": email}
        ).fetchall()
        people = [person for person, _ in found if person is not None]
        identities = [one for person, several in found if person is not None for one in several]
        staff = [one for person, several in found if person is None for one in several]
        either: list[sql.SQL] = []
        if len(people) == 1:
            either.append(_condition("one_person"))
            self.parameters.update(person=people[0], identities=identities)
        elif people:
            either.append(_condition("people"))
            self.parameters.update(people=people, identities=identities)
        if staff:
            either.append(_condition("staff"))
            self.parameters.update(staff=staff)
            self.is_uneven = True
        self.conditions.append(_any_of(either or [_condition("nobody")]))

    def searched(self, text: str | None) -> tuple[sql.SQL | None, str, str | None]:
        if text is None:
            return None, "", None
        row = self.connection.execute(query("filters", "lowered"), {"search": text}).fetchone()
        needle, written, pattern = row or ("", "", None)
        self.parameters["needle"] = needle
        return _condition("quick_search" if _is_written_alike(needle, written) else "search"), needle, pattern


def _is_written_alike(needle: str, written: str) -> bool:
    """Whether the needle, inside a longer text that the database lower-cases whole, stands as it is.

    It does not where JSON escapes one of its characters; nor with a Greek sigma, whose lower case depends, in some of
    the database's locales, on what stands before and after it.
    """
    return written == f'"{needle}"' and _SIGMA.isdisjoint(needle)


def _condition(name: str) -> sql.SQL:
    return sql.SQL(query("filters", name))


def _all_of(conditions: tuple[sql.SQL, ...]) -> sql.Composed:
    return sql.SQL("\n  AND ").join(conditions)


def _any_of(conditions: list[sql.SQL]) -> sql.SQL:
    if len(conditions) == 1:
        return conditions[0]
    joined: Any = sql.SQL("({})").format(sql.SQL(") OR (").join(conditions))
    return joined
