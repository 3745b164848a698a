"""What the API takes and gives, as OpenAPI describes it; tests hold the answers, which the library writes, to it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from permalog.event import ActorType, Outcome, Source

_STRICT = ConfigDict(extra="forbid")
_TIME: Final = "2026-01-31T09:00:00.123456Z"
_CURSOR: Final = "AQGcEwaNW3q8gAABI0VniavvO6cw4lGDyrFiwDQZ"
_EVENT: Final[JsonDict] = {
    "id": "019c1306-8d5b-7abc-8000-0123456789ab",
    "occurred_at": _TIME,
    "recorded_at": _TIME,
    "recorded_by": "token:0b6f1c0e-5d0e-4c52-9d8e-1f1a54c8f6aa",
    "action": "security.finding.dismissed",
    "outcome": "success",
    "actor": {"type": "user", "id": "u_1", "email": "ada@acme.example", "name": "Ada"},
    "resource": {"type": "security_finding", "id": "fnd_1"},
    "before_state": {"status": "open"},
    "after_state": {"status": "ignored"},
    "metadata": {"reason": "tolerable_risk"},
    "correlation_id": "op_1",
    "source": "api",
    "leaf_index": 0,
}


def _text(longest: int, description: str | None = None) -> Any:  # noqa: ANN401  as pydantic's own
    """A text whose length the library holds to the limit, in its own words; here it is only described."""
    limits: JsonDict = {"minLength": 1, "maxLength": longest}
    return Field(default=None, description=description, json_schema_extra=limits)


class SelectionQuery(BaseModel):
    """Which events: all given filters hold at once."""

    model_config: ClassVar[ConfigDict] = _STRICT

    action: list[str] = Field(default=[], description="Any of these actions; repeatable, up to 100.")
    actor_id: str | None = _text(255)
    actor_email: str | None = _text(320, "The address as it was then; case does not matter.")
    resource_type: str | None = _text(100)
    resource_id: str | None = _text(512)
    outcome: Outcome | None = None
    correlation_id: str | None = _text(255)
    source: Source | None = None
    search: str | None = _text(200, "A substring of one value of the metadata, or of an id.")
    start: str | None = Field(
        default=None,
        description="Inclusive: an RFC 3339 time or a date, in UTC without an offset.",
        examples=["2026-01-01"],
    )
    end: str | None = Field(default=None, description="Exclusive.", examples=["2026-02-01"])


class PageQuery(SelectionQuery):
    """A page of them."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    before: str | None = Field(default=None, description="A `next_cursor`: the older page.")
    after: str | None = Field(default=None, description="A `previous_cursor`: the nearest newer page.")


class TailQuery(SelectionQuery):
    """Where a tail begins, and how long it lasts."""

    after: str | None = Field(
        default=None,
        description="An event's `id:`, a leaf index of the present epoch, or `begin`; else what is sealed from now on.",
    )
    wait: int = Field(3600, ge=0, le=3600, description="Seconds until it ends by itself; 0: what there is now.")


class ExportRequest(SelectionQuery):
    """An export: the list's filters, and a format."""

    format: Literal["csv", "json", "ndjson"]


class EvidenceRequest(SelectionQuery):
    """An evidence bundle: the list's filters, and whose tree."""

    epoch: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Of this epoch's tree; else of the present one's."
    )


