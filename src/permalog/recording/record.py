"""The recorder: takes events from callers without making them wait, and brings them into the database.

An event that `submit` accepted lies in a spool on disk; a background thread forwards it from there, in batches.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from weakref import WeakMethod

import psycopg

from permalog.errors import DatabaseProblem, InvalidEvent, PermalogError, RecorderFull, SpoolProblem
from permalog.recording.drain import BATCH_LIMIT, Drain, Tally
from permalog.recording.frames import GIVEN, owner_bytes
from permalog.recording.receipt import Failure, FailureHook, Receipt, Stats
from permalog.recording.spool import Spool
from permalog.recording.spool_purge import Spools
from permalog.recording.spool_settings import SpoolSettings, place_of
from permalog.recording.staging import Packer
from permalog.recording.store import Dated, has_words, refusal
from permalog.witnessing.proofs import is_sealed

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.event import Event
    from permalog.postgres.database import Database, Writing

__all__ = [
    "Capture",
    "Failure",
    "FailureHook",
    "Receipt",
    "Recorder",
    "Stats",
    "captures",
    "capturing",
    "report_to_sentry",
]

_log: Final = logging.getLogger("permalog")

CLOSE_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 0.05
"""How long a batch waits for company, unless many wait already or somebody waits for it."""
_TICK_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


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
    """A spool and the thread that drains it.

    `submit` MUST NOT wait for the database and MUST NOT raise, unless the settings ask for it, for anything but a
    programming error. Every event that the database or the spool refuses is counted and handed to the hook; a hook that
    raises is logged, and stops nothing.
    """

    def __init__(
        self,
        database: Database,
        *,
        role: Writing = "permalog_writer",
        on_failure: FailureHook | None = None,
        spool: SpoolSettings | None = None,
    ) -> None:
        """Starts nothing yet: the thread and the files come with the first event."""
        self._database: Final = database
        self._role: Final[Writing] = role
        self._on_failure: Final = on_failure
        self._settings: Final = spool or SpoolSettings.of(None)
        self._closing = False
        self._give_up_at: float | None = None
        self._made: tuple[Spool, Drain] | None = None
        self._abandoned: object = None
        self._begin()
        forget = WeakMethod(self._start_afresh)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _begin(self) -> None:
        self._tally = Tally(self._on_failure)
        self._packer, self._lock = Packer(), threading.Lock()
        self._wake, self._hurry, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._idle = False
        self._thread: threading.Thread | None = None
        self._pause, self._said = _FIRST_PAUSE, ""

    def _parts(self) -> tuple[Spool, Drain]:
        """Made when they are needed: a log for tests has no database, and hence no place for a spool."""
        if self._made is None:
            with self._lock:
                if self._made is None:
                    place = place_of(self._database.url, self._role, self._settings.folder())
                    spool = Spool(place, self._settings)
                    self._made = spool, Drain(self._database, self._role, spool, self._packer, self._tally)
        return self._made

    def submit(self, event: Event) -> Receipt:
        """Takes an event, at once.

        Raises:
            RecorderFull, SpoolProblem: it was not taken; only where the settings say ``raise``.
        """
        dated = Dated.of(event, datetime.now(UTC))
        if self._closing:
            return self._drop(dated, RecorderFull("the recorder is closed"))
        owner = event.owner
        try:
            packed = self._packer.pack(*dated)
            whose = owner_bytes(owner.organization_id, owner.user_id)
        except (ValueError, TypeError, AttributeError) as error:
            return self.reject(event, InvalidEvent("event", f"cannot be encoded: {type(error).__name__}"))
        spool, _ = self._made or self._parts()
        try:
            number = spool.append(
                owner.log_id.bytes, dated.id.bytes, whose, packed.event, packed.identities,
                0 if event.id is None else GIVEN,
            )  # fmt: skip
        except (RecorderFull, SpoolProblem) as error:
            if packed.carried is not None:
                self._packer.withdraw(packed.carried)
            return self._drop(dated, error)
        if packed.carried is not None:
            self._packer.introduce(packed.carried, number)
        if self._idle:
            self._wake.set()
        elif self._thread is None:
            self._start()
        return Receipt(dated.id, owner.log_id, None, number, self)

    @property
    def spools(self) -> Spools:
        """All spools of this database, those of other processes included."""
        return Spools(self._database.url, self._settings.folder())

    def reject(self, event: Event, error: PermalogError) -> Receipt:
        """Counts and reports an event that is refused before it is taken."""
        dated = Dated.of(event, datetime.now(UTC))
        self._tally.fail(Failure(dated.id, event.owner.log_id, event.action, error))
        return Receipt(dated.id, event.owner.log_id, error)

    def recover(self) -> None:
        """Begins to bring in what dead processes have left, if there is anything."""
        if self._parts()[1].look():
            self._start()

    def wait_for(self, number: int, timeout: float) -> bool:
        """Waits until an event is settled; see `Receipt.wait`."""
        if self._made is None or number > self._made[0].number:
            raise RuntimeError("another process recorded this event")
        self._hasten()
        done = self._tally.wait_for(number, timeout)
        if done and (error := self._tally.error_of(number)) is not None:
            raise error
        return done

    def is_sealed(self, log_id: UUID, event_id: UUID) -> bool:
        """Whether an event is sealed; see `Receipt.wait_sealed`."""
        return is_sealed(self._database, log_id, event_id)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Waits until everything taken so far is stored or has failed; False if ``timeout`` seconds were too few."""
        if self._made is None:
            return True
        self._hasten()
        return self._tally.wait_for(self._made[0].number, timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Flushes for up to ``timeout`` seconds, and stops; what is left then stays in the spool."""
        with self._lock:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout
            thread = self._thread
        self._stopping.set()
        self._hasten()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            if thread.is_alive():
                self._interrupt(thread)
        if thread is None or not thread.is_alive():
            self._let_go()
        atexit.unregister(self.close)

    @property
    def stats(self) -> Stats:
        """The numbers so far."""
        tally, spool = self._tally, self._made[0] if self._made is not None else None
        number = spool.number if spool is not None else 0
        return Stats(
            accepted=number,
            stored=tally.stored,
            duplicates=tally.duplicates,
            failed=tally.failed,
            waiting=max(number - tally.settled, 0),
            waiting_bytes=spool.waiting_bytes() if spool is not None else 0,
            oldest_seconds=spool.oldest_seconds(tally.settled) if spool is not None else 0.0,
            dropped=tally.dropped,
            quarantined=tally.quarantined,
            adopted=tally.adopted,
            damaged=tally.damaged,
        )

    def _hasten(self) -> None:
        self._hurry.set()
        self._wake.set()
        if self._thread is None and not self._closing:
            self._start()

    def _drop(self, dated: Dated, error: PermalogError) -> Receipt:
        with self._tally.changed:
            self._tally.dropped += 1
        self._tally.fail(Failure(dated.id, dated.event.owner.log_id, dated.event.action, error))
        if self._settings.when_full == "raise":
            raise error
        return Receipt(dated.id, dated.event.owner.log_id, error)

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._closing:
                return
            thread = threading.Thread(target=self._drain, name="permalog-recorder", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter is ending, or the system has no thread left
                _log.warning("permalog: events wait in the spool, since the recorder cannot start: %s", error)
                return
            self._thread = thread
            atexit.register(self.close)

    def _interrupt(self, thread: threading.Thread) -> None:
        """Ends a drain that waits for a lock or for a server that does not answer."""
        self._parts()[1].cancel()
        thread.join(CLOSE_SECONDS)
        if thread.is_alive():
            _log.error("permalog: the database does not answer; what waits is left to the next process")

    def _let_go(self) -> None:
        if self._made is None:
            return
        spool, drain = self._made
        drain.close()
        if spool.number > self._tally.settled:
            _log.warning(
                "permalog: %d events wait in the spool for the next process", spool.number - self._tally.settled
            )
        spool.close()

    def _drain(self) -> None:
        spool, drain = self._parts()
        while True:
            try:
                spool.tidy()
                moved = drain.step(only_own=self._closing)
            except (psycopg.Error, DatabaseProblem, OSError) as error:
                drain.drop_writer()
                if self._is_out_of_time():
                    break
                self._back_off(error)
                continue
            self._pause, self._said = _FIRST_PAUSE, ""
            if self._closing and (not moved or self._is_out_of_time()):
                break
            if not moved:
                self._rest(spool)
            elif moved < BATCH_LIMIT // 2:
                self._hurry.wait(LINGER_SECONDS)
        drain.drop_writer()

    def _is_out_of_time(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    def _back_off(self, error: Exception) -> None:
        problem = refusal(error) if has_words(error) else error
        reason = str(problem) if isinstance(problem, DatabaseProblem) else type(error).__name__
        if reason != self._said:  # once, and again when it is another
            self._said = reason
            what = "their spool cannot be read" if isinstance(error, OSError) else "the database does not take them"
            _log.warning("permalog: events wait, since %s: %s", what, reason)
        if self._give_up_at is None:
            self._stopping.wait(self._pause)
        else:
            time.sleep(max(min(self._pause, self._give_up_at - time.monotonic()), 0))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _rest(self, spool: Spool) -> None:
        """Until there is something to do."""
        self._hurry.clear()
        self._idle = True
        if self._tally.settled >= spool.number and not self._closing:
            self._wake.wait(_TICK_SECONDS)
        self._idle = False
        self._wake.clear()

    def _start_afresh(self) -> None:
        # The parent keeps its thread, its connection and its spool; a child that drained it too would do so twice.
        made, self._made = self._made, None
        if made is not None:
            made[0].start_afresh()
            self._abandoned = made[1].abandon()
        self._begin()


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
