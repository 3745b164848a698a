"""The audit log's routes: defined once, included for a person's own log and for an organisation's."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import orjson
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import ValidationError

from permalog.reading.filters import Filters
from permalog.reading.tail import Position, TailBatch, end_of, read_tail
from permalog.witnessing.proofs import prove_event
from permalog_server import taking
from permalog_server.accounts import RECORD, WRITE
from permalog_server.bodies import document_of, read
from permalog_server.documents import (
    BATCH_BODY,
    EVIDENCE_BODY,
    EXPORT_BODY,
    CatalogueDocument,
    EventDocument,
    EvidenceRequest,
    ExportRequest,
    PageDocument,
    PageQuery,
    ResultsDocument,
    SelectionQuery,
    SummaryDocument,
    TailQuery,
)
from permalog_server.entry import EXPORTING, PROVING, READING, Entry, Guest, Need
from permalog_server.problem import described, of_faults
from permalog_server.tailing import Held, Tail
from permalog_server.writing import store

router: Final = APIRouter(prefix="/audit-log")

WRITING: Final = Need(frozenset({WRITE, RECORD}), frozenset(), "security.access.denied", for_services=True)
_JSON: Final = "application/json"
_ERRORS: Final = described(401, 403, 404, 422, 503)
_PROOF_ERRORS: Final = described(401, 403, 404, 408, 409, 422, 503)
_BODY_ERRORS: Final = described(401, 403, 404, 408, 422, 503)
_TEXT: Final = {"schema": {"type": "string"}}
_LINES: Final = "id,occurred_at,recorded_at,recorded_by,action,outcome,actor_type,actor_id,actor_email,actor_name,…\r\n"
_EXPORT: Final[dict[str, Any]] = {
    "description": "The export. It is on record twice: before its first byte and after its last.",
    "content": {
        "text/csv": {**_TEXT, "example": _LINES},
        "application/x-ndjson": {**_TEXT, "example": '{"owner":{"user_id":"u_1"},"id":"019c1306-…",…}\n'},
        _JSON: {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/EventDocument"}}},
    },
}
_SENT: Final = {"id": "1-4711", "event": "event", "data": '{"id":"019c1306-…",…}'}
_TAIL: Final[dict[str, Any]] = {
    "description": "Server-sent events, each with these fields: `event` (an event of the log) or `end` (the reason).",
    "content": {
        "text/event-stream": {
            "schema": {"type": "object", "properties": {name: {"type": "string"} for name in _SENT}},
            "example": _SENT,
        }
    },
}
_PROOF: Final[dict[str, Any]] = {
    "description": "A tlog-proof file.",
    "content": {"text/plain": {**_TEXT, "example": "c2sp.org/tlog-proof@v1\nindex 4711\n…"}},
}


_EVIDENCE: Final[dict[str, Any]] = {
    "description": "A zip as docs/evidence-bundle.md describes it.",
    "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}},
}
Body = TypeVar("Body", ExportRequest, EvidenceRequest)


class Written(Response):
    """JSON that the library wrote."""

    media_type: str | None = _JSON


@router.get("/events", response_model=PageDocument, responses=_ERRORS, summary="A page of events, newest first")
def list_events(guest: Guest, wanted: Annotated[PageQuery, Query()]) -> Response:
    """All given filters hold at once."""
    entry = guest.admit(READING, filters=sorted(_filters(wanted)))
    page = guest.log.list(
        entry.owner,
        before=wanted.before,
        after=wanted.after,
        limit=wanted.limit,
        viewer=entry.viewer,
        **_filters(wanted),
    )
    return Written(page.to_json())


@router.get("/events/{event_id}", response_model=EventDocument, responses=_ERRORS, summary="One event")
def get_event(guest: Guest, event_id: UUID) -> Response:
    """As the list shows it."""
    entry = guest.admit(READING)
    return Written(guest.log.get(entry.owner, event_id, entry.viewer).to_json())


@router.get(
    "/events/{event_id}/proof",
    response_class=Response,
    responses={200: _PROOF, **described(401, 403, 404, 409, 422, 503)},
    summary="The inclusion proof of one event",
)
def prove(guest: Guest, event_id: UUID) -> Response:
    """A C2SP tlog-proof: under the newest checkpoint that a witness has cosigned, else the newest."""
    entry = guest.admit(READING)
    proof = prove_event(guest.log.database, entry.owner, event_id).to_bytes()
    name = f'attachment; filename="{event_id}.tlog-proof"'
    return Response(proof, media_type="text/plain; charset=utf-8", headers={"Content-Disposition": name})


@router.get("/summary", response_model=SummaryDocument, responses=_ERRORS, summary="Counts by action, actor and day")
def summary(guest: Guest, wanted: Annotated[SelectionQuery, Query()]) -> Response:
    """Of the events that the filters select."""
    entry = guest.admit(READING, filters=sorted(_filters(wanted)))
    return Written(orjson.dumps(guest.log.summary(entry.owner, viewer=entry.viewer, **_filters(wanted)).as_json()))


@router.get("/actions", response_model=CatalogueDocument, responses=_ERRORS, summary="The catalogue of actions")
def actions(guest: Guest) -> dict[str, Any]:
    """Retired ones included: events may have them."""
    guest.admit(READING)
    shown = ("name", "label", "resource_type")
    return {"actions": [{member: action[member] for member in shown} for action in guest.log.actions()]}


@router.post(
    "/export",
    response_class=Response,
    responses={200: _EXPORT, **_BODY_ERRORS},
    summary="Export events",
    openapi_extra=EXPORT_BODY,
)
async def export(guest: Guest, request: Request) -> Response:
    """All events that the filters select, newest first, as a stream of any size."""
    entry = await run_in_threadpool(guest.admit, EXPORTING)
    wanted = _read_as(ExportRequest, await read(request))
    started = partial(taking.export, guest.desk, entry, wanted.format, "api", _filters(wanted))
    return await to_thread.run_sync(started, limiter=guest.desk.exporting)


@router.post(
    "/evidence",
    response_class=Response,
    responses={200: _EVIDENCE, **_PROOF_ERRORS},
    summary="Make an evidence bundle",
    openapi_extra=EVIDENCE_BODY,
)
async def evidence(guest: Guest, request: Request) -> Response:
    """The sealed events that the filters select, with all that proves them, in one file; it is on record."""
    entry = await run_in_threadpool(guest.admit, PROVING)
    wanted = _read_as(EvidenceRequest, await read(request))
    made = partial(taking.evidence, guest.desk, entry, "api", _filters(wanted), epoch=wanted.epoch)
    return await to_thread.run_sync(made, limiter=guest.desk.exporting)


@router.post(
    "/events",
    response_model=ResultsDocument,
    responses=_BODY_ERRORS,
    summary="Write events",
    openapi_extra=BATCH_BODY,
)
async def write(guest: Guest, request: Request) -> Response:
    """Each event is judged by itself; the same key or id with the same content again is a duplicate."""
    entry = await run_in_threadpool(guest.admit, WRITING)
    body = await read(request)
    keys = request.headers.getlist("idempotency-key")
    return await to_thread.run_sync(lambda: Written(store(guest, entry, body, keys)), limiter=guest.desk.writing)


@router.get("/tail", response_class=Response, responses={200: _TAIL, **_ERRORS}, summary="Events as they are sealed")
async def tail(
    guest: Guest,
    wanted: Annotated[TailQuery, Query()],
    last_event_id: Annotated[str | None, Header(description="Where a tail that was broken off goes on.")] = None,
) -> Response:
    """Server-sent events in the order of the log's leaves: none left out, none twice."""

    def admit() -> Entry:
        return guest.admit(READING, filters=sorted(_filters(wanted)))

    def begun() -> tuple[Entry, TailBatch]:
        entry, position = admit(), last_event_id or wanted.after
        database, filters = guest.log.database, Filters(**_filters(wanted))
        after = Position.parse(position) if position else end_of(database, entry.owner.log_id)
        return entry, read_tail(database, entry.owner, after, filters, viewer=entry.viewer)

    entry, first = await run_in_threadpool(begun)
    tails = guest.desk.tails
    stream = Tail(tails, guest.log.database, entry, first, Filters(**_filters(wanted)), wait=wanted.wait, admit=admit)
    return Held(tails.places, entry.holder.token_id, stream)


def _filters(wanted: SelectionQuery) -> dict[str, Any]:
    given = wanted.model_dump(include=set(SelectionQuery.model_fields))
    return {name: value for name, value in given.items() if value not in (None, [])}


def _read_as(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate(document_of(body))
    except ValidationError as error:
        raise of_faults(error.errors(include_url=False, include_input=False)) from None
