"""What the stand-in knows: installations, repositories, alerts, tokens. All of it may be changed while it runs."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, final

from permalog_server.standin.documents import Document, account, number_of, repository

HOUR: Final = 3600.0
QUOTA: Final = 5000
"""Requests of an installation within an hour."""
PERMISSIONS: Final = {"metadata": "read", "vulnerability_alerts": "write"}


@dataclass(slots=True)
class Held:
    """A repository."""

    document: Document
    alerts: dict[int, Document] = field(default_factory=dict)
    """By number."""
    enabled: bool = True
    """Whether Dependabot alerts are switched on."""
    moved_to: str | None = None
    """Its new full name, when it was renamed."""


@dataclass(slots=True)
class Installed:
    """An installation of the App."""

    id: int
    login: str
    kind: str
    """``Organization`` or ``User``."""
    repositories: list[str]
    """Full names, in order."""
    permissions: dict[str, str]
    selection: str = "all"
    suspended_at: str | None = None
    removed: bool = False
    quota: int = QUOTA
    """Requests left."""
    reset_at: float = 0.0
    """When it is full again, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came; without its token."""

    method: str
    path: str
    query: str
    status: int
    """0: the connection was broken first."""


@final
class World:
    """Everything, under one lock; every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.installations: dict[int, Installed] = {}
        self.repositories: dict[str, Held] = {}
        """By full name in small letters: GitHub takes both."""
        self.tokens: dict[str, tuple[int, float]] = {}
        """Token to installation and end."""
        self.seen: list[Seen] = []

    def now(self) -> str:
        """The time as GitHub writes it."""
        return datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def install(
        self, login: str, repositories: Iterable[str] = (), *, kind: str = "Organization", id: int | None = None,
        permissions: Mapping[str, str] = PERMISSIONS,
    ) -> int:  # fmt: skip
        """Installs the App in an account; makes the repositories that are missing. Returns the installation's id."""
        names = list(repositories)
        with self.lock:
            numbered = number_of(login) % 100_000_000 if id is None else id
            self.installations[numbered] = Installed(numbered, login, kind, names, dict(permissions))
            for name in names:
                if name.lower() not in self.repositories:
                    self.hold(repository(name, kind=kind))
            return numbered

    def hold(self, document: Document, alerts: Iterable[Document] = ()) -> None:
        """Puts a repository, with its alerts, in place of one of the same name."""
        with self.lock:
            held = Held(document, {alert["number"]: alert for alert in alerts})
            self.repositories[str(document["full_name"]).lower()] = held

    def reach(self, installation_id: int, *full_names: str) -> None:
        """Lets an installation reach further repositories."""
        with self.lock:
            reached = self.installations[installation_id].repositories
            reached += [name for name in full_names if name not in reached]

    def put(self, full_name: str, alert: Document) -> None:
        """Adds an alert, or replaces the one with its number."""
        with self.lock:
            self.repositories[full_name.lower()].alerts[alert["number"]] = alert

    def change(self, full_name: str, number: int, **members: object) -> Document:
        """Changes members of an alert, ``updated_at`` too; returns it as it is then.

        A new ``state`` sets the members that go with it, unless they are given: ``fixed_at`` and so on.
        """
        with self.lock:
            alerts = self.repositories[full_name.lower()].alerts
            state = members.get("state")
            follow = state_members(state, self.now()) if isinstance(state, str) else {}
            alerts[number] = {**alerts[number], "updated_at": self.now(), **follow, **members}
            return deepcopy(alerts[number])

    def alert(self, full_name: str, number: int) -> Document:
        """A copy of an alert."""
        with self.lock:
            return deepcopy(self.repositories[full_name.lower()].alerts[number])

    def remove(self, full_name: str) -> None:
        """The repository vanishes: nobody finds it any more."""
        with self.lock:
            self.repositories.pop(full_name.lower(), None)
            for installed in self.installations.values():
                installed.repositories = [name for name in installed.repositories if name != full_name]

    def rename(self, old: str, new: str) -> None:
        """Gives a repository a new name; the old one leads to it."""
        with self.lock:
            held = self.repositories[old.lower()]
            _, _, name = new.partition("/")
            held.document = {**held.document, "full_name": new, "name": name}
            self.repositories[new.lower()] = held
            self.repositories[old.lower()] = Held(held.document, moved_to=new)
            for installed in self.installations.values():
                installed.repositories = [new if name == old else name for name in installed.repositories]

    def disable_alerts(self, full_name: str, *, enabled: bool = False) -> None:
        """Switches Dependabot alerts off in a repository, or on."""
        with self.lock:
            self.repositories[full_name.lower()].enabled = enabled

    def archive(self, full_name: str, *, archived: bool = True) -> None:
        """Archives a repository: its alerts are not to be had any more."""
        with self.lock:
            self.repositories[full_name.lower()].document["archived"] = archived

    def suspend(self, installation_id: int, *, suspended: bool = True) -> None:
        """Suspends an installation, or ends that."""
        with self.lock:
            self.installations[installation_id].suspended_at = self.now() if suspended else None
            if suspended:
                self.revoke(installation_id)

    def uninstall(self, installation_id: int) -> None:
        """The account removes the App."""
        with self.lock:
            self.installations[installation_id].removed = True
            self.revoke(installation_id)

    def permit(self, installation_id: int, **permissions: str) -> None:
        """Sets what is granted."""
        with self.lock:
            self.installations[installation_id].permissions = permissions

    def revoke(self, installation_id: int | None = None) -> None:
        """Makes tokens worthless that were issued so far: those of one installation, or all."""
        with self.lock:
            for token, (owner, _) in list(self.tokens.items()):
                if installation_id in {None, owner}:
                    del self.tokens[token]

    def issue(self, installation_id: int) -> tuple[str, str]:
        """A new token and its end."""
        with self.lock:
            token = "ghs_" + secrets.token_hex(18)
            end = self.clock() + HOUR
            self.tokens[token] = (installation_id, end)
        return token, datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def holder(self, token: str) -> Installed | None:
        """Whose token this is, if it is good."""
        with self.lock:
            installation_id, end = self.tokens.get(token, (0, 0.0))
            return self.installations.get(installation_id) if end > self.clock() else None

    def spend(self, installed: Installed) -> bool:
        """Takes one request from an installation's quota; False: nothing is left."""
        with self.lock:
            if installed.reset_at <= self.clock():
                installed.reset_at = self.clock() + HOUR
                if installed.quota <= 0:
                    installed.quota = QUOTA
            if installed.quota <= 0:
                return False
            installed.quota -= 1
            return True

    def requests(self, method: str = "", path: str = "") -> list[Seen]:
        """The requests that came, in order; those of a method, and with a word in their path."""
        with self.lock:
            return [one for one in self.seen if method in {"", one.method} and path in one.path]

    def describe(self, installed: Installed) -> Document:
        """An installation's document."""
        url = f"https://api.github.com/app/installations/{installed.id}/access_tokens"
        return {
            "id": installed.id, "account": account(installed.login, installed.kind),
            "repository_selection": installed.selection, "access_tokens_url": url,
            "repositories_url": "https://api.github.com/installation/repositories",
            "html_url": f"https://github.com/settings/installations/{installed.id}", "app_id": 1,
            "app_slug": "permalog-agent", "target_id": number_of(installed.login), "target_type": installed.kind,
            "permissions": installed.permissions, "events": ["dependabot_alert"], "single_file_name": None,
            "created_at": "2026-01-08T09:00:00Z", "updated_at": "2026-01-08T09:00:00Z",
            "suspended_at": installed.suspended_at, "suspended_by": None,
        }  # fmt: skip


def state_members(state: str, now: str) -> Document:
    """What an alert says besides its state."""
    nothing: Document = dict.fromkeys(
        ("dismissed_at", "dismissed_by", "dismissed_reason", "dismissed_comment", "fixed_at", "auto_dismissed_at")
    )
    match state:
        case "fixed":
            return nothing | {"fixed_at": now}
        case "auto_dismissed":
            return nothing | {"auto_dismissed_at": now}
        case "dismissed":
            person = account("security-lead", "User")
            return nothing | {"dismissed_at": now, "dismissed_by": person, "dismissed_reason": "tolerable_risk"}
        case _:
            return nothing
