"""Reading what GitHub answers: the few members that the agent uses, checked; alerts as they come."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field, SecretStr, TypeAdapter, ValidationError

from security_agent.github.credentials import Token
from security_agent.github.errors import BadAnswer
from security_agent.github.model import Alert, Installation, Repository
from security_agent.github.shapes import AlertShape, Facts, RepositoryShape, Shape, in_utc, place_of

if TYPE_CHECKING:
    from security_agent.github.transport import Answer

_T = TypeVar("_T")


class _Rows(Shape):
    repositories: list[RepositoryShape]


class _Issued(Shape):
    token: SecretStr = Field(min_length=1, max_length=1000)
    expires_at: datetime


_ALERT = TypeAdapter(AlertShape)
_ALERTS = TypeAdapter(list[AlertShape])
_FACTS = TypeAdapter(Facts)
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
    return [row.repository() for row in rows]


def installation(answer: Answer, id: int) -> Installation:
    """The facts of an installation, from its description."""
    return _checked(_FACTS, answer.json(), "an installation").installation(id)


def pieced_together(id: int, issued: Answer, listed: Answer) -> Installation:
    """The facts of an installation, from a token's description and a page of repositories."""
    facts = _checked(_FACTS, issued.json(), "a token's description")
    rows = _checked(_REPOSITORIES, listed.json(), "a list of repositories").repositories
    return facts.model_copy(update={"account": rows[0].owner if rows else None}).installation(id)


def token(answer: Answer) -> Token:
    """A token that has been issued."""
    issued = _checked(_ISSUED, answer.json(), "a token")
    if not issued.token.get_secret_value().isascii() or not issued.token.get_secret_value().isprintable():
        raise BadAnswer("a token that cannot be one")
    return Token(issued.token, in_utc(issued.expires_at).timestamp())


def _checked(adapter: TypeAdapter[_T], document: object, what: str) -> _T:
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        # Without the cause: what it quotes may be secret.
        raise BadAnswer(f"what should be {what} is none ({place_of(error)})") from None
