"""Batches: events as COPY lines, brought into the database by one short transaction."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from permalog.identity import Identity, new_salt
from permalog.payload import Personal, wire

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from permalog.event import Event

NULL: Final = b"\\N"
IDENTITIES_KEPT: Final = 50_000
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(slots=True)
class Batch:
    """Events on their way, encoded as PostgreSQL's COPY text format asks for.

    An identity that is in `known` is committed already and is only referred to; others travel along, once a batch.
    """

    known: dict[tuple[UUID, Identity], bytes]
    events: list[bytes] = field(default_factory=list)
    identities: list[bytes] = field(default_factory=list)
    fresh: dict[tuple[UUID, Identity], bytes] = field(default_factory=dict)

    def add(self, event: Event, event_id: UUID, occurred_at: datetime) -> None:
        """Appends one event, its identity and its personal values."""
        actor = self._actor(event, event.owner.log_id)
        line = b"%d\t%b" % (len(self.events), _event_line(event, event_id, occurred_at, actor, self.identities))
        self.events.append(line)

    def _actor(self, event: Event, log_id: UUID) -> bytes:
        if event.actor.type == "system":
            return NULL
        identity = _identity_of(event)
        if identity.kind == "staff":
            return self._new(log_id, identity)  # never shared, so that two events by one person are not linked
        key = (log_id, identity)
        found = self.known.get(key) or self.fresh.get(key)
        if found is None:
            found = self.fresh[key] = self._new(log_id, identity)
        return found

    def _new(self, log_id: UUID, identity: Identity) -> bytes:
        commitment, line = _identity_line(log_id, identity)
        self.identities.append(line)
        return commitment


class Packed(NamedTuple):
    """One event, encoded by itself."""

    event: bytes
    """A COPY line without its place, which the batch gives it."""
    identities: bytes
    """The COPY lines of its identities that are not known to be committed."""
    carried: tuple[UUID, Identity] | None
    """The identity of its actor, if the event is the first to bring it."""


class Packer:
    """Encodes events one by one, as they are recorded.

    An identity travels with every event that refers to it until the database is known to have it; then it is only
    referred to. From any thread; `introduce` and `committed` in the order of the numbers.
    """

    def __init__(self) -> None:
        self._known: Final[dict[tuple[UUID, Identity], tuple[bytes, bytes]]] = {}
        self._introduced: Final[deque[tuple[int, tuple[UUID, Identity]]]] = deque()

    def pack(self, event: Event, event_id: UUID, occurred_at: datetime) -> Packed:
        """Encodes an event.

        Raises:
            ValueError, TypeError: it holds what no checked event can.
        """
        lines: list[bytes] = []
        actor, carried = NULL, None
        log_id = event.owner.log_id
        if event.actor.type != "system":
            identity = _identity_of(event)
            key = (log_id, identity)
            found = self._known.get(key)
            if found is None:
                found = _identity_line(log_id, identity)
                if identity.kind != "staff":
                    if len(self._known) >= IDENTITIES_KEPT:
                        self.forget()
                    self._known[key] = found
                    carried = key
            actor, line = found
            if line:
                lines.append(line)
        return Packed(_event_line(event, event_id, occurred_at, actor, lines), b"".join(lines), carried)

    def introduce(self, key: tuple[UUID, Identity], number: int) -> None:
        """The event with this number was taken, and brings an identity."""
        self._introduced.append((number, key))

    def withdraw(self, key: tuple[UUID, Identity]) -> None:
        """The event that was to bring it was not taken."""
        self._known.pop(key, None)

    def committed(self, number: int, *, all_stored: bool) -> None:
        """Everything up to this number is settled; with ``all_stored`` their identities are in the database."""
        while self._introduced and self._introduced[0][0] <= number:
            _, key = self._introduced.popleft()
            found = self._known.pop(key, None)
            if found is not None and all_stored:
                self._known[key] = (found[0], b"")

    def forget(self) -> None:
        """Takes nothing for committed any more: another server may have taken the place of the one that said so."""
        self._known.clear()
        self._introduced.clear()


def _identity_of(event: Event) -> Identity:
    actor = event.actor
    kind = "staff" if actor.type == "staff" else "actor"
    return Identity(kind, actor.id, actor.email, actor.name, actor.ip_address, actor.user_agent)


def _event_line(event: Event, event_id: UUID, occurred_at: datetime, actor: bytes, identities: list[bytes]) -> bytes:
    """A line of ``incoming`` but for its place; personal values go to ``identities``."""
    kind = event.actor.type
    return (
        b"\t".join(
            (
                _hex(event.owner.log_id),
                _hex(event_id),
                occurred_at.isoformat().encode(),
                event.action.encode(),
                event.outcome.encode(),
                kind.encode(),
                NULL if kind == "staff" else _text(event.actor.id),
                actor,
                _text(event.resource.type),
                _text(event.resource.id),
                _text(event.correlation_id),
                NULL if event.source is None else event.source.encode(),
                _payload(event.before_state, event, event_id, identities),
                _payload(event.after_state, event, event_id, identities),
                _payload(event.metadata, event, event_id, identities),
                _text(event.event_key),
                b"t" if event.occurred_at is not None else b"f",
            )
        )
        + b"\n"
    )


def _payload(payload: dict[str, Any] | None, event: Event, event_id: UUID, identities: list[bytes]) -> bytes:
    if payload is None:
        return NULL

    def committed(value: Personal) -> dict[str, str]:
        identity = Identity(value.kind, value=value.value)
        commitment, line = _identity_line(event.owner.log_id, identity, event_id, event.actor.id)
        identities.append(line)
        return {"$identity": commitment[3:].decode()}

    return wire(payload, committed).replace(b"\\", b"\\\\")


def _identity_line(
    log_id: UUID, identity: Identity, event_id: UUID | None = None, by: str | None = None
) -> tuple[bytes, bytes]:
    """A new commitment, and its line of ``incoming_identity``.

    ``by``: whoever acted, for a personal value; the database looks at it and does not keep it.
    """
    salt = new_salt()
    commitment = b"\\\\x" + identity.commitment(salt).hex().encode()
    line = (
        b"\t".join(
            (
                _hex(log_id),
                commitment,
                *map(_text, identity if by is None else identity._replace(actor_id=by)),
                b"\\\\x" + salt.hex().encode(),
                NULL if event_id is None else _hex(event_id),
            )
        )
        + b"\n"
    )
    return commitment, line


def _hex(value: UUID) -> bytes:
    """A UUID without hyphens, which PostgreSQL reads as well, and which takes a third of the time to write."""
    return b"%032x" % value.int


def _text(value: str | None) -> bytes:
    if value is None:
        return NULL
    # Nothing that is escaped is printable, but the backslash.
    return (value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)).encode()
