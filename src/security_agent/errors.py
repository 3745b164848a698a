"""What may go wrong in the security agent, as a branch of the library's tree of errors.

Each message is a sentence that says what to do, without personal data and without secrets.
"""

from __future__ import annotations

from permalog import PermalogError


class AgentError(PermalogError):
    """The root of all errors of the security agent."""


class NotFound(AgentError):
    """There is no such finding, repository or analysis in this owner's log."""


class Conflict(AgentError):
    """Somebody else was quicker: the revision has changed, the finding is not open any more, or an analysis runs."""


class Invalid(AgentError, ValueError):
    """What was asked for breaks a rule.

    Args:
        field: the member that does, such as ``sla_high_days``.
        reason: what is wrong with it, without its value.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NotConnected(Conflict):
    """The owner has no GitHub App installation, or one that is suspended, removed or refused by GitHub."""


class Erased(Conflict):
    """The owner was erased: nothing is kept for them any more."""


class SyncFailed(AgentError):
    """Every repository of a sync failed. The sync is on record."""
