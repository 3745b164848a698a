"""Reading what GitHub answers: the few members that the agent uses, checked; alerts as they come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from security_agent.github.credentials import Token
from security_agent.github.errors import BadAnswer
from security_agent.github.model import Alert, Installation, Repository

if TYPE_CHECKING:
    from security_agent.github.transport import Answer

_T = TypeVar("_T")


class _Document(BaseModel):
    # Members that are not named here are GitHub's business; values do not go into errors.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Account(_Document):
    login: str = ""
    type: str = ""


class _Facts(_Document):
    account: _Account | None = None
    permissions: dict[str, str] = Field(default_factory=dict)
    repository_selection: str = "all"
    suspended_at: datetime | None = None


class _Row(_Document):
    id: int = Field(strict=True, ge=1)
    full_name: str
    archived: bool = False
    private: bool = False
    owner: _Account | None = None


class _Rows(_Document):
    repositories: list[_Row]


class _Issued(_Document):
    token: SecretStr = Field(min_length=1, max_length=1000)
    expires_at: datetime


class _NumberedAlert(_Document):
    number: int = Field(strict=True, ge=1)
    state: str


_ALERT = TypeAdapter(_NumberedAlert)
_ALERTS = TypeAdapter(list[_NumberedAlert])
_FACTS = TypeAdapter(_Facts)
_ISSUED = TypeAdapter(_Issued)
_REPOSITORIES = TypeAdapter(_Rows)


def alert(answer: Answer) -> Alert:
    """One alert as GitHub sends it; its number and state are there."""
    document: Alert = answer.json()
    _checked(_ALERT, document, "an alert")
    return document


def alerts(answer: Answer) -> list[Alert]:
    """A page of alerts as GitHub sends them; their numbers and states are there."""
    document: list[Alert] = answer.json()
    _checked(_ALERTS, document, "a list of alerts")
    return document


def repositories(answer: Answer) -> list[Repository]:
    """A page of repositories."""
    rows = _checked(_REPOSITORIES, answer.json(), "a list of repositories").repositories
    return [Repository(row.id, row.full_name, archived=row.archived, private=row.private) for row in rows]


def installation(answer: Answer, id: int) -> Installation:
    """The facts of an installation, from its description."""
    return _facts(id, _checked(_FACTS, answer.json(), "an installation"))


def pieced_together(id: int, issued: Answer, listed: Answer) -> Installation:
    """The facts of an installation, from a token's description and a page of repositories."""
    facts = _checked(_FACTS, issued.json(), "a token's description")
    rows = _checked(_REPOSITORIES, listed.json(), "a list of repositories").repositories
    return _facts(id, facts.model_copy(update={"account": rows[0].owner if rows else None}))


def token(answer: Answer) -> Token:
    """A token that has been issued."""
    issued = _checked(_ISSUED, answer.json(), "a token")
    if not issued.token.get_secret_value().isascii() or not issued.token.get_secret_value().isprintable():
        raise BadAnswer("a token that cannot be one")
    return Token(issued.token, _in_utc(issued.expires_at).timestamp())


def _facts(id: int, facts: _Facts) -> Installation:
    account = facts.account or _Account()
    return Installation(
        id, account.login, account.type, facts.permissions, facts.repository_selection,
        None if facts.suspended_at is None else _in_utc(facts.suspended_at),
    )  # fmt: skip


def _checked(adapter: TypeAdapter[_T], document: object, what: str) -> _T:
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        # Without the cause: what it quotes may be secret.
        raise BadAnswer(f"what should be {what} is none ({where or 'as a whole'})") from None


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
