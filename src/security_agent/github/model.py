"""What the agent knows of an installation and its repositories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Installation:
    """A GitHub App in the account of an organisation or a person."""

    id: int
    account_login: str
    """Whose account; empty where GitHub does not say (no repository, and an old server)."""
    account_type: str
    """``Organization`` or ``User``; empty where GitHub does not say."""
    permissions: dict[str, str]
    """What was granted: ``{"vulnerability_alerts": "read", …}``."""
    repository_selection: str
    """``all`` or ``selected``."""
    suspended_at: datetime | None
    """None: not suspended. In UTC."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that an installation reaches."""

    id: int
    """GitHub's number, which stays when the repository is renamed."""
    full_name: str
    """``owner/name``."""
    archived: bool
    private: bool


Alert = dict[str, Any]
"""An alert as GitHub sends it, from JSON."""
