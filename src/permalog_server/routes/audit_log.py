"""The audit log's routes, defined once for a person's own log and for an organisation's."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from permalog_server.accounts import RECORD, WRITE
from permalog_server.documents import (
    Batch,
    CatalogueDocument,
    EventDocument,
    ExportRequest,
    PageDocument,
    PageQuery,
    ResultsDocument,
    SelectionQuery,
    SummaryDocument,
)  # fmt: skip
from permalog_server.entry import EXPORTING, READING, Need, Visit
from permalog_server.problem import described
from permalog_server.writing import store

_JSON: Final = "application/json"
_MEDIA: Final = {"csv": "text/csv; charset=utf-8", "json": _JSON, "ndjson": "application/x-ndjson"}
_ERRORS: Final = described(401, 403, 404, 422, 429, 503)
_BODY_ERRORS: Final = described(401, 403, 404, 408, 413, 415, 422, 429, 503)
WRITING: Final = Need(
    frozenset({WRITE, RECORD}), frozenset({"owner", "admin", "billing_manager", "member"}), "security.access.denied"
)


class Raw(Response):
    """JSON that the library wrote."""

    media_type: str | None = _JSON


def routes(visit: Any, tag: str) -> APIRouter:  # noqa: ANN401  the dependency that makes a Visit
    """The routes, for the place that `visit` leads to."""
    router = APIRouter(tags=[tag])
    Guest = Annotated[Visit, Depends(visit)]

    @router.get(
        "/audit-log/events", response_model=PageDocument, responses=_ERRORS, summary="A page of events, newest first"
    )
    def list_events(guest: Guest, wanted: Annotated[PageQuery, Query()]) -> Response:
        entry = guest.admit(READING, **_noted(wanted))
        page = guest.log.list(
            entry.owner,
            before=wanted.before,
            after=wanted.after,
            limit=wanted.limit,
            viewer=entry.viewer,
            **_filters(wanted),
        )
        return Raw(page.to_json())

    @router.get("/audit-log/events/{event_id}", response_model=EventDocument, responses=_ERRORS, summary="One event")
    def get_event(guest: Guest, event_id: UUID) -> Response:
        entry = guest.admit(READING)
        return Raw(guest.log.get(entry.owner, event_id, viewer=entry.viewer).to_json())

    @router.get(
        "/audit-log/summary",
        response_model=SummaryDocument,
        responses=_ERRORS,
        summary="Counts by action, actor and day",
    )
    def summary(guest: Guest, wanted: Annotated[SelectionQuery, Query()]) -> Response:
        entry = guest.admit(READING, **_noted(wanted))
        return Raw(guest.log.summary(entry.owner, viewer=entry.viewer, **_filters(wanted)).to_json())

    @router.get(
        "/audit-log/actions", response_model=CatalogueDocument, responses=_ERRORS, summary="The catalogue of actions"
    )
    def actions(guest: Guest) -> dict[str, Any]:
        guest.admit(READING)
        return {"actions": guest.log.actions()}

    @router.post(
        "/audit-log/export", response_class=Response, responses={200: _export_description(), **_BODY_ERRORS},
        summary="All events that the filters select, as a stream",
    )  # fmt: skip
    def export(guest: Guest, wanted: ExportRequest) -> StreamingResponse:
        entry = guest.admit(EXPORTING)
        pieces = guest.log.export_pieces(
            entry.owner, wanted.format, actor=entry.actor, source="api", viewer=entry.viewer, **_filters(wanted)
        )
        name = f"audit-log.{wanted.format}"
        return StreamingResponse(
            pieces, media_type=_MEDIA[wanted.format], headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    @router.post(
        "/audit-log/events", response_model=ResultsDocument, responses={**_BODY_ERRORS, **described(400)},
        summary="Write events; each is answered by itself", openapi_extra=_batch_description(),
    )  # fmt: skip
    async def write(guest: Guest, request: Request) -> Response:
        body = await request.body()
        key = request.headers.get("idempotency-key")
        return await run_in_threadpool(lambda: Raw(store(guest, guest.admit(WRITING), body, key)))

    return router


def _filters(wanted: SelectionQuery) -> dict[str, Any]:
    given = wanted.model_dump(include=set(SelectionQuery.model_fields))
    return {name: value for name, value in given.items() if value not in (None, [])}


def _noted(wanted: SelectionQuery) -> dict[str, Any]:
    """What a recorded view says of the filters: their names, not their values."""
    return {"filters": sorted(_filters(wanted))}


def _export_description() -> dict[str, Any]:
    media = {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in _MEDIA.values() if kind != _JSON}
    return {
        "description": "The export. It is on record twice: before its first byte and after its last.",
        "content": {
            **media,
            _JSON: {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/EventDocument"}}},
        },
    }


def _batch_description() -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {_JSON: {"schema": Batch.model_json_schema(ref_template="#/components/schemas/{model}")}}},
        "parameters": [
            {
                "name": "Idempotency-Key", "in": "header", "required": False,
                "description": "`<key>/<position>` becomes the event key of every event that has none.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            }
        ],
    }  # fmt: skip
