"""What the commands of the agent share: the agent itself, and who acts."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from permalog import Actor
from permalog.errors import InvalidQuery
from permalog.reading.filters import rfc3339
from permalog_server.accounts import Accounts
from permalog_server.output import print_json
from permalog_server.wiring import open_github, open_log
from security_agent.agent import Acting, Agent

if TYPE_CHECKING:
    from collections.abc import Generator

ActorText: TypeAlias = Annotated[
    str | None, typer.Option("--actor", metavar="user:ID", help="Who acts, as the record has it; else the system.")
]
PART: Final = "command-line"
"""What the record calls the system when nobody is named."""


@contextmanager
def open_agent() -> Generator[Agent]:
    """The agent on the database and the GitHub of the settings."""
    with open_log() as log, open_github() as github:
        yield Agent(log, github)


def acting_as(agent: Agent, actor: str | None) -> Acting:
    """Reads ``--actor``.

    Raises:
        InvalidQuery: it is no ``user:ID``.
    """
    if actor is None:
        return Acting.alone(PART, "cli")
    kind, _, user_id = actor.partition(":")
    if kind != "user" or not user_id:
        raise InvalidQuery("actor", "must be user:<id>")
    known = Accounts(agent.log.database).standing(user_id, None)
    email, name = (known.email, known.name) if known else (None, None)
    return Acting(Actor.user(user_id, email=email, name=name), "cli")


def show_json(document: object) -> None:
    """One JSON document, with times as everywhere."""
    print_json(_timed(document))


def _timed(value: Any) -> Any:  # noqa: ANN401  any document
    match value:
        case datetime():
            return rfc3339(value)
        case dict():
            return {name: _timed(member) for name, member in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return [_timed(member) for member in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
