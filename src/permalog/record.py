"""The recorder: takes events from callers without making them wait, and brings them into the database.

An event that `submit` accepted is written by a background thread, in batches. For now the queue between them is in
memory: what is in it when the process is killed is lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakMethod

import psycopg

from permalog.errors import DatabaseProblem, PermalogError, RecorderFull
from permalog.store import Dated, Writer, has_words, refusal

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.database import Database, Writing
    from permalog.event import Event
    from permalog.store import Outcome

_log: Final = logging.getLogger("permalog")

QUEUE_LIMIT: Final = 100_000
"""Events that may wait; bounds the memory that an outage of the database costs (about 100 MB)."""
BATCH_LIMIT: Final = 5_000
CLOSE_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `record` returns: the event's id, and whose log it goes to."""

    id: UUID
    log_id: UUID


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that was not recorded, and why; it holds no personal data."""

    id: UUID
    log_id: UUID
    action: str
    error: PermalogError


FailureHook: TypeAlias = Callable[[Failure], None]


@dataclass(frozen=True, slots=True)
class Stats:
    """How many events the recorder has seen since it was made."""

    accepted: int
    stored: int
    duplicates: int
    failed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Capture:
    """Where `permalog.testing.capture` has events go instead; `log` is whose, or None for everybody's."""

    log: object | None
    events: list[Event]

    def take(self, event: Event) -> Receipt:
        """Keeps the event as it was given."""
        self.events.append(event)
        return Receipt(Dated.of(event, datetime.now(UTC)).id, event.owner.log_id)


captures: Final[list[Capture]] = []
"""Those of the blocks that are open now, the innermost last; of the whole process, since threads record, too."""


def capturing(log: object) -> Capture | None:
    """The innermost capture that takes this log's events."""
    return next((one for one in reversed(captures) if one.log is None or one.log is log), None)


