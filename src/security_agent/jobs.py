"""Jobs: what is done in the background, by procrastinate, whose tables lie in the schema ``jobs``.

Arguments are ids only. Every job may run twice: it looks at what is there, and does what is still to be done.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from security_agent.analysis import end_stale, run
from security_agent.case import at
from security_agent.queue import QUEUE, Task, defer
from security_agent.sql import query
from security_agent.sync import end_lost
from security_agent.write_back import write_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from procrastinate import App, JobContext

    from permalog import Owner
    from security_agent.agent import Agent
    from security_agent.analysis import Means

AT_ONCE: Final = 4
"""Jobs of one worker; the threads that they take, and the connections."""
EVERY_SIX_HOURS: Final = "0 */6 * * *"
EVERY_MINUTE: Final = "* * * * *"
GONE_SECONDS: Final = 60
"""A worker that has given no sign of life for so long is gone, and its jobs are another's."""
STRANDED_SECONDS: Final = 5 * 60
"""A write-back that has been due for so long, and that no job waits for, has lost its job."""
GRACE_SECONDS: Final = 15
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Worker:
    """Works on the queue of one database. `run` blocks; `stop`, from any thread, lets it end."""

    url: str
    agent: Agent
    means: Means
    sync_all: Callable[[Agent], object] | None = None
    """Syncs every owner who wants it; None: not here."""
    poll_seconds: float = 5.0
    """The longest wait for a job that nobody announced."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, *, until_idle: bool = False) -> None:
        """Takes jobs until `stop`, or until none is left.

        Raises:
            procrastinate.exceptions.ConnectorException: the database cannot be reached.
        """
        asyncio.run(self._run(until_idle=until_idle))

    def stop(self) -> None:
        """Lets running jobs end or hand over, and takes no more."""
        self.agent.stopping.set()
        self._stop.set()

    async def _run(self, *, until_idle: bool) -> None:
        app = application(self)
        async with app.open_async():
            working = asyncio.ensure_future(
                app.run_worker_async(
                    queues=[QUEUE],
                    # One after the other, so that what a job puts into the queue is seen before it is idle.
                    concurrency=1 if until_idle else AT_ONCE,
                    wait=not until_idle,
                    fetch_job_polling_interval=self.poll_seconds,
                    shutdown_graceful_timeout=GRACE_SECONDS,
                    install_signal_handlers=False,
                    listen_notify=not until_idle,
                )
            )
            while not working.done():
                await asyncio.wait([working], timeout=0.1)
                if self._stop.is_set():
                    working.cancel()
            if not working.cancelled():
                working.result()


def application(worker: Worker) -> App:
    """The tasks, on the worker's database."""
    from procrastinate import App, PsycopgConnector, RetryStrategy  # noqa: PLC0415  slow to load

    connector = PsycopgConnector(
        conninfo=worker.url, kwargs={"options": "-c search_path=jobs"}, min_size=1, max_size=AT_ONCE
    )
    app = App(connector=connector)
    again = RetryStrategy(max_attempts=_ATTEMPTS, wait=5, exponential_wait=5)

    @app.task(name=Task.ANALYZE.value, queue=QUEUE, retry=again)
    def analyze(*, log_id: str, id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        run(worker.agent, worker.means, UUID(log_id), UUID(id))

    @app.task(name=Task.WRITE_BACK.value, queue=QUEUE, retry=again)
    def tell_github(*, log_id: str, id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        write_back(worker.agent, UUID(log_id), UUID(id))

    @app.periodic(cron=EVERY_MINUTE)
    @app.task(name=Task.CLEAN.value, queue=QUEUE, queueing_lock=Task.CLEAN.value, lock=Task.CLEAN.value)
    def tidy(timestamp: int) -> None:  # pyright: ignore[reportUnusedFunction]
        del timestamp
        clean(worker.agent)

    if worker.sync_all is not None:
        sync_all = worker.sync_all

        @app.periodic(cron=EVERY_SIX_HOURS)
        @app.task(
            name=Task.SYNC_ALL.value, queue=QUEUE, queueing_lock=Task.SYNC_ALL.value, lock=Task.SYNC_ALL.value,
            pass_context=True,
        )  # fmt: skip
        def sync(context: JobContext, timestamp: int) -> None:  # pyright: ignore[reportUnusedFunction]
            del context, timestamp
            sync_all(worker.agent)

    return app


def clean(agent: Agent) -> int:
    """Ends what has stalled, with its event, gives the jobs of workers that are gone to others, and sweeps old ones.

    A write-back whose job was given up, or is lost, gets another one: GitHub is told in the end.

    Returns:
        How many analyses have failed by it.
    """
    with agent.looking() as connection:
        connection.execute(query("jobs", "revive"), {"seconds": GONE_SECONDS})
        connection.execute(query("jobs", "sweep"))
        stranded = {"task": Task.WRITE_BACK.value, "seconds": STRANDED_SECONDS}
        for log_id, id in connection.execute(query("judgement", "stranded"), stranded).fetchall():  # noqa: A001  what it is
            defer(connection, Task.WRITE_BACK, log_id=log_id, id=id)
    end_lost(agent)
    return end_stale(agent)


def jobs(
    agent: Agent, owner: Owner | None = None, *, status: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """What is and was in the queue, newest first.

    Args:
        agent: with its log.
        owner: whose; None: everybody's.
        status: ``todo``, ``doing``, ``succeeded``, ``failed``, ``cancelled`` or ``aborted``.
        limit: at most so many.
    """
    given = {"log_id": None if owner is None else str(owner.log_id), "status": status, "limit": limit}
    with agent.looking() as connection:
        rows = connection.execute(query("jobs", "list"), given).fetchall()
    return [
        {
            "id": row[0], "task": row[1], "status": row[2], "attempts": row[3], "log_id": row[4].get("log_id"),
            "about": row[4].get("id"), "scheduled_at": at(row[5]), "deferred_at": at(row[6]), "changed_at": at(row[7]),
        }
        for row in rows
    ]  # fmt: skip
