"""The leaf: an event as it is stored, in the one form whose hash stands in its log's tree.

    leaf = SHA-256(0x00 || preimage)

    canonical form   JCS({"action": …, …, "metadata": {…}, …, "version": 1})
    raw form         JCS({"action": …, …, "form": "raw", …, "metadata": "<jsonb::text>", …, "version": 1})

JCS is RFC 8785. docs/record-format.md has it byte by byte, with test vectors. Nothing here reaches for a database or a
network: the sealer and every verifier, near or far, compute leaves by these functions alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn, Self
from uuid import UUID

import orjson
import rfc8785

LEAF_VERSION: Final = 1
MAX_DEPTH: Final = 64
"""A payload nested deeper takes the raw form: it bounds recursion in every verifier. Part of the format."""
_MAX_INTEGER: Final = 2**53 - 1
_INTEGER_DIGITS: Final = 16

_PAYLOADS: Final = ("before_state", "after_state", "metadata")
# A decimal, 16 digits and more, or a negative zero: behind a colon, and in an array also behind a bracket or a comma.
_UNSURE_NUMBER: Final = re.compile(r":[ \t\r\n]*(?:-?[0-9]{1,15}+[0-9.eE]|-0)")
_UNSURE_NUMBER_IN_ARRAY: Final = re.compile(r"[\[:, \t\r\n](?:-?[0-9]{1,15}+[0-9.eE]|-0)")
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")
# In canonical bytes a value follows its key's quotation mark and a colon without a blank. What orjson writes again in
# the same bytes is the shortest decimal, as ECMAScript's is; unlike it, orjson writes an exponent outside of 1e-5 to
# 1e16, and a whole double as 1.0, and it keeps integers that a double does not hold.
_UNSURE_BYTES: Final = rb"%s-?(?:[0-9]{16}|0\.00000|[0-9]++(?:\.0(?![0-9])|(?:\.[0-9]++)?[eE]))"
# One for each beginning: a pattern that begins with a literal is looked for several times as fast.
_UNSURE_IN_BYTES: Final = re.compile(_UNSURE_BYTES % b'":')
_UNSURE_IN_ARRAY_BYTES: Final = (re.compile(_UNSURE_BYTES % rb"\["), re.compile(_UNSURE_BYTES % b","))
_LEAD_BYTES_BEYOND_16_BITS: Final = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_BEYOND_16_BITS: Final = re.compile("[\U00010000-\U0010ffff]")


class EventRow(NamedTuple):
    """A row of ``permalog.event``, column by column in the table's order, as text. NULL is None.

    Times are what `read` makes of them: RFC 3339, UTC, six decimals, ``Z``. Payloads are ``jsonb::text``, untouched.
    """

    log_id: str
    id: str
    occurred_at: str
    recorded_at: str
    recorded_by: str
    action: str
    outcome: str
    actor_type: str
    actor_id: str | None
    identity: bytes | None
    resource_type: str
    resource_id: str
    correlation_id: str | None
    source: str | None
    schema_version: int
    before_state: str | None
    after_state: str | None
    metadata: str

    @classmethod
    def read(cls, columns: Iterable[object]) -> Self:
        """A row as a driver gives it: UUIDs and times as Python's own or as text, the identity as any bytes.

        Payloads MUST be text: a driver that parses JSON loses the digits that the leaf is made of.

        Raises:
            TypeError: a column is of another type, or there are too many or too few.
        """
        return cls(*map(_text, columns))  # pyright: ignore[reportArgumentType]  each column is checked in _text


_MAY_HAVE: Final = frozenset({*EventRow._fields, "version", "form"})
_MUST_HAVE: Final = _MAY_HAVE - {
    "actor_id", "identity", "correlation_id", "source", "before_state", "after_state", "form",
}  # fmt: skip


def leaf_hash(row: EventRow) -> bytes:
    """32 bytes: ``SHA-256(0x00 || leaf_preimage(row))``, the leaf of RFC 6962."""
    return hashlib.sha256(b"\x00" + leaf_preimage(row)).digest()


def leaf_preimage(row: EventRow) -> bytes:
    """What is hashed for an event: RFC 8785 over every column that is not NULL, and the version of this format.

    Every row that the database can store has one. A payload that JCS would not tell from another (see `jcs`) makes it
    the raw form, in which all payloads stand as text.
    """
    members: dict[str, Any] = {
        name: column for name, column in zip(row._fields, row, strict=True) if column is not None
    }
    members["version"] = LEAF_VERSION
    if row.identity is not None:
        members["identity"] = row.identity.hex()
    parts: dict[str, Any] = {}
    for name in _PAYLOADS:
        text: str | None = members.get(name)
        if text is None:
            continue
        part = orjson.loads(text) if _is_plain(text) else _fragment(text)
        if part is None:
            members["form"] = "raw"
            break
        parts[name] = part
    else:
        members |= parts
    # The keys are ASCII, and the values strings, one small integer, and payloads: see _is_plain.
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)


def read_preimage(preimage: bytes) -> dict[str, Any]:
    """The members of what `leaf_preimage` wrote for some row, payloads as objects, in the raw form as text.

    1. It is UTF-8 and JSON. 2. RFC 8785 writes it in the same bytes, and every number in it is canonical. 3. Its
    members are those of an event, each of its type. That they are true is for the tree to prove.

    Raises:
        ValueError: one of these.
    """
    [members] = read_preimages([preimage])
    return members


def read_preimages(preimages: list[bytes]) -> list[dict[str, Any]]:
    """The same of many, in half the time.

    Raises:
        ValueError: one of them is none.
    """
    found: list[Any] = list(map(orjson.loads, preimages))
    if not _stand_in_bytes(preimages, found):
        raise ValueError("not written in the canonical form")
    for members in found:
        if type(members) is not dict or tuple(map(type, members.values())) != _types_of(tuple(members)):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            raise ValueError("its members are not those of an event")
        if members["version"] != LEAF_VERSION or members.get("form", "raw") != "raw":  # pyright: ignore[reportUnknownMemberType]
            raise ValueError("its version or form is not known")
    return found


@lru_cache(256)
def _types_of(names: tuple[str, ...]) -> tuple[type, ...] | None:
    """The type of each member; None where these are not the members of an event. There are few such sets."""
    if not _MUST_HAVE <= set(names) <= _MAY_HAVE:
        return None
    others: dict[str, type] = {"version": int, "schema_version": int}
    if "form" not in names:
        others |= dict.fromkeys(_PAYLOADS, dict)
    return tuple(others.get(name, str) for name in names)


def jcs(text: str) -> bytes | None:
    """A jsonb object or array, given as PostgreSQL writes it, as RFC 8785 writes it; None where only its text is exact.

    That is where a number's exact decimal value is not that of the shortest decimal by which ECMAScript writes its
    double (``0.10000000000000000001``, ``9007199254740993``, ``1e400``), or where it is nested more than 64 deep, the
    outermost being the first level. ``1.0`` and ``1`` have the same value, and the same form.

    Raises:
        ValueError: it is no JSON.
    """
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS) if _is_plain(text) else _exactly(text)


def _is_plain(text: str) -> bool:
    r"""Whether orjson with sorted keys writes what RFC 8785 asks for.

    1. Nesting is far from orjson's limits, and from ours.
    2. No character is beyond U+FFFF, also not by a ``\u`` escape: below that, UTF-8 and UTF-16 sort alike.
    3. No number but integers of at most 15 digits, which both write alike. What looks like another inside a string
       costs a second look, without the strings.

    Strings need no condition: both escape the quotation mark, the backslash and what is below U+0020 alike, and nothing
    else.
    """
    if text.count("{") + (arrays := text.count("[")) > MAX_DEPTH or _sorts_otherwise(text):
        return False
    unsure = _UNSURE_NUMBER_IN_ARRAY if arrays else _UNSURE_NUMBER
    return not unsure.search(text) or not _UNSURE_NUMBER_IN_ARRAY.search(_STRING.sub("", text))


def _stand_in_bytes(preimages: list[bytes], values: list[Any]) -> bool:
    """Whether RFC 8785 writes these values, read from these bytes, in the same bytes."""
    together = b"\n".join(preimages)
    arrays = b"[" in together
    plain = (
        b"\\u" not in together
        and not _UNSURE_IN_BYTES.search(together)
        and not (arrays and any(one.search(together) for one in _UNSURE_IN_ARRAY_BYTES))
        and not any(lead in together for lead in _LEAD_BYTES_BEYOND_16_BITS)
        and max(one.count(b"{") + one.count(b"[") for one in preimages) <= MAX_DEPTH
    )
    if plain:
        return [orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values] == preimages
    if len(preimages) > 1:
        return all(_stand_in_bytes([one], [value]) for one, value in zip(preimages, values, strict=True))
    # The event around its payloads is a level more.
    return _exactly(together.decode(), MAX_DEPTH + 1) == together


def _sorts_otherwise(text: str) -> bool:
    return "\\u" in text or (not text.isascii() and _BEYOND_16_BITS.search(text) is not None)


def _fragment(text: str) -> orjson.Fragment | None:
    written = _exactly(text)
    return None if written is None else orjson.Fragment(written)


class _Inexact(Exception):
    """A number that JCS would not tell from another."""


def _exactly(text: str, deepest: int = MAX_DEPTH) -> bytes | None:
    if text.count("{") + text.count("[") > deepest and _depth(text) > deepest:
        return None
    try:
        if _sorts_otherwise(text):
            return rfc8785.dumps(json.loads(text, parse_int=_integer, parse_float=_decimal, parse_constant=_no_number))
        value = json.loads(text, parse_int=_integer_written, parse_float=_written, parse_constant=_no_number)
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except _Inexact:
        return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _integer(token: str) -> int | float:
    if len(token) <= _INTEGER_DIGITS + 1 and -_MAX_INTEGER <= (number := int(token)) <= _MAX_INTEGER:
        return number
    return _decimal(token)


def _decimal(token: str) -> float:
    number = float(token)
    # Both sides exactly: repr is the shortest decimal of the double, as ECMAScript's is.
    if math.isinf(number) or Decimal(token) != Decimal(repr(number)):
        raise _Inexact
    return number


def _written(token: str) -> orjson.Fragment:
    return orjson.Fragment(rfc8785.dumps(_decimal(token)))


def _integer_written(token: str) -> int | orjson.Fragment:
    return number if isinstance(number := _integer(token), int) else _written(token)


def _no_number(token: str) -> NoReturn:
    raise ValueError(f"{token} is no JSON")


def _text(column: object) -> str | bytes | int | None:
    match column:
        case None | str() | int() | bytes():
            return column
        case UUID():
            return str(column)
        case datetime() if column.tzinfo is not None:
            return column.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
        case memoryview() | bytearray():
            return bytes(column)  # pyright: ignore[reportUnknownArgumentType]  whatever is in view, as bytes
        case _:
            raise TypeError(f"a column of an event is no {type(column).__name__}")
