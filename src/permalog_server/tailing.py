"""The tail over HTTP: server-sent events, for as many listeners as may be, on one connection that listens.

Whoever waits holds no connection: one thread hears from PostgreSQL which log has grown, and wakes who waits for it.
What a listener gets is fetched when they have taken what came before, so that one who reads slowly holds one batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import anyio.to_thread
import orjson
import psycopg
import structlog
from starlette.responses import Response
from typing_extensions import override

from permalog.errors import DatabaseProblem
from permalog.reading.tail import Position, TailBatch, read_tail
from permalog_server.accounts import UnknownToken
from permalog_server.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from anyio import CapacityLimiter
    from starlette.types import Receive, Scope, Send

    from permalog.postgres.database import Connection, Database
    from permalog.reading.filters import Filters
    from permalog_server.allowance import Places
    from permalog_server.entry import Entry

_log: Final = structlog.get_logger("permalog.tail")

CHANNEL: Final = "permalog_sealed"
"""On which the sealer tells which log has grown; the payload is the log's id."""
HEARTBEAT_SECONDS: Final = 15.0
"""A sign of life, after which is looked, too: a notification may be lost with the connection."""
ADMISSION_SECONDS: Final = 60.0
"""A token that was revoked, or a role that was lost, ends a tail within this."""
LONGEST_SECONDS: Final = 3600
_HEARTBEAT: Final = b":\n\n"
_LISTEN_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 2.0
_TAIL: Final = {"X-Accel-Buffering": "no"}


