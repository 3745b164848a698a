"""What the agent's events hold: one model for each action, checked when an event is recorded.

A denied attempt has its route and the reason instead, since nothing was done. Times are RFC 3339 in UTC; people stand
as `Personal`, and in no other way.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import Field

from permalog import Payload, Personal
from security_agent.deadline import Severity

Status: TypeAlias = Literal["open", "fixed", "ignored"]
Reason: TypeAlias = Literal["fix_started", "inaccurate", "no_bandwidth", "not_used", "tolerable_risk"]
Confidence: TypeAlias = Literal["high", "medium", "low"]
AnalysisStatus: TypeAlias = Literal["none", "pending", "running", "completed", "failed"]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Days: TypeAlias = Annotated[int, Field(ge=1, le=365)]


class Denial(Payload):
    """The metadata of a denied attempt."""

    route: str
    reason: str


class Snapshot(Payload):
    """A finding as it was; in the metadata of every event about one."""

    id: UUID
    repository: str
    source: str
    source_id: str
    ghsa_id: str
    cve_id: str | None
    title: str
    package: str
    ecosystem: str
    severity: Severity
    status: Status
    first_detected: datetime
    deadline: datetime | None


class Found(Payload):
    """After a finding was created."""

    status: Status
    severity: Severity


class CreatedMetadata(Payload):
    """Of `FindingCreated`."""

    finding: Snapshot
    alert_number: int
    deadline: datetime | None
    source_state: str
    fixed_at: datetime | None = None
    ignored_at: datetime | None = None
    reason: str | None = None
    github_login: Personal | None = None
    """Who dismissed it on GitHub, before it was first seen."""


class FindingCreated(Payload):
    """A finding was seen for the first time."""

    after_state: Found
    metadata: CreatedMetadata


class State(Payload):
    """A finding's status, and why it is ignored."""

    status: Status
    reason: str | None = None


class StatusChangedMetadata(Payload):
    """Of `FindingStatusChanged`."""

    finding: Snapshot
    source_state: str
    source_updated_at: datetime
    """GitHub's time."""
    fixed_at: datetime | None = None
    github_login: Personal | None = None
    """Who dismissed it on GitHub."""
    comment: Personal | None = None


class FindingStatusChanged(Payload):
    """The source says that a finding was fixed, reopened or dismissed."""

    before_state: State
    after_state: State
    metadata: StatusChangedMetadata


class Severe(Payload):
    """A finding's severity."""

    severity: Severity


class SeverityChangedMetadata(Payload):
    """Of `FindingSeverityChanged`. The deadline stays as it was given."""

    finding: Snapshot
    source_updated_at: datetime


class FindingSeverityChanged(Payload):
    """The source rates a finding otherwise than before."""

    before_state: Severe
    after_state: Severe
    metadata: SeverityChangedMetadata


class DeletedMetadata(Payload):
    """Of `FindingDeleted`."""

    finding: Snapshot
    fixed_at: datetime | None
    ignored_at: datetime | None
    reason: str | None
    analysis_status: AnalysisStatus


class FindingDeleted(Payload):
    """A finding was deleted; the snapshot outlives it."""

    before_state: State | None = None
    metadata: DeletedMetadata | Denial


class WholeConfiguration(Payload):
    """An owner's configuration, whole."""

    revision: Count
    enabled: bool
    sla_critical_days: Days
    sla_high_days: Days
    sla_medium_days: Days
    sla_low_days: Days
    automatic_sync: bool
    repository_selection: Literal["all", "selected"]
    selected_repository_ids: list[int]
    model: str | None
    auto_dismiss: bool
    auto_dismiss_confidence: Confidence


class ConfigurationMetadata(Payload):
    """Of `ConfigurationChanged`; empty where a person saved it."""

    trigger: Literal["setup", "webhook", "sync"] | None = None
    pruned_repository_ids: list[int] | None = None
    """Taken out of the selection, since GitHub does not know them any more."""


class ConfigurationChanged(Payload):
    """The configuration was enabled, disabled or updated."""

    before_state: WholeConfiguration | None = None
    after_state: WholeConfiguration | None = None
    metadata: ConfigurationMetadata | Denial | None = None


Trigger: TypeAlias = Literal["manual", "scheduled"]


class SyncTriggeredMetadata(Payload):
    """Of `SyncTriggered`."""

    trigger: Trigger
    scope: Literal["one", "all"]
    repository: str | None = None


class SyncTriggered(Payload):
    """A sync is about to begin."""

    metadata: SyncTriggeredMetadata | Denial


class RepositoryFailure(Payload):
    """A repository that could not be synced, wholly or in part."""

    repository: str
    error: str


class SyncCompletedMetadata(Payload):
    """Of `SyncCompleted`. Lists name at most 50."""

    trigger: Trigger
    scope: Literal["one", "all"]
    repository: str | None = None
    repositories: Count
    created: Count
    updated: Count
    unchanged: Count
    errors: Count
    stale: Count
    disabled: Count
    duration_ms: Count
    failures: list[RepositoryFailure]
    stale_repositories: list[str]
    disabled_repositories: list[str]
    error: str | None = None
    """Why the whole sync failed: a code."""


class SyncCompleted(Payload):
    """A sync has ended, whatever came of it."""

    metadata: SyncCompletedMetadata


class InstallationState(Payload):
    """A GitHub App installation."""

    account: Personal | str
    account_type: str
    permissions: list[str]
    """Such as ``vulnerability_alerts:read``; as keys, some names would look like secrets."""
    repository_selection: str
    suspended: bool
    removed: bool


class InstallationMetadata(Payload):
    """Of `InstallationChanged`."""

    installation_id: int
    repositories: Count
    permissions: list[str]
    trigger: Literal["setup", "webhook", "sync"]
    """``setup``: somebody connected it."""
    added: list[str] | None = None
    """Repositories that it reaches since, and did not before: at most 50 names."""
    gone: list[str] | None = None
    """Repositories that it reaches no more, likewise."""


class InstallationChanged(Payload):
    """An installation was connected, suspended or removed."""

    before_state: InstallationState | None = None
    after_state: InstallationState | None = None
    metadata: InstallationMetadata | Denial
