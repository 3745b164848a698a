"""What the security agent's routes take and give, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from security_agent.configuration import Settings

_FORBID: Final = ConfigDict(extra="forbid")
_AT: Final = "2026-01-31T09:00:00.000000Z"
_SHOP: Final = "northwind/shop"
_BRIEF: Final[JsonDict] = {
    "id": "5dc85f43-462a-46cd-accf-880d57df6206", "repository": _SHOP, "source": "dependabot", "source_id": "1",
    "source_state": "open", "status": "open", "severity": "high", "ghsa_id": "GHSA-35jh-r3h4-6jhm",
    "cve_id": "CVE-2021-23337", "package": "lodash", "ecosystem": "npm", "vulnerable_range": "< 4.17.21",
    "patched_version": "4.17.21", "manifest_path": "package-lock.json",
    "title": "Commands can be injected through templates", "cwe_ids": ["CWE-94"], "cvss_score": 7.2,
    "scope": "runtime", "url": "https://github.com/northwind/shop/security/dependabot/1", "first_detected_at": _AT,
    "deadline": "2026-03-02T09:00:00.000000Z", "fixed_at": None, "last_synced_at": _AT, "ignored_at": None,
    "ignored_reason": None, "analysis_status": "none",
}  # fmt: skip
_WHOLE: Final[JsonDict] = {
    **_BRIEF, "description": "Templates of lodash run what they are given.", "cvss_vector": None,
    "source_updated_at": _AT, "ignored_comment": None, "ignored_by": None, "ignored_by_type": None,
    "raw": {"number": 1, "state": "open"},
}  # fmt: skip
_CONFIGURATION: Final[JsonDict] = {
    "revision": 1, "enabled": True, "sla_critical_days": 15, "sla_high_days": 30, "sla_medium_days": 45,
    "sla_low_days": 90, "automatic_sync": True, "repository_selection": "all", "selected_repository_ids": [],
    "model": None, "auto_dismiss": False, "auto_dismiss_confidence": "high", "updated_at": _AT,
}  # fmt: skip
_SYNC: Final[JsonDict] = {
    "id": "1d04bbb3-1f75-4a31-bf47-cbec5dc92d11", "trigger": "manual", "repository": _SHOP, "started_at": _AT,
    "finished_at": _AT, "outcome": "success", "result": {"created": 1, "updated": 0, "unchanged": 0},
}  # fmt: skip
_REPOSITORY: Final[JsonDict] = {
    "repository_id": 654365896, "full_name": _SHOP, "private": True, "state": "active", "error": None,
    "last_synced_at": _AT, "selected": True, "open": 1, "total": 1,
}  # fmt: skip
_ORPHANED: Final[JsonDict] = {"full_name": "northwind/gone", "open": 1, "total": 1, "last_synced_at": _AT}
_PERMISSIONS: Final[JsonDict] = {
    "connected": True, "installation_id": 4711, "account": "northwind", "account_type": "Organization",
    "permissions": {"metadata": "read", "vulnerability_alerts": "write"}, "can_read": True, "can_write": True,
    "repository_selection": "all", "suspended_at": None, "removed_at": None, "unauthorized_at": None, "state": None,
}  # fmt: skip
_STATS: Final[JsonDict] = {
    "total": 1, "by_status": {"open": 1, "fixed": 0, "ignored": 0},
    "open_by_severity": {"critical": 0, "high": 1, "medium": 0, "low": 0}, "overdue": 0, "due_within_7_days": 0,
    "by_analysis_status": {"none": 1, "pending": 0, "running": 0, "completed": 0, "failed": 0},
}  # fmt: skip


def _like(example: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class FindingQuery(BaseModel):
    """Which findings: all given filters hold at once."""

    model_config: ClassVar[ConfigDict] = _FORBID

    status: Literal["open", "fixed", "ignored", "closed"] | None = Field(
        default=None, description="`closed`: fixed or ignored."
    )
    severity: list[Literal["critical", "high", "medium", "low"]] = Field(
        default=[], description="Any of these; repeatable."
    )
    repository: Annotated[str | None, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class FindingBrief(BaseModel):
    """A vulnerability of a dependency in a repository."""

    model_config: ClassVar[ConfigDict] = _like(_BRIEF)

    id: str
    repository: str
    source: str
    source_id: str = Field(description="The alert's number.")
    source_state: str = Field(description="In GitHub's words.")
    status: Literal["open", "fixed", "ignored"]
    severity: Literal["critical", "high", "medium", "low"]
    ghsa_id: str
    cve_id: str | None
    package: str
    ecosystem: str
    vulnerable_range: str
    patched_version: str | None
    manifest_path: str
    title: str
    cwe_ids: list[str]
    cvss_score: float | None
    scope: Literal["runtime", "development"] | None
    url: str
    first_detected_at: str
    deadline: str | None = Field(description="As it was given when the finding was first seen.")
    fixed_at: str | None
    last_synced_at: str
    ignored_at: str | None
    ignored_reason: str | None
    analysis_status: Literal["none", "pending", "running", "completed", "failed"]


class FindingDocument(FindingBrief):
    """A finding, whole."""

    model_config: ClassVar[ConfigDict] = _like(_WHOLE)

    description: str
    cvss_vector: str | None
    source_updated_at: str
    ignored_comment: str | None
    ignored_by: str | None = Field(description="A user's id, or a GitHub login; null for staff.")
    ignored_by_type: Literal["user", "staff", "api_key", "system", "github"] | None
    raw: dict[str, Any] = Field(description="The alert as GitHub sent it.")


class FindingsDocument(BaseModel):
    """A page, newest first."""

    model_config: ClassVar[ConfigDict] = _like({"findings": [_BRIEF], "total": 1})

    findings: list[FindingBrief]
    total: int


class ConfigurationDocument(Settings):
    """The configuration."""

    model_config: ClassVar[ConfigDict] = _like(_CONFIGURATION)

    revision: int = Field(description="Goes up with every saving.")  # pyright: ignore[reportGeneralTypeIssues]
    updated_at: str | None  # pyright: ignore[reportGeneralTypeIssues]


class SaveRequest(Settings):
    """What to save; what is left out stays."""

    revision: Annotated[int, Field(ge=0)]  # pyright: ignore[reportGeneralTypeIssues]


class EnableRequest(BaseModel):
    """Whether the agent works, and for which repositories."""

    model_config: ClassVar[ConfigDict] = _FORBID

    enabled: bool
    repository_selection: Literal["all", "selected"] | None = None
    selected_repository_ids: list[int] | None = None


class SyncRequest(BaseModel):
    """What to sync."""

    model_config: ClassVar[ConfigDict] = _FORBID

    repository: Annotated[str | None, Field(min_length=1, max_length=255)] = Field(
        default=None, description="`owner/name`; left out: all that are selected."
    )


class SyncDocument(BaseModel):
    """A sync, running or done."""

    model_config: ClassVar[ConfigDict] = _like(_SYNC)

    id: str = Field(description="The correlation id of its events.")
    trigger: Literal["manual", "scheduled"]
    repository: str | None
    started_at: str
    finished_at: str | None = Field(description="Null while it runs.")
    outcome: Literal["success", "failure"] | None
    result: dict[str, Any] | None = Field(description="What `security.sync.completed` holds.")


class LastSyncDocument(BaseModel):
    """The latest sync."""

    model_config: ClassVar[ConfigDict] = _like({"sync": _SYNC})

    sync: SyncDocument | None


class RoundDocument(BaseModel):
    """What became of a round of scheduled syncs; null while it runs."""

    model_config: ClassVar[ConfigDict] = _like({"synced": 12, "failed": 0, "is_complete": True})

    synced: int | None
    failed: int | None
    is_complete: bool | None


class PermissionDocument(BaseModel):
    """The GitHub App installation, and what it may do."""

    model_config: ClassVar[ConfigDict] = _like(_PERMISSIONS)

    connected: bool = Field(description="Whether a sync would find an installation that it can use.")
    installation_id: int | None
    account: str | None
    account_type: str | None
    permissions: dict[str, str]
    can_read: bool = Field(description="Whether alerts may be read.")
    can_write: bool = Field(description="Whether GitHub may be told of dismissals: `vulnerability_alerts: write`.")
    repository_selection: str | None
    suspended_at: str | None
    removed_at: str | None
    unauthorized_at: str | None
    state: str | None = Field(description="With `link=true`: what the link to the App's set-up page carries.")


class RepositoryDocument(BaseModel):
    """A repository that the installation reaches, or reached."""

    model_config: ClassVar[ConfigDict] = _like(_REPOSITORY)

    repository_id: int
    full_name: str
    private: bool
    state: Literal["active", "alerts_disabled", "stale"]
    error: str | None
    last_synced_at: str | None
    selected: bool
    open: int
    total: int


class RepositoriesDocument(BaseModel):
    """All of them."""

    model_config: ClassVar[ConfigDict] = _like({"repositories": [_REPOSITORY], "total": 1})

    repositories: list[RepositoryDocument]
    total: int


class OrphanedDocument(BaseModel):
    """A repository with findings that the installation does not reach any more."""

    model_config: ClassVar[ConfigDict] = _like(_ORPHANED)

    full_name: str
    open: int
    total: int
    last_synced_at: str


class OrphanedRepositoriesDocument(BaseModel):
    """All of them."""

    model_config: ClassVar[ConfigDict] = _like({"repositories": [_ORPHANED], "total": 1})

    repositories: list[OrphanedDocument]
    total: int


class StatsDocument(BaseModel):
    """How many findings there are."""

    model_config: ClassVar[ConfigDict] = _like(_STATS)

    total: int
    by_status: dict[str, int]
    open_by_severity: dict[str, int]
    overdue: int = Field(description="Open, and at or past the deadline.")
    due_within_7_days: int
    by_analysis_status: dict[str, int]


class DeletedDocument(BaseModel):
    """How many findings were deleted, each with an event."""

    model_config: ClassVar[ConfigDict] = _like({"deleted": 1, "correlation_id": "432c9ccb-6b87-4c8a-bfaf-dc44637946e7"})

    deleted: int
    correlation_id: str
