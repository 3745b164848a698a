"""Where the leaves of events are: in which epoch of their log, and at which index there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from permalog.sql import query

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.postgres.database import Connection

FEW_EVENTS: Final = 100
"""A page's most: their leaves are looked up one by one; for more it is asked whether a few tiles have them all."""
EVENTS_A_TILE: Final = 16
"""In a tile that is read as a whole: reading 256 ids costs about as much as finding so many events one by one."""


class LeafPlace(NamedTuple):
    """Of one event; both None until it is sealed."""

    leaf_index: int | None
    epoch: int | None


UNPLACED: Final = LeafPlace(None, None)


def places_of(connection: Connection, log_id: UUID, ids: list[UUID]) -> dict[str, LeafPlace]:
    """The places of events, by their ids as text; those that are not sealed are left out."""
    if not ids:
        return {}
    parameters = {"log_id": log_id, "ids": ids, "first": min(ids), "last": max(ids)}
    name = "leaves"
    if len(ids) > FEW_EVENTS:
        most = max(2, len(ids) // EVENTS_A_TILE)
        row = connection.execute(
            query("read", "tiles_between"), parameters | {"most": most + 1}, prepare=True
        ).fetchone()
        name = "leaves_between" if row is not None and row[0] <= most else "leaves"
    rows = connection.execute(query("read", name), parameters, prepare=True)
    return {event_id: LeafPlace(index, epoch) for event_id, index, epoch in rows}
