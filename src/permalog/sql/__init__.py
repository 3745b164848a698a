"""The project's SQL: whole files, and named queries.

A query stands in ``queries/<file>.sql`` behind a line ``-- name: <name>``, up to the next one; comments in between say
what it is for. Nothing is ever put together from values: they travel as parameters.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final, LiteralString, cast

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Queries:
    """The named queries of a folder's ``queries/*.sql``, read once each."""

    def __init__(self, folder: Traversable) -> None:
        self._folder: Final = folder
        self._files: Final[dict[str, dict[str, LiteralString]]] = {}

    def __call__(self, file: str, name: str) -> LiteralString:
        """One query, without its name line and comment lines. It ships with the code, as literal as a string in it.

        Raises:
            KeyError: there is none of this name in the file.
        """
        if file not in self._files:
            text = self._folder.joinpath("queries", f"{file}.sql").read_text(encoding="utf-8")
            parts = _NAME.split(text)
            self._files[file] = {n: _bare(body) for n, body in zip(parts[1::2], parts[2::2], strict=True)}
        return self._files[file][name]


def _bare(body: str) -> LiteralString:
    lines = [line for line in body.splitlines() if line.strip() and not line.startswith("--")]
    return cast("LiteralString", "\n".join(lines).rstrip().removesuffix(";"))


HERE: Final[Traversable] = files(__name__)
query: Final = Queries(HERE)
"""``query("store", "open_logs")``: one named query of the library."""
