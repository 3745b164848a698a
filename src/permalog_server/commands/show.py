"""``permalog show``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
import typer

from permalog.errors import InvalidQuery
from permalog_server.commands.options import As, Format, Json, OwnerText, Shape, owner_of
from permalog_server.output import print_json, print_table
from permalog_server.standing import reader_of
from permalog_server.wiring import open_log


def show(
    event: Annotated[str, typer.Argument(metavar="ID", help="The id of the event.")],
    *,
    owner: OwnerText,
    whom: As = None,
    shape: Format = Shape.TABLE,
    as_json: Json = False,
) -> None:
    """Show one event."""
    whose = owner_of(owner)
    try:
        event_id = UUID(event)
    except ValueError:
        raise InvalidQuery("ID", "must be the UUID of an event") from None
    with open_log() as log:
        found = log.get(whose, event_id, reader_of(log, whom, whose).viewer).as_json()
    if as_json or shape is Shape.JSON:
        print_json(found)
        return
    print_table(("member", "value"), [row for name, value in found.items() for row in _rows(name, value)])


def _rows(name: str, value: object) -> list[tuple[str, object]]:
    """A member as rows: actor and resource member by member, other objects as JSON."""
    if isinstance(value, dict) and name in {"actor", "resource"}:
        return [(f"{name}.{key}", inside) for key, inside in value.items()]  # pyright: ignore[reportUnknownVariableType]
    return [(name, value if value is None or isinstance(value, str) else orjson.dumps(value).decode())]