class Hub:
    """Who waits for which log. Starts to listen with the first, and ends with `close`."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._lock: Final = threading.Lock()
        self._waiting: Final[dict[UUID, dict[asyncio.Event, asyncio.AbstractEventLoop]]] = {}
        self._thread: threading.Thread | None = None
        self.is_closed: Final = threading.Event()

    @contextmanager
    def waiting(self, log_id: UUID) -> Generator[asyncio.Event]:
        """An event that is set whenever the log has grown, or may have; within the loop that runs."""
        grown = asyncio.Event()
        with self._lock:
            self._waiting.setdefault(log_id, {})[grown] = asyncio.get_running_loop()
            if self._thread is None and not self.is_closed.is_set():
                self._thread = threading.Thread(target=self._run, name="permalog-tail", daemon=True)
                self._thread.start()
        try:
            yield grown
        finally:
            with self._lock:
                del self._waiting[log_id][grown]
                if not self._waiting[log_id]:
                    del self._waiting[log_id]

    def close(self) -> None:
        """Wakes everybody, so that they end."""
        self.is_closed.set()
        self._wake(None)
        if self._thread is not None:
            self._thread.join(10)

    def _wake(self, log_id: UUID | None) -> None:
        with self._lock:
            logs = list(self._waiting) if log_id is None else [log_id]
            for one in logs:
                for grown, loop in self._waiting.get(one, {}).items():
                    with suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(grown.set)

    def _run(self) -> None:
        while not self.is_closed.is_set():
            try:
                with self._database.connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._wake(None)  # what was told while nobody listened
                    self._listen(connection)
            except (psycopg.Error, DatabaseProblem):
                _log.warning("the tail hears nothing for a while", exc_info=True)
                self.is_closed.wait(_PAUSE_SECONDS)

    def _listen(self, connection: Connection) -> None:
        while not self.is_closed.is_set():
            for told in connection.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                with suppress(ValueError):  # anybody may notify anything
                    self._wake(UUID(told.payload))


@dataclass(frozen=True, slots=True)
class Desk:
    """What tails work with; one for the application."""

    hub: Hub
    places: Places
    threads: CapacityLimiter


class Tail(Response):
    """The events of a log as they are sealed."""

    media_type = "text/event-stream"

    def __init__(  # noqa: PLR0913  who listens, and to what
        self,
        desk: Desk,
        database: Database,
        entry: Entry,
        first: TailBatch,
        filters: Filters,
        *,
        wait: float,
        admit: Callable[[], object],
    ) -> None:
        """``first`` was read before the answer begins, so that what fails then can still be told."""
        super().__init__(headers=_TAIL)
        del self.headers["content-length"]
        self._desk: Final = desk
        self._database: Final = database
        self._entry: Final = entry
        self._first: Final = first
        self._filters: Final = filters
        self._wait: Final = wait
        self._admit: Final = admit

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the time is over, the client has gone, or something ends it, which is then said."""
        left = asyncio.create_task(_left(receive))
        try:
            with self._desk.hub.waiting(self._entry.owner.log_id) as grown:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                reason = await self._sent(send, grown, left)
                if reason is not None:
                    await send({"type": "http.response.body", "body": _ended(reason)})
        finally:
            left.cancel()

    async def _sent(  # noqa: C901  one loop, one exit a reason
        self, send: Send, grown: asyncio.Event, left: asyncio.Task[None]
    ) -> str | None:
        """Why it ends; None: the client has gone."""
        until = time.monotonic() + self._wait
        admitted = time.monotonic()
        batch = self._first
        said = b"" if batch.events else _position(batch.position)
        while True:
            said += _written(batch)
            if said:
                await send({"type": "http.response.body", "body": said, "more_body": True})
            said = b""
            if not batch.is_more:
                if time.monotonic() >= until:
                    return "time is over"
                if not await _first_of(grown, left, min(HEARTBEAT_SECONDS, until - time.monotonic())):
                    said = _HEARTBEAT
            if left.done():
                return None
            if self._desk.hub.is_closed.is_set():
                return "the service stops"
            grown.clear()  # before looking: what comes meanwhile wakes again
            if time.monotonic() - admitted > ADMISSION_SECONDS:
                admitted = time.monotonic()
                if not await self._is_admitted():
                    return "no longer admitted"
            before = batch.position
            try:
                batch = await anyio.to_thread.run_sync(self._read, before, limiter=self._desk.threads)
            except (psycopg.Error, DatabaseProblem):
                _log.warning("a tail was broken off", exc_info=True)
                return "the database cannot be reached"
            if not batch.events and batch.position != before:
                said += _position(batch.position)  # everything was left out by the filters, and is passed

    def _read(self, after: Position) -> TailBatch:
        return read_tail(self._database, self._entry.owner, after, self._filters, viewer=self._entry.viewer)

    async def _is_admitted(self) -> bool:
        try:
            await anyio.to_thread.run_sync(self._admit, limiter=self._desk.threads)
        except (Problem, UnknownToken):
            return False
        return True


class Held(Response):
    """A tail that holds a place among those that may go on at a time."""

    def __init__(self, places: Places, token_id: UUID, tail: Tail) -> None:
        super().__init__()
        self._places: Final = places
        self._token_id: Final = token_id
        self._tail: Final = tail

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._places.place(self._token_id):
            await self._tail(scope, receive, send)


def _written(batch: TailBatch) -> bytes:
    """The events of a batch as server-sent events."""
    return b"".join(
        b"id: %s\nevent: event\ndata: %s\n\n" % (str(at).encode(), event.to_json()) for at, event in batch.events
    )


def _position(at: Position) -> bytes:
    """Where a reader stands who has got no event: what is broken off then goes on from there."""
    return b"id: %s\n\n" % str(at).encode()


def _ended(reason: str) -> bytes:
    return b"event: end\ndata: %s\n\n" % orjson.dumps({"reason": reason})


async def _first_of(grown: asyncio.Event, left: asyncio.Task[None], seconds: float) -> bool:
    """Waits for the log to grow, the client to leave, or the time to pass; false: the time has passed."""
    waiting = asyncio.create_task(grown.wait())
    try:
        done, _ = await asyncio.wait([waiting, left], timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return bool(done)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
