"""What GitHub tells by itself: webhooks, checked and read.

Source: GitHub's documentation of "Webhook events and payloads" and "Validating webhook deliveries". The body is signed
with a shared secret (HMAC-SHA-256, in ``X-Hub-Signature-256``), ``X-GitHub-Event`` names what happened, and
``X-GitHub-Delivery`` is the same when a delivery is sent again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import orjson
from pydantic import Field, ValidationError

from security_agent.github.errors import BadSignature, BadWebhook
from security_agent.github.model import Alert, Installation, Repository
from security_agent.github.shapes import AlertShape, Facts, Numbered, RepositoryShape, Shape, place_of

InstallationAction: TypeAlias = Literal["created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"]

_SIGNATURE: Final = re.compile(r"sha256=([0-9a-f]{64})", re.ASCII)
_DELIVERY: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """An alert has changed, or is new."""

    action: str
    """In GitHub's words: ``created``, ``fixed``, ``dismissed`` and so on. The alert's state says the same."""
    installation_id: int
    repository: Repository
    alert: Alert
    """As GitHub sends it."""


@dataclass(frozen=True, slots=True)
class InstallationNotice:
    """An installation was made, removed, suspended, or given other permissions."""

    action: InstallationAction
    installation: Installation


@dataclass(frozen=True, slots=True)
class RepositoriesNotice:
    """An installation reaches other repositories than before."""

    installation_id: int
    repository_selection: str
    """``all`` or ``selected``."""
    added: tuple[Repository, ...]
    removed: tuple[Repository, ...]


Notice: TypeAlias = AlertNotice | InstallationNotice | RepositoriesNotice


class _NumberedFacts(Facts, Numbered):
    pass


class _AlertPayload(Shape):
    action: str
    alert: dict[str, Any]
    repository: RepositoryShape
    installation: Numbered | None = None


class _InstallationPayload(Shape):
    action: str
    installation: _NumberedFacts


class _RepositoriesPayload(Shape):
    installation: Numbered
    repository_selection: str = "selected"
    repositories_added: list[RepositoryShape] = Field(default_factory=list)
    repositories_removed: list[RepositoryShape] = Field(default_factory=list)


_ShapeT = TypeVar("_ShapeT", bound=Shape)


def _read(shape: type[_ShapeT], body: bytes) -> _ShapeT:
    try:
        # Not pydantic's reader of JSON: alerts are to be the same values that a sync reads, and it admits NaN.
        return shape.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise BadWebhook("the body is no JSON") from None
    except ValidationError as error:
        raise BadWebhook(f"the body is no payload of this event ({place_of(error)})") from None


def check_signature(secret: str, body: bytes, signature: str | None) -> None:
    """Lets a body pass that was signed with the secret; compares in constant time.

    Args:
        secret: what is shared with GitHub.
        body: the bytes as they came.
        signature: the header ``X-Hub-Signature-256``: ``sha256=`` and 64 hexadecimal digits.

    Raises:
        BadSignature: it was not, or there is no signature.
    """
    match = _SIGNATURE.fullmatch(signature or "")
    expected = hmac.digest(secret.encode(), body, hashlib.sha256)
    if match is None or not secret or not hmac.compare_digest(bytes.fromhex(match[1]), expected):
        raise BadSignature("the webhook is not signed with the secret that is shared with GitHub")


def delivery_id(header: str | None) -> str:
    """The header ``X-GitHub-Delivery``.

    Raises:
        BadWebhook: it is missing, or is no delivery's id.
    """
    if header is None or not _DELIVERY.fullmatch(header):
        raise BadWebhook("X-GitHub-Delivery is missing, or no id of a delivery")
    return header


def read_notice(event: str, body: bytes) -> Notice | None:
    """What a webhook tells; None: nothing that concerns the agent.

    Args:
        event: the header ``X-GitHub-Event``.
        body: JSON.

    Raises:
        BadWebhook: it is no payload of this event.
    """
    match event:
        case "dependabot_alert":
            return _alert(_read(_AlertPayload, body))
        case "installation":
            return _installation(_read(_InstallationPayload, body))
        case "installation_repositories":
            told = _read(_RepositoriesPayload, body)
            rows = (told.repositories_added, told.repositories_removed)
            added, removed = (tuple(row.repository() for row in some) for some in rows)
            return RepositoriesNotice(told.installation.id, told.repository_selection, added, removed)
        case _:
            return None


def _alert(told: _AlertPayload) -> AlertNotice | None:
    # A repository's own webhook names no installation: nobody has bound it.
    if told.installation is None:
        return None
    try:
        AlertShape.model_validate(told.alert)
    except ValidationError as error:
        raise BadWebhook(f"the body holds no alert ({place_of(error)})") from None
    return AlertNotice(told.action, told.installation.id, told.repository.repository(), told.alert)


def _installation(told: _InstallationPayload) -> InstallationNotice | None:
    for action in get_args(InstallationAction):
        if told.action == action:
            return InstallationNotice(action, told.installation.installation(told.installation.id))
    return None
