"""The drain: brings what lies in spools into the database, and says of each event what became of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from permalog.errors import DatabaseProblem, InvalidEvent, PermalogError
from permalog.recording.receipt import Failure, FailureHook
from permalog.recording.store import Outcome, Writer

if TYPE_CHECKING:
    from permalog.postgres.database import Database, Writing
    from permalog.recording.frames import Found, Frame
    from permalog.recording.spool import Source, Spool
    from permalog.recording.spool_files import Segment
    from permalog.recording.staging import Packer

_log: Final = logging.getLogger("permalog")

BATCH_LIMIT: Final = 5_000
ADOPT_SECONDS: Final = 30.0
"""How often spools of dead processes are looked for."""
_ERRORS_KEPT: Final = 10_000


class Tally:
    """The recorder's numbers, and who waits for them to change."""

    def __init__(self, on_failure: FailureHook | None) -> None:
        self.changed: Final = threading.Condition()
        self.settled = 0
        """The number of the newest event of which all are settled: stored, or refused."""
        self.stored = self.duplicates = self.failed = 0
        self.dropped = self.quarantined = self.adopted = self.damaged = 0
        self._errors: Final[OrderedDict[int, PermalogError]] = OrderedDict()
        self._on_failure: Final = on_failure

    def wait_for(self, number: int, timeout: float) -> bool:
        """Waits until everything up to this number is settled; False if ``timeout`` seconds were too few."""
        with self.changed:
            return self.changed.wait_for(lambda: self.settled >= number, timeout)

    def error_of(self, number: int) -> PermalogError | None:
        """Why the database refused an event; the last 10,000 are known."""
        return self._errors.get(number)

    def settle(self, number: int) -> None:
        """Everything up to this number is settled."""
        with self.changed:
            self.settled = max(self.settled, number)
            self.changed.notify_all()

    def fail(self, failure: Failure, number: int = 0) -> None:
        """Counts, logs and reports an event that was not recorded."""
        with self.changed:
            self.failed += 1
            if number:
                self._errors[number] = failure.error
                while len(self._errors) > _ERRORS_KEPT:
                    self._errors.popitem(last=False)
        _log.error("permalog: event %s (%s) was not recorded: %s", failure.id, failure.action, failure.error)
        if self._on_failure is not None:
            try:
                self._on_failure(failure)
            except Exception:  # noqa: BLE001  somebody else's code must not end the drain
                _log.exception("permalog: the failure hook failed")


