"""Keeping the partitions of the events: months made ahead, the present one cut by volume, closed ones indexed.

Any number of processes may do so: each step is one transaction in the database, by one of them at a time (see
``routines/partitions.sql``). A crash at any point leaves what was there before; the next look takes up what is left.
Neither a writer nor a reader waits for long: a step that finds a lock taken gives up, and tries again at the next look.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psycopg

from permalog.errors import PermalogError
from permalog.sql import query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from permalog.postgres.database import Connection, Database

_log: Final = logging.getLogger("permalog.keeping")

INTERVAL: Final = 60.0
"""Seconds between two looks."""
LARGEST: Final = 100_000
"""Events of one log in the present partition from which on it is cut: the part of a log without an index is bounded."""
TOTAL: Final = 1_000_000
"""Events of all logs in the present partition from which on it is cut; bounds how long building an index takes."""


@dataclass(slots=True)
class KeepingStats:
    """What a keeper has done so far, and what it saw last."""

    made: int = 0
    """Partitions made ahead."""
    cut: int = 0
    """Partitions cut off from the present one."""
    indexed: int = 0
    """Indexes built."""
    postponed: int = 0
    """Steps that found a lock taken."""
    errors: int = 0
    partitions: int = 0
    """How many there are."""
    unindexed: int = 0
    """Closed ones that hold events and have no search index of today's rules."""
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    """Bytes of these when they were last looked at: who is still written to waits."""


class Keeper:
    """Keeps the partitions. Not to be shared between threads; see `KeepingThread`.

    Args:
        database: the database, as a login that may become ``permalog_sealer``.
        largest: see `LARGEST`; the database takes no less than 1,000.
        total: see `TOTAL`; likewise.
    """

    def __init__(self, database: Database, *, largest: int = LARGEST, total: int = TOTAL) -> None:
        self.stats: Final = KeepingStats()
        self._database: Final = database
        self._largest: Final = largest
        self._total: Final = total

    def look(self, *, at_once: bool = False) -> None:
        """Does what there is to do; with ``at_once``, indexes partitions that may still be written to, too.

        Raises:
            DatabaseProblem: the server cannot be reached, or the login may not seal.
            psycopg.Error: a step failed for another reason than a lock.
        """
        with self._database.working("permalog_sealer") as connection:
            self.stats.made += int(self._step(connection, "add", {}) or 0)
            bounds = {"largest": self._largest, "total": self._total}
            self.stats.cut += self._step(connection, "cut", bounds) is not None
            before, self.stats.sizes = self.stats.sizes, self._closed(connection)
            for name, size in list(self.stats.sizes.items()):
                if (at_once or before.get(name) == size) and self._step(connection, "index", {"name": name}):
                    self.stats.indexed += 1
                    del self.stats.sizes[name]
            self.stats.unindexed = len(self.stats.sizes)

    def run(self, stop: threading.Event) -> None:
        """Looks every minute until `stop` is set, whatever fails meanwhile."""
        while not stop.is_set():
            try:
                self.look()
            except (PermalogError, psycopg.Error) as error:
                self.stats.errors += 1
                _log.error("the partitions are not looked after, and will be tried again: %s", _line(error))
            stop.wait(INTERVAL)

    def _closed(self, connection: Connection) -> dict[str, int]:
        """The closed partitions without an index, and their sizes; the oldest last, since it is searched last."""
        rows: list[tuple[str, int, bool]] = connection.execute(query("keep", "partitions")).fetchall()
        self.stats.partitions = len(rows)
        return {name: size for name, size, is_waiting in rows if is_waiting}

    def _step(self, connection: Connection, name: str, parameters: Mapping[str, object]) -> int | str | None:
        try:
            row = connection.execute(query("keep", name), parameters).fetchone()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            self.stats.postponed += 1
            return None
        return row[0] if row else None


class KeepingThread:
    """A keeper in a thread of its own, as `permalog serve` and `permalog seal` have one."""

    def __init__(self, database: Database) -> None:
        """Starts at once."""
        self._keeper: Final = Keeper(database)
        self._stop: Final = threading.Event()
        self._thread: Final = threading.Thread(
            target=self._keeper.run, args=(self._stop,), name="permalog-keeper", daemon=True
        )
        self._thread.start()

    @property
    def stats(self) -> KeepingStats:
        """What it has done so far."""
        return self._keeper.stats

    def close(self) -> None:
        """Ends after the step that it is at; building an index goes on in the database, or is undone, as a whole."""
        self._stop.set()
        self._thread.join(timeout=5)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
