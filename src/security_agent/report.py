"""What came of a sync: of each repository, and of all together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from security_agent.github import (
    AlertsDisabled,
    BadAnswer,
    BadName,
    Forbidden,
    GitHubError,
    NotFound,
    RateLimited,
    Refused,
    Suspended,
    Unauthorized,
    Unreachable,
)
from security_agent.intake import Taken

if TYPE_CHECKING:
    from security_agent.repository import Place

MOST_NAMED: Final = 50
"""Repositories in each list of an event: a thousand failures do not make it endless, and the counts are whole."""
_CODES: Final[tuple[tuple[type[GitHubError], str], ...]] = (
    (AlertsDisabled, "alerts_disabled"), (NotFound, "not_found"), (Unauthorized, "unauthorized"),
    (Suspended, "suspended"), (RateLimited, "rate_limited"), (Forbidden, "forbidden"), (Unreachable, "unreachable"),
    (BadAnswer, "bad_answer"), (BadName, "bad_name"), (Refused, "refused"),
)  # fmt: skip


def code_of(error: GitHubError) -> str:
    """What the log says of an error of GitHub's: no text of a stranger's."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "github_error")


@dataclass(slots=True)
class Outcome:
    """What came of one repository, so far."""

    place: Place
    taken: Taken = field(default_factory=Taken)
    unreadable: int = 0
    """Alerts that are not of GitHub's form, and were left out."""
    error: str | None = None
    """A code; None: all alerts were taken in, or left out as unreadable."""
    is_done: bool = False

    @property
    def is_failure(self) -> bool:
        """Whether something is missing that should be there."""
        return self.unreadable > 0 or self.error not in {None, "alerts_disabled", "not_found"}


@dataclass(slots=True)
class Report:
    """What came of a sync."""

    outcomes: int = 0
    taken: Taken = field(default_factory=Taken)
    failures: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Repositories and codes."""
    stale: list[str] = field(default_factory=list[str])
    """Repositories that the installation does not reach any more, or GitHub does not know."""
    disabled: list[str] = field(default_factory=list[str])
    """Repositories with Dependabot alerts switched off."""
    error: str | None = None
    """Why the whole sync failed: a code."""

    def add(self, outcome: Outcome) -> None:
        """Counts a repository that is done."""
        self.outcomes += 1
        self.taken = self.taken.and_(outcome.taken)
        if outcome.error == "not_found":
            self.stale.append(outcome.place.full_name)
        elif outcome.error == "alerts_disabled":
            self.disabled.append(outcome.place.full_name)
        elif outcome.is_failure:
            self.failures.append((outcome.place.full_name, outcome.error or "unreadable_alerts"))

    def errors(self) -> set[str | None]:
        """All codes."""
        return {self.error, *(code for _, code in self.failures)}

    @property
    def has_failed(self) -> bool:
        """Whether nothing came of it: the installation cannot be used, or no repository could be synced."""
        failed = sum(code != "unreadable_alerts" for _, code in self.failures)
        return self.error is not None or (self.outcomes > 0 and failed == self.outcomes)

    def as_payload(self, milliseconds: int) -> dict[str, Any]:
        """As ``security.sync.completed`` holds it."""
        return {
            "repositories": self.outcomes, **self.taken._asdict(),
            "errors": len(self.failures) + (self.error is not None),
            "stale": len(self.stale), "disabled": len(self.disabled), "duration_ms": max(milliseconds, 0),
            "failures": [{"repository": name, "error": code} for name, code in sorted(self.failures)[:MOST_NAMED]],
            "stale_repositories": sorted(self.stale)[:MOST_NAMED],
            "disabled_repositories": sorted(self.disabled)[:MOST_NAMED],
            **({"error": self.error} if self.error else {}),
        }  # fmt: skip
