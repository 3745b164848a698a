"""The spool: where `record` puts events before it returns, in files that survive the process."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from permalog.errors import RecorderFull, SpoolProblem
from permalog.recording import frames
from permalog.recording.quarantine import Quarantine
from permalog.recording.spool_files import SEGMENT_BYTES, Home, Segment, homes_in

if TYPE_CHECKING:
    from pathlib import Path

    from permalog.recording.frames import Found
    from permalog.recording.spool_settings import SpoolSettings

_log: Final = logging.getLogger("permalog")

IDLE_SECONDS: Final = 5.0
"""How long a file whose events are all in the database stays, in case that more come."""
_SAMPLE_SECONDS: Final = 1.0


class Source:
    """Files to drain, in order: those of this process, or those that a dead one has left."""

    def __init__(self, place: Path, home: Home, settings: SpoolSettings, *, final: bool) -> None:
        """``final``: nobody writes to them any more."""
        self.home: Final = home
        self.quarantine: Final = Quarantine(place, home.path.name, settings.limit)
        self.segments: deque[Segment] = home.segments() if final else deque()
        self._final: Final = final

    def next(self, limit: int) -> tuple[Segment, Found] | None:
        """The oldest events that wait, and where they are; None: there are none. Files that are done go."""
        for segment in tuple(self.segments):
            if not segment.is_drained:
                return segment, segment.read(limit, final=self._final)
            if self._final:
                self.segments.remove(segment)
                segment.remove()
        return None

    def close(self) -> None:
        """Lets go of everything; what is done with is removed."""
        for segment in self.segments:
            segment.remove() if segment.is_drained else segment.close()
        self.segments.clear()
        self.home.remove()

    def abandon(self) -> None:
        """After a fork, in the child: the files are the parent's, who still holds the locks."""
        for segment in self.segments:
            segment.close()
        self.segments.clear()
        self.home.close()


