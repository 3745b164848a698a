"""Syncs that run behind the answers: a request starts one, and need not wait for its end."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from permalog_server.problem import Problem
from security_agent import schedule, sync
from security_agent.errors import SyncFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from security_agent.agent import Agent
    from security_agent.schedule import Round
    from security_agent.sync import Sync

AT_ONCE: Final = 2
"""Each has several repositories in work, with a connection to the database each."""
WAITING: Final = 100
"""Bounds what members who trigger one sync after the other can pile up."""
_log: Final = structlog.get_logger("permalog.http")
_T = TypeVar("_T")


class Syncs:
    """Threads that sync. Closing asks those in work to end at their next page, which is on record."""

    def __init__(self, agent: Agent) -> None:
        self._agent: Final = agent
        self._lock: Final = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._round: Future[Round] | None = None
        self._waiting = 0

    def start(self, begin: Callable[[], Sync]) -> tuple[Sync, Future[None]]:
        """Begins a sync, which is on record when this returns; the future is done when the sync is.

        Raises:
            Problem: too many are waiting.
            AgentError: as `begin` raises.
        """
        with self._lock:
            if self._waiting >= WAITING:
                raise Problem(503, "too many syncs are waiting", headers={"Retry-After": "60"})
            self._waiting += 1
        try:
            begun = begin()
            return begun, self._submit(lambda: self._run(begun))
        except BaseException:
            self._left()
            raise

    def start_round(self) -> Future[Round]:
        """Syncs all owners that are due; the round that runs already, if one does."""
        with self._lock:
            running = self._round
        if running is None or running.done():
            running = self._submit(lambda: schedule.sync_all(self._agent))
            with self._lock:
                self._round = running
        return running

    def close(self) -> None:
        """Ends them."""
        self._agent.stopping.set()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _run(self, begun: Sync) -> None:
        try:
            sync.run(self._agent, begun)
        except SyncFailed:
            pass  # it is on record, and last-sync tells it
        except Exception:  # noqa: BLE001  nobody waits for it, and the next one goes on
            _log.exception("a sync broke off", sync=str(begun.id))
        finally:
            self._left()

    def _left(self) -> None:
        with self._lock:
            self._waiting -= 1

    def _submit(self, work: Callable[[], _T]) -> Future[_T]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AT_ONCE, "syncs")
            return self._pool.submit(work)
