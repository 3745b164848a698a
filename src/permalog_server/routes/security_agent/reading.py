"""What the security agent knows, read by any member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from permalog_server.entry import Guest
from permalog_server.problem import described
from permalog_server.routes.security_agent.documents import (
    ConfigurationDocument,
    FindingDocument,
    FindingQuery,
    FindingsDocument,
    LastSyncDocument,
    OrphanedRepositoriesDocument,
    PermissionDocument,
    RepositoriesDocument,
    StatsDocument,
)
from permalog_server.routes.security_agent.needs import CONNECTING, PREFIX, READING, answer
from security_agent import configuration, finding, installation, repository, sync

if TYPE_CHECKING:
    from security_agent.installation import Integration

router: Final = APIRouter(prefix=PREFIX)
_ERRORS: Final = described(401, 403, 404, 422, 503)


@router.get(
    "/permission-status", response_model=PermissionDocument, responses=_ERRORS, summary="The GitHub App installation"
)
def permission_status(
    guest: Guest,
    link: Annotated[bool, Query(description="Begin to connect one: gives a `state`, good once, for an hour.")] = False,  # noqa: FBT002  a query parameter
) -> Response:
    """What is granted, and what is in the way. Who may connect an installation may ask for a link."""
    entry = guest.admit(CONNECTING if link else READING)
    agent = guest.desk.agent
    found = installation.read(agent, entry.owner)
    return answer({**shown(found), "state": installation.begin_link(agent, entry.owner) if link else None})


@router.get("/config", response_model=ConfigurationDocument, responses=_ERRORS, summary="The configuration")
def config(guest: Guest) -> Response:
    """The defaults where nothing was saved yet."""
    entry = guest.admit(READING)
    return answer(configuration.read(guest.desk.agent, entry.owner).as_json())


@router.get("/repositories", response_model=RepositoriesDocument, responses=_ERRORS, summary="Repositories")
def repositories(guest: Guest) -> Response:
    """Those that the installation reaches, and stale ones, by name."""
    entry = guest.admit(READING)
    found = repository.every(guest.desk.agent, entry.owner)
    return answer({"repositories": [one._asdict() for one in found], "total": len(found)})


@router.get(
    "/orphaned-repositories", response_model=OrphanedRepositoriesDocument, responses=_ERRORS,
    summary="Repositories with findings that the installation does not reach any more",
)  # fmt: skip
def orphaned_repositories(guest: Guest) -> Response:
    """Their findings may be deleted."""
    entry = guest.admit(READING)
    found = repository.orphaned(guest.desk.agent, entry.owner)
    return answer({"repositories": [one._asdict() for one in found], "total": len(found)})


@router.get("/findings", response_model=FindingsDocument, responses=_ERRORS, summary="Findings, newest first")
def findings(guest: Guest, wanted: Annotated[FindingQuery, Query()]) -> Response:
    """Without descriptions and raw alerts."""
    entry = guest.admit(READING)
    found = finding.page(
        guest.desk.agent, entry.owner, status=wanted.status, severity=wanted.severity, repository=wanted.repository,
        limit=wanted.limit, offset=wanted.offset,
    )  # fmt: skip
    return answer(found._asdict())


@router.get("/findings/{finding_id}", response_model=FindingDocument, responses=_ERRORS, summary="One finding")
def get_finding(guest: Guest, finding_id: UUID) -> Response:
    """Whole, with the raw alert."""
    entry = guest.admit(READING)
    return answer(finding.one(guest.desk.agent, entry.owner, finding_id))


@router.get("/stats", response_model=StatsDocument, responses=_ERRORS, summary="Counts of findings")
def stats(guest: Guest) -> Response:
    """By status, severity and deadline."""
    entry = guest.admit(READING)
    return answer(finding.stats(guest.desk.agent, entry.owner))


@router.get("/last-sync", response_model=LastSyncDocument, responses=_ERRORS, summary="The latest sync")
def last_sync(
    guest: Guest, sync_id: Annotated[UUID | None, Query(description="This one instead of the latest.")] = None
) -> Response:
    """Running or done."""
    entry = guest.admit(READING)
    return answer({"sync": sync.latest(guest.desk.agent, entry.owner, sync_id)})


def shown(found: Integration | None) -> dict[str, object]:
    """An installation as permission-status shows it."""
    usable = found is not None and found.can_read and found.suspended_at is None and found.removed_at is None
    names = (
        "installation_id", "account", "account_type", "repository_selection", "suspended_at", "removed_at",
        "unauthorized_at",
    )  # fmt: skip
    return {
        "connected": usable,
        **{name: getattr(found, name, None) for name in names},
        "permissions": found.permissions if found else {},
        "can_read": found is not None and found.can_read,
        "can_write": found is not None and found.can_write,
    }