class Recorder:
    """A bounded queue and the thread that drains it.

    `submit` MUST NOT wait for the database and MUST NOT raise for anything but a programming error. Every event that it
    does not bring into the database is counted and handed to the hook; a hook that raises is logged, and stops nothing.
    """

    def __init__(
        self,
        database: Database,
        *,
        role: Writing = "permalog_writer",
        on_failure: FailureHook | None = None,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        """Starts nothing yet: the thread comes with the first event."""
        self._database: Final = database
        self._role: Final[Writing] = role
        self._on_failure: Final = on_failure
        self._limit: Final = limit
        self._waiting: deque[Dated] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._in_hand = 0
        self._closing = False
        self._give_up_at: float | None = None
        self._writer: Writer | None = None
        self._accepted = self._stored = self._duplicates = self._failed = 0
        forget = WeakMethod(self._start_afresh)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def submit(self, event: Event) -> Receipt:
        """Takes an event, at once."""
        dated = Dated.of(event, datetime.now(UTC))
        receipt = Receipt(dated.id, event.owner.log_id)
        with self._changed:
            refused = self._reason_to_refuse()
            if refused is None:
                self._accepted += 1
                self._waiting.append(dated)
                self._changed.notify_all()
        if refused is not None:
            self._fail(dated, RecorderFull(refused))
        return receipt

    def reject(self, event: Event, error: PermalogError) -> Receipt:
        """Counts and reports an event that is refused before it is taken."""
        dated = Dated.of(event, datetime.now(UTC))
        self._fail(dated, error)
        return Receipt(dated.id, event.owner.log_id)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Waits until everything taken so far is stored or has failed; False if ``timeout`` seconds were too few."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._in_hand, timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Flushes for up to ``timeout`` seconds, and stops; what is left then has failed, and is reported."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            if thread.is_alive():
                self._interrupt(thread)
        atexit.unregister(self.close)

    @property
    def stats(self) -> Stats:
        """The numbers so far."""
        with self._changed:
            return Stats(
                self._accepted,
                self._stored,
                self._duplicates,
                self._failed,
                len(self._waiting) + self._in_hand,
            )

    def _interrupt(self, thread: threading.Thread) -> None:
        """Ends a drain that waits for a lock or for a server that does not answer; nothing is lost unseen."""
        if (writer := self._writer) is not None:
            writer.cancel()
        thread.join(CLOSE_SECONDS)
        with self._changed:
            left, self._waiting = self._waiting, deque()
            in_hand = self._in_hand if thread.is_alive() else 0
        for dated in left:
            self._fail(dated, DatabaseProblem("the recorder was closed before the database took it"))
        if in_hand:
            _log.error("permalog: the database does not answer: %d events may not have been recorded", in_hand)

    def _reason_to_refuse(self) -> str | None:
        if self._closing:
            return "the recorder is closed"
        if len(self._waiting) >= self._limit:
            return f"{self._limit} events wait already"
        if self._thread is None:
            thread = threading.Thread(target=self._drain, name="permalog-recorder", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter is ending, or the system has no thread left
                return f"the recorder cannot start: {error}"
            self._thread = thread
            atexit.register(self.close)
        return None

    def _drain(self) -> None:
        pause = _FIRST_PAUSE
        while batch := self._next_batch():
            try:
                self._writer = self._writer or Writer(self._database, self._role)
                self._settle(batch, self._writer.store(batch))
                pause = _FIRST_PAUSE
            except (psycopg.Error, DatabaseProblem) as error:
                self._drop_writer()
                problem = refusal(error) if has_words(error) else error
                reason = str(problem) if isinstance(problem, DatabaseProblem) else type(error).__name__
                if pause == _FIRST_PAUSE:
                    _log.warning("permalog: events wait, since the database does not take them: %s", reason)
                if not self._put_back(batch, pause):
                    self._give_up(batch, reason)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001  see below
                # Whatever it is: the thread must live on, and these events must not vanish unseen.
                _log.exception("permalog: a batch of %d events could not be stored", len(batch))
                for dated in batch:
                    self._fail(dated, PermalogError(f"the recorder failed: {type(error).__name__}"))
                self._done(0, 0)
        self._drop_writer()

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _give_up(self, batch: list[Dated], reason: str) -> None:
        """When closing and out of time: this batch has failed, and so has what waits, without another attempt."""
        with self._changed:
            left, self._waiting = self._waiting, deque()
        for dated in (*batch, *left):
            self._fail(dated, DatabaseProblem(f"the recorder was closed before the database took it: {reason}"))
        self._done(0, 0)

    def _next_batch(self) -> list[Dated]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
            batch = [self._waiting.popleft() for _ in range(min(BATCH_LIMIT, len(self._waiting)))]
            self._in_hand = len(batch)
            return batch

    def _put_back(self, batch: list[Dated], pause: float) -> bool:
        """Keeps a batch for later, and waits; False when closing and out of time."""
        with self._changed:
            if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
                return False
            self._waiting.extendleft(reversed(batch))
            self._in_hand = 0
            left = None if self._give_up_at is None else self._give_up_at - time.monotonic()
            self._changed.wait_for(lambda: self._closing and left is None, pause if left is None else min(pause, left))
            return True

    def _settle(self, batch: list[Dated], outcomes: list[Outcome]) -> None:
        for dated, outcome in zip(batch, outcomes, strict=True):
            if outcome.error is not None:
                self._fail(dated, outcome.error)
        statuses = [outcome.status for outcome in outcomes]
        self._done(statuses.count("created"), statuses.count("duplicate"))

    def _done(self, stored: int, duplicates: int) -> None:
        with self._changed:
            self._stored += stored
            self._duplicates += duplicates
            self._in_hand = 0
            self._changed.notify_all()

    def _fail(self, dated: Dated, error: PermalogError) -> None:
        failure = Failure(dated.id, dated.event.owner.log_id, dated.event.action, error)
        with self._changed:
            self._failed += 1
        _log.error("permalog: event %s (%s) was not recorded: %s", failure.id, failure.action, error)
        if self._on_failure is not None:
            try:
                self._on_failure(failure)
            except Exception:  # noqa: BLE001  somebody else's code must not end the drain
                _log.exception("permalog: the failure hook failed")

    def _start_afresh(self) -> None:
        # The parent keeps its thread, its connection and what waits; a child that drained them too would do so twice.
        self._changed = threading.Condition()
        self._waiting = deque()
        self._thread = None
        self._in_hand = 0
        self._abandoned, self._writer = self._writer, None


def report_to_sentry(failure: Failure) -> None:
    """A failure hook for applications that use Sentry: one issue for each action and kind of failure.

    Only the error's kind and sentence go there, not its traceback and causes, whose variables and messages may hold
    personal data.
    """
    import sentry_sdk  # noqa: PLC0415  an optional dependency

    kind = type(failure.error).__name__
    sentry_sdk.capture_event(
        {
            "level": "error",
            "exception": {"values": [{"type": kind, "module": "permalog.errors", "value": str(failure.error)}]},
            "fingerprint": ["permalog", failure.action, kind],
            "tags": {"permalog.action": failure.action},
            "contexts": {"permalog": {"event": str(failure.id), "log": str(failure.log_id)}},
        }
    )
