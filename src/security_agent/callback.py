"""The callback: an external runner hands over what it found, or that it failed."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from security_agent.agent import Acting
from security_agent.analysis import finish, give_up
from security_agent.attempt import Attempt, attempt, digest_of
from security_agent.case import look, owner_of
from security_agent.errors import NotFound
from security_agent.extraction import LONGEST_MARKDOWN, NotExtracted, from_markdown, structured
from security_agent.llm import OutOfCredit
from security_agent.sql import query

if TYPE_CHECKING:
    from typing import Self

    from permalog import Owner
    from security_agent.agent import Agent
    from security_agent.analysis import Means
    from security_agent.extraction import Extracted

_TOKEN: Final = re.compile(r"pan_([0-9a-f]{32})_([0-9a-f]{32})_[A-Za-z0-9_-]{43}", re.ASCII)


class Callback(BaseModel):
    """What a runner sends."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    status: Literal["completed", "failed"] = "completed"
    attempt_id: UUID | None = None
    """Which analysis: needed where the bearer is not the attempt's own token. Without it, the one under way."""
    result: dict[str, Any] | None = None
    """A structured result."""
    markdown: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_MARKDOWN)] | None = None
    """A report, to be extracted from."""
    error: Annotated[str, StringConstraints(max_length=2000)] | None = None
    """What went wrong, where it has failed; not kept, since it may hold anything."""

    @model_validator(mode="after")
    def _one_result(self) -> Self:
        if self.status == "completed" and (self.result is None) == (self.markdown is None):
            raise ValueError("a completed analysis has either a result or markdown")
        return self


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a callback."""

    status: Literal["accepted", "ignored"]
    """Ignored: it is of an attempt that is over, or of another finding."""
    analysis: Literal["completed", "failed"] | None
    """How the attempt ended by it."""


class UnknownCaller(NotFound):
    """The bearer is neither the installation's secret nor the token of an attempt."""

    def __init__(self) -> None:
        super().__init__("the bearer is neither the internal secret nor the token of an analysis")


def take(  # noqa: PLR0913, PLR0917  who says what
    agent: Agent, means: Means, finding_id: UUID, bearer: str, secret: str | None, said: Callback
) -> Taken:
    """Ends the attempt that a runner calls back about; a stale callback changes nothing.

    Args:
        agent: with its log.
        means: with the model that reads reports.
        finding_id: of the route.
        bearer: what the caller shows.
        secret: the installation's own; None: it has none.
        said: what the caller says.

    Raises:
        UnknownCaller: the bearer is nobody's.
    """
    known = secret is not None and hmac.compare_digest(bearer.encode(), secret.encode())
    found = _by_secret(agent, finding_id, said) if known else _by_token(agent, finding_id, bearer)
    if found is None:
        return Taken("ignored", None)
    owner, one = found
    acting = Acting(one.actor, "callback")
    code: str | None = "runner_failed"
    if said.status == "completed":
        try:
            ended = finish(agent, owner, one.id, acting, _extracted(agent, means, one, said))
        except NotExtracted as error:
            code = error.code
        except OutOfCredit:
            code = "out_of_credit"
        else:
            return Taken("accepted", "completed") if ended else Taken("ignored", None)
    return Taken("accepted", "failed") if give_up(agent, owner, one.id, acting, code) else Taken("ignored", None)


def _extracted(agent: Agent, means: Means, one: Attempt, said: Callback) -> Extracted:
    if said.markdown is None:
        return structured(said.result)
    with agent.looking() as connection:
        case = look(connection, one.log_id, one.finding_id)
    return from_markdown(said.markdown, case.subject, means.model_for(case))


def _by_secret(agent: Agent, finding_id: UUID, said: Callback) -> tuple[Owner, Attempt] | None:
    with agent.looking() as connection:
        row = connection.execute(query("judgement", "log_of_finding"), {"finding_id": finding_id}).fetchone()
        if row is None:
            raise NotFound("there is no such finding")
        current = look(connection, row[0], finding_id).analysis_id
        wanted = said.attempt_id or current
        if wanted is None:
            return None
        one = attempt(connection, row[0], wanted)
        owner = owner_of(connection, row[0])
    return (owner, one) if one.finding_id == finding_id and one.is_active else None


def _by_token(agent: Agent, finding_id: UUID, bearer: str) -> tuple[Owner, Attempt] | None:
    """None: the token was an attempt's, which is over."""
    match = _TOKEN.fullmatch(bearer)
    if match is None:
        raise UnknownCaller
    with agent.looking() as connection:
        try:
            one = attempt(connection, UUID(match[1]), UUID(match[2]))
            owner = owner_of(connection, one.log_id)
        except NotFound:
            raise UnknownCaller from None
    # Compared in any case, and in constant time, so that the time tells nothing of an attempt.
    if not hmac.compare_digest(one.token_digest or b"\0" * 32, digest_of(bearer)) or one.finding_id != finding_id:
        raise UnknownCaller
    return (owner, one) if one.is_active else None
