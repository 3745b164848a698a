"""What changes with the security agent: configuration, syncs, installations, and findings that are deleted."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from permalog_server.bodies import document_of, read
from permalog_server.entry import Guest
from permalog_server.problem import described, of_faults
from permalog_server.routes.security_agent.documents import (
    ConfigurationDocument,
    DeletedDocument,
    EnableRequest,
    PermissionDocument,
    SaveRequest,
    SyncDocument,
    SyncRequest,
)
from permalog_server.routes.security_agent.needs import (
    CONNECTING,
    DELETING,
    ENABLING,
    PREFIX,
    SAVING,
    SYNCING,
    acting,
    answer,
)
from permalog_server.routes.security_agent.reading import shown
from security_agent import configuration, finding, installation, sync

if TYPE_CHECKING:
    from concurrent.futures import Future

router: Final = APIRouter(prefix=PREFIX)
PATIENCE_SECONDS: Final = 5.0
"""How long a request waits for the end of its sync, before it answers that it was started."""
_Body = TypeVar("_Body", bound=BaseModel)


def body_of(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a body, which is read only once it is known who sends it."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


async def body(request: Request, model: type[_Body]) -> _Body:
    """The body, as a model says that it is.

    Raises:
        Problem: it is not.
    """
    return _parsed(await read(request), model)


@router.put(
    "/config", response_model=ConfigurationDocument, responses=described(401, 403, 404, 408, 409, 422, 503),
    summary="Save the configuration", openapi_extra=body_of(SaveRequest, {"revision": 0, "sla_high_days": 21}),
)  # fmt: skip
async def save_config(guest: Guest, request: Request) -> Response:
    """What is left out stays. The revision is the one that was read: if it is another by now, nothing is saved."""
    entry = await run_in_threadpool(guest.admit, SAVING)
    wanted = (await body(request, SaveRequest)).model_dump(exclude_unset=True)
    revision = wanted.pop("revision")
    saved = await run_in_threadpool(configuration.save, guest.desk.agent, entry.owner, revision, wanted, acting(entry))
    return answer(saved.as_json())


@router.put(
    "/enabled", response_model=ConfigurationDocument, responses=described(401, 403, 404, 408, 409, 422, 503),
    summary="Enable or disable the agent", openapi_extra=body_of(EnableRequest, {"enabled": True}),
)  # fmt: skip
async def set_enabled(guest: Guest, request: Request) -> Response:
    """Disabled, it does nothing by itself; people may still sync."""
    entry = await run_in_threadpool(guest.admit, ENABLING)
    wanted = (await body(request, EnableRequest)).model_dump(exclude_none=True)
    enabled = wanted.pop("enabled")
    change = partial(configuration.set_enabled, enabled=enabled, changes=wanted)
    return answer((await run_in_threadpool(change, guest.desk.agent, entry.owner, acting(entry))).as_json())


@router.post(
    "/sync", response_model=SyncDocument, summary="Sync from GitHub",
    responses={
        202: {"model": SyncDocument, "description": "Started; last-sync tells how it goes."},
        **described(401, 403, 404, 408, 409, 422, 502, 503),
    },
    openapi_extra=body_of(SyncRequest, {"repository": "acme/web"}),
)  # fmt: skip
async def trigger_sync(guest: Guest, request: Request) -> Response:
    """One repository, or all that are selected. 200 when it is done within five seconds, else 202."""
    entry = await run_in_threadpool(guest.admit, SYNCING)
    wanted = await body(request, SyncRequest)
    agent = guest.desk.agent
    begin = partial(sync.begin, agent, entry.owner, acting(entry), name=wanted.repository)
    begun, running = await run_in_threadpool(guest.desk.syncs.start, begin)
    is_done = await ended(running)
    state = await run_in_threadpool(sync.latest, agent, entry.owner, begun.id)
    return answer(state, 200 if is_done else 202)


@router.get(
    "/installation", response_model=PermissionDocument, responses=described(401, 403, 404, 409, 422, 502, 503),
    summary="Connect a GitHub App installation",
)  # fmt: skip
def connect(
    guest: Guest,
    installation_id: Annotated[int, Query(ge=1, le=2**53 - 1, description="As GitHub gives it.")],
    state: Annotated[str, Query(min_length=1, max_length=255, description="As `permission-status?link=true` gave it.")],
) -> Response:
    """The App's set-up address: GitHub leads people here after they have installed it."""
    entry = guest.admit(CONNECTING)
    bound = installation.finish_link(guest.desk.agent, entry.owner, installation_id, state, acting(entry))
    return answer({**shown(bound), "state": None})


@router.delete(
    "/findings", response_model=DeletedDocument, responses=described(401, 403, 404, 422, 503),
    summary="Delete the findings of a repository",
)  # fmt: skip
def delete_findings(
    guest: Guest, repository: Annotated[str, Query(min_length=1, max_length=255, description="`owner/name`.")]
) -> Response:
    """Each has an event that holds what it was. A later sync finds again what is still there."""
    entry = guest.admit(DELETING)
    correlation_id = str(uuid4())
    deleted = finding.delete(guest.desk.agent, entry.owner, repository, acting(entry), correlation_id)
    return answer({"deleted": deleted, "correlation_id": correlation_id})


async def ended(running: Future[Any]) -> bool:
    """Whether something was done before the request's patience was; it goes on in either case."""
    done, _ = await asyncio.wait([asyncio.wrap_future(running)], timeout=PATIENCE_SECONDS)
    return bool(done)


def _parsed(text: bytes, model: type[_Body]) -> _Body:
    try:
        return model.model_validate(document_of(text))
    except ValidationError as error:
        raise of_faults(error.errors(include_url=False, include_input=False)) from None
