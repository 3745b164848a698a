"""What commands print: JSON for machines, tables for people."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

import orjson

from permalog.errors import InvalidQuery

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

WIDE: Final = 1000
"""How wide a table is where no terminal says: columns must not be folded when the output goes to a file."""


def print_json(value: object, file: TextIO | None = None) -> None:
    """One JSON document and a newline, on standard output unless told otherwise."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode(), file=file or sys.stdout, flush=True)


def print_raw_json(document: bytes) -> None:
    """A JSON document as it is: numbers that only PostgreSQL carries exactly stay so."""
    print(document.decode(), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table on standard output; None is an empty cell."""
    from rich.console import Console  # noqa: PLC0415  slow to load, and JSON does not need it
    from rich.table import Table  # noqa: PLC0415  as above
    from rich.text import Text  # noqa: PLC0415  as above

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "count" else "left")
    for row in rows:
        # Text, since a string would be read as markup, and "[/red]" in an event would raise.
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def printable(text: str) -> str:
    """Text that cannot steer the terminal: control characters are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def target(path: Path | None) -> Generator[BinaryIO]:
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
