"""What the routes of analysis and dismissal take and give, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_FINDING: Final = "20d927ae-bdc3-46d6-a2cb-77d313cb2d3c"
_OPERATION: Final = "8c1c6c0f-0f39-4c5b-9b4e-7c9d1f1f0a55"
_TRIAGE: Final[JsonDict] = {
    "needs_sandbox": True, "suggestion": "analyze_codebase", "confidence": "high",
    "reason": "execution of code: whether it can be reached, only the code can tell", "engine": "rules", "model": None,
    "fallback": None,
}  # fmt: skip
_RESULT: Final[JsonDict] = {
    "exploitable": "no", "reasoning": "No code uses it.", "usage_locations": [], "suggested_fix": None,
    "suggested_action": "dismiss", "summary": "lodash is declared and not used.",
}  # fmt: skip
_ANALYSIS: Final[JsonDict] = {
    "id": _OPERATION, "finding_id": _FINDING, "status": "completed", "tier": "extraction", "forced": False,
    "model": None, "triage": _TRIAGE, "result": _RESULT, "failure_code": None, "triggered_by": "user",
    "correlation_id": _OPERATION, "requested_at": "2026-01-31T09:00:00.000000Z",
    "started_at": "2026-01-31T09:00:00.010000Z", "finished_at": "2026-01-31T09:00:12.000000Z",
}  # fmt: skip


def _like(example: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class DismissRequest(BaseModel):
    """Why a finding does not matter."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    reason: Literal["fix_started", "inaccurate", "no_bandwidth", "not_used", "tolerable_risk"]
    comment: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None, description="GitHub keeps 280 characters of it, the audit log all."
    )


class DismissedDocument(BaseModel):
    """A finding that is dismissed, here and on GitHub."""

    model_config: ClassVar[ConfigDict] = _like(
        {"finding_id": _FINDING, "status": "ignored", "reason": "tolerable_risk", "correlation_id": _OPERATION}
    )

    finding_id: str
    status: Literal["ignored"]
    reason: str
    correlation_id: str


class AnalysisRequest(BaseModel):
    """How to analyse."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    force: bool = Field(default=False, description="Look at the code, whatever triage says.")


class TriageDocument(BaseModel):
    """What the alert's facts alone tell."""

    needs_sandbox: bool
    suggestion: Literal["dismiss", "analyze_codebase", "manual_review"]
    confidence: Literal["high", "medium", "low"]
    reason: str
    engine: Literal["rules", "llm"]
    model: str | None
    fallback: str | None = Field(description="Why the model's answer could not be used: a code.")


class ResultDocument(BaseModel):
    """What the code tells."""

    exploitable: Literal["yes", "no", "unknown"]
    reasoning: str
    usage_locations: list[str] = Field(description="`path:line`.")
    suggested_fix: str | None
    suggested_action: Literal["dismiss", "open_pr", "manual_review", "monitor"]
    summary: str


class AnalysisDocument(BaseModel):
    """An analysis."""

    model_config: ClassVar[ConfigDict] = _like(_ANALYSIS)

    id: str
    finding_id: str
    status: Literal["pending", "running", "completed", "failed"]
    tier: Literal["triage", "sandbox", "extraction"] = Field(description="How far it has come.")
    forced: bool
    model: str | None
    triage: TriageDocument | None
    result: ResultDocument | None
    failure_code: str | None
    triggered_by: Literal["user", "staff", "api_key", "system"]
    correlation_id: str | None
    requested_at: str
    started_at: str | None
    finished_at: str | None


class FindingAnalysisDocument(BaseModel):
    """The latest analysis of a finding."""

    model_config: ClassVar[ConfigDict] = _like({"analysis": _ANALYSIS})

    analysis: AnalysisDocument | None


class AnalysisQuery(BaseModel):
    """Which analyses."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    status: Literal["pending", "running", "completed", "failed"] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class AnalysesDocument(BaseModel):
    """A page, newest first."""

    model_config: ClassVar[ConfigDict] = _like({"analyses": [_ANALYSIS], "total": 1})

    analyses: list[AnalysisDocument]
    total: int


class EligibleDocument(BaseModel):
    """What would be dismissed automatically now."""

    model_config: ClassVar[ConfigDict] = _like(
        {"enabled": True, "confidence": "high", "finding_ids": [_FINDING], "total": 1}
    )

    enabled: bool = Field(description="Whether the agent and automatic dismissal are on.")
    confidence: Literal["high", "medium", "low"] = Field(description="The threshold for triage.")
    finding_ids: list[str]
    total: int


class BulkDocument(BaseModel):
    """What was dismissed automatically: one event a finding, all with this correlation id."""

    model_config: ClassVar[ConfigDict] = _like(
        {"dismissed": 1, "finding_ids": [_FINDING], "correlation_id": _OPERATION}
    )

    dismissed: int
    finding_ids: list[str]
    correlation_id: str


class CallbackRequest(BaseModel):
    """What an external runner found."""

    status: Literal["completed", "failed"] = "completed"
    attempt_id: str | None = Field(default=None, description="The analysis; needed with the internal secret only.")
    result: dict[str, Any] | None = Field(default=None, description="A structured result.")
    markdown: str | None = Field(default=None, description="Or a report, to be extracted from.")
    error: str | None = None


class TakenDocument(BaseModel):
    """What became of a callback."""

    model_config: ClassVar[ConfigDict] = _like({"status": "accepted", "analysis": "completed"})

    status: Literal["accepted", "ignored"] = Field(description="Ignored: the attempt is over.")
    analysis: Literal["completed", "failed"] | None = Field(description="How it ended.")
