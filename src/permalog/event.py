"""The event: one immutable record of who did what to what, when, with which outcome, before and after."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias
from uuid import UUID

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from typing_extensions import override

from permalog import payload as payloads
from permalog.errors import InvalidEvent
from permalog.ids import EPOCH, id_time, is_event_id, log_id_of

if TYPE_CHECKING:
    from collections.abc import Generator

_NO_NUL: Final = r"^[^\x00]*$"
LONG: Final = 255
SHORT: Final = 100
Id: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=LONG, pattern=_NO_NUL)]
Short: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=SHORT, pattern=_NO_NUL)]
Email: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=320, pattern=_NO_NUL)]
ResourceId: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=_NO_NUL)]
Address: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=45, pattern=_NO_NUL)]
UserAgent: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=_NO_NUL)]

Outcome: TypeAlias = Literal["success", "failure", "denied"]
ActorType: TypeAlias = Literal["user", "staff", "api_key", "system"]
Source: TypeAlias = Literal["web", "api", "worker", "cron", "callback", "webhook", "cli", "import"]

_RFC3339: Final = re.compile(
    # PostgreSQL takes offsets up to 15:59, and Python refuses the hour 24 and the second 60.
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?([Zz]|[+-](0\d|1[0-5]):[0-5]\d)",
    re.ASCII,
)
_STRICT: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, config=_STRICT)
class Owner:
    """Whose log it is: an organisation or a user, never both. Made by `organization` or `user`."""

    organization_id: UUID | None = None
    user_id: Id | None = None

    def __post_init__(self) -> None:
        """Exactly one.

        Raises:
            InvalidEvent: both are given, or neither.
        """
        if (self.organization_id is None) == (self.user_id is None):
            raise InvalidEvent("owner", "exactly one of organization_id and user_id is required")

    @classmethod
    def organization(cls, organization_id: UUID | str) -> Self:
        """The owner of an organisation's log."""
        try:
            return cls(organization_id=organization_id)  # pyright: ignore[reportArgumentType]  pydantic reads strings
        except ValidationError as error:
            raise InvalidEvent.of(error, "owner") from None

    @classmethod
    def user(cls, user_id: str) -> Self:
        """The owner of a personal log."""
        try:
            return cls(user_id=user_id)
        except ValidationError as error:
            raise InvalidEvent.of(error, "owner") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``org:<uuid>`` or ``user:<id>``.

        Raises:
            InvalidEvent: it is neither.
        """
        kind, _, rest = text.partition(":")
        if kind == "org":
            return cls.organization(rest)
        if kind == "user":
            return cls.user(rest)
        raise InvalidEvent("owner", "must be org:<uuid> or user:<id>")

    @property
    def log_id(self) -> UUID:
        """The id of this owner's log."""
        return log_id_of(self.organization_id, self.user_id)

    @override
    def __str__(self) -> str:
        """``org:<uuid>`` or ``user:<id>``."""
        return f"user:{self.user_id}" if self.organization_id is None else f"org:{self.organization_id}"


@dataclass(frozen=True, slots=True, config=_STRICT)
class Actor:
    """Who did it, as they were at that moment. Made by `user`, `staff`, `api_key` or `system`."""

    type: ActorType
    id: Id | None = None
    email: Email | None = None
    name: Id | None = None
    ip_address: Address | None = None
    user_agent: UserAgent | None = None

    def __post_init__(self) -> None:
        """Holds each type to what it may have.

        Raises:
            InvalidEvent: a user or an API key without an id, or a system actor with personal data.
        """
        if self.type == "system":
            if self.email or self.name or self.ip_address or self.user_agent:
                raise InvalidEvent("actor", "a system actor has no e-mail, name, address or user agent")
        elif self.id is None and self.type != "staff":
            raise InvalidEvent("actor.id", "is required")

    @classmethod
    def user(
        cls,
        id: str,
        *,
        email: str | None = None,
        name: str | None = None,
        ip_address: str | None = None,
        user_agent: str | None = None,
    ) -> Self:
        """Somebody who uses the product."""
        return cls._made("user", id, email, name, ip_address, user_agent)

    @classmethod
    def staff(
        cls,
        id: str,
        *,
        email: str | None = None,
        name: str | None = None,
        ip_address: str | None = None,
        user_agent: str | None = None,
    ) -> Self:
        """One of the product's own people, whom customers see as “Support”."""
        return cls._made("staff", id, email, name, ip_address, user_agent)

    @classmethod
    def api_key(
        cls, id: str, *, name: str | None = None, ip_address: str | None = None, user_agent: str | None = None
    ) -> Self:
        """A program that acts with a key of its own."""
        return cls._made("api_key", id, None, name, ip_address, user_agent)

    @classmethod
    def system(cls, id: str | None = None) -> Self:
        """The product itself; ``id`` says which part, such as ``sync-scheduler``."""
        return cls._made("system", id, None, None, None, None)

    @classmethod
    def _made(cls, *values: Any) -> Self:  # noqa: ANN401  pydantic checks them
        try:
            return cls(*values)
        except ValidationError as error:
            raise InvalidEvent.of(error, "actor") from None