def _like(example: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class ActorDocument(BaseModel):
    """Who did it. To customers, staff are `{"type": "staff", "id": null, "email": null, "name": "Support"}`."""

    type: ActorType
    id: str | None
    email: str | None
    name: str | None


class ResourceDocument(BaseModel):
    """What it happened to."""

    type: str
    id: str


class EventDocument(BaseModel):
    """One event."""

    model_config: ClassVar[ConfigDict] = _like(_EVENT)

    id: str
    occurred_at: str
    recorded_at: str
    recorded_by: str = Field(description="The token, or the database's login, that brought it.")
    action: str
    outcome: Outcome
    actor: ActorDocument
    resource: ResourceDocument
    before_state: dict[str, Any] | None
    after_state: dict[str, Any] | None
    metadata: dict[str, Any]
    correlation_id: str | None
    source: Source | None
    leaf_index: int | None = Field(description="Null until the event is sealed.")
    epoch: int = Field(1, description="Of the tree in which the leaf index counts; left out for the first.")


class PageDocument(BaseModel):
    """A page, newest first."""

    model_config: ClassVar[ConfigDict] = _like(
        {"events": [_EVENT], "has_next": True, "has_previous": False, "next_cursor": _CURSOR, "previous_cursor": None}
    )

    events: list[EventDocument]
    has_next: bool
    has_previous: bool
    next_cursor: str | None
    previous_cursor: str | None
    partial: bool = Field(default=False, description="A search of fewer than three characters stopped at its bound.")


class ActionCount(BaseModel):
    """How often an action happened."""

    action: str
    count: int


class ActorCount(BaseModel):
    """How much an actor did."""

    type: ActorType
    id: str | None
    name: str | None
    count: int


class DayCount(BaseModel):
    """How much happened on a day (UTC)."""

    day: str = Field(examples=["2026-01-31"])
    count: int


class SummaryDocument(BaseModel):
    """Counts of the events that the filters select."""

    model_config: ClassVar[ConfigDict] = _like(
        {
            "total": 1,
            "first": _TIME,
            "last": _TIME,
            "by_action": [{"action": "security.finding.dismissed", "count": 1}],
            "by_actor": [{"type": "user", "id": "u_1", "name": "Ada", "count": 1}],
            "by_day": [{"day": "2026-01-31", "count": 1}],
        }
    )

    total: int
    first: str | None
    last: str | None
    by_action: list[ActionCount]
    by_actor: list[ActorCount]
    by_day: list[DayCount]


class ActionDocument(BaseModel):
    """One action of the catalogue."""

    name: str
    label: str
    resource_type: str


class CatalogueDocument(BaseModel):
    """What may be recorded."""

    model_config: ClassVar[ConfigDict] = _like(
        {
            "actions": [
                {
                    "name": "security.finding.dismissed",
                    "label": "Finding dismissed",
                    "resource_type": "security_finding",
                }
            ]
        }
    )

    actions: list[ActionDocument]


class ResultDocument(BaseModel):
    """What became of one event."""

    id: str | None = Field(description="Under which it is stored; null where it was rejected.")
    status: Literal["created", "duplicate", "rejected"]
    error: str | None = Field(description="Why it was rejected, beginning with the field.")


class ResultsDocument(BaseModel):
    """What became of each event, in order."""

    model_config: ClassVar[ConfigDict] = _like(
        {
            "results": [
                {"id": "019c1306-8d5b-7abc-8000-0123456789ab", "status": "created", "error": None},
                {"id": None, "status": "rejected", "error": "actor.id: is required"},
            ]
        }
    )

    results: list[ResultDocument]


class ErasedLog(BaseModel):
    """What was erased in one log."""

    log_id: str
    identities: int
    events: int = Field(description="Removed with the person's own log; no organisation's event is touched.")


class ErasureDocument(BaseModel):
    """What was erased, or with `dry_run` would be."""

    model_config: ClassVar[ConfigDict] = _like(
        {
            "user_id": "u_1",
            "dry_run": False,
            "logs": [{"log_id": "e152bb82-5527-8d8b-8ded-3f5737b427b3", "identities": 1, "events": 12}],
            "tokens": 1,
            "memberships": 2,
        }
    )

    user_id: str
    dry_run: bool
    logs: list[ErasedLog]
    tokens: int
    memberships: int


class Health(BaseModel):
    """Whether it works."""

    model_config: ClassVar[ConfigDict] = _like({"status": "ok"})

    status: Literal["ok"]


EXPORT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ExportRequest"},
                "example": {"format": "csv", "action": ["security.finding.dismissed"], "start": "2026-01-01"},
            }
        },
    }
}
"""What `POST …/export` takes; read, like the events, once it is known who sends it."""
EVIDENCE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/EvidenceRequest"},
                "example": {"start": "2026-01-01", "end": "2026-07-01"},
            }
        },
    }
}
"""What `POST …/evidence` takes."""
BATCH_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["events"],
                    "additionalProperties": False,
                    "properties": {
                        "events": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 1000,
                            "items": {},
                            "description": (
                                "Objects in the form of docs/record-format.md; without an owner, it is the route's."
                                " What is no such object is rejected by itself."
                            ),
                        }
                    },
                },
                "example": {
                    "events": [
                        {
                            "action": "security.finding.dismissed",
                            "actor": {"type": "user", "id": "u_1", "email": "ada@acme.example"},
                            "resource": {"type": "security_finding", "id": "fnd_1"},
                            "metadata": {"reason": "tolerable_risk"},
                        }
                    ]
                },
            }
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "`<key>/<position>` becomes the event key of every event that has none.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
        }
    ],
}
"""What `POST …/events` takes: the events are read by the library, which refuses duplicate keys and inexact numbers."""
