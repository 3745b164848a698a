"""What verifying reads beside the tree: the rows behind leaves, and all that stands beside the events of a log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg

from permalog.identity import Identity
from permalog.sql import query
from permalog.tlog.canonical import EventRow
from permalog.tlog.findings import Finding, Report, VerifyCode
from permalog.verifying.rules import Leaf, Place, check_identity, check_leaf
from permalog.verifying.times import Times

if TYPE_CHECKING:
    from permalog.postgres.database import Connection

_ROWS: Final = 1000
"""That the driver hands over at a time."""
_SPARSE: Final = 2
"""Where an id range holds more than so many times the events that are asked for, they are asked for one by one: events
that were imported out of order lie far apart."""
_PERSONAL: Final = re.compile(r'"\$identity": "([0-9a-f]{64})"')
_COMMITMENTS: Final = 1000
UNSEALED_TOO_LONG: Final = 60.0
"""Seconds: sealing takes two, and a stopped sealer should be noticed by the first who looks."""


class Rows:
    """The rows of one log, in the snapshot of a connection's transaction."""

    def __init__(self, connection: Connection, log_id: UUID, report: Report) -> None:
        self._connection = connection
        self._log_id = log_id
        self._report = report
        # Chunks need libpq 17; an older one hands over row by row.
        self._size = _ROWS if psycopg.capabilities.has_stream_chunked() else 1

    def leaves(self, place: Place, leaves: list[Leaf], times: Times) -> None:
        """Each leaf is that of its event's row; the findings come in the order of the leaves."""
        if not leaves:
            return
        # Of two leaves of one event one is left; that there are two is found in `beside`.
        wanted = {leaf.event_id: leaf for leaf in leaves}
        found: list[Finding] = []
        commitments: set[bytes] = set()
        recorded: list[tuple[int, str, str]] = []
        # Each row is done with as it comes: to keep them would cost more than what is done with them.
        for columns in self._events(wanted):
            leaf = wanted.pop(columns[1], None)
            if leaf is None:
                continue
            row = EventRow._make(columns)
            check_leaf(place, leaf, row, found.append)
            times.check(leaf.leaf_index, row)
            recorded.append((leaf.leaf_index, row.recorded_at, row.id))
            for payload in (row.metadata, row.before_state, row.after_state):
                if payload is not None and "$identity" in payload:
                    commitments.update(map(bytes.fromhex, _PERSONAL.findall(payload)))
        for leaf in wanted.values():
            check_leaf(place, leaf, None, found.append)
        for finding in sorted(found, key=lambda one: one.leaf_index or 0):
            self._report(finding)
        times.check_order(sorted(recorded))
        self._openable(commitments)

    def beside(self, *, since: bool = False) -> None:
        """Everything else of the log: one leaf for each event, identities, counts, keys, what waits.

        With `since`, events that are gone are reported here, too: their leaves were not looked at.
        """
        for event, events, leaves, waiting in self._stream("misplaced"):
            self._misplaced(event, events, leaves, waiting, since=since)
        for commitment, salt, erased, *columns in self._stream("identities"):
            check_identity(Place(self._log_id), commitment, salt, Identity(*columns), self._report, is_erased=erased)
        for event, missing in self._stream("wrong_identities"):
            if missing:
                self._found(VerifyCode.IDENTITY_MISSING, "the identity of the event is not there", event)
            else:
                self._found(VerifyCode.IDENTITY_OTHER, "the identity of the event is not that of its actor", event)
        for part, counted, kept in self._stream("wrong_counts"):
            message = f"a count by {part} is {kept or 0}, or has wrong bounds, and {counted or 0} events have leaves"
            self._found(VerifyCode.ACTIVITY_WRONG, message)
        for event, missing in self._stream("wrong_keys"):
            about = "names an event that is not there" if missing else "has not the digest of its event"
            self._found(VerifyCode.EVENT_KEY_WRONG, f"an idempotency key {about}", event)
        count, seconds = self._connection.execute(query("verify", "waiting"), {"log": self._log_id}).fetchone() or (
            0,
            0,
        )
        if count and seconds > UNSEALED_TOO_LONG:
            message = f"{count} event(s) wait for sealing, the first for {seconds:.0f} seconds: does the sealer run?"
            self._found(VerifyCode.UNSEALED_LONG, message)

    def _misplaced(self, event: UUID, events: int, leaves: int, waiting: int, *, since: bool) -> None:
        if not events and leaves:
            if since:
                self._found(VerifyCode.EVENT_MISSING, "the event that was sealed is not there", event)
        elif not events:
            self._found(VerifyCode.UNSEALED_UNKNOWN, "an event that waits for sealing is not there", event)
        elif events > 1 or leaves > 1:
            self._found(VerifyCode.EVENT_DOUBLED, f"the event is there {events} times, and has {leaves} leaves", event)
        elif leaves and waiting:
            self._found(VerifyCode.UNSEALED_UNKNOWN, "an event that has a leaf waits for sealing", event)
        else:
            self._found(VerifyCode.EVENT_UNPLACED, "the event has no leaf, and does not wait for one", event)

    def _openable(self, commitments: set[bytes]) -> None:
        """The identities that payloads refer to are there."""
        waiting = iter(commitments)
        while some := list(islice(waiting, _COMMITMENTS)):
            parameters = {"log": self._log_id, "commitments": some}
            for (commitment,) in self._connection.execute(query("verify", "unknown_commitments"), parameters):
                message = f"a payload refers to the identity {commitment.hex()[:16]}…, which is not there"
                self._found(VerifyCode.IDENTITY_MISSING, message)

    def _events(self, wanted: dict[str, Leaf]) -> Iterator[tuple[Any, ...]]:
        """Their rows, in any order, and perhaps others."""
        bounds: dict[str, object] = {"log": self._log_id, "low": min(wanted), "high": max(wanted)}
        most = _SPARSE * len(wanted) + 1
        count = self._connection.execute(query("verify", "in_range"), {**bounds, "most": most}).fetchone()
        if count is not None and count[0] < most:
            return self._stream("rows_of_range", **bounds)
        return self._stream("rows_of_ids", **bounds, ids=sorted(wanted))

    def _stream(self, name: str, **parameters: object) -> Iterator[tuple[Any, ...]]:
        cursor = self._connection.cursor(binary=True)
        return cursor.stream(query("verify", name), {"log": self._log_id, **parameters}, size=self._size)

    def _found(self, code: VerifyCode, message: str, event_id: UUID | None = None) -> None:
        self._report(Finding(code, message, self._log_id, event_id=event_id))
