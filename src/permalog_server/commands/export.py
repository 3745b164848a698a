"""``permalog export``."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from permalog.errors import InvalidQuery
from permalog.export_formats import ExportFormat
from permalog.filters import FilterArguments
from permalog_server.commands.options import As, Json, OwnerText, filtered, owner_of
from permalog_server.output import print_json
from permalog_server.standing import reader_of
from permalog_server.wiring import open_log

if TYPE_CHECKING:
    from collections.abc import Generator


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
        with _target(output) as file:
            done = log.export(whose, form, file, actor=actor, viewer=viewer, through="cli", **filters)
    if as_json:
        report = {"rows": done.rows, "first_id": done.first_id, "last_id": done.last_id, "complete": done.complete}
        print_json(report, sys.stdout if output is not None else sys.stderr)


@contextmanager
def _target(path: Path | None) -> Generator[BinaryIO]:
    """Where to write: standard output, or a file that takes its name only when all is in it."""
    if path is None:
        yield sys.stdout.buffer
        return
    if path.exists() and not path.is_file():
        with _open(path) as file:  # a device or a pipe
            yield file
        return
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InvalidQuery("output", f"cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise InvalidQuery("output", f"cannot be written: {error.strerror}") from error
