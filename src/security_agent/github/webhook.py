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

from security_agent.github.errors import BadName, BadSignature, BadWebhook
from security_agent.github.model import Alert, Installation, Repository
from security_agent.github.names import FullName
from security_agent.github.shapes import AlertShape, Facts, Numbered, RepositoryShape, Shape, fault_of

InstallationAction: TypeAlias = Literal["created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"]
AlertAction: TypeAlias = Literal[
    "created", "fixed", "dismissed", "reopened", "reintroduced", "auto_dismissed", "auto_reopened", "assignees_changed"
]
RepositoriesAction: TypeAlias = Literal["added", "removed"]
ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "dependabot_alert": get_args(AlertAction),
    "installation": get_args(InstallationAction),
    "installation_repositories": get_args(RepositoriesAction),
}
"""What concerns the agent, by event. GitHub adds further events and actions: they are let pass."""

_SIGNATURE: Final = re.compile(r"sha256=([0-9a-f]{64})", re.ASCII)
_DELIVERY: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """An alert has changed, or is new."""

    action: AlertAction
    """In GitHub's words. The alert's state says the same, and is what counts."""
    installation_id: int
    repository: Repository
    alert: Alert
    """As GitHub sends it."""


@dataclass(frozen=True, slots=True)
class InstallationNotice:
    """An installation was made, removed, suspended, or given other permissions."""

    action: InstallationAction
    installation: Installation

    @property
    def installation_id(self) -> int:
        """Which one."""
        return self.installation.id


@dataclass(frozen=True, slots=True)
class RepositoriesNotice:
    """An installation reaches other repositories than before."""

    action: RepositoriesAction
    installation_id: int
    repository_selection: str
    """``all`` or ``selected``."""
    added: tuple[Repository, ...]
    removed: tuple[Repository, ...]


Notice: TypeAlias = AlertNotice | InstallationNotice | RepositoriesNotice


class _NumberedFacts(Facts, Numbered):
    pass


class _ActionPayload(Shape):
    action: str


class _AlertPayload(Shape):
    action: AlertAction
    alert: dict[str, Any]
    repository: RepositoryShape
    installation: Numbered | None = None


class _InstallationPayload(Shape):
    action: InstallationAction
    installation: _NumberedFacts


class _RepositoriesPayload(Shape):
    action: RepositoriesAction
    installation: Numbered
    repository_selection: str = "selected"
    repositories_added: list[RepositoryShape] = Field(default_factory=list)
    repositories_removed: list[RepositoryShape] = Field(default_factory=list)


_ShapeT = TypeVar("_ShapeT", bound=Shape)


def _document(body: bytes) -> Any:  # noqa: ANN401  any JSON value
    try:
        # Not pydantic's reader of JSON: alerts are to be the same values that a sync reads, and it admits NaN.
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadWebhook("body", "is no JSON") from None


def _read(shape: type[_ShapeT], document: Any, below: str = "") -> _ShapeT:  # noqa: ANN401
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        place, reason = fault_of(error)
        field = ".".join(part for part in (below, place) if part) or "body"
        raise BadWebhook(field, reason) from None


def check_signature(secret: str, body: bytes, signature: str | None) -> None:
    """Lets a body pass that was signed with the secret; compares in constant time.

    Args:
        secret: what is shared with GitHub.
        body: the bytes as they came.
        signature: the header ``X-Hub-Signature-256``: ``sha256=`` and 64 hexadecimal digits.

    Raises:
        BadSignature: it was not, or there is no signature.
    """
    given = _signature(signature)
    expected = hmac.digest(secret.encode(), body, hashlib.sha256)
    if given is None or not secret or not hmac.compare_digest(given, expected):
        raise BadSignature("the webhook is not signed with the secret that is shared with GitHub")


def check_is_signed(signature: str | None) -> None:
    """Lets pass what carries a signature, whosesoever: without one, a body need not even be read.

    Raises:
        BadSignature: the header ``X-Hub-Signature-256`` is missing, or holds no signature.
    """
    if _signature(signature) is None:
        raise BadSignature("X-Hub-Signature-256 is missing, or no signature: set the secret in the App's webhook, too")


def _signature(header: str | None) -> bytes | None:
    match = _SIGNATURE.fullmatch(header or "")
    return None if match is None else bytes.fromhex(match[1])


def delivery_id(header: str | None) -> str:
    """The header ``X-GitHub-Delivery``.

    Raises:
        BadWebhook: it is missing, or is no delivery's id.
    """
    if header is None or not _DELIVERY.fullmatch(header):
        raise BadWebhook("X-GitHub-Delivery", "is missing, or no id of a delivery")
    return header


def read_notice(event: str, body: bytes) -> Notice | None:
    """What a webhook tells; None: nothing that concerns the agent.

    Args:
        event: the header ``X-GitHub-Event``.
        body: JSON.

    Raises:
        BadWebhook: there is no event, or the body is no payload of it.
    """
    if not event:
        raise BadWebhook("X-GitHub-Event", "is missing")
    if event not in ACTIONS:
        return None
    document = _document(body)
    # First: an action that is new to us may have any shape.
    if _read(_ActionPayload, document).action not in ACTIONS[event]:
        return None
    match event:
        case "dependabot_alert":
            return _alert(_read(_AlertPayload, document))
        case "installation":
            told = _read(_InstallationPayload, document)
            return InstallationNotice(told.action, told.installation.installation(told.installation.id))
        case _:
            told = _read(_RepositoriesPayload, document)
            added = tuple(_repository(row, "repositories_added") for row in told.repositories_added)
            removed = tuple(_repository(row, "repositories_removed") for row in told.repositories_removed)
            return RepositoriesNotice(told.action, told.installation.id, told.repository_selection, added, removed)


def _alert(told: _AlertPayload) -> AlertNotice | None:
    # A repository's own webhook names no installation: nobody has bound it.
    if told.installation is None:
        return None
    _read(AlertShape, told.alert, "alert")
    return AlertNotice(told.action, told.installation.id, _repository(told.repository, "repository"), told.alert)


def _repository(shape: RepositoryShape, field: str) -> Repository:
    try:
        FullName.parse(shape.full_name)
    except BadName as error:
        raise BadWebhook(f"{field}.full_name", str(error)) from None
    return shape.repository()
