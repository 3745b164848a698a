"""``permalog list``."""

from __future__ import annotations

from typing import Annotated

import typer

from permalog.reading.filters import FilterArguments
from permalog_server.commands.options import As, Format, Json, OwnerText, Shape, filtered, owner_of
from permalog_server.event_tables import print_events
from permalog_server.output import print_raw_json
from permalog_server.standing import reader_of
from permalog_server.wiring import open_log


@filtered
def list_events(
    *,
    owner: OwnerText,
    whom: As = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="CURSOR", help="The older page: a page's next_cursor.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="The newer page: a page's previous_cursor.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="How many events, 1 to 100.")] = 50,
    shape: Format = Shape.TABLE,
    as_json: Json = False,
    filters: FilterArguments,
) -> None:
    """List events, newest first."""
    whose = owner_of(owner)
    with open_log() as log:
        viewer = reader_of(log, whom, whose).viewer
        page = log.list(whose, **filters, before=before, after=after, limit=limit, viewer=viewer)
    if as_json or shape is Shape.JSON:
        print_raw_json(page.to_json())
        return
    print_events(page.events)
    if page.next_cursor is not None:
        print(f"\nolder: --before {page.next_cursor}")
    if page.previous_cursor is not None:
        print(f"newer: --after {page.previous_cursor}")
