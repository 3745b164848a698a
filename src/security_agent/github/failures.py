"""From an answer that is none of those hoped for to the error that says so."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ValidationError

from security_agent.github.errors import (
    AlertsDisabled,
    BadAnswer,
    Forbidden,
    GitHubError,
    NotFound,
    Refused,
    Suspended,
    Unauthorized,
)
from security_agent.github.transport import Answer

LONGEST_SAID: Final = 200
# What GitHub's own tokens and JWTs look like: no message of GitHub's repeats them, and one that did would be cut.
_SECRETS: Final = re.compile(r"\b(?:gh[a-z]_\w+|github_pat_\w+|eyJ[\w-]+(?:\.[\w-]+)*)")
_PERMISSIONS: Final = re.compile(r"[a-z_]+=[a-z]+(?:[;,] ?[a-z_]+=[a-z]+)*")
_DISABLED: Final = ("alerts are disabled", "alerts are not available", "archived repositor")


class _Said(BaseModel):
    message: str = ""


def said(answer: Answer) -> str:
    """GitHub's message: one line, shortened, without control characters and without anything that looks secret."""
    try:
        message = _Said.model_validate_json(answer.body).message
    except ValidationError:
        return ""
    plain = "".join(c if c.isprintable() else " " for c in _SECRETS.sub("********", message[:2000]))
    return plain.strip()[:LONGEST_SAID]


def failure(answer: Answer, needs: str) -> GitHubError:
    """The error for an answer that is neither a success nor to be tried again.

    Args:
        answer: the answer.
        needs: the permission that the request needs; empty: none in particular.
    """
    status, message = answer.status, said(answer)
    match status:
        case 401:
            return Unauthorized("GitHub does not know the App by this key", status=status, said=message)
        case 403 | 451:
            return _forbidden(answer, needs, message)
        case 404 | 410:
            return NotFound("GitHub has no such thing, or the App may not see it", status=status, said=message)
        case 400 | 409 | 422:
            return Refused("GitHub refused", status=status, said=message)
        case _:
            return BadAnswer(f"an answer that was not expected, {status}", status=status, said=message)


def _forbidden(answer: Answer, needs: str, message: str) -> GitHubError:
    lower = message.lower()
    if any(words in lower for words in _DISABLED):
        return AlertsDisabled("no Dependabot alerts in this repository", status=answer.status, said=message)
    if "suspended" in lower:
        return Suspended("the installation is suspended", status=answer.status, said=message)
    given = answer.headers.get("x-accepted-github-permissions", "").strip()
    permission = given if _PERMISSIONS.fullmatch(given) else None
    if permission is None and "not accessible by integration" in lower:
        permission = needs or None
    return Forbidden("GitHub does not permit it", status=answer.status, said=message, permission=permission)
