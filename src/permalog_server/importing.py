"""Importing NDJSON: one thread reads and checks, another brings what is good into the database.

Every event is stored exactly once, however often the same file is imported and wherever it was broken off: by its event
key, by its id, or, where a line has neither, by a key made from its text and its line number.
"""

from __future__ import annotations

import gc
import hashlib
import queue
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from permalog.errors import InvalidEvent, PermalogError, UnknownAction
from permalog.event import Event
from permalog.plain import read_event
from permalog.recording.store import Dated, Prepared
from permalog_server.ndjson import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from permalog.client import Permalog
    from permalog.recording.store import Writer
    from permalog_server.ndjson import Line

BATCH_EVENTS: Final = 5_000
BATCH_BYTES: Final = 8 << 20
"""Bounds the memory of a batch of large events; three batches are in hand at a time."""
AHEAD: Final = timedelta(minutes=5)
_SOURCE: Final = "import"


@dataclass(slots=True)
class Tally:
    """How many lines became what."""

    read: int = 0
    added: int = 0
    duplicate: int = 0
    rejected: int = 0


class Rejected(NamedTuple):
    """A line that was not imported, and why."""

    line: Line
    error: PermalogError


Reject: TypeAlias = "Callable[[Rejected], None]"
Progress: TypeAlias = "Callable[[Tally, int], None]"


@dataclass(slots=True)
class _Lines:
    """Some lines of the file, in order: the good ones as events, the bad ones with what is wrong."""

    lines: list[Line] = field(default_factory=list)
    events: list[Dated] = field(default_factory=list)
    prepared: Prepared | None = None
    errors: dict[int, PermalogError] = field(default_factory=dict)
    """By place in `lines`."""
    size: int = 0

    def is_full(self) -> bool:
        return len(self.lines) >= BATCH_EVENTS or self.size >= BATCH_BYTES


def import_lines(
    log: Permalog, lines: Iterable[Line], *, reject: Reject, progress: Progress, strict: bool = False
) -> Tally:
    """Imports every good line; `reject` is called for every bad one, in the order of the file.

    `progress` is called after each batch, from another thread, with the numbers so far and the bytes dealt with.

    Raises:
        DatabaseProblem: the database went away. What was stored stays; to import again doubles nothing.
    """
    check = _Checker(log, strict=strict)
    with _hurried(), _Storing(log.writer(), reject, progress) as storing:
        batch = _Lines()
        for line in lines:
            check.into(batch, line)
            if batch.is_full():
                storing.take(batch)
                batch = _Lines()
                check.look_at_the_clock()
        storing.take(batch)
    return storing.tally


@contextmanager
def _hurried() -> Generator[None]:
    """Has the interpreter look for cycles seldom, and change threads often.

    Events have no cycles, and to look for them cost a third of the time. The thread that stores needs the interpreter
    for moments only, thirty times a batch, and waited up to 5 ms for each; meanwhile the database had nothing to do.
    """
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


class _Checker:
    """Makes lines into events, and finds out what is wrong with those that are none."""

    def __init__(self, log: Permalog, *, strict: bool) -> None:
        self._known: Final = log.known_actions()
        self._catalogue: Final = log.catalogue
        self._strict: Final = strict
        self._now = datetime.now(UTC)

    def look_at_the_clock(self) -> None:
        """Once a batch: it is then now for the events that bring no time."""
        self._now = datetime.now(UTC)

    def into(self, batch: _Lines, line: Line) -> None:
        try:
            event = self._event(line)
        except PermalogError as error:
            batch.errors[len(batch.lines)] = error
        else:
            batch.events.append(Dated.of(event, self._now))
        batch.lines.append(line)
        batch.size += line.size

    def _event(self, line: Line) -> Event:
        if line.too_long:
            raise InvalidEvent("", f"the line is longer than {MAX_LINE} bytes")
        try:
            event = read_event(line.text)
        except InvalidEvent as error:
            if line.cut_off and not error.field:
                raise InvalidEvent("", f"{error.reason}; the line has no end: the file was cut off") from None
            raise
        self._check(event)
        return _completed(event, line)

    def _check(self, event: Event) -> None:
        if event.action not in self._known:
            raise UnknownAction(event.action)
        if event.occurred_at is not None and event.occurred_at > self._now + AHEAD:
            raise InvalidEvent("occurred_at", "is more than 5 minutes ahead")
        if self._strict and (action := self._catalogue.get(event.action)) is not None:
            action.check(event.before_state, event.after_state, event.metadata)


def _completed(event: Event, line: Line) -> Event:
    """Says that it was imported, and gives it a key, unless it comes from an export: then it stays as it is."""
    if event.id is not None or (event.source is not None and event.event_key is not None):
        return event
    key = event.event_key or f"import/{line.number}/{hashlib.sha256(line.text).hexdigest()}"
    return event.model_copy(update={"source": event.source or _SOURCE, "event_key": key})


class _Storing:
    """The thread that stores batches, two waiting at most, and says what became of each line."""

    def __init__(self, writer: Writer, reject: Reject, progress: Progress) -> None:
        self.tally: Final = Tally()
        self._writer: Final = writer
        self._reject: Final = reject
        self._progress: Final = progress
        self._waiting: Final[queue.Queue[_Lines | None]] = queue.Queue(maxsize=1)
        self._broken: Exception | None = None
        self._bytes = 0
        self._thread: Final = threading.Thread(target=self._work, name="permalog-import", daemon=True)

    def take(self, batch: _Lines) -> None:
        """Encodes a batch, and waits until there is room for it; raises what stopped the storing."""
        if batch.events:
            batch.prepared = self._writer.prepare(batch.events)
        self._waiting.put(batch)
        if self._broken is not None:
            raise self._broken

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._waiting.put(None)
        self._thread.join()
        self._writer.close()
        if self._broken is not None and error is None:
            raise self._broken

    def _work(self) -> None:
        while (batch := self._waiting.get()) is not None:
            if self._broken is None:
                try:
                    self._store(batch)
                except Exception as error:  # noqa: BLE001  raised in the other thread
                    self._broken = error

    def _store(self, batch: _Lines) -> None:
        outcomes = iter(self._writer.store(batch.prepared) if batch.prepared is not None else ())
        for place, line in enumerate(batch.lines):
            error = batch.errors.get(place)
            if error is None:
                outcome = next(outcomes)
                error = outcome.error
                self.tally.added += outcome.status == "created"
                self.tally.duplicate += outcome.status == "duplicate"
            if error is not None:
                self.tally.rejected += 1
                self._reject(Rejected(line, error))
        self.tally.read += len(batch.lines)
        self._bytes += batch.size
        self._progress(self.tally, self._bytes)
