"""What an export looks like: CSV for spreadsheets, JSON for programs, NDJSON to import elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import orjson

from permalog.errors import InvalidQuery

if TYPE_CHECKING:
    from permalog.event import Owner
    from permalog.stored import Row

ExportFormat: TypeAlias = Literal["csv", "json", "ndjson"]

COLUMNS: Final = (
    "id", "occurred_at", "recorded_at", "recorded_by", "action", "outcome", "actor_type", "actor_id", "actor_email",
    "actor_name", "resource_type", "resource_id", "before_state", "after_state", "metadata", "correlation_id", "source",
    "leaf_index",
)  # fmt: skip

_RUN_BY_SPREADSHEETS: Final = frozenset("=+-@\t\r")
_MARK: Final = "'"
_needs_quotes: Final = re.compile('[",\r\n]').search


class Format(Protocol):
    """One form of an export, for the events of one owner, as bytes of UTF-8."""

    head: bytes
    tail: bytes

    def rows(self, rows: list[Row], *, are_first: bool) -> bytes:
        """One or more events, as they follow the head or the events before them."""
        ...


def format_of(name: object, owner: Owner) -> Format:
    """The format of this name.

    Raises:
        InvalidQuery: there is none.
    """
    match name:
        case "csv":
            return _Csv()
        case "json":
            return _Json()
        case "ndjson":
            return _Ndjson(owner)
        case _:
            raise InvalidQuery("format", "must be csv, json or ndjson")


def harmless(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula: with an apostrophe before it, where it could; see `restored`.

    A cell that begins with an apostrophe gets one, too, so that taking away one from any cell that begins with one
    gives back what was there.
    """
    return _MARK + cell if cell[:1] in _RUN_BY_SPREADSHEETS or cell[:1] == _MARK else cell


def restored(cell: str) -> str:
    """What stood in a cell of an export before it was made harmless."""
    return cell.removeprefix(_MARK)


class _Csv:
    """RFC 4180: lines end with CR LF, a cell with a comma, a quotation mark or a line break is quoted."""

    head: bytes = (",".join(COLUMNS) + "\r\n").encode()
    tail: bytes = b""

    def rows(self, rows: list[Row], *, are_first: bool) -> bytes:  # noqa: ARG002  each line stands for itself
        return "".join(map(_csv_line, rows)).encode()


def _csv_line(row: Row) -> str:
    # Ids, times, and words that the database holds to a list of allowed ones need neither quotes nor an apostrophe.
    return (
        f"{row.id},{row.occurred_at},{row.recorded_at},{_text(row.recorded_by)},{row.action},{row.outcome},"
        f"{row.actor_type},{_text(row.actor_id)},{_text(row.actor_email)},{_text(row.actor_name)},"
        f"{_text(row.resource_type)},{_text(row.resource_id)},{_payload(row.before_state)},{_payload(row.after_state)},"
        f"{_payload(row.metadata)},{_text(row.correlation_id)},{row.source or ''},"
        f"{'' if row.leaf_index is None else row.leaf_index}\r\n"
    )


def _text(value: str | None) -> str:
    if not value:
        return ""
    cell = harmless(value)
    return _quoted(cell) if _needs_quotes(cell) else cell


def _payload(value: str | None) -> str:
    """JSON as a cell: an object begins with a brace, which no spreadsheet runs."""
    return "" if value is None else _quoted(value)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


class _Json:
    """One array of the events in JSON."""

    head: bytes = b"["
    tail: bytes = b"\n]\n"

    def rows(self, rows: list[Row], *, are_first: bool) -> bytes:
        return (b"\n" if are_first else b",\n") + b",\n".join(row.json() for row in rows)


class _Ndjson:
    """One event a line, in the form that an import reads."""

    head: bytes = b""
    tail: bytes = b""

    def __init__(self, owner: Owner) -> None:
        named = (
            {"user_id": owner.user_id} if owner.organization_id is None else {"organization_id": owner.organization_id}
        )
        self._owner: Final = orjson.Fragment(orjson.dumps(named))

    def rows(self, rows: list[Row], *, are_first: bool) -> bytes:  # noqa: ARG002  each line stands for itself
        return b"".join(row.ndjson(self._owner) for row in rows)
