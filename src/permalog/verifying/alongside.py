"""What stands beside the trees of a large log, verified while its trees are: by a thread with a connection of its own.

Most of it is counted and compared by the server, which would wait meanwhile. Both see the same moment.
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Final, Self

import psycopg

from permalog.errors import DatabaseProblem
from permalog.sql import query
from permalog.verifying.rows import Rows

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from permalog.postgres.database import Connection, Database
    from permalog.tlog.findings import Finding, Report

FROM_LEAVES: Final = 50_000
"""With fewer, beginning costs more than it brings."""


class Alongside:
    """Verifies what stands beside the trees of one log; its findings wait until the trees are done."""

    def __init__(self, database: Database, connection: Connection, log_id: UUID, *, since: bool, most: int) -> None:
        """Begins with `__enter__`; keeps at most ``most`` findings."""
        self._database = database
        self._connection = connection
        self._log_id = log_id
        self._since = since
        self._most = most
        self._snapshot = ""
        self._own: Connection | None = None
        self._error: Exception | None = None
        self._findings: list[Finding] = []
        self._thread = Thread(target=self._run, name="permalog-verify", daemon=True)
        self.more = 0
        """Findings that were not kept."""

    def __enter__(self) -> Self:
        """Begins, at the moment that the connection sees."""
        row = self._connection.execute(query("verify", "snapshot")).fetchone()
        self._snapshot = str(row[0]) if row else ""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends; what the server still works on is given up."""
        while self._thread.is_alive():
            if self._own is not None:
                self._own.cancel_safe()
            self._thread.join(0.1)

    def report(self, report: Report) -> None:
        """Waits for the end, and tells what was found.

        Raises:
            DatabaseProblem: no second connection could be had. Others as the database raises them.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        for finding in self._findings:
            report(finding)

    def _run(self) -> None:
        try:
            with self._database.verifying(self._snapshot) as self._own:
                Rows(self._own, self._log_id, self._take).beside(since=self._since)
        except (psycopg.Error, DatabaseProblem) as error:
            self._error = error
        finally:
            self._own = None

    def _take(self, finding: Finding) -> None:
        if len(self._findings) < self._most:
            self._findings.append(finding)
        else:
            self.more += 1
