"""One step of sealing: a log's next unsealed events become leaves of its tree, in one transaction.

Leaves, tiles, head, counts, and taking the events off the list commit together or not at all, so that after a crash an
event has one leaf or none, and waits if it has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson

from permalog.errors import DatabaseProblem
from permalog.sql import query
from permalog.tlog.canonical import EventRow, leaf_preimage
from permalog.tlog.merkle import leaf_hash
from permalog.tlog.tile import WIDTH, tiles_changed

if TYPE_CHECKING:
    from permalog.postgres.database import Connection
    from permalog.sealing.tree import Head
    from permalog.tlog.merkle import Growth

FETCHED: Final = 250
"""Rows a round trip; bounds what the largest events take beyond the bytes of a batch."""
TOGETHER: Final = 50
"""Rows that are handled together: more fall out of the processor's caches."""
_RAW: Final = b'"form":"raw"'
_NO_DAY: Final = "-infinity"

Step = Callable[[str], object]
"""Is told what comes next; tests let it fail there."""


@dataclass(slots=True)
class Leaves:
    """A batch's events as leaves, in the order that they get."""

    ids: list[str] = field(default_factory=list[str])
    """As PostgreSQL writes them: they sort as they do in the database."""
    hashes: list[bytes] = field(default_factory=list[bytes])
    counts: dict[tuple[str, str, str, str | None], Count] = field(
        default_factory=dict[tuple[str, str, str, "str | None"], "Count"]
    )
    """By day, action, and the actor's type and id."""
    raw: list[str] = field(default_factory=list[str])
    """Those that took the raw form."""
    failed: dict[UUID, Exception] = field(default_factory=dict[UUID, Exception])
    """Those of which no leaf could be made: they go on waiting."""
    oldest: str | None = None
    """When the database took the one that has waited longest; RFC 3339."""
    size: int = 0
    """Bytes that were hashed."""

    def add(self, rows: list[EventRow]) -> None:
        """Takes events in, or notes why one cannot be."""
        for at in range(0, len(rows), TOGETHER):
            some = rows[at : at + TOGETHER]
            try:
                preimages = list(map(leaf_preimage, some))
            except Exception:  # noqa: BLE001  whatever is wrong with one event must not hold up the others
                self._add_singly(some)
            else:
                self._take(some, preimages)

    def _add_singly(self, rows: list[EventRow]) -> None:
        for row in rows:
            try:
                preimage = leaf_preimage(row)
            except Exception as error:  # noqa: BLE001  as above
                self.failed[UUID(row.id)] = error
            else:
                self._take([row], [preimage])

    def _take(self, rows: list[EventRow], preimages: list[bytes]) -> None:
        self.ids += [row.id for row in rows]
        self.hashes += [leaf_hash(preimage) for preimage in preimages]
        self.size += sum(map(len, preimages))
        together = b"\n".join(preimages)
        if _RAW in together:
            self.raw += [
                row.id
                for row, preimage in zip(rows, preimages, strict=True)
                if _RAW in preimage and "form" in orjson.loads(preimage)
            ]
        oldest = min(row.recorded_at for row in rows)
        self.oldest = oldest if self.oldest is None else min(oldest, self.oldest)
        for row in rows:
            key = (row.occurred_at[:10], row.action, row.actor_type, row.actor_id)
            known = self.counts.get(key)
            # Events come in the order of their ids.
            if known is None:
                self.counts[key] = Count(1, row.id, row.id)
            else:
                known.events += 1
                known.last = row.id


@dataclass(slots=True)
class Count:
    """How many events, and the smallest and largest of their ids."""

    events: int
    first: str
    last: str

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(self.events + other.events, min(self.first, other.first), max(self.last, other.last))


def take_leaves(connection: Connection, log_id: UUID, *, rows: int, size: int, passed: list[UUID]) -> Leaves:
    """The next unsealed events of a log, by their ids, as leaves: at most so many, and so many bytes or little more.

    Events that are in the list and not in the log fail, as `passed` over next time. Whoever calls has locked the head.
    """
    parameters = {"log_id": log_id, "passed": passed, "rows": rows}
    found = connection.execute(query("seal", "unsealed_ids"), parameters).fetchall()
    ids: list[str] = [event_id for (event_id,) in found]
    leaves = Leaves()
    if not ids:
        return leaves
    bounds = {"log_id": log_id, "ids": _array(ids), "first": ids[0], "last": ids[-1]}
    seen: int = 0
    with connection.cursor("sealing") as cursor:
        cursor.execute(query("seal", "rows"), bounds)
        while leaves.size < size and (fetched := cursor.fetchmany(FETCHED)):
            leaves.add([EventRow._make(row) for row in fetched])
            seen += len(fetched)
        is_all = leaves.size < size
    if is_all and seen < len(ids):
        there = {*map(UUID, leaves.ids), *leaves.failed}
        leaves.failed |= {
            one: DatabaseProblem(f"the event {one} waits for sealing, and is not there")
            for one in map(UUID, ids)
            if one not in there
        }
    return leaves


def take_event(connection: Connection, log_id: UUID, event_id: UUID) -> Leaves:
    """One unsealed event as a leaf.

    Raises:
        DatabaseProblem: it is not there, or no leaf can be made of it.
    """
    leaves = Leaves()
    bounds = {"log_id": log_id, "ids": _array([str(event_id)]), "first": event_id, "last": event_id}
    leaves.add([EventRow._make(row) for row in connection.execute(query("seal", "rows"), bounds).fetchall()])
    if leaves.ids != [str(event_id)]:
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
    ids: list[str | None] = [*leaves.ids] if first is None else [None, *leaves.ids]
    growth = head.frontier.grown(hashes)
    step("tiles")
    store_tiles(connection, log_id, head, growth, ids)
    step("head")
    row = {"log_id": log_id, "epoch": head.epoch, "size": growth.frontier.size, "frontier": growth.frontier.to_bytes()}
    _affect(connection.execute(query("seal", "grow_head"), row).rowcount, 1, log_id, "its head")
    step("activity")
    connection.execute(query("seal", "count"), {"log_id": log_id, **_activity(leaves)})
    step("unsealed")
    taken = connection.execute(query("seal", "take_off"), {"log_id": log_id, "ids": _array(leaves.ids)}).rowcount
    _affect(taken, len(leaves.ids), log_id, "its list of unsealed events")
    connection.execute(query("seal", "tell"), {"log_id": log_id})
    return growth


def _array(ids: list[str] | list[str | None]) -> str:
    """An array of ids as PostgreSQL reads it; the driver takes several times as long to write one of UUIDs."""
    return "{" + ",".join([one or "NULL" for one in ids]) + "}"


def store_tiles(connection: Connection, log_id: UUID, head: Head, growth: Growth, ids: list[str | None]) -> None:
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
    firsts: list[str | None] = []
    lasts: list[str | None] = []
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
        "log_id": log_id, "epoch": head.epoch, "ids": _array(ids), "levels": levels, "numbers": numbers,
        "hashes": hashes, "lows": lows, "highs": highs, "firsts": _array(firsts), "lasts": _array(lasts),
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
            ("actor", _NO_DAY, "", actor_type, actor_id or ""),
            ("day", day, "", "", ""),
            ("day_action", day, action, "", ""),
        ):
            known = rows[part]
            rows[part] = count if known is None else known.plus(count)
    names = ("parts", "days", "actions", "actor_types", "actor_ids", "events", "firsts", "lasts")
    ordered = [(*part, one.events, one.first, one.last) for part, one in sorted(rows.items()) if one is not None]
    return {name: [row[at] for row in ordered] for at, name in enumerate(names)}