@dataclass(frozen=True, slots=True, config=_STRICT)
class Resource:
    """What it happened to: ``Resource("security_finding", "fnd_1")``."""

    type: Short
    id: ResourceId


_acting: ContextVar[Actor | None] = ContextVar("permalog_actor", default=None)


def current_actor() -> Actor | None:
    """The actor of the `acting_as` block that the caller is in, or None."""
    return _acting.get()


@contextmanager
def acting_as(actor: Actor) -> Generator[None]:
    """Events made inside this block, in this thread or task, have this actor unless they name another."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


def read_time(value: object) -> datetime:
    """An event's time, in UTC.

    Raises:
        InvalidEvent: it is no RFC 3339 text and no time with a zone, or before 1970.
    """
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise InvalidEvent("occurred_at", "must be an RFC 3339 time with an offset and at most six decimals")
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError:
            raise InvalidEvent("occurred_at", "is no date") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidEvent("occurred_at", "must be a time with a time zone")
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent("occurred_at", "is no date") from None
    if value < EPOCH:
        raise InvalidEvent("occurred_at", "is before 1970")
    return value


class Event(BaseModel):
    """One event, checked when it is made and frozen from then on.

    Raises:
        InvalidEvent: a rule of docs/record-format.md is broken; `field` names which member.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    owner: Owner
    action: Short
    """A name of the catalogue."""
    actor: Actor
    """Where it is left out, that of `acting_as`."""
    resource: Resource
    outcome: Outcome = "success"
    occurred_at: datetime | None = None
    """With a time zone; None: now."""
    before_state: dict[str, Any] | None = None
    after_state: dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    correlation_id: Id | None = None
    """One operation, several events."""
    source: Source | None = None
    event_key: Id | None = None
    """Unique in the owner's log: the same event recorded again under it is stored once."""
    id: UUID | None = None
    """A UUIDv7 of `occurred_at`, for events that come from an export; None: made when recorded."""

    def __init__(self, **data: Any) -> None:  # noqa: ANN401  pydantic checks them
        """See the fields."""
        if "actor" not in data and (acting := _acting.get()) is not None:
            data["actor"] = acting
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise InvalidEvent.of(error) from None

    @field_validator("occurred_at", mode="before")
    @classmethod
    def _read_time(cls, value: object) -> datetime | None:
        return None if value is None else read_time(value)

    @field_validator("before_state", "after_state", "metadata", mode="before")
    @classmethod
    def _read_payload(cls, value: object, info: Any) -> dict[str, Any] | None:  # noqa: ANN401
        name: str = info.field_name
        if value is None:
            return {} if name == "metadata" else None
        return payloads.checked(value, name)

    @model_validator(mode="after")
    def _fit_id(self) -> Self:
        if self.id is None:
            return self
        if not is_event_id(self.id):
            raise InvalidEvent("id", "must be a UUIDv7 made from the event's time")
        if self.occurred_at is None:
            object.__setattr__(self, "occurred_at", id_time(self.id))
        elif id_time(self.id) != self.occurred_at:
            raise InvalidEvent("id", "its time is not occurred_at")
        return self

    @classmethod
    def from_json(cls, text: bytes | str | dict[str, Any]) -> Self:
        """Reads the NDJSON form (docs/record-format.md): one object, its own members and those of an export.

        Raises:
            InvalidEvent: names the member.
        """
        data: Any = (
            text if isinstance(text, dict) else payloads.parsed(text.encode() if isinstance(text, str) else text)
        )
        if not isinstance(data, dict):
            raise InvalidEvent("event", "must be an object")
        known: dict[str, Any] = {k: v for k, v in data.items() if k not in _EXPORT_ONLY and v is not None}  # pyright: ignore[reportUnknownVariableType]
        if "actor" not in known:
            raise InvalidEvent("actor", "is required")
        for name in ("owner", "actor", "resource"):
            if name in known and not isinstance(known[name], dict):
                raise InvalidEvent(name, "must be an object")
        return cls(**known)

    def to_json(self) -> bytes:
        """The NDJSON form, compact, without a newline; absent members left out."""
        return orjson.dumps(self, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS)


_EXPORT_ONLY: Final = frozenset({"recorded_at", "recorded_by", "leaf_index", "epoch"})


def _plain(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, Event):
        members = {name: member for name in Event.model_fields if (member := getattr(value, name)) is not None}
        if not value.metadata:
            del members["metadata"]  # which is never absent; an empty state differs from none
        return members
    if isinstance(value, Owner | Actor | Resource):
        return {name: member for name in value.__slots__ if (member := getattr(value, name)) is not None}
    if isinstance(value, payloads.Personal):
        return {"$personal": {"kind": value.kind, "value": value.value}}
    raise TypeError
