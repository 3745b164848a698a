"""One step of sealing: a log's next unsealed events become leaves of its tree, in one transaction.

Leaves, tiles, head, counts, and taking the events off the list commit together or not at all, so that after a crash an
event has one leaf or none, and waits if it has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import orjson

from permalog.canonical import EventRow, leaf_preimage
from permalog.errors import DatabaseProblem
from permalog.merkle import leaf_hash
from permalog.sql import query
from permalog.tile import WIDTH, tiles_changed

if TYPE_CHECKING:
    from permalog.database import Connection
    from permalog.merkle import Growth
    from permalog.tree import Head

FETCHED: Final = 250
"""Rows a round trip; bounds what the largest events take beyond the bytes of a batch."""
_RAW: Final = b'"form":"raw"'
_NO_DAY: Final = "-infinity"

Step = Callable[[str], object]
"""Is told what comes next; tests let it fail there."""


@dataclass(slots=True)
class Leaves:
    """A batch's events as leaves, in the order that they get."""

    ids: list[UUID] = field(default_factory=list[UUID])
    hashes: list[bytes] = field(default_factory=list[bytes])
    counts: dict[tuple[str, str, str, str], Count] = field(default_factory=dict[tuple[str, str, str, str], "Count"])
    """By day, action, and the actor's type and id."""
    raw: list[UUID] = field(default_factory=list[UUID])
    """Those that took the raw form."""
    failed: dict[UUID, Exception] = field(default_factory=dict[UUID, Exception])
    """Those of which no leaf could be made: they go on waiting."""
    oldest: str | None = None
    """When the database took the one that has waited longest; RFC 3339."""
    size: int = 0
    """Bytes that were hashed."""

    def add(self, row: EventRow) -> None:
        """Takes an event in, or notes why it cannot be."""
        event_id = UUID(row.id)
        try:
            preimage = leaf_preimage(row)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one event must not hold up the others
            self.failed[event_id] = error
            return
        if _RAW in preimage and "form" in orjson.loads(preimage):
            self.raw.append(event_id)
        self.ids.append(event_id)
        self.hashes.append(leaf_hash(preimage))
        self.size += len(preimage)
        if self.oldest is None or row.recorded_at < self.oldest:
            self.oldest = row.recorded_at
        key = (row.occurred_at[:10], row.action, row.actor_type, row.actor_id or "")
        known = self.counts.get(key)
        # Events come in the order of their ids.
        self.counts[key] = (
            Count(1, event_id, event_id) if known is None else Count(known.events + 1, known.first, event_id)
        )


class Count(NamedTuple):
    """How many events, and the smallest and largest of their ids."""

    events: int
    first: UUID
    last: UUID

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(self.events + other.events, min(self.first, other.first), max(self.last, other.last))


def take_leaves(connection: Connection, log_id: UUID, *, rows: int, size: int, passed: list[UUID]) -> Leaves:
    """The next unsealed events of a log, by their ids, as leaves: at most so many, and so many bytes or little more.

    Events that are in the list and not in the log fail, as `passed` over next time. Whoever calls has locked the head.
    """
    parameters = {"log_id": log_id, "passed": passed, "rows": rows}
    ids: list[UUID] = [row[0] for row in connection.execute(query("seal", "unsealed_ids"), parameters)]
    leaves = Leaves()
    if not ids:
        return leaves
    bounds = {"log_id": log_id, "ids": ids, "first": ids[0], "last": ids[-1]}
    seen: int = 0
    with connection.cursor("sealing") as cursor:
        cursor.execute(query("seal", "rows"), bounds)
        while leaves.size < size and (fetched := cursor.fetchmany(FETCHED)):
            for row in fetched:
                leaves.add(EventRow._make(row))
            seen += len(fetched)
        is_all = leaves.size < size
    if is_all and seen < len(ids):
        found = {*leaves.ids, *leaves.failed}
        leaves.failed |= {
            one: DatabaseProblem(f"the event {one} waits for sealing, and is not there")
            for one in ids
            if one not in found
        }
    return leaves


def take_event(connection: Connection, log_id: UUID, event_id: UUID) -> Leaves:
    """One unsealed event as a leaf.

    Raises:
        DatabaseProblem: it is not there, or no leaf can be made of it.
    """
    leaves = Leaves()
    bounds = {"log_id": log_id, "ids": [event_id], "first": event_id, "last": event_id}
    for row in connection.execute(query("seal", "rows"), bounds):
        leaves.add(EventRow._make(row))
    if leaves.ids != [event_id]:
        raise DatabaseProblem(f"log {log_id}: the event {event_id} cannot be sealed") from leaves.failed.get(event_id)
    return leaves


