"""Events that come over HTTP: each is judged by itself, and stored together with the others."""

from __future__ import annotations

import queue
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import psycopg

from permalog import Event, Owner
from permalog.errors import InvalidEvent, NotAllowed, PermalogError, UnknownAction
from permalog.recording.store import Dated, Writer
from permalog_server.accounts import WRITE, Holder
from permalog_server.bodies import document_of
from permalog_server.problem import invalid

if TYPE_CHECKING:
    from permalog.postgres.database import Database, Writing
    from permalog.recording.store import Outcome
    from permalog_server.entry import Entry, Visit

MOST: Final = 1000
WRITERS: Final = 4
"""Connections for each of the two rights; further requests wait for one."""
_AHEAD: Final = timedelta(minutes=6)
_PAST: Final = timedelta(days=7, minutes=1)
"""A minute more than the database allows: by its clock, the rest is up to it."""
_KEY: Final = re.compile(r"[!-~]{1,200}", re.ASCII)


class Writers:
    """Connections in a writer's role, handed out one request at a time."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._idle: Final[dict[Writing, queue.LifoQueue[Writer | None]]] = {
            "permalog_writer": queue.LifoQueue(), "permalog_importer": queue.LifoQueue(),
        }  # fmt: skip
        for idle in self._idle.values():
            for _ in range(WRITERS):
                idle.put(None)

    def store(self, role: Writing, recorded_by: str, events: list[Dated]) -> list[Outcome]:
        """Stores events in this role; a broken connection is replaced, once.

        Raises:
            psycopg.Error: the database cannot be reached.
        """
        idle = self._idle[role]
        writer = idle.get()
        try:
            if writer is not None:
                try:
                    return self._stored(writer, recorded_by, events)
                except psycopg.OperationalError:
                    writer.close()  # it may have been idle while the server restarted: once more, on a new one
            writer = Writer(self._database, role)
            return self._stored(writer, recorded_by, events)
        finally:
            idle.put(None if writer is None or writer.is_broken else writer)

    @staticmethod
    def _stored(writer: Writer, recorded_by: str, events: list[Dated]) -> list[Outcome]:
        writer.act_for(recorded_by)
        return writer.store(events)

    def close(self) -> None:
        """Closes those that are idle."""
        for idle in self._idle.values():
            while not idle.empty():
                if (writer := idle.get_nowait()) is not None:
                    writer.close()


def store(guest: Visit, entry: Entry, body: bytes, keys: list[str]) -> bytes:
    """Stores the events of a request body, and says of each what became of it, as JSON.

    Raises:
        Problem: the body or the idempotency key cannot be read; nothing was stored.
    """
    key = _idempotency_key(keys)
    known = guest.log.known_actions()
    results: list[dict[str, Any]] = []
    good: list[Dated] = []
    places: list[int] = []
    now = datetime.now(UTC)
    for place, raw in enumerate(_events(body)):
        results.append({"id": None, "status": "rejected", "error": None})
        try:
            event = _event(raw, guest, entry, None if key is None else f"{key}/{place}", now)
            if event.action not in known:
                raise UnknownAction(event.action)
            good.append(Dated.of(event, now))
            places.append(place)
        except PermalogError as error:
            results[place]["error"] = str(error)
    if good:
        role = "permalog_importer" if WRITE in entry.holder.scopes else "permalog_writer"
        # Customers read who recorded an event: a token of staff would tell which member of staff it was.
        recorded_by = "token:staff" if entry.holder.staff else f"token:{entry.holder.token_id}"
        for place, outcome in zip(places, guest.desk.writers.store(role, recorded_by, good), strict=True):
            error = None if outcome.error is None else str(outcome.error)
            results[place] = {"id": None if error else str(outcome.id), "status": outcome.status, "error": error}
    return orjson.dumps({"results": results})


def _idempotency_key(given: list[str]) -> str | None:
    if len(given) > 1:
        raise invalid("Idempotency-Key", "is given more than once")
    if given and not _KEY.fullmatch(given[0]):
        raise invalid("Idempotency-Key", "must be 1 to 200 visible ASCII characters")
    return given[0] if given else None


def _events(body: bytes) -> list[Any]:
    document = document_of(body)
    if not isinstance(document, dict) or document.keys() != {"events"}:
        raise invalid("body", 'must be {"events": […]}')
    events: object = document["events"]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(events, list) or not 1 <= len(events) <= MOST:  # pyright: ignore[reportUnknownArgumentType]
        raise invalid("events", f"must be a list of 1 to {MOST}")
    return events  # pyright: ignore[reportUnknownVariableType]


def _event(raw: object, guest: Visit, entry: Entry, key: str | None, now: datetime) -> Event:
    if not isinstance(raw, dict):
        raise InvalidEvent("event", "must be an object")
    given: dict[str, Any] = {"source": "api", **raw}
    if "owner" not in given:
        given["owner"] = _as_json(entry.owner)
    if key is not None and given.get("event_key") is None:
        given["event_key"] = key
    event = Event.from_json(given)
    _check_owner(event.owner, entry.holder, guest)
    _check_time(event, now, entry.holder)
    return event


def _check_time(event: Event, now: datetime, holder: Holder) -> None:
    """Refuses what the database would refuse anyway: a batch of such events would be tried piece by piece."""
    if event.occurred_at is None:
        return
    if event.occurred_at > now + _AHEAD:
        raise InvalidEvent("occurred_at", "is more than 5 minutes ahead")
    if event.occurred_at < now - _PAST and WRITE not in holder.scopes:
        raise NotAllowed("occurred_at", "is more than 7 days ago, which needs the scope events:write")


def _check_owner(owner: Owner, holder: Holder, guest: Visit) -> None:
    """A service writes for every owner, or for the one organisation that its token or the route names."""
    only = guest.organization or holder.writes_for
    if only is not None and owner.organization_id != only:
        raise InvalidEvent("owner", "is not the organisation that this token or route is for")


def _as_json(owner: Owner) -> dict[str, str]:
    if owner.organization_id is not None:
        return {"organization_id": str(owner.organization_id)}
    return {"user_id": owner.user_id or ""}
