"""What GitHub tells by itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from permalog_server import bodies
from permalog_server.documents import WebhookDocument
from permalog_server.entry import Desk
from permalog_server.problem import Problem, described, unauthorized
from permalog_server.routes.security_agent.needs import answer
from security_agent import webhooks
from security_agent.alert import UnreadableAlert
from security_agent.github import BadSignature, BadWebhook
from security_agent.github.webhook import check_signature, delivery_id, read_notice

router: Final = APIRouter(prefix="/webhooks", tags=["webhooks"])
_log: Final = structlog.get_logger("permalog.webhooks")


@router.post(
    "/github", response_model=WebhookDocument, summary="A webhook of the GitHub App",
    responses={202: {"model": WebhookDocument, "description": "Nothing to do."}, **described(401, 413, 415, 422, 503)},
)  # fmt: skip
async def github(
    request: Request,
    x_github_event: Annotated[str, Header(max_length=64)] = "",
    x_github_delivery: Annotated[str | None, Header()] = None,
    x_hub_signature_256: Annotated[str | None, Header()] = None,
) -> Response:
    """Alerts come in at once, installations are kept up to date; whatever else GitHub tells is let pass.

    The body is signed with `PERMALOG_GITHUB_WEBHOOK_SECRET`. The same delivery twice is taken once.
    """
    desk: Desk = request.app.state.desk
    body = await bodies.read(request)
    try:
        check_signature(desk.webhook_secret or "", body, x_hub_signature_256)
    except BadSignature as error:
        raise unauthorized(str(error)) from None
    try:
        delivery = delivery_id(x_github_delivery)
        notice = read_notice(x_github_event, body)
        if notice is None:
            return answer({"status": "ignored"}, HTTPStatus.ACCEPTED)
        is_new = await run_in_threadpool(webhooks.take, desk.agent, delivery, notice)
    except (BadWebhook, UnreadableAlert) as error:
        _log.warning("webhook", delivery=x_github_delivery, webhook_event=x_github_event, reason=str(error))
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    return answer({"status": "taken" if is_new else "duplicate"})
