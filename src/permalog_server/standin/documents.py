"""Accounts, repositories and alerts as GitHub writes them: the members are those of its OpenAPI document."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

API: Final = "https://api.github.com"
PAGES: Final = "https://github.com"

Document = dict[str, Any]
MANIFESTS: Final = {
    "cargo": "Cargo.lock", "maven": "pom.xml", "npm": "package-lock.json", "pip": "requirements.txt",
    "rubygems": "Gemfile.lock", "rust": "Cargo.lock",
}  # fmt: skip

_OF_A_USER: Final = (
    "followers", "subscriptions", "orgs", "repos", "received_events",
    "following{/other_user}", "gists{/gist_id}", "starred{/owner}{/repo}", "events{/privacy}",
)  # fmt: skip
_OF_A_REPOSITORY: Final = {
    "archive": "/{archive_format}{/ref}", "assignees": "/assignees{/user}", "blobs": "/git/blobs{/sha}",
    "branches": "/branches{/branch}", "collaborators": "/collaborators{/collaborator}",
    "comments": "/comments{/number}", "commits": "/commits{/sha}", "compare": "/compare/{base}...{head}",
    "contents": "/contents/{+path}", "contributors": "/contributors", "deployments": "/deployments",
    "downloads": "/downloads", "events": "/events", "forks": "/forks", "git_commits": "/git/commits{/sha}",
    "git_refs": "/git/refs{/sha}", "git_tags": "/git/tags{/sha}", "hooks": "/hooks",
    "issue_comment": "/issues/comments{/number}", "issue_events": "/issues/events{/number}",
    "issues": "/issues{/number}", "keys": "/keys{/key_id}", "labels": "/labels{/name}", "languages": "/languages",
    "merges": "/merges", "milestones": "/milestones{/number}",
    "notifications": "/notifications{?since,all,participating}", "pulls": "/pulls{/number}",
    "releases": "/releases{/id}", "stargazers": "/stargazers", "statuses": "/statuses/{sha}",
    "subscribers": "/subscribers", "subscription": "/subscription", "tags": "/tags", "teams": "/teams",
    "trees": "/git/trees{/sha}",
}  # fmt: skip
_COUNTS: Final = ("forks", "forks_count", "open_issues", "open_issues_count", "size", "stargazers_count", "watchers",
                  "watchers_count")  # fmt: skip


def number_of(name: str) -> int:
    """A number for a name, the same each time."""
    return 1_000_000 + zlib.crc32(name.encode())


def account(login: str, kind: str) -> Document:
    """An organisation (``Organization``), a person (``User``) or an App (``Bot``)."""
    quoted = quote(login)
    url = f"{API}/users/{quoted}"
    links = {part.partition("{")[0]: f"{url}/{part}" for part in _OF_A_USER}
    return {
        "login": login, "id": number_of(login), "node_id": f"N_{number_of(login)}",
        "avatar_url": f"{PAGES}/images/{quoted}", "gravatar_id": "", "url": url, "html_url": f"{PAGES}/{quoted}",
        **{f"{'organizations' if name == 'orgs' else name}_url": link for name, link in links.items()},
        "type": kind, "site_admin": False,
    }  # fmt: skip


def repository(full_name: str, *, kind: str = "Organization", private: bool = True, id: int | None = None) -> Document:
    """A repository. Its owner is of the given kind; its number is made from its name, unless one is given."""
    owner, _, name = full_name.partition("/")
    url, page = f"{API}/repos/{full_name}", f"{PAGES}/{full_name}"
    numbered = number_of(full_name) if id is None else id
    return {
        "id": numbered, "node_id": f"R_{numbered}", "name": name, "full_name": full_name, "owner": account(owner, kind),
        "private": private, "visibility": "private" if private else "public", "html_url": page, "description": None,
        "fork": False, "url": url, **{f"{part}_url": url + rest for part, rest in _OF_A_REPOSITORY.items()},
        "clone_url": f"{page}.git", "git_url": f"git://github.com/{full_name}.git", "svn_url": page,
        "ssh_url": f"git@github.com:{full_name}.git", "mirror_url": None, "homepage": None, "language": None,
        **dict.fromkeys(_COUNTS, 0), "default_branch": "main", "license": None, "archived": False, "disabled": False,
        "has_downloads": True, "has_issues": True, "has_pages": False, "has_projects": True, "has_wiki": True,
        "created_at": "2024-01-08T09:00:00Z", "updated_at": "2026-01-08T09:00:00Z",
        "pushed_at": "2026-01-08T09:00:00Z",
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Advisory:
    """What is published about a vulnerability."""

    ghsa_id: str
    cve_id: str | None
    ecosystem: str
    package: str
    severity: str
    title: str
    description: str
    vulnerable: str
    """Range of versions, as GitHub writes it: ``< 3.1.1``."""
    patched: str | None
    cwes: tuple[tuple[str, str], ...] = ()
    """Number and name."""
    score: float | None = None
    vector: str | None = None
    published_at: str = "2025-01-15T12:00:00Z"


def alert(
    full_name: str, number: int, advisory: Advisory, created_at: str, *, scope: str | None = "runtime"
) -> Document:
    """An open alert.

    Args:
        full_name: the repository.
        number: within it.
        advisory: about what.
        created_at: ``2026-01-31T09:00:00Z``.
        scope: ``runtime``, ``development`` or None.
    """
    manifest = MANIFESTS.get(advisory.ecosystem, "manifest")
    package = {"ecosystem": advisory.ecosystem, "name": advisory.package}
    vulnerability = {
        "package": package, "severity": advisory.severity, "vulnerable_version_range": advisory.vulnerable,
        "first_patched_version": None if advisory.patched is None else {"identifier": advisory.patched},
    }  # fmt: skip
    return {
        "number": number, "state": "open",
        "dependency": {"package": package, "manifest_path": manifest, "scope": scope, "relationship": "direct"},
        "security_advisory": _published(advisory, vulnerability), "security_vulnerability": vulnerability,
        "url": f"{API}/repos/{full_name}/dependabot/alerts/{number}",
        "html_url": f"{PAGES}/{full_name}/security/dependabot/{number}",
        "created_at": created_at, "updated_at": created_at, "dismissed_at": None, "dismissed_by": None,
        "dismissed_reason": None, "dismissed_comment": None, "fixed_at": None, "auto_dismissed_at": None,
    }  # fmt: skip


def _published(advisory: Advisory, vulnerability: Document) -> Document:
    names = {"GHSA": advisory.ghsa_id, "CVE": advisory.cve_id}
    return {
        "ghsa_id": advisory.ghsa_id, "cve_id": advisory.cve_id, "summary": advisory.title,
        "description": advisory.description, "severity": advisory.severity, "vulnerabilities": [vulnerability],
        "identifiers": [{"type": kind, "value": value} for kind, value in names.items() if value is not None],
        "references": [{"url": f"{PAGES}/advisories/{advisory.ghsa_id}"}], "published_at": advisory.published_at,
        "updated_at": advisory.published_at, "withdrawn_at": None, "classification": "general",
        "cvss": {"vector_string": advisory.vector, "score": advisory.score or 0.0},
        "cvss_severities": None, "cwes": [{"cwe_id": cwe, "name": name} for cwe, name in advisory.cwes],
    }  # fmt: skip
