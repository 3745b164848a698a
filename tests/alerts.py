"""Dependabot alerts of our own, in GitHub's form."""

from datetime import UTC, datetime
from typing import Any

EARLY = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """A time as GitHub writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def alert(number: int = 1, at: datetime = EARLY, severity: str = "high", **members: Any) -> dict[str, Any]:
    """An alert as it was at a time; open unless told otherwise."""
    return {
        "number": number, "state": "open",
        "dependency": {
            "package": {"ecosystem": "npm", "name": "left-pad"}, "manifest_path": "package.json", "scope": "runtime",
        },
        "security_advisory": {
            "ghsa_id": "GHSA-aaaa-bbbb-cccc", "cve_id": None, "summary": "Pads too far to the left",
            "description": "It pads, and pads.", "severity": severity, "cvss": {"score": 0.0, "vector_string": None},
            "cwes": [{"cwe_id": "CWE-400", "name": "Uncontrolled resource consumption"}],
        },
        "security_vulnerability": {"vulnerable_version_range": "< 2", "first_patched_version": None},
        "html_url": f"https://github.example/acme/web/security/dependabot/{number}",
        "created_at": stamp(EARLY), "updated_at": stamp(at), "fixed_at": None, "dismissed_at": None,
        "dismissed_by": None, "dismissed_reason": None, "dismissed_comment": None, "auto_dismissed_at": None,
    } | members  # fmt: skip


def fixed(number: int, at: datetime, **members: Any) -> dict[str, Any]:
    """An alert that was fixed at a time."""
    return alert(number, at, state="fixed", fixed_at=stamp(at), **members)


def dismissed(number: int, at: datetime, login: str = "octo-ada", **members: Any) -> dict[str, Any]:
    """An alert that somebody dismissed on GitHub at a time."""
    return alert(
        number, at, state="dismissed", dismissed_at=stamp(at), dismissed_by={"login": login, "id": 1},
        dismissed_reason="tolerable_risk", **{"dismissed_comment": "We never pad", **members},
    )  # fmt: skip
