"""The sealer: gives committed events their places in their logs' trees, and signs what it has sealed.

Any number of processes may seal; a log is one's at a time, by the lock of its head's row, which the others skip. An
error in one log is reported and counted, and stops no other. A sealer that stands still never blocks writing: events
wait.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from permalog.errors import PermalogError
from permalog.sealing.growing import grow, take_leaves
from permalog.sealing.signing import check_not_rolled_back, sign
from permalog.sealing.tree import Head
from permalog.sql import query
from permalog.tlog.merkle import Frontier

if TYPE_CHECKING:
    from permalog.postgres.database import Connection, Database
    from permalog.sealing.growing import Step
    from permalog.sealing.signing import Signing

_log: Final = logging.getLogger("permalog.sealing")

BATCH_ROWS: Final = 5_000
"""Events a transaction; bounds how long it lasts."""
BATCH_BYTES: Final = 16_000_000
"""Bytes of leaves' preimages a transaction; bounds memory."""
TURN: Final = 4
"""Batches of one log before others get their turn."""
INTERVAL: Final = 0.5
"""Seconds from one look at the list to the next, where nothing is left over: what most of the lag is made of."""
SWEEP: Final = 60.0
"""Seconds between looks at all logs for trees that are not signed, as after a crash."""
MOST_LOGS: Final = 10_000
"""Logs that are found in one look."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds, for a log or a database that fails: doubled from the one to the other."""
SAMPLE: Final = 100_000
"""Events that are counted exactly when somebody asks how many wait."""


@dataclass(slots=True)
class SealingStats:
    """What a sealer has done so far."""

    events: int = 0
    """Sealed."""
    batches: int = 0
    checkpoints: int = 0
    """Signed."""
    raw: int = 0
    """Events that took the raw form, since their payloads have no exact canonical one."""
    errors: int = 0
    """Failures of a log's turn, or of one event."""
    sealed_at: datetime | None = None
    """When something was sealed last."""
    lag: float = 0.0
    """Seconds that the oldest event of the latest batch had waited since the database took it."""
    refused: dict[UUID, str] = field(default_factory=dict[UUID, str])
    """Logs whose last turn failed, with the reason: first of all those that cannot be signed."""


@dataclass(slots=True)
class _Pause:
    until: float
    length: float


