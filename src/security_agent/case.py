"""A case: one finding as it is judged, with what its owner wants and where GitHub is reached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from permalog import Owner
from security_agent.errors import NotConnected, NotFound
from security_agent.policy import AutoDismissal
from security_agent.snapshot import Snapshot
from security_agent.sql import query
from security_agent.triage.subject import Subject
from security_agent.triage.verdict import Confidence

if TYPE_CHECKING:
    from permalog import Connection
    from security_agent.alert import Status

_ADDRESS: Final = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+\.[^\s@<>\"]+")


@dataclass(frozen=True, slots=True)
class Case:
    """What judging a finding needs to know."""

    owner: Owner
    finding_id: UUID
    repository: str
    """``owner/name``."""
    source: str
    source_id: str
    """GitHub's number of the alert."""
    status: Status
    subject: Subject
    first_detected_at: datetime
    deadline: datetime | None
    analysis_status: str
    analysis_id: UUID | None
    """The latest attempt."""
    wishes: AutoDismissal
    model: str | None
    """The owner's choice."""
    installation_id: int | None
    permissions: dict[str, str]
    unusable: bool
    """The installation is suspended, or GitHub refuses it."""

    @property
    def log_id(self) -> UUID:
        """The owner's log."""
        return self.owner.log_id

    @property
    def may_write_back(self) -> bool:
        """Whether GitHub has granted ``vulnerability_alerts: write``."""
        return self.permissions.get("vulnerability_alerts") == "write"

    def installation(self) -> int:
        """As whom GitHub is asked.

        Raises:
            NotConnected: there is no installation, or none that can be used.
        """
        if self.installation_id is None:
            raise NotConnected("no GitHub App installation is connected")
        if self.unusable:
            raise NotConnected("the GitHub App installation is suspended, or GitHub refuses it")
        return self.installation_id

    def snapshot(self) -> dict[str, Any]:
        """What every event of a finding holds of it, so that evidence outlives it."""
        facts = self.subject
        return Snapshot(
            self.finding_id, self.repository, self.source, self.source_id, facts.ghsa_id or "", facts.cve_id,
            facts.title, facts.package, facts.ecosystem, facts.severity, self.status, self.first_detected_at,
            self.deadline,
        ).as_payload()  # fmt: skip


def at(time: datetime | None) -> str | None:
    """A time as payloads and answers hold it."""
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def has_address(text: str) -> bool:
    """Whether a text holds what looks like an e-mail address."""
    return _ADDRESS.search(text) is not None


def owner_of(connection: Connection, log_id: UUID) -> Owner:
    """Whose log it is.

    Raises:
        NotFound: nobody's, or not any more.
    """
    row = connection.execute(query("judgement", "owner_of"), {"log_id": log_id}).fetchone()
    if row is None:
        raise NotFound("there is no such owner")
    return Owner(organization_id=row[0], user_id=row[1])


def whose(connection: Connection, finding_id: UUID) -> Owner:
    """Whose finding it is, for those who know its id only.

    Raises:
        NotFound: there is none of this id.
    """
    row = connection.execute(query("judgement", "log_of_finding"), {"finding_id": finding_id}).fetchone()
    if row is None:
        raise NotFound("there is no such finding")
    return owner_of(connection, row[0])


def look(connection: Connection, log_id: UUID, finding_id: UUID) -> Case:
    """A finding as it is now.

    Raises:
        NotFound: there is none of this id in this log.
    """
    row = connection.execute(query("judgement", "case"), {"log_id": log_id, "finding_id": finding_id}).fetchone()
    if row is None:
        raise NotFound("there is no such finding")
    return _case(row)


def hold(connection: Connection, log_id: UUID, finding_id: UUID) -> Case:
    """The same, locked until the transaction ends: nobody else changes it meanwhile.

    Raises:
        NotFound: there is none of this id in this log.
    """
    connection.execute(query("judgement", "lock_finding"), {"log_id": log_id, "finding_id": finding_id})
    return look(connection, log_id, finding_id)


def _case(row: tuple[Any, ...]) -> Case:
    (
        finding_id, organization, user, repository, source, number, status, severity, scope, package, ecosystem, title,
        description, cwe_ids, score, ghsa, cve, affected, patched, manifest, detected, deadline, analysis_status,
        analysis_id, automatic, threshold, model, installation, permissions, unusable,
    ) = row  # fmt: skip
    subject = Subject(
        package=package, ecosystem=ecosystem, severity=severity, scope=scope, title=title, description=description,
        cwe_ids=tuple(cwe_ids), cvss_score=None if score is None else float(score), ghsa_id=ghsa, cve_id=cve,
        vulnerable_range=affected, patched_version=patched, manifest_path=manifest,
    )  # fmt: skip
    return Case(
        owner=Owner(organization_id=organization, user_id=user), finding_id=finding_id, repository=repository,
        source=source, source_id=number, status=status, subject=subject, first_detected_at=detected, deadline=deadline,
        analysis_status=analysis_status, analysis_id=analysis_id,
        wishes=AutoDismissal(automatic, Confidence(threshold)), model=model, installation_id=installation,
        permissions=permissions, unusable=unusable,
    )  # fmt: skip
