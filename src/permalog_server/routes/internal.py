"""What the installation's own scheduler asks for, with a secret of its own."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials

from permalog_server.entry import Desk, bearer
from permalog_server.problem import described, unauthorized
from permalog_server.routes.security_agent.changing import ended
from permalog_server.routes.security_agent.documents import RoundDocument
from permalog_server.routes.security_agent.needs import answer

router: Final = APIRouter(prefix="/internal", tags=["internal"])


@router.post(
    "/sync", response_model=RoundDocument, summary="Sync all owners that are due",
    responses={202: {"model": RoundDocument, "description": "Started."}, **described(401, 503)},
)  # fmt: skip
async def sync_all(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Response:
    """As the schedule does every six hours; while a round runs, another one is not begun."""
    desk: Desk = request.app.state.desk
    check_secret(desk, credentials and credentials.credentials)
    running = desk.syncs.start_round()
    if not await ended(running):
        return answer({"synced": None, "failed": None, "is_complete": None}, 202)
    return answer(running.result()._asdict())


def check_secret(desk: Desk, given: str | None) -> None:
    """Lets in who knows the internal secret, in the same time wherever theirs differs.

    Raises:
        Problem: they do not, or there is none.
    """
    digest = [hashlib.sha256((text or "").encode()).digest() for text in (given, desk.internal_secret)]
    if not (hmac.compare_digest(*digest) and desk.internal_secret):
        raise unauthorized("this route is open to the holder of PERMALOG_INTERNAL_SECRET only")
