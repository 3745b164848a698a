"""The project's SQL: whole files, and named queries.

A query stands in ``queries/<file>.sql`` behind a line ``-- name: <name>``, up to the next one; comments in between say
what it is for. Nothing is ever put together from values: they travel as parameters.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, LiteralString, cast

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
HERE: Final[Traversable] = files(__name__)


@cache
def text(path: str) -> LiteralString:
    """A file of this folder, whole. It ships with the code, so it is as literal as a string in it."""
    return cast("LiteralString", HERE.joinpath(path).read_text(encoding="utf-8"))


@cache
def query(file: str, name: str) -> LiteralString:
    """One named query, without its name line and comments.

    Raises:
        KeyError: there is none of this name in the file.
    """
    parts = _NAME.split(text(f"queries/{file}.sql"))
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    lines = [line for line in found[name].splitlines() if line.strip() and not line.startswith("--")]
    return cast("LiteralString", "\n".join(lines).rstrip().removesuffix(";"))
