"""Where external runners call back."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials

from permalog_server.entry import Desk, bearer
from permalog_server.problem import described, unauthorized
from permalog_server.routes.security_agent.changing import body, body_of
from permalog_server.routes.security_agent.judging_documents import CallbackRequest, TakenDocument
from permalog_server.routes.security_agent.needs import answer
from security_agent.callback import Callback, UnknownCaller, take

router: Final = APIRouter(prefix="/internal", tags=["internal"])


@router.post(
    "/analysis-callback/{finding_id}", response_model=TakenDocument,
    responses=described(401, 404, 408, 422, 503), summary="Hand over what an external runner found",
    openapi_extra=body_of(CallbackRequest, {"status": "completed", "markdown": "# Not used"}),
)  # fmt: skip
async def analysis_callback(
    request: Request,
    finding_id: UUID,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Response:
    """With the attempt's own token, or PERMALOG_INTERNAL_SECRET. What comes too late is ignored, and told so."""
    desk: Desk = request.app.state.desk
    if credentials is None:
        raise unauthorized("the token of the analysis, or the internal secret, is required")
    said = await body(request, Callback)
    try:
        taken = await run_in_threadpool(
            take, desk.agent, desk.means, finding_id, credentials.credentials, desk.internal_secret, said
        )
    except UnknownCaller as error:
        raise unauthorized(str(error)) from None
    return answer({"status": taken.status, "analysis": taken.analysis})
