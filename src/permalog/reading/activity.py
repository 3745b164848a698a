"""What a page shows beside a log's events: how much happened on which days, and how far the log is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from permalog.reading.filters import EVERYTHING, Filters
from permalog.reading.selection import select
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from datetime import datetime

    from permalog.event import Owner
    from permalog.postgres.database import Database

_LOOKED_AT: Final = 1000
"""Unsealed events whose age is looked at; bounds what a stopped sealer makes a page cost."""


class Activity(NamedTuple):
    """How often an action happened on a day."""

    day: str
    """``YYYY-MM-DD``, of UTC."""
    action: str
    events: int


class SealState(NamedTuple):
    """How far a log is sealed."""

    epoch: int | None
    """None: nothing was sealed yet, and so for what follows."""
    size: int | None
    """Leaves of the present tree."""
    sealed_at: datetime | None
    signed_size: int | None
    """Leaves under the newest checkpoint; None where nothing was signed."""
    signed_at: datetime | None
    waiting_since: datetime | None
    """When the database took the oldest event that waits for the sealer; None: none waits."""


def activity(
    database: Database, owner: Owner, filters: Filters = EVERYTHING, viewer: Viewer = Viewer.STAFF
) -> list[Activity]:
    """Counts of the events that the filters select, by day and action, in the order of both.

    Without filters they come from what the sealer has counted; else from one scan.

    Raises:
        InvalidQuery: an action is unknown.
    """
    with database.reading(owner.log_id, viewer) as connection:
        if filters == EVERYTHING:
            found = connection.execute(query("activity", "all_days"), {"log_id": owner.log_id})
        else:
            selection = select(connection, owner.log_id, filters)
            statement = sql.SQL(query("activity", "days")).format(where=selection.where)
            found = connection.execute(statement, selection.parameters)
        return [Activity(*row) for row in found]


def seal_state(database: Database, owner: Owner) -> SealState:
    """How far an owner's log is sealed now; of a log that was never opened, nothing."""
    with database.reading(owner.log_id) as connection:
        parameters = {"log_id": owner.log_id, "most": _LOOKED_AT}
        row = connection.execute(query("activity", "seal"), parameters, prepare=True).fetchone()
    return SealState(*row) if row is not None else SealState(None, None, None, None, None, None)