class Drain:
    """Forwards the spool of this process, and those that dead processes have left. For one thread, but for `cancel`."""

    def __init__(self, database: Database, role: Writing, spool: Spool, packer: Packer, tally: Tally) -> None:
        self._database: Final = database
        self._role: Final[Writing] = role
        self._spool: Final = spool
        self._packer: Final = packer
        self._tally: Final = tally
        self._writer: Writer | None = None
        self._adopted: Source | None = None
        self._look_at = 0.0

    def step(self, *, only_own: bool = False) -> int:
        """Brings in one batch of our own events, and one of a dead process; 0: there was nothing to do.

        Raises:
            psycopg.Error, DatabaseProblem, OSError: not now; nothing is lost, and nothing doubled by trying again.
        """
        number = self._spool.number
        moved = next((moved for source in tuple(self._spool.sources) if (moved := self._bring(source, own=True))), 0)
        if not moved and number > self._tally.settled:
            self._tally.settle(number)  # those that are missing were damaged, or purged
        return moved if only_own else moved + self._adopt()

    def look(self) -> bool:
        """Takes over what a dead process has left; whether there is anything."""
        if self._adopted is None and time.monotonic() >= self._look_at:
            self._adopted = self._spool.adopt()
            self._look_at = time.monotonic() + ADOPT_SECONDS
        return self._adopted is not None

    def cancel(self) -> None:
        """Ends the statement that runs, from another thread."""
        if (writer := self._writer) is not None:
            writer.cancel()

    def drop_writer(self) -> None:
        """Closes the connection; what it knew to be committed may be unknown to the next server."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            self._packer.forget()

    def close(self) -> None:
        """Lets go of what was adopted; whoever looks for spools of the dead finds it again."""
        adopted, self._adopted = self._adopted, None
        if adopted is not None:
            adopted.close()

    def abandon(self) -> object:
        """After a fork, in the child: files and connection are the parent's. Keep what is returned, unused."""
        if self._adopted is not None:
            with suppress(OSError):
                self._adopted.abandon()
        return self._writer

    def _adopt(self) -> int:
        if not self.look() or self._adopted is None:
            return 0
        moved = self._bring(self._adopted, own=False)
        if not moved:
            self.close()
            self._look_at = 0.0
            return 1
        return moved

    def _bring(self, source: Source, *, own: bool) -> int:
        with source.home.working():
            work = source.next(BATCH_LIMIT)
            if work is None:
                return 0
            segment, found = work
            outcomes = self._forward(found.frames) if found.frames else []
            refused = [
                (frame, outcome.error)
                for frame, outcome in zip(found.frames, outcomes, strict=True) if outcome.error is not None
            ]  # fmt: skip
            for frame, error in refused:
                self._keep(source, frame, error)
            self._set_aside(source, found)
            self._settle(segment, found.end, own=own)
        self._count(found, outcomes, own=own)
        for frame, error in refused:
            self._tally.fail(_failure(frame, error), frame.number if own else 0)
        if own and found.frames:
            self._tally.settle(found.frames[-1].number)
        return len(found.frames) or 1

    def _forward(self, frames: list[Frame]) -> list[Outcome]:
        try:
            self._writer = self._writer or Writer(self._database, self._role)
            return self._writer.forward(frames)
        except (psycopg.Error, DatabaseProblem, OSError):
            raise
        except Exception as error:  # noqa: BLE001  see below
            # Whatever it is: the thread must live on, and these events must not vanish unseen.
            _log.exception("permalog: a batch of %d events could not be stored", len(frames))
            problem = PermalogError(f"the recorder failed: {type(error).__name__}")
            return [Outcome("rejected", UUID(bytes=frame.event_id), problem) for frame in frames]

    def _settle(self, segment: Segment, end: int, *, own: bool) -> None:
        if own:
            self._spool.settled(segment, end)
        else:
            segment.settle(end)

    def _keep(self, source: Source, frame: Frame, error: PermalogError) -> None:
        if isinstance(error, InvalidEvent) and error.field == "owner":
            return  # its log was erased: nothing of it may stay
        try:
            kept = source.quarantine.keep(frame, str(error))
        except OSError as problem:
            _log.error("permalog: the quarantine cannot be written: %s", problem.strerror)
            return
        with self._tally.changed:
            self._tally.quarantined += kept

    def _set_aside(self, source: Source, found: Found) -> None:
        for gap in found.gaps:
            if gap.kind == "torn":
                _log.warning(
                    "permalog: %d bytes at the end of a dead process's spool are no whole event", len(gap.data)
                )
                continue
            _log.error("permalog: %d bytes of a spool are damaged, and were set aside in quarantine", len(gap.data))
            with self._tally.changed:
                self._tally.damaged += 1
            try:
                source.quarantine.set_aside(gap)
            except OSError as problem:
                _log.error("permalog: the quarantine cannot be written: %s", problem.strerror)

    def _count(self, found: Found, outcomes: list[Outcome], *, own: bool) -> None:
        statuses = [outcome.status for outcome in outcomes]
        created, duplicates = statuses.count("created"), statuses.count("duplicate")
        with self._tally.changed:
            if own:
                self._tally.stored += created
                self._tally.duplicates += duplicates
            else:
                self._tally.adopted += created + duplicates
        if own and found.frames:
            self._packer.committed(found.frames[-1].number, all_stored=created == len(outcomes))


def _failure(frame: Frame, error: PermalogError) -> Failure:
    parts = frame.event.split(b"\t", 4)
    action = parts[3].decode(errors="replace") if len(parts) > 3 else ""  # noqa: PLR2004  the fourth column
    return Failure(UUID(bytes=frame.event_id), UUID(bytes=frame.log_id), action, error)
