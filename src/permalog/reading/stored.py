"""Events as they are read: the one place where a row of the database becomes what a reader sees."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import orjson

from permalog.reading.leaf_places import UNPLACED, LeafPlace, places_of
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from permalog.postgres.database import Connection

# In jsonb's text a quotation mark inside a string is escaped, so that this is never found within one.
_IDENTITY: Final = re.compile(r'\{"\$identity": "([0-9a-f]{64})"\}')
_MARK: Final = '"$identity"'


class Row(NamedTuple):
    """An event as its reader sees it: texts, payloads as JSON, times in UTC as RFC 3339 with six decimals."""

    id: str
    occurred_at: str
    recorded_at: str
    recorded_by: str
    action: str
    outcome: str
    actor_type: str
    actor_id: str | None
    actor_email: str | None
    actor_name: str | None
    ip_address: str | None
    user_agent: str | None
    resource_type: str
    resource_id: str
    before_state: str | None
    after_state: str | None
    metadata: str
    correlation_id: str | None
    source: str | None
    leaf_index: int | None
    epoch: int | None = None
    """Of the tree in which the leaf index counts."""

    def json(self) -> bytes:
        """The event in JSON, as docs/record-format.md describes it; payloads go out exactly as they are stored."""
        return orjson.dumps(
            {
                "id": self.id,
                "occurred_at": self.occurred_at,
                "recorded_at": self.recorded_at,
                "recorded_by": self.recorded_by,
                "action": self.action,
                "outcome": self.outcome,
                "actor": {
                    "type": self.actor_type,
                    "id": self.actor_id,
                    "email": self.actor_email,
                    "name": self.actor_name,
                },
                "resource": {"type": self.resource_type, "id": self.resource_id},
                "before_state": spliced(self.before_state),
                "after_state": spliced(self.after_state),
                "metadata": spliced(self.metadata),
                "correlation_id": self.correlation_id,
                "source": self.source,
                "leaf_index": self.leaf_index,
                **later_epoch(self),
            }
        )


def later_epoch(row: Row) -> dict[str, int]:
    """The member ``epoch`` of an event whose leaf is in the tree of a later epoch than the first."""
    return {} if row.epoch is None or row.epoch == 1 else {"epoch": row.epoch}


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a log, as its reader sees it. Personal data that were erased are None.

    Numbers in payloads that only PostgreSQL carries exactly (another writer may have stored ``1e400``) are rounded to a
    double here, or text where they do not fit into one; `to_json` gives them as they are stored.
    """

    row: Row
    """Everything as text."""

    @property
    def id(self) -> UUID:
        """A UUIDv7 of `occurred_at`: identity, order, and place in the log."""
        return UUID(self.row.id)

    @property
    def occurred_at(self) -> datetime:
        """When it happened, in UTC."""
        return datetime.fromisoformat(self.row.occurred_at)

    @property
    def recorded_at(self) -> datetime:
        """When the database took it, in UTC."""
        return datetime.fromisoformat(self.row.recorded_at)

    @property
    def recorded_by(self) -> str:
        """Which token or database user brought it."""
        return self.row.recorded_by

    @property
    def action(self) -> str:
        """A name of the catalogue."""
        return self.row.action

    @property
    def outcome(self) -> str:
        """``success``, ``failure`` or ``denied``."""
        return self.row.outcome

    @property
    def actor_type(self) -> str:
        """``user``, ``staff``, ``api_key`` or ``system``."""
        return self.row.actor_type

    @property
    def actor_id(self) -> str | None:
        """Who did it."""
        return self.row.actor_id

    @property
    def actor_email(self) -> str | None:
        """Their e-mail address at that moment."""
        return self.row.actor_email

    @property
    def actor_name(self) -> str | None:
        """Their name at that moment."""
        return self.row.actor_name

    @property
    def ip_address(self) -> str | None:
        """Where they came from."""
        return self.row.ip_address

    @property
    def user_agent(self) -> str | None:
        """What they came with."""
        return self.row.user_agent

    @property
    def resource_type(self) -> str:
        """What kind of thing it happened to."""
        return self.row.resource_type

    @property
    def resource_id(self) -> str:
        """Which one."""
        return self.row.resource_id

    @property
    def before_state(self) -> dict[str, Any] | None:
        """The resource before."""
        return None if self.row.before_state is None else _values(self.row.before_state)

    @property
    def after_state(self) -> dict[str, Any] | None:
        """The resource after."""
        return None if self.row.after_state is None else _values(self.row.after_state)

    @property
    def metadata(self) -> dict[str, Any]:
        """Everything else about it."""
        return _values(self.row.metadata)

    @property
    def correlation_id(self) -> str | None:
        """One operation, several events."""
        return self.row.correlation_id

    @property
    def source(self) -> str | None:
        """Through which door it came."""
        return self.row.source

    @property
    def leaf_index(self) -> int | None:
        """Its place in the log's tree; None until it is sealed."""
        return self.row.leaf_index

    @property
    def epoch(self) -> int | None:
        """Of its leaf: 1, or a later one that the log has begun after a restore."""
        return self.row.epoch

    def to_json(self) -> bytes:
        """The event in JSON (docs/record-format.md), payloads exactly as they are stored."""
        return self.row.json()

    def as_json(self) -> dict[str, Any]:
        """The same as Python values, such as `json.dumps` takes."""
        return _values(self.to_json())


