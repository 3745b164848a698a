"""What the service says of itself."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from permalog_server.documents import Health
from permalog_server.metrics import exposition
from permalog_server.problem import described

router: Final = APIRouter(tags=["service"])
_METRIC: Final = 'permalog_http_requests_total{method="GET",route="/healthz",status="200"} 1.0'
_PAGES: Final = files("permalog_server").joinpath("pages")


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
    return HTMLResponse(_PAGES.joinpath("home.html").read_text(encoding="utf-8"))


@router.get("/style.css", response_class=Response, include_in_schema=False)
async def style() -> Response:
    """How pages look."""
    return Response(_PAGES.joinpath("style.css").read_text(encoding="utf-8"), media_type="text/css; charset=utf-8")
