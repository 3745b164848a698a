"""Bringing batches of events into the database: exactly once each, and a bad one never takes others with it."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self, TypeAlias
from uuid import UUID

import psycopg

from permalog.errors import (
    ContentConflict,
    DatabaseProblem,
    InvalidEvent,
    NotAllowed,
    NotMigrated,
    PermalogError,
)
from permalog.ids import IdMaker, microseconds
from permalog.recording.frames import GIVEN
from permalog.recording.staging import IDENTITIES_KEPT, Batch
from permalog.sql import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from permalog.event import Event
    from permalog.identity import Identity
    from permalog.postgres.database import Connection, Database, Writing
    from permalog.recording.frames import Frame

_BREATH: Final = 256
"""Lines between two moments in which other threads may go on."""
_CONSTRAINTS: Final = {
    "event_action": InvalidEvent("action", "is not in the catalogue; declare it and run `permalog migrate`"),
    "event_id": InvalidEvent("id", "its time is not occurred_at"),
    "event_time": InvalidEvent("occurred_at", "is before 1970"),
}

_NO_PARTITION: Final = DatabaseProblem(
    "the log has no partition for this month: run `permalog migrate`, which makes those of a year ahead"
)
_NO_SCHEMA: Final = NotMigrated("this database has no Permalog schema, or an older one: run `permalog migrate`")
_SYSTEMIC: Final[dict[str, PermalogError]] = {
    "42883": _NO_SCHEMA,
    "42P01": _NO_SCHEMA,
    "3F000": _NO_SCHEMA,
    "42501": DatabaseProblem("this login may not record events: GRANT permalog_writer to it"),
}

_MAYBE_OF_ONE: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    psycopg.InternalError,
    ContentConflict,
)
"""What one event of a batch may be the cause of: see `is_about_the_event`."""

ids: Final = IdMaker()
"""The process's one maker of event ids: they increase strictly within equal times."""


class Dated(NamedTuple):
    """An event with the id and the time that it is stored under."""

    event: Event
    id: UUID
    occurred_at: datetime

    @classmethod
    def of(cls, event: Event, now: datetime) -> Self:
        """Gives the event the time it lacks, and an id unless it brought one."""
        moment = event.occurred_at or now
        return cls(event, event.id or ids.make(microseconds(moment)), moment)


