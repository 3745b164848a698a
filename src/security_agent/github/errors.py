"""What may go wrong between the agent and GitHub, as one tree.

    GitHubError (AgentError)
    ├── NotConfigured           the App's id or private key, or the API's address, is missing or cannot be used
    ├── BadName                 not `owner/name`, or not the number of an alert; nothing was asked
    ├── Unauthorized            401: GitHub does not take the App's key, or a token just issued
    ├── Forbidden               403: a permission is missing; says which, where GitHub does
    ├── AlertsDisabled          403: the repository has Dependabot alerts switched off, or is archived
    ├── Suspended               403: the installation is suspended
    ├── NotFound                404: no such installation, repository or alert, or none that the App may see
    ├── Refused                 400, 409, 422: GitHub understood, and does not do it
    ├── RateLimited             403, 429: asked too often; says when to come back
    ├── Unreachable             no answer in time, or 5xx, after all retries
    ├── BadAnswer               an answer that is not one of GitHub's: no JSON, a link to another host, too large
    ├── BadSignature            a webhook that is not signed with the shared secret
    └── BadWebhook              a webhook that is none of GitHub's

No message holds a token, a key or a signature. What GitHub said is in ``said``, shortened and without control
characters; it is GitHub's text, and is not to be interpreted.
"""

from __future__ import annotations

from datetime import datetime

from security_agent.errors import AgentError


class GitHubError(AgentError):
    """Something between the agent and GitHub went wrong.

    Attributes:
        status: the HTTP status of the answer; None where there was none.
        said: GitHub's message, at most 200 characters; empty where there was none.
    """

    def __init__(self, reason: str, *, status: int | None = None, said: str = "") -> None:
        super().__init__(f"{reason}: {said}" if said else reason)
        self.status = status
        self.said = said


class NotConfigured(GitHubError):
    """The App's id, its private key or the address of the API is missing or cannot be used."""


class BadName(GitHubError):
    """Not the full name of a repository (`owner/name`), or not the number of an alert or an installation."""


class Unauthorized(GitHubError):
    """GitHub does not take the App's key, or a token that it has just issued."""


class Forbidden(GitHubError):
    """The installation lacks a permission.

    Attributes:
        permission: which one, as GitHub writes it (``vulnerability_alerts=write``); None where it does not say.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, said: str = "", permission: str | None = None
    ) -> None:
        super().__init__(f"{reason} (needs {permission})" if permission else reason, status=status, said=said)
        self.permission = permission


class AlertsDisabled(GitHubError):
    """Dependabot alerts are switched off for the repository, or it is archived: there is nothing to sync."""


class Suspended(GitHubError):
    """The installation is suspended: GitHub issues no tokens for it."""


class NotFound(GitHubError):
    """There is no such installation, repository or alert, or none that the App may see."""


class Refused(GitHubError):
    """GitHub understood the request, and does not do it: asking again would not help."""


class RateLimited(GitHubError):
    """GitHub wants to be asked less, and the wait is longer than a caller should sleep.

    Attributes:
        retry_at: when to ask again, in UTC.
    """

    def __init__(self, retry_at: datetime, *, status: int | None = None, said: str = "") -> None:
        super().__init__(f"asked too often, come back at {retry_at:%Y-%m-%dT%H:%M:%SZ}", status=status, said=said)
        self.retry_at = retry_at


class Unreachable(GitHubError):
    """GitHub did not answer in time, or with 5xx, however often it was asked."""


class BadAnswer(GitHubError):
    """The answer is not one that GitHub gives: no JSON, another shape, a link to another host, or too large."""


class BadSignature(GitHubError):
    """A webhook is not signed with the secret that is shared with GitHub: nobody knows who sent it."""


class BadWebhook(GitHubError):
    """A webhook is none of GitHub's: without an id, no JSON, or another shape.

    Attributes:
        field: the header, or the member of the body, that is missing or wrong: ``alert.number``; ``body`` as a whole.
        reason: what is wrong with it, without its value.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
