"""Options that several commands share, each written once."""

from __future__ import annotations

import inspect
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from permalog.errors import InvalidQuery
from permalog.event import Owner

if TYPE_CHECKING:
    from collections.abc import Callable


class Shape(StrEnum):
    """How an answer is shown."""

    TABLE = "table"
    JSON = "json"


Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines; errors too.")]
OwnerText: TypeAlias = Annotated[
    str, typer.Option("--owner", metavar="OWNER", help="Whose log: org:<uuid> or user:<id>.")
]
As: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="user:ID", help="Read as this user would: what they may, staff masked. Else as staff."
    ),
]
Format: TypeAlias = Annotated[Shape, typer.Option("--format", help="A table for people, or JSON.")]

LOOPBACK: Final = "127.0.0.1"
Host: TypeAlias = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")]
Port: TypeAlias = Annotated[
    int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port to listen on; 0: any that is free.")
]

_TIME: Final = "a date, or an RFC 3339 time; UTC unless it has an offset."
FILTERS: Final[dict[str, object]] = {
    "action": Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this action; may be given several times.")
    ],
    "actor_id": Annotated[str | None, typer.Option(metavar="ID", help="Only what this actor did.")],
    "actor_email": Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Only what an actor with this address did.")
    ],
    "resource_type": Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only what happened to this kind of thing.")
    ],
    "resource_id": Annotated[str | None, typer.Option(metavar="ID", help="Only what happened to this thing.")],
    "outcome": Annotated[str | None, typer.Option(metavar="OUTCOME", help="Only success, failure or denied.")],
    "correlation_id": Annotated[str | None, typer.Option(metavar="ID", help="Only the events of one operation.")],
    "source": Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Only web, api, worker, cron, callback, webhook, cli or import."),
    ],
    "search": Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Only events with this text in a value of the metadata, the resource or the correlation id.",
        ),
    ],
    "start": Annotated[str | None, typer.Option(metavar="TIME", help=f"Only from this moment on: {_TIME}")],
    "end": Annotated[str | None, typer.Option(metavar="TIME", help=f"Only before this moment: {_TIME}")],
}
"""The list's filters, with the type and the option of each."""


def filtered(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Gives a command every filter as an option; it receives those that were used as a dict ``filters``."""

    @wraps(command)
    def with_filters(**values: object) -> int | None:
        filters = {name: values.pop(name) for name in FILTERS}
        return command(**values, filters={name: value for name, value in filters.items() if value not in (None, [])})

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "filters"]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in FILTERS.items()
    ]
    with_filters.__signature__ = inspect.Signature(  # pyright: ignore[reportAttributeAccessIssue]  a documented hook
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + options
    )
    with_filters.__annotations__ = {p.name: p.annotation for p in own} | FILTERS
    return with_filters


def owner_of(text: str) -> Owner:
    """Reads ``--owner``.

    Raises:
        InvalidQuery: it is neither ``org:<uuid>`` nor ``user:<id>``.
    """
    try:
        return Owner.parse(text)
    except ValueError as error:
        raise InvalidQuery("owner", "must be org:<uuid> or user:<id>") from error
