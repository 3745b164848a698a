"""What the routes of the security agent ask of whoever enters, and how they answer."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from fastapi.responses import Response

from permalog.reading.filters import rfc3339
from permalog_server.accounts import AGENT_READ, AGENT_WRITE, AUDITORS, MEMBERS
from permalog_server.entry import Need
from security_agent.actions import CONFIG, FINDING
from security_agent.agent import Acting

if TYPE_CHECKING:
    from permalog_server.entry import Entry

PREFIX: Final = "/security-agent"
_READ: Final = frozenset({AGENT_READ})
_WRITE: Final = frozenset({AGENT_WRITE})

READING: Final = Need(_READ, MEMBERS, "security.access.denied", resource_type=CONFIG)
SAVING: Final = Need(_WRITE, AUDITORS, "security.config.updated", resource_type=CONFIG)
ENABLING: Final = Need(_WRITE, AUDITORS, "security.config.enabled", resource_type=CONFIG)
SYNCING: Final = Need(_WRITE, MEMBERS, "security.sync.triggered", resource_type=CONFIG)
DELETING: Final = Need(_WRITE, AUDITORS, "security.finding.deleted", resource_type=FINDING)
CONNECTING: Final = Need(_WRITE, AUDITORS, "security.installation.connected", resource_type=CONFIG)


def acting(entry: Entry) -> Acting:
    """Whoever entered, as the agent's events have them."""
    return Acting(entry.actor, "api")


def answer(document: Any, status: int = 200) -> Response:  # noqa: ANN401  any JSON value
    """JSON with times as everywhere: RFC 3339, UTC, six decimals."""
    body = orjson.dumps(document, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return Response(body, status, media_type="application/json")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    raise TypeError