class Stored(NamedTuple):
    """A row of ``permalog.event`` as ``sql/queries/read.sql`` fetches it."""

    id: str
    occurred_at: str
    recorded_at: str
    recorded_by: str
    action: str
    outcome: str
    actor_type: str
    actor_id: str | None
    identity: bytes | None
    resource_type: str
    resource_id: str
    before_state: str | None
    after_state: str | None
    metadata: str
    correlation_id: str | None
    source: str | None

    def payloads(self) -> tuple[str | None, str | None, str]:
        """The three payloads, of which most hold no personal value."""
        return self.before_state, self.after_state, self.metadata


def personal_in(*payloads: str | None) -> Iterator[bytes]:
    """The commitments of the personal values that payloads refer to, as jsonb writes them."""
    for payload in payloads:
        if payload is not None and _MARK in payload:
            yield from map(bytes.fromhex, _IDENTITY.findall(payload))


class Person(NamedTuple):
    """What a reader may see of an identity; all None once it is erased."""

    kind: str
    actor_id: str | None = None
    email: str | None = None
    name: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    value: str | None = None


_NOBODY: Final = Person("actor")
SUPPORT: Final = "Support"
"""What all staff together are called, where they are not told apart."""
_SUPPORT: Final = Person("staff", name=SUPPORT)


def as_seen(connection: Connection, stored: list[Stored], log_id: UUID, viewer: Viewer) -> list[Row]:
    """Rows of one log as their reader may see them: with people, and the personal values of payloads in their places.

    One query fetches the identities of them all.
    """
    marked = [row for row in stored if _is_marked(row)]
    wanted = {row.identity for row in stored if row.identity is not None}
    for row in marked:
        wanted.update(personal_in(*row.payloads()))
    people = people_of(connection, log_id, list(wanted))
    values = {found.hex(): _personal(person) for found, person in people.items()} if marked else {}
    leaves = places_of(connection, log_id, [UUID(row.id) for row in stored])
    if viewer is Viewer.STAFF:
        return [_seen(row, people, values, leaves) for row in stored]
    # The database has not told who of the staff it was; nor may personal values of what they did tell.
    hidden = {name: _personal(Person(people[bytes.fromhex(name)].kind)) for name in values}
    masked = dict.fromkeys((row.identity for row in stored if row.actor_type == "staff" and row.identity), _SUPPORT)
    people |= masked
    return [_seen(row, people, hidden if row.actor_type == "staff" else values, leaves) for row in stored]


def people_of(connection: Connection, log_id: UUID, commitments: list[bytes]) -> dict[bytes, Person]:
    """What a reader may see of identities of one log, by their commitments; one query, or none for none."""
    if not commitments:
        return {}
    parameters = {"log_id": log_id, "commitments": commitments}
    rows = connection.execute(query("read", "identities"), parameters, prepare=True).fetchall()
    return {commitment: Person(*person) for commitment, *person in rows}


def _is_marked(row: Stored) -> bool:
    before, after = row.before_state, row.after_state
    return _MARK in row.metadata or bool(before and _MARK in before) or bool(after and _MARK in after)


def _seen(row: Stored, people: dict[bytes, Person], values: dict[str, str], leaves: dict[str, LeafPlace]) -> Row:
    person = _NOBODY if row.identity is None else people.get(row.identity, _NOBODY)
    actor_id = person.actor_id if row.actor_type == "staff" else row.actor_id
    # By position, since naming all twenty takes a fifth of the time of an export.
    seen = Row._make((*row[:7], actor_id, *person[2:6], *row[9:], *leaves.get(row.id, UNPLACED)))
    if not values or not _is_marked(row):
        return seen
    before, after, metadata = row.payloads()
    return seen._replace(
        before_state=before and _resolved(before, values),
        after_state=after and _resolved(after, values),
        metadata=_resolved(metadata, values),
    )


def _personal(person: Person) -> str:
    return orjson.dumps({"$personal": {"kind": person.kind, "value": person.value}}).decode()


def _resolved(payload: str, values: dict[str, str]) -> str:
    return _IDENTITY.sub(lambda found: values.get(found[1], found[0]), payload)


def spliced(payload: str | None) -> orjson.Fragment | None:
    """JSON text, to stand as it is inside what orjson writes."""
    return None if payload is None else orjson.Fragment(payload)


def _values(text: str | bytes) -> dict[str, Any]:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text, parse_int=_number, parse_float=_number)


def _number(token: str) -> int | float | str:
    """A number that a double holds, however roughly; else its text, since JSON has no infinities."""
    if len(token) < 16 and token.lstrip("-").isdigit():  # noqa: PLR2004  every such integer is exact in a double
        return int(token)
    number = float(token)
    return number if math.isfinite(number) else token
