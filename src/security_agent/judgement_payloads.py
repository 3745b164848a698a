"""What the events about judgement hold, as `security_agent.payloads` says it of the others."""

from __future__ import annotations

from typing import Literal, TypeAlias
from uuid import UUID

from permalog import Payload, Personal
from security_agent.payloads import AnalysisStatus, Confidence, Count, Denial, Reason, Snapshot, Status

Tier: TypeAlias = Literal["triage", "sandbox", "extraction"]


class Open(Payload):
    """A finding before it was dismissed."""

    status: Status


class ByHand(Payload):
    """A finding and why somebody dismissed it, or tried to: the status says which."""

    status: Status
    reason: Reason
    comment: Personal | str | None
    """Whole; one that holds an address is a person's."""


class DismissedMetadata(Payload):
    """Of `FindingDismissed`."""

    finding: Snapshot
    source: str
    write_back: Literal["completed", "failed"]
    error: str | None = None
    """Why GitHub did not do it: a code."""


class FindingDismissed(Payload):
    """Somebody dismissed a finding, on GitHub and here."""

    before_state: Open | None = None
    after_state: ByHand | None = None
    metadata: DismissedMetadata | Denial


class Dismissal(Payload):
    """A finding and why it was dismissed."""

    status: Status
    reason: Reason


class AutoDismissedMetadata(Payload):
    """Of `FindingAutoDismissed`."""

    finding: Snapshot
    trigger: Literal["triage", "sandbox", "bulk"]
    ground: Literal["triage", "sandbox"]
    """What the policy's decision rests on."""
    confidence: Confidence | None
    """The triage's, where that is the ground."""
    analysis_id: UUID
    source: str
    write_back: Literal["pending"]


class FindingAutoDismissed(Payload):
    """A finding was dismissed by the policy."""

    before_state: Open | None = None
    after_state: Dismissal | None = None
    metadata: AutoDismissedMetadata | Denial


class WriteBackMetadata(Payload):
    """Of `WriteBackCompleted`."""

    finding: Snapshot
    source: str
    reason: Reason
    source_state: str | None
    """What GitHub answered; None where it refused."""
    attempts: Count
    error: str | None
    """Why it was given up: a code."""


class WriteBackCompleted(Payload):
    """GitHub was told of a dismissal, or has refused it for good."""

    metadata: WriteBackMetadata


class Analysis(Payload):
    """A finding's analysis."""

    analysis_status: AnalysisStatus


class AnalysisMetadata(Payload):
    """Of `AnalysisChanged`."""

    finding: Snapshot
    analysis_id: UUID
    triggered_by: Literal["user", "staff", "api_key", "system"]
    forced: bool
    engine: Literal["rules", "llm"] | None
    """None before triage."""
    model: str | None
    fallback: str | None
    """Why the model's triage could not be used: a code."""
    tiers: list[Tier] | None = None
    suggested_action: str | None = None
    confidence: Confidence | None = None
    exploitable: Literal["yes", "no", "unknown"] | None = None
    extractor: Literal["runner", "report", "llm"] | None = None
    failure_code: str | None = None


class AnalysisChanged(Payload):
    """An analysis was started, has completed or failed."""

    before_state: Analysis | None = None
    after_state: Analysis | None = None
    metadata: AnalysisMetadata | Denial
