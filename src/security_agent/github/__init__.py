"""GitHub: asking it as an App, and what it tells by itself (webhooks).

Importing this package loads no HTTP client: that happens when a `GitHub` is made.
"""

from security_agent.github.client import GitHub
from security_agent.github.errors import (
    AlertsDisabled,
    BadAnswer,
    BadName,
    BadSignature,
    BadWebhook,
    Forbidden,
    GitHubError,
    NotConfigured,
    NotFound,
    RateLimited,
    Refused,
    Suspended,
    Unauthorized,
    Unreachable,
)
from security_agent.github.model import Alert, Installation, Repository
from security_agent.github.waiting import Clock, Waiting

__all__ = [
    "Alert",
    "AlertsDisabled",
    "BadAnswer",
    "BadName",
    "BadSignature",
    "BadWebhook",
    "Clock",
    "Forbidden",
    "GitHub",
    "GitHubError",
    "Installation",
    "NotConfigured",
    "NotFound",
    "RateLimited",
    "Refused",
    "Repository",
    "Suspended",
    "Unauthorized",
    "Unreachable",
    "Waiting",
]