def grow(  # noqa: PLR0913  the batch, its place, and what tests need
    connection: Connection, log_id: UUID, head: Head, leaves: Leaves, step: Step, *, first: bytes | None = None
) -> Growth:
    """Appends leaves to a log's tree, and takes their events off the list; `first` is one before them, of no event.

    Raises:
        DatabaseProblem: what is stored is not as the head says: nothing may be committed then.
    """
    hashes: list[bytes] = leaves.hashes if first is None else [first, *leaves.hashes]
    ids: list[UUID | None] = [*leaves.ids] if first is None else [None, *leaves.ids]
    growth = head.frontier.grown(hashes)
    step("tiles")
    store_tiles(connection, log_id, head, growth, ids)
    step("head")
    row = {"log_id": log_id, "epoch": head.epoch, "size": growth.frontier.size, "frontier": growth.frontier.to_bytes()}
    _affect(connection.execute(query("seal", "grow_head"), row).rowcount, 1, log_id, "its head")
    step("activity")
    connection.execute(query("seal", "count"), {"log_id": log_id, **_activity(leaves)})
    step("unsealed")
    taken = connection.execute(query("seal", "take_off"), {"log_id": log_id, "ids": leaves.ids}).rowcount
    _affect(taken, len(leaves.ids), log_id, "its list of unsealed events")
    connection.execute(query("seal", "tell"), {"log_id": log_id})
    return growth


def store_tiles(connection: Connection, log_id: UUID, head: Head, growth: Growth, ids: list[UUID | None]) -> None:
    """Stores what a growth adds to the tiles; `ids` are the events of the new leaves, None for one that is no event.

    Raises:
        DatabaseProblem: a tile is not as wide as it was left.
    """
    old, new = head.size, growth.frontier.size
    levels: list[int] = []
    numbers: list[int] = []
    hashes: list[bytes] = []
    lows: list[int] = []
    highs: list[int] = []
    firsts: list[UUID | None] = []
    lasts: list[UUID | None] = []
    expected: set[tuple[int, int, int]] = set()
    for tile, had in tiles_changed(old, new):
        start = tile.number * WIDTH + had - (old >> 8 * tile.level)
        end = start + tile.width - had
        levels.append(tile.level)
        numbers.append(tile.number)
        hashes.append(b"".join(growth.rows[tile.level][start:end]))
        lows.append(start + 1)
        highs.append(end)
        below = [one for one in ids[start:end] if one is not None] if tile.level == 0 else []
        firsts.append(min(below, default=None))
        lasts.append(max(below, default=None))
        expected.add((tile.level, tile.number, tile.width))
    row = {
        "log_id": log_id, "epoch": head.epoch, "ids": ids, "levels": levels, "numbers": numbers, "hashes": hashes,
        "lows": lows, "highs": highs, "firsts": firsts, "lasts": lasts,
    }  # fmt: skip
    stored = {*connection.execute(query("seal", "grow_tiles"), row).fetchall()}
    if stored != expected:
        raise DatabaseProblem(f"log {log_id}: its tiles are not as its head says; see what `permalog verify` finds")


def _affect(rows: int, expected: int, log_id: UUID, what: str) -> None:
    if rows != expected:
        raise DatabaseProblem(f"log {log_id}: {what} was changed meanwhile, or is not as it was left")


def _activity(leaves: Leaves) -> dict[str, list[object]]:
    """The rows that a batch adds to, column by column."""
    rows: defaultdict[tuple[str, str, str, str, str], Count | None] = defaultdict(lambda: None)
    for (day, action, actor_type, actor_id), count in leaves.counts.items():
        for part in (
            ("all", _NO_DAY, "", "", ""),
            ("action", _NO_DAY, action, "", ""),
            ("actor", _NO_DAY, "", actor_type, actor_id),
            ("day", day, "", "", ""),
            ("day_action", day, action, "", ""),
        ):
            known = rows[part]
            rows[part] = count if known is None else known.plus(count)
    names = ("parts", "days", "actions", "actor_types", "actor_ids", "events", "firsts", "lasts")
    ordered = [(*part, *count) for part, count in sorted(rows.items()) if count is not None]
    return {name: [row[at] for row in ordered] for at, name in enumerate(names)}
