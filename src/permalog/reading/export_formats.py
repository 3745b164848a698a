"""What an export looks like: CSV for spreadsheets, JSON for programs, NDJSON to import elsewhere."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import orjson

from permalog.errors import InvalidQuery
from permalog.payload import MAX_INTEGER
from permalog.reading.stored import later_epoch, spliced

if TYPE_CHECKING:
    from permalog.event import Owner
    from permalog.reading.stored import Row

ExportFormat: TypeAlias = Literal["csv", "json", "ndjson"]

COLUMNS: Final = (
    "id", "occurred_at", "recorded_at", "recorded_by", "action", "outcome", "actor_type", "actor_id", "actor_email",
    "actor_name", "resource_type", "resource_id", "before_state", "after_state", "metadata", "correlation_id", "source",
    "leaf_index",
)  # fmt: skip

_RUN_BY_SPREADSHEETS: Final = frozenset("=+-@\t\r")
_MARK: Final = "'"
_LONG: Final = 16
"""2^53 has 16 digits."""
_has_long_number: Final = re.compile(r"[ \[-]\d{16}").search
_STRING_OR_NUMBER: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.]*')
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
        return b"".join(_ndjson_line(row, self._owner) for row in rows)


def _ndjson_line(row: Row, owner: orjson.Fragment) -> bytes:
    return orjson.dumps(
        {
            "owner": owner,
            "id": row.id,
            "occurred_at": row.occurred_at,
            "recorded_at": row.recorded_at,
            "recorded_by": row.recorded_by,
            "action": row.action,
            "outcome": row.outcome,
            "actor": {
                "type": row.actor_type,
                "id": row.actor_id,
                "email": row.actor_email,
                "name": row.actor_name,
                "ip_address": row.ip_address,
                "user_agent": row.user_agent,
            },
            "resource": {"type": row.resource_type, "id": row.resource_id},
            "before_state": spliced(_importable(row.before_state)),
            "after_state": spliced(_importable(row.after_state)),
            "metadata": spliced(_importable(row.metadata)),
            "correlation_id": row.correlation_id,
            "source": row.source,
            "leaf_index": row.leaf_index,
            **later_epoch(row),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _importable(payload: str | None) -> str | None:
    """A payload whose large doubles look like doubles again: PostgreSQL writes 1e22 as 23 digits.

    An import refuses integers beyond 2^53 - 1, since most readers of JSON would round them.
    """
    if payload is None or _has_long_number(payload) is None:
        return payload
    return _STRING_OR_NUMBER.sub(lambda found: _as_double(found[0]), payload)


def _as_double(token: str) -> str:
    if len(token) < _LONG or not token.lstrip("-").isdigit():
        return token
    double = repr(float(token))
    return double if Decimal(token) == Decimal(double) and abs(Decimal(token)) > MAX_INTEGER else token