Status: TypeAlias = Literal["created", "duplicate", "rejected"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event."""

    status: Status
    id: UUID
    """Under which it is stored: for a duplicate, that of the event stored before."""
    error: PermalogError | None = None
    """Why it was rejected."""


class Prepared(NamedTuple):
    """Events and their encoded form. A batch may be stored once: its identities have their salts."""

    events: Sequence[Dated]
    batch: Batch


class _Place(NamedTuple):
    """Where an event is to stand, and whether it brought its id with it."""

    log_id: UUID
    id: UUID
    given: bool

    @classmethod
    def of(cls, frame: Frame) -> Self:
        return cls(UUID(bytes=frame.log_id), UUID(bytes=frame.event_id), bool(frame.flags & GIVEN))

    @classmethod
    def of_event(cls, event: Dated) -> Self:
        return cls(event.event.owner.log_id, event.id, event.event.id is not None)


class Writer:
    """A connection in a writer's role, and what it knows to be committed. For one thread at a time.

    Raises:
        DatabaseProblem: the database cannot be reached.
    """

    def __init__(self, database: Database, role: Writing = "permalog_writer") -> None:
        """Connects; ``permalog_importer`` may write events of more than seven days ago."""
        self._connection: Final[Connection] = database.writing(role)
        self._opened: Final[set[UUID]] = set()
        self._known: Final[OrderedDict[tuple[UUID, Identity], bytes]] = OrderedDict()
        self._acting_for = ""
        try:
            self._connection.execute(query("store", "create_incoming"))
            self._connection.execute(query("store", "create_incoming_identity"))
        except BaseException:
            self._connection.close()
            raise

    @property
    def is_broken(self) -> bool:
        """Whether the connection is of no more use."""
        return self._connection.closed

    def act_for(self, token: str) -> None:
        """From now on ``recorded_by`` is this token, if the login is granted permalog_service; else nothing changes."""
        if token != self._acting_for:
            self._connection.execute("SELECT set_config('permalog.recorded_by', %s, false)", (token,))
            self._acting_for = token

    def prepare(self, events: Sequence[Dated]) -> Prepared:
        """Encodes events for `store`, from any thread: another batch can be stored meanwhile."""
        batch = Batch(self._known)
        for event in events:
            batch.add(*event)
        return Prepared(events, batch)

    def store(self, events: Sequence[Dated] | Prepared) -> list[Outcome]:
        """Stores the events, each one or not at all, and says of each what became of it, in order.

        A batch that holds a bad event is split until the bad one stands alone.

        Raises:
            psycopg.Error: the database could not be asked, or lacks the schema or the right. To store again doubles
                nothing.
        """
        prepared = events if isinstance(events, Prepared) else self.prepare(events)
        events = prepared.events
        try:
            self._open_logs(events)
            return self._store_together(prepared)
        except _MAYBE_OF_ONE as error:
            if not is_about_the_event(error):
                raise
            if len(events) == 1:
                return [Outcome("rejected", events[0].id, refusal(error))]
            half = len(events) // 2
            return self.store(events[:half]) + self.store(events[half:])

    def forward(self, frames: Sequence[Frame]) -> list[Outcome]:
        """Stores what a spool holds, like `store`: its lines go to the database as they are.

        Raises:
            psycopg.Error: as for `store`.
        """
        try:
            self._open_owners(frames)
            return self._forward_together(frames)
        except _MAYBE_OF_ONE as error:
            if not is_about_the_event(error):
                raise
            if len(frames) == 1:
                return [Outcome("rejected", UUID(bytes=frames[0].event_id), refusal(error))]
            half = len(frames) // 2
            return self.forward(frames[:half]) + self.forward(frames[half:])

    def cancel(self) -> None:
        """Ends the statement that runs, from another thread."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=2)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _open_logs(self, events: Sequence[Dated]) -> None:
        owners = {e.event.owner.log_id: e.event.owner for e in events if e.event.owner.log_id not in self._opened}
        if owners:
            self._connection.execute(
                query("store", "open_logs"),
                {
                    "log_ids": list(owners),
                    "organization_ids": [owner.organization_id for owner in owners.values()],
                    "user_ids": [owner.user_id for owner in owners.values()],
                },
            )
            self._opened.update(owners)

    def _open_owners(self, frames: Sequence[Frame]) -> None:
        owners = {frame.log_id: frame.owner for frame in frames}
        rows = [(UUID(bytes=log_id), *owner.decode().split("/", 1)) for log_id, owner in owners.items()]
        rows = [row for row in rows if row[0] not in self._opened]
        if rows:
            self._connection.execute(
                query("store", "open_logs"),
                {
                    "log_ids": [log_id for log_id, _, _ in rows],
                    "organization_ids": [UUID(name) if kind == "organization" else None for _, kind, name in rows],
                    "user_ids": [name if kind == "user" else None for _, kind, name in rows],
                },
            )
            self._opened.update(log_id for log_id, _, _ in rows)

    def _forward_together(self, frames: Sequence[Frame]) -> list[Outcome]:
        lines: list[bytes] = []
        for place, frame in enumerate(frames):
            lines.append(b"%d\t%b" % (place, frame.event))
            if not place % _BREATH:
                time.sleep(0)
        with self._connection.transaction():
            self._copy(query("store", "copy_incoming"), lines)
            if identities := {frame.identities: None for frame in frames if frame.identities}:
                self._copy(query("store", "copy_incoming_identity"), list(identities))
            stored, count = self._connection.execute(query("store", "store_incoming")).fetchone() or (None, 0)
            if count == len(frames):
                return [Outcome("created", UUID(bytes=frame.event_id)) for frame in frames]
            return self._judge([_Place.of(frame) for frame in frames], stored or [])

    def _store_together(self, prepared: Prepared) -> list[Outcome]:
        events, batch = prepared
        with self._connection.transaction():
            self._copy(query("store", "copy_incoming"), batch.events)
            if batch.identities:
                self._copy(query("store", "copy_incoming_identity"), batch.identities)
            stored, count = self._connection.execute(query("store", "store_incoming")).fetchone() or (None, 0)
            if count == len(events):
                outcomes = [Outcome("created", event.id) for event in events]
            else:
                outcomes = self._judge([_Place.of_event(event) for event in events], stored or [])
        if count == len(events):
            self._remember(batch)
        return outcomes

    def _judge(self, places: Sequence[_Place], stored: list[UUID]) -> list[Outcome]:
        outcomes = [Outcome("created", place.id) for place in places]
        once: set[tuple[UUID, UUID]] = set()
        for log_id, event_id, given in places:
            if given and (log_id, event_id) in once:
                raise ContentConflict("id")  # one id twice in a batch: split it, so that each is judged by itself
            once.add((log_id, event_id))
        for place, event_id, same, by_key in self._connection.execute(
            query("store", "judge_incoming"), {"stored": stored}
        ):
            if same:
                outcomes[place] = Outcome("duplicate", event_id)
            elif by_key:
                outcomes[place] = Outcome("rejected", event_id, ContentConflict("event_key"))
            else:
                raise ContentConflict("id")  # its key, if it has one, must not stay claimed: split, and roll back alone
        return outcomes

    def _copy(self, statement: str, lines: list[bytes]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:  # pyright: ignore[reportArgumentType, reportCallIssue]  a named query
            copy.write(b"".join(lines))

    def _remember(self, batch: Batch) -> None:
        # Only committed identities may be referred to again.
        self._known.update(batch.fresh)
        while len(self._known) > IDENTITIES_KEPT:
            self._known.popitem(last=False)


def is_about_the_event(error: BaseException) -> bool:
    """Whether the database refused this event, and not every one (no schema, no right, read-only, down)."""
    if isinstance(error, ContentConflict):
        return True
    state = sqlstate(error) or ""
    return (state[:2] in {"PL", "22", "23"} and not _lacks_partition(error)) or (
        state == "42501" and "row-level security" in str(error)
    )


def has_words(error: BaseException) -> bool:
    """Whether `refusal` knows what this error of a driver means."""
    return is_about_the_event(error) or _lacks_partition(error) or sqlstate(error) in _SYSTEMIC


def _lacks_partition(error: BaseException) -> bool:
    # PostgreSQL reports it as a violated CHECK, and the one that has no name.
    return sqlstate(error) == "23514" and "no partition of relation" in str(error)


def sqlstate(error: BaseException) -> str | None:
    """The five-character code of a driver's error: psycopg's and asyncpg's `sqlstate`, psycopg2's `pgcode`."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def refusal(error: BaseException) -> PermalogError:
    """What a database's refusal means, without the values that PostgreSQL puts into its messages."""
    if isinstance(error, PermalogError):
        return error
    state = sqlstate(error) or ""
    diagnosis = getattr(error, "diag", None)
    message = str(getattr(diagnosis, "message_primary", None) or error)
    if state in {"PL409", "PL410", "PL422", "PL403"}:
        return _as_worded(state, message)
    constraint = getattr(diagnosis, "constraint_name", None)
    if constraint in _CONSTRAINTS:
        return _CONSTRAINTS[constraint]
    if state == "42501" and "row-level security" in message:
        return NotAllowed("occurred_at", "is more than 7 days ago, which needs the right to import, or lies ahead")
    if systemic := _NO_PARTITION if _lacks_partition(error) else _SYSTEMIC.get(state):
        return systemic
    return InvalidEvent("event", f"the database refuses it (SQLSTATE {state}, {constraint or type(error).__name__})")


def _as_worded(state: str, message: str) -> PermalogError:
    """The errors of ``permalog.append`` have the form ``field: reason``."""
    field, _, reason = message.partition(": ")
    if state == "PL409":
        return ContentConflict(field)
    return (NotAllowed if state == "PL403" else InvalidEvent)(field, reason)