class Spool:
    """The spool of this process. Nothing is made before the first event.

    `append` is for any thread; everything else is for the thread that drains.
    """

    def __init__(self, place: Path, settings: SpoolSettings) -> None:
        self.place: Final = place
        self.settings: Final = settings
        self.sources: deque[Source] = deque()
        """Those of this process; more than one only after somebody has removed the files of the first."""
        self.number = 0
        """Of the newest event that was taken."""
        self._lock = threading.Lock()
        self._current: Segment | None = None
        self._bytes = 0
        self._used_at = 0.0
        self._samples: deque[tuple[int, float]] = deque()
        self._synced = 0
        self._stop = threading.Event()
        self._syncer: threading.Thread | None = None

    def append(self, log_id: bytes, event_id: bytes, owner: bytes, event: bytes, identities: bytes, flags: int) -> int:  # noqa: PLR0913, PLR0917  a frame
        """Takes an event; its number. When it returns the event survives the death of the process.

        Raises:
            RecorderFull: so many bytes wait already.
            SpoolProblem: it cannot be written. It was not taken.
        """
        with self._lock:
            number = self.number + 1
            data = frames.encode(number, log_id, event_id, owner, event, identities, b"", flags)
            if self._bytes + len(data) > self.settings.limit:
                raise RecorderFull(f"{self._bytes} bytes wait already")
            try:
                segment = self._current
                if segment is None or segment.size >= SEGMENT_BYTES:
                    segment = self._new_segment()
                segment.write(data)
                if self.settings.fsync == "each":
                    self._sync_now(segment, len(data))
            except OSError as error:
                raise SpoolProblem(f"the spool cannot be written: {error.strerror}") from error
            self._bytes += len(data)
            self.number = number
            now = self._used_at = time.monotonic()
            if not self._samples or now - self._samples[-1][1] > _SAMPLE_SECONDS:
                self._samples.append((number, now))
            return number

    def _sync_now(self, segment: Segment, written: int) -> None:
        try:
            os.fdatasync(segment.fd)
        except OSError:
            # What the disk holds now is unknown. The event is refused, so that it must not be sent, either.
            segment.size -= written
            with suppress(OSError):
                os.ftruncate(segment.fd, segment.size)
            raise

    def _new_segment(self) -> Segment:
        if not self.sources or self.sources[-1].home.is_gone:
            self.sources.append(Source(self.place, Home.create(self.place), self.settings, final=False))
        source = self.sources[-1]
        segment = source.home.new_segment(durable=self.settings.fsync != "none")
        source.segments.append(segment)
        self._current = segment
        if self._syncer is None and isinstance(self.settings.fsync, int):
            self._start_syncer(self.settings.fsync / 1000)
        return segment

    def waiting_bytes(self) -> int:
        """What waits, in bytes of its files."""
        return self._bytes

    def oldest_seconds(self, settled: int) -> float:
        """For how long the oldest event has waited, at most a second too much; 0 where none waits."""
        with self._lock:
            if settled >= self.number:
                self._samples.clear()
                return 0.0
            while len(self._samples) > 1 and self._samples[1][0] <= settled + 1:
                self._samples.popleft()
            return time.monotonic() - self._samples[0][1] if self._samples else 0.0

    def settled(self, segment: Segment, end: int) -> None:
        """What lies before this byte of a file is done with.

        Raises:
            OSError: it cannot be noted; then it would only be sent again by whoever comes after us.
        """
        with self._lock:
            self._bytes -= end - segment.settled
        segment.settle(end)

    def tidy(self, *, now: bool = False) -> None:
        """Removes files that are done with, the one in use after a while, and notices where somebody else did."""
        with self._lock:
            current = self._current
            if current is not None and (current.is_gone or self.sources[-1].home.is_gone):
                current = self._current = None  # what it holds is still drained from here; what comes goes elsewhere
            rests = now or time.monotonic() - self._used_at > IDLE_SECONDS
            if current is not None and current.is_drained and (rests or current.size >= SEGMENT_BYTES):
                current = self._current = None
            for source in tuple(self.sources):
                for segment in tuple(source.segments):
                    if segment is not current and segment.is_drained:
                        source.segments.remove(segment)
                        segment.remove()
                if not source.segments and (now or source.home.is_gone):
                    self.sources.remove(source)
                    source.close()

    def close(self) -> None:
        """Lets go of the files; what still waits in them is found by the next process."""
        self._stop.set()
        with self._lock:
            self._current = None
            while self.sources:
                self.sources.popleft().close()

    def start_afresh(self) -> None:
        """After a fork, in the child: the spool is the parent's, and the child gets one of its own."""
        self._lock = threading.Lock()
        for source in self.sources:
            with suppress(OSError):
                source.abandon()
        self.sources = deque()
        self._current, self._syncer, self._stop = None, None, threading.Event()
        self._samples = deque()
        self.number = self._bytes = self._synced = 0

    def adopt(self) -> Source | None:
        """Takes over the oldest spool that a dead process has left, with its lock; None: there is none."""
        for path in homes_in(self.place):
            home = Home.adopt(path)
            if home is None:
                continue
            try:
                source = Source(self.place, home, self.settings, final=True)
            except OSError as error:
                _log.error("permalog: the spool %s cannot be adopted: %s", path, error.strerror)
                home.close()
                continue
            if source.segments:
                return source
            source.close()
        return None

    def _start_syncer(self, period: float) -> None:
        thread = threading.Thread(target=self._sync, args=(period, self._stop), name="permalog-sync", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or the system has no thread left: the next file tries again
            return
        self._syncer = thread

    def _sync(self, period: float, stop: threading.Event) -> None:
        """Brings to disk what has waited for the database for longer than ``period`` seconds."""
        while not stop.wait(period):
            with self._lock:
                number = self.number
                # Copies, since the files may be closed meanwhile; those of a full file were seen in a round before.
                due = [
                    os.dup(segment.fd)
                    for source in self.sources for segment in source.segments
                    if not segment.is_drained and number > self._synced
                ]  # fmt: skip
            failed = False
            for fd in due:
                try:
                    os.fdatasync(fd)
                except OSError as error:
                    failed = True
                    _log.error("permalog: the spool cannot be brought to disk: %s", error.strerror)
                finally:
                    os.close(fd)
            if not failed:
                self._synced = number
