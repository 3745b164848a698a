"""The security agent's routes: defined once, included for a person's own agent and for an organisation's."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from permalog_server.routes.security_agent import changing, judging, reading

router: Final = APIRouter()
# Each of the parts has its prefix itself: a route of an included router does not know what it was included under.
for part in (reading, changing, judging):
    router.include_router(part.router)
