"""What GitHub tells by itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import structlog
from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from permalog_server import bodies
from permalog_server.entry import Desk
from permalog_server.problem import Problem, described, invalid
from permalog_server.routes.security_agent.needs import answer
from security_agent import webhooks
from security_agent.alert import UnreadableAlert
from security_agent.github import BadSignature, BadWebhook
from security_agent.github.webhook import check_is_signed, check_signature, delivery_id, read_notice

if TYPE_CHECKING:
    from security_agent.github.webhook import Notice

router: Final = APIRouter(prefix="/webhooks", tags=["webhooks"])
_log: Final = structlog.get_logger("permalog.webhooks")
_SIGN: Final = {"WWW-Authenticate": "X-Hub-Signature-256"}
"""RFC 9110 wants every 401 to say how one authenticates."""
_EXAMPLE: Final = {"action": "suspend", "installation": {"id": 4711}, "sender": {"login": "northwind-admin"}}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
    }
}


class WebhookDocument(BaseModel):
    """What became of a webhook."""

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra={"example": {"status": "taken"}})

    status: Literal["taken", "duplicate", "ignored"] = Field(
        description="Duplicate: this delivery was taken before. Ignored: it concerns nobody, or not the agent."
    )


@router.post(
    "/github", response_model=WebhookDocument, summary="Take a webhook of the GitHub App", openapi_extra=_BODY,
    responses={
        202: {"model": WebhookDocument, "description": "There was nothing to do."},
        **described(401, 404, 408, 409, 422, 502, 503),
    },
)  # fmt: skip
async def github(
    request: Request,
    x_github_event: Annotated[str, Header()] = "",
    x_github_delivery: Annotated[str | None, Header()] = None,
    x_hub_signature_256: Annotated[str | None, Header()] = None,
) -> Response:
    """Alerts come in at once, installations are kept up to date; whatever else GitHub tells is let pass.

    The body is signed with PERMALOG_GITHUB_WEBHOOK_SECRET. Whatever is not answered with 200 or 202 was not taken:
    GitHub keeps it as failed, and it may be sent again.
    """
    desk: Desk = request.app.state.desk
    if not desk.webhook_secret:
        raise Problem(HTTPStatus.NOT_FOUND, "no webhooks are taken here: PERMALOG_GITHUB_WEBHOOK_SECRET is not set")
    try:
        check_is_signed(x_hub_signature_256)
        body = await bodies.read(request)
        check_signature(desk.webhook_secret, body, x_hub_signature_256)
    except BadSignature as error:
        # On no owner's record: what nobody signed says of nobody whose webhook it is.
        _log.warning("webhook refused", delivery=_shown(x_github_delivery), reason=str(error))
        raise Problem(HTTPStatus.UNAUTHORIZED, str(error), headers=_SIGN) from None
    try:
        outcome = await _take(desk, delivery_id(x_github_delivery), read_notice(x_github_event, body))
    except BadWebhook as error:
        raise _unreadable(x_github_delivery, x_github_event, error.field, error.reason) from None
    except UnreadableAlert as error:
        field = ".".join(("alert", error.field) if error.field != "alert" else ("alert",))
        raise _unreadable(x_github_delivery, x_github_event, field, error.reason) from None
    return answer({"status": outcome}, HTTPStatus.ACCEPTED if outcome == "ignored" else HTTPStatus.OK)


async def _take(desk: Desk, delivery: str, notice: Notice | None) -> webhooks.Outcome:
    return "ignored" if notice is None else await run_in_threadpool(webhooks.take, desk.agent, delivery, notice)


def _unreadable(delivery: str | None, event: str, field: str, reason: str) -> Problem:
    """What GitHub signed and we cannot read: a problem of ours to look into, so it is noted."""
    _log.error("webhook unreadable", delivery=_shown(delivery), webhook_event=_shown(event), field=field, reason=reason)
    return invalid(field, reason)


def _shown(text: str | None) -> str | None:
    """A header as a line of the log may hold it: it may be anybody's."""
    return text and text[:64]
