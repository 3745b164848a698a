"""``permalog import``."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, Self

import orjson
import typer

from permalog.errors import InvalidQuery
from permalog_server.commands.options import Json
from permalog_server.importing import Rejected, Tally, import_lines
from permalog_server.ndjson import lines_of
from permalog_server.output import print_json, printable
from permalog_server.wiring import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_NAMED: Final = 20
"""How many bad lines are named on standard error; a file of a million would bury everything else."""


def import_events(
    source: Annotated[str, typer.Argument(metavar="FILE", help="NDJSON events, one a line; - is standard input.")],
    *,
    reject: Annotated[
        Path | None,
        typer.Option("--reject", metavar="FILE", help="Collect the bad lines here, as NDJSON; it is overwritten."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Check the payloads against the models of the actions, too.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Append events from NDJSON; safe to run again.

    Every good line is stored, exactly once however often it is imported; bad lines are named with their number, field
    and reason. Exit code 0: none was rejected; 1: some were.
    """
    with _opened(source) as file, _Rejects(reject, file) as rejects, open_log(importing=True) as log:
        began = time.monotonic()
        with _progress(file) as progress:
            tally = import_lines(log, lines_of(file), reject=rejects.add, progress=progress, strict=strict)
        seconds = time.monotonic() - began
    rejects.say_how_many_more()
    if as_json:
        print_json({"read": tally.read, "added": tally.added, "duplicate": tally.duplicate, "rejected": tally.rejected})
    else:
        print(
            f"{tally.read:,} read, {tally.added:,} added, {tally.duplicate:,} duplicate, {tally.rejected:,} rejected,"
            f" in {seconds:.1f} s ({tally.read / max(seconds, 0.001):,.0f} a second)"
        )
    return 1 if tally.rejected else 0


@contextmanager
def _opened(source: str) -> Generator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise InvalidQuery("FILE", f"cannot be read: {error.strerror}") from error
    with file:
        yield file


class _Rejects:
    """The bad lines: the first few on standard error, all of them in a file where one is wanted."""

    def __init__(self, path: Path | None, source: BinaryIO) -> None:
        self._file: int | None = None
        self._count = 0
        if path is None:
            return
        if path.exists() and os.path.samestat(path.stat(), os.fstat(source.fileno())):
            raise InvalidQuery("reject", "is the file to be imported")
        try:
            # 0600: the lines hold personal data.
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        except OSError as error:
            raise InvalidQuery("reject", f"cannot be written: {error.strerror}") from error

    def add(self, rejected: Rejected) -> None:
        """Takes one line; it is in the file when this returns, even if the process is killed then."""
        self._count += 1
        field = getattr(rejected.error, "field", "") or ""
        if self._count <= _NAMED:
            print(f"line {rejected.line.number}: {printable(str(rejected.error))}", file=sys.stderr)
        if self._file is not None:
            about = {
                "line": rejected.line.number,
                "error": getattr(rejected.error, "reason", None) or str(rejected.error),
                "field": field or None,
                "event": rejected.line.text.decode(errors="replace"),
            }
            content = orjson.dumps(about) + b"\n"
            while content:
                content = content[os.write(self._file, content) :]

    def say_how_many_more(self) -> None:
        if self._count > _NAMED:
            where = "" if self._file is not None else "; --reject FILE collects them all"
            print(f"and {self._count - _NAMED:,} more{where}", file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is not None:
            os.close(self._file)


@contextmanager
def _progress(file: BinaryIO) -> Generator[Callable[[Tally, int], None]]:
    """A bar with count and rate on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _tally, _size: None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    about = os.fstat(file.fileno())
    total = about.st_size if stat.S_ISREG(about.st_mode) else None
    began = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("importing", total=total)

        def show(tally: Tally, size: int) -> None:
            rate = tally.read / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=size, description=f"{tally.read:,} events, {rate:,.0f} a second")

        yield show
