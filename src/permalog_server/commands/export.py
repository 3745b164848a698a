"""``permalog export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from permalog.reading.export_formats import ExportFormat
from permalog.reading.filters import FilterArguments
from permalog_server.commands.options import As, Json, OwnerText, filtered, owner_of
from permalog_server.output import print_json, target
from permalog_server.standing import reader_of
from permalog_server.wiring import open_log


@filtered
def export(
    *,
    owner: OwnerText,
    whom: As = None,
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write here; without it, to standard output."),
    ] = None,
    as_json: Json = False,
    filters: FilterArguments,
) -> None:
    """Write the events of a log as CSV, JSON or NDJSON; recorded in the log.

    Streams, of any size. With -o the file appears when it is complete, and not before. The export is recorded as done
    by a member of staff, whose id is the name of the operating system's login, or by the user of --as. With --json a
    report follows, on standard error where the events go to standard output.
    """
    whose = owner_of(owner)
    with open_log() as log:
        actor, viewer = reader_of(log, whom, whose)
        with target(output) as file:
            done = log.export(whose, form, file, actor=actor, viewer=viewer, through="cli", **filters)
    if as_json:
        report = {"rows": done.rows, "first_id": done.first_id, "last_id": done.last_id, "complete": done.complete}
        print_json(report, sys.stdout if output is not None else sys.stderr)
