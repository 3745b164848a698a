"""Judging findings: analysis, dismissal, and automatic dismissal of all that is eligible."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from permalog_server.accounts import AGENT_WRITE, AUDITORS, MEMBERS
from permalog_server.entry import Guest, Need
from permalog_server.problem import described
from permalog_server.routes.security_agent.changing import body, body_of
from permalog_server.routes.security_agent.judging_documents import (
    AnalysesDocument,
    AnalysisDocument,
    AnalysisQuery,
    AnalysisRequest,
    BulkDocument,
    DismissedDocument,
    DismissRequest,
    EligibleDocument,
    FindingAnalysisDocument,
)
from permalog_server.routes.security_agent.needs import PREFIX, READING, acting, answer
from security_agent import analysis, auto_dismiss, dismissal
from security_agent.actions import CONFIG, FINDING

router: Final = APIRouter(prefix=PREFIX)
_SCOPES: Final = frozenset({AGENT_WRITE})
_ERRORS: Final = described(401, 403, 404, 422, 503)

ANALYZING: Final = Need(_SCOPES, MEMBERS, "security.finding.analysis_started", resource_type=FINDING)
DISMISSING: Final = Need(_SCOPES, AUDITORS, "security.finding.dismissed", resource_type=FINDING)
AUTO_DISMISSING: Final = Need(_SCOPES, AUDITORS, "security.finding.auto_dismissed", resource_type=CONFIG)


@router.post(
    "/findings/{finding_id}/dismiss", response_model=DismissedDocument,
    responses=described(401, 403, 404, 408, 409, 422, 502, 503), summary="Dismiss a finding, on GitHub and here",
    openapi_extra=body_of(DismissRequest, {"reason": "tolerable_risk", "comment": "Only in the build."}),
)  # fmt: skip
async def dismiss(guest: Guest, request: Request, finding_id: UUID) -> Response:
    """On GitHub first. If GitHub does not do it, nothing changes here, and the attempt is on record."""
    entry = await run_in_threadpool(guest.admit, DISMISSING)
    wanted = await body(request, DismissRequest)
    done = await run_in_threadpool(
        dismissal.dismiss, guest.desk.agent, entry.owner, finding_id, acting(entry), wanted.reason, wanted.comment
    )
    return answer(
        {
            "finding_id": str(finding_id), "status": "ignored", "reason": done.reason,
            "correlation_id": done.correlation_id,
        }
    )  # fmt: skip


@router.post(
    "/findings/{finding_id}/analysis", response_model=AnalysisDocument, summary="Start an analysis",
    responses={
        202: {"model": AnalysisDocument, "description": "The code is being looked at."},
        **described(401, 402, 403, 404, 408, 409, 422, 503),
    },
    openapi_extra={"requestBody": {**body_of(AnalysisRequest, {"force": True})["requestBody"], "required": False}},
)  # fmt: skip
async def analyze(guest: Guest, request: Request, finding_id: UUID) -> Response:
    """Triage at once: 200 where it is enough, 202 where the code is to be looked at. At most three at a time."""
    entry = await run_in_threadpool(guest.admit, ANALYZING)
    wanted = await body(request, AnalysisRequest) if await request.body() else AnalysisRequest()
    begin = partial(analysis.start, force=wanted.force)
    desk = guest.desk
    one = await run_in_threadpool(begin, desk.agent, desk.means, entry.owner, finding_id, acting(entry))
    return answer(one.as_json(), 202 if one.is_active else 200)


@router.get(
    "/findings/{finding_id}/analysis", response_model=FindingAnalysisDocument, responses=_ERRORS,
    summary="The latest analysis of a finding",
)  # fmt: skip
def latest(guest: Guest, finding_id: UUID) -> Response:
    """Null where it was never analysed."""
    entry = guest.admit(READING)
    found, _ = analysis.listed(guest.desk.agent, entry.owner, finding_id=finding_id, limit=1)
    return answer({"analysis": found[0].as_json() if found else None})


@router.get("/analyses", response_model=AnalysesDocument, responses=_ERRORS, summary="Analyses, newest first")
def analyses(guest: Guest, wanted: Annotated[AnalysisQuery, Query()]) -> Response:
    """Of all findings."""
    entry = guest.admit(READING)
    found, total = analysis.listed(
        guest.desk.agent, entry.owner, status=wanted.status, limit=wanted.limit, offset=wanted.offset
    )
    return answer({"analyses": [one.as_json() for one in found], "total": total})


@router.get(
    "/auto-dismiss", response_model=EligibleDocument, responses=_ERRORS,
    summary="What would be dismissed automatically",
)  # fmt: skip
def eligible(guest: Guest) -> Response:
    """Open findings whose analysis the policy accepts; none while automatic dismissal is off."""
    entry = guest.admit(READING)
    found = auto_dismiss.eligible(guest.desk.agent, entry.owner)
    document: dict[str, Any] = {"enabled": found.enabled, "confidence": found.confidence}
    return answer({**document, "finding_ids": [str(one) for one in found.finding_ids], "total": len(found.finding_ids)})


@router.post(
    "/auto-dismiss", response_model=BulkDocument, responses=described(401, 403, 404, 409, 422, 503),
    summary="Dismiss all that is eligible",
)  # fmt: skip
def dismiss_eligible(guest: Guest) -> Response:
    """Here at once; GitHub is told in the background, and its answer is an event of its own."""
    entry = guest.admit(AUTO_DISMISSING)
    bulk = auto_dismiss.dismiss_eligible(guest.desk.agent, entry.owner, acting(entry))
    ids = [str(one) for one in bulk.finding_ids]
    return answer({"dismissed": len(ids), "finding_ids": ids, "correlation_id": bulk.correlation_id})
