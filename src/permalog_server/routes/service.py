"""What the service says of itself."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from permalog_server.documents import Health
from permalog_server.metrics import exposition
from permalog_server.pages.rendering import page
from permalog_server.problem import described

router: Final = APIRouter(tags=["service"])
_METRIC: Final = 'permalog_http_requests_total{method="GET",route="/healthz",status="200"} 1.0'


@router.get("/healthz", response_model=Health, responses=described(), summary="The process answers")
async def healthz() -> Health:
    """Says nothing of the database: restarting the process would not mend it."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses=described(503), summary="The database answers")
def readyz(request: Request) -> Health:
    """Ready for requests."""
    with request.app.state.desk.log.database.shared() as connection:
        connection.execute("SELECT FROM permalog.migration LIMIT 1")
    return Health(status="ok")


@router.get(
    "/metrics", response_class=Response, summary="Metrics for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _METRIC}}}, **described()},
)  # fmt: skip
async def metrics() -> Response:
    """They name routes, never people, organisations or logs. Keep this route inside."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", response_class=HTMLResponse, responses=described(), summary="What runs here, for people")
async def home() -> HTMLResponse:
    """A plain page."""
    return page("home.html", {})
