"""Exports and evidence bundles of exactly what a page shows the filters of."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, get_args

from anyio import to_thread
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from permalog.reading.export_formats import ExportFormat
from permalog_server import taking
from permalog_server.entry import EXPORTING, PROVING
from permalog_server.pages.visiting import Looker, PageRoute, path_of
from permalog_server.pages.wanted import Wanted
from permalog_server.problem import invalid

if TYPE_CHECKING:
    from permalog_server.pages.visiting import Caller

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

FORMATS: Final[tuple[ExportFormat, ...]] = get_args(ExportFormat)


@router.post("/audit-log/export")
@router.post("/organizations/{organization_id}/audit-log/export")
async def export(looker: Looker) -> Response:
    """All events that the filters select, as a file."""
    fields = await looker.form()
    form = next((value for name, value in fields if name == "format"), "")
    if form not in FORMATS:
        raise invalid("format", f"must be one of {', '.join(FORMATS)}")
    wanted = _wanted(looker, fields)
    entry = await run_in_threadpool(looker.admit, EXPORTING)
    desk = looker.visit.desk
    chosen: ExportFormat = form  # pyright: ignore[reportAssignmentType]  it is one of FORMATS
    started = partial(taking.export, desk, entry, chosen, "web", wanted.filters())
    return await to_thread.run_sync(started, limiter=desk.exporting)


@router.post("/audit-log/evidence")
@router.post("/organizations/{organization_id}/audit-log/evidence")
async def evidence(looker: Looker) -> Response:
    """The sealed events that the filters select, with all that proves them."""
    wanted = _wanted(looker, await looker.form())
    entry = await run_in_threadpool(looker.admit, PROVING)
    desk = looker.visit.desk
    made = partial(taking.evidence, desk, entry, "web", wanted.filters())
    return await to_thread.run_sync(made, limiter=desk.exporting)


def _wanted(looker: Caller, fields: list[tuple[str, str]]) -> Wanted:
    return Wanted.read(path_of(looker), [pair for pair in fields if pair[0] != "format"])