class Sealer:
    """Seals and signs. Not to be shared between threads; see `SealingThread`.

    Args:
        database: the database, as a login that may become ``permalog_sealer``.
        signing: the key, the origin and the place outside; None: seal, and sign nothing until somebody does.
        rows: events a transaction.
        step: is told what comes next, for tests.

    Raises:
        DatabaseProblem: the database cannot be reached, or the login may not seal.
    """

    def __init__(
        self, database: Database, signing: Signing | None, *, rows: int = BATCH_ROWS, step: Step = lambda _: None
    ) -> None:
        self.stats: Final = SealingStats()
        self._database: Final = database
        self._signing: Final = signing
        self._rows: Final = rows
        self._step: Final = step
        self._connection: Connection | None = sealing_connection(database)
        self._pauses: Final[dict[UUID, _Pause]] = {}
        self._passed: Final[dict[UUID, list[UUID]]] = {}
        """Events that could not be sealed, by log; they wait until this process starts anew."""
        self._swept = float("-inf")

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def pass_over(self) -> bool:
        """One turn for each log in which events wait, or that is not signed; returns whether more is left to do now.

        Raises:
            psycopg.OperationalError: the connection broke; the next call makes a new one.
            DatabaseProblem: no new one could be made.
        """
        if self._connection is None or self._connection.closed:
            self._connection = sealing_connection(self._database)
        connection = self._connection
        is_more = False
        for log_id in self._due(connection):
            if self._is_paused(log_id):
                continue
            try:
                is_more |= self._turn(connection, log_id)
            except (PermalogError, psycopg.Error) as error:
                if connection.closed or connection.broken:
                    raise
                self._fail(log_id, error)
            else:
                self._pauses.pop(log_id, None)
                self.stats.refused.pop(log_id, None)
        return is_more

    def run(self, stop: threading.Event) -> None:
        """Seals until `stop` is set, whatever fails meanwhile."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            begun = time.monotonic()
            try:
                is_more = self.pass_over()
                pause = FIRST_PAUSE
            except (PermalogError, psycopg.Error) as error:
                self.stats.errors += 1
                _log.error("sealing stands still, and goes on by itself: %s", _line(error))
                self.close()
                stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if not is_more:
                stop.wait(max(0.0, begun + INTERVAL - time.monotonic()))
        self.close()

    def _due(self, connection: Connection) -> list[UUID]:
        parameters = {"after": UUID(int=0), "most": MOST_LOGS}
        waiting: dict[UUID, None] = dict.fromkeys(
            row[0] for row in connection.execute(query("seal", "waiting"), parameters)
        )
        if self._signing is not None and time.monotonic() >= self._swept + SWEEP:
            waiting |= dict.fromkeys(row[0] for row in connection.execute(query("seal", "unsigned")))
            self._swept = time.monotonic()
        return list(waiting)

    def _turn(self, connection: Connection, log_id: UUID) -> bool:
        """Some batches of one log, and its signature; returns whether more of it waits."""
        is_more = True
        for _ in range(TURN):
            is_more = self._seal(connection, log_id)
            if not is_more:
                break
        if self._signing is not None:
            self._sign(connection, self._signing, log_id)
        return is_more

    def _seal(self, connection: Connection, log_id: UUID) -> bool:
        """One batch; returns whether there may be a further one."""
        connection.execute(query("seal", "begin_head"), {"log_id": log_id})
        with connection.transaction():
            head = lock_head(connection, log_id)
            if head is None:
                return False
            if self._signing is not None:
                check_not_rolled_back(connection, self._signing, log_id, head)
            passed = self._passed.get(log_id, [])
            self._step("read")
            leaves = take_leaves(connection, log_id, rows=self._rows, size=BATCH_BYTES, passed=passed)
            if leaves.ids:
                grow(connection, log_id, head, leaves, self._step)
            self._step("commit")
        self._step("sealed")
        for event_id, error in leaves.failed.items():
            self._passed.setdefault(log_id, []).append(event_id)
            self.stats.errors += 1
            _log.error("log %s: the event %s could not be sealed: %s", log_id, event_id, _line(error))
        if leaves.raw:
            _log.warning("log %s: %d events were sealed in the raw form: %s …", log_id, len(leaves.raw), leaves.raw[0])
        if leaves.oldest is not None:
            self.stats.raw += len(leaves.raw)
            self.stats.events += len(leaves.ids)
            self.stats.batches += 1
            self.stats.sealed_at = datetime.now(UTC)
            self.stats.lag = (self.stats.sealed_at - datetime.fromisoformat(leaves.oldest)).total_seconds()
        return len(leaves.ids) + len(leaves.failed) >= self._rows or leaves.size >= BATCH_BYTES

    def _sign(self, connection: Connection, signing: Signing, log_id: UUID) -> None:
        with connection.transaction():
            head = lock_head(connection, log_id)
            if head is None:
                return
            signed = sign(connection, signing, log_id, head, step=self._step)
            self._step("commit_signed")
        self._step("signed")
        self.stats.checkpoints += signed

    def _is_paused(self, log_id: UUID) -> bool:
        pause = self._pauses.get(log_id)
        return pause is not None and time.monotonic() < pause.until

    def _fail(self, log_id: UUID, error: Exception) -> None:
        self.stats.errors += 1
        known = self._pauses.get(log_id)
        length = FIRST_PAUSE if known is None else min(2 * known.length, LONGEST_PAUSE)
        self._pauses[log_id] = _Pause(time.monotonic() + length, length)
        reason = _line(error)
        if self.stats.refused.get(log_id) != reason:  # said once, and not every half minute
            _log.error("log %s is not sealed: %s", log_id, reason)
        self.stats.refused[log_id] = reason


class SealingThread:
    """A sealer in a thread and on a connection of its own, as `permalog serve` has one."""

    def __init__(self, database: Database, signing: Signing | None) -> None:
        """Starts at once.

        Raises:
            DatabaseProblem: as `Sealer`.
        """
        self._sealer: Final = Sealer(database, signing)
        self._stop: Final = threading.Event()
        self._thread: Final = threading.Thread(
            target=self._sealer.run, args=(self._stop,), name="permalog-sealer", daemon=True
        )
        self._thread.start()

    @property
    def stats(self) -> SealingStats:
        """What it has done so far."""
        return self._sealer.stats

    def close(self) -> None:
        """Ends after the log that it is at."""
        self._stop.set()
        self._thread.join()


def seal_now(database: Database, signing: Signing | None) -> SealingStats:
    """Seals and signs everything that waits at this moment, and returns what was done.

    Raises:
        DatabaseProblem: the database cannot be reached, or the login may not seal.
    """
    sealer = Sealer(database, signing)
    try:
        while sealer.pass_over():
            pass
    finally:
        sealer.close()
    return sealer.stats


def may_seal(database: Database) -> bool:
    """Whether the login may become the sealer."""
    if not database.has_roles:
        return True
    with database.shared() as connection:
        row = connection.execute(query("seal", "may_seal")).fetchone()
    return bool(row and row[0])


def backlog(database: Database) -> tuple[int, datetime | None]:
    """How many events wait, 100,000 meaning that many or more, and since when the oldest of these does."""
    with suppress(psycopg.errors.InsufficientPrivilege), sealing_connection(database) as connection:
        row = connection.execute(query("seal", "backlog"), {"most": SAMPLE}).fetchone()
        return row or (0, None)
    return 0, None


def overdue(database: Database) -> int:
    """How many logs have grown, and were not signed for two minutes; the login must be one that may seal."""
    with closing(sealing_connection(database)) as connection:
        row = connection.execute(query("seal", "overdue")).fetchone()
    return 0 if row is None else row[0]


def sealing_connection(database: Database) -> Connection:
    """A connection of one's own in the sealer's role.

    Raises:
        DatabaseProblem: the server cannot be reached, or the login may not seal.
    """
    connection = database.working("permalog_sealer")
    connection.execute(query("seal", "settle"))
    return connection


def lock_head(connection: Connection, log_id: UUID, *, wait: bool = False) -> Head | None:
    """Locks a log's head until the transaction ends.

    Returns None where another sealer has it, where nothing was ever sealed, where its owner was erased, or where it has
    just begun a new epoch.
    """
    row = connection.execute(query("seal", "await_head" if wait else "lock_head"), {"log_id": log_id}).fetchone()
    if row is None:
        return None
    head = Head(row[0], Frontier.from_bytes(row[1]), row[2])
    is_open = connection.execute(query("seal", "is_open"), {"log_id": log_id, "epoch": head.epoch}).fetchone()
    return head if is_open and is_open[0] else None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
