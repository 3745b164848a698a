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
# 16 digits and more, an exponent, a negative zero, or a decimal but for those of at most 15 digits that do not end in 0
# and are not tiny: no two of these have one double, so that each is the shortest of its own, and all write it so.
# Behind a colon, and in an array also behind a bracket or a comma.
_UNSURE: Final = r"(?!-?(?!0\.000)[0-9]{1,7}\.[0-9]{0,7}[1-9](?![0-9.eE]))(?:-?[0-9]{1,15}+[0-9.eE]|-0)"
_UNSURE_NUMBER: Final = re.compile(rf":[ \t\r\n]*{_UNSURE}")
_UNSURE_NUMBER_IN_ARRAY: Final = re.compile(rf"[\[:, \t\r\n]{_UNSURE}")
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")
_LEAD_BYTES_BEYOND_16_BITS: Final = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_SORTED_AND_SAFE: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_WRITTEN_ALIKE: Final = frozenset({str, int, bool, type(None)})
_LEAST: Final = 1e-5
_MOST: Final = 1e16
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


_NAMES: Final = EventRow._fields
_MAY_BE_NULL: Final = ("actor_id", "identity", "correlation_id", "source", "before_state", "after_state")
_MAY_HAVE: Final = frozenset({*EventRow._fields, "version", "form"})
_MUST_HAVE: Final = _MAY_HAVE - {*_MAY_BE_NULL, "form"}


def leaf_hash(row: EventRow) -> bytes:
    """32 bytes: ``SHA-256(0x00 || leaf_preimage(row))``, the leaf of RFC 6962."""
    return hashlib.sha256(b"\x00" + leaf_preimage(row)).digest()


def leaf_preimage(row: EventRow) -> bytes:
    """What is hashed for an event: RFC 8785 over every column that is not NULL, and the version of this format.

    Every row that the database can store has one. A payload that JCS would not tell from another (see `jcs`) makes it
    the raw form, in which all payloads stand as text.
    """
    members: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    members["version"] = LEAF_VERSION
    for name in _MAY_BE_NULL:
        if members[name] is None:
            del members[name]
    if row.identity is not None:
        members["identity"] = row.identity.hex()
    payloads = {name: members[name] for name in _PAYLOADS if name in members}
    # The keys are ASCII, and the values strings, one small integer, and payloads.
    if (parts := _read_plain(",".join(payloads.values()))) is not None:
        members.update(zip(payloads, parts, strict=True))
        try:
            return orjson.dumps(members, option=_SORTED_AND_SAFE)
        except orjson.JSONEncodeError:
            pass  # an integer that a double may not hold
    parts = [_part(text) for text in payloads.values()]
    members |= dict(zip(payloads, parts, strict=True)) if None not in parts else {**payloads, "form": "raw"}
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
    # All are looked at, also behind one that is not alike.
    alike = False not in [_is_written_alike(members if isinstance(members, dict) else {}) for members in found]  # pyright: ignore[reportUnknownArgumentType]
    if not _stand_in_bytes(preimages, found, alike=alike):
        raise ValueError("not written in the canonical form")
    return found


def _is_written_alike(members: dict[str, Any]) -> bool:
    """These are the members of an event, each of its type; returns whether orjson writes all doubles as ECMAScript.

    Raises:
        ValueError: they are not.
    """
    types, payloads = _shape_of(tuple(members))
    if tuple(map(type, members.values())) != types:
        raise ValueError("its members are not those of an event")
    if members["version"] != LEAF_VERSION or members.get("form", "raw") != "raw":
        raise ValueError("its version or form is not known")
    for name in payloads:
        payload = members[name]
        if not _WRITTEN_ALIKE.issuperset(map(type, payload.values())) and not _writes_alike(payload):
            return False
    return True


@lru_cache(256)
def _shape_of(names: tuple[str, ...]) -> tuple[tuple[type, ...] | None, tuple[str, ...]]:
    """The type of each member, and which are payloads; None where these are not the members of an event.

    There are few such sets.
    """
    if not _MUST_HAVE <= set(names) <= _MAY_HAVE:
        return None, ()
    others: dict[str, type] = {"version": int, "schema_version": int}
    payloads = () if "form" in names else tuple(name for name in _PAYLOADS if name in names)
    others |= dict.fromkeys(payloads, dict)
    return tuple(others.get(name, str) for name in names), payloads


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


def _stand_in_bytes(preimages: list[bytes], events: list[dict[str, Any]], *, alike: bool) -> bool:
    """Whether RFC 8785 writes these events, read from these bytes, in the same bytes.

    Args:
        preimages: the bytes.
        events: what was read from them.
        alike: orjson writes all their doubles as ECMAScript does.
    """
    together = b"\n".join(preimages)
    if alike and b"\\u" not in together and not any(lead in together for lead in _LEAD_BYTES_BEYOND_16_BITS):
        try:
            return [orjson.dumps(event, option=_SORTED_AND_SAFE) for event in events] == preimages
        except orjson.JSONEncodeError:
            pass  # an integer that a double may not hold
    if len(preimages) > 1:
        return all(
            _stand_in_bytes([one], [event], alike=_is_written_alike(event))
            for one, event in zip(preimages, events, strict=True)
        )
    # The event around its payloads is a level more.
    return _exactly(together.decode(), MAX_DEPTH + 1) == together


def _writes_alike(value: dict[str, Any] | list[Any], deepest: int = MAX_DEPTH) -> bool:
    """Whether orjson writes the doubles of a payload as ECMAScript does, and it is not nested too deep.

    orjson writes an exponent outside of 1e-5 to 1e16, and a whole double as 1.0. What it reads and writes again in the
    same bytes is the shortest decimal, as ECMAScript's is.
    """
    values = value.values() if isinstance(value, dict) else value
    if not deepest or _WRITTEN_ALIKE.issuperset(map(type, values)):
        return deepest > 0
    for one in values:
        if isinstance(one, float):
            if one.is_integer() or not _LEAST <= abs(one) < _MOST:
                return False
        elif isinstance(one, dict | list) and not _writes_alike(one, deepest - 1):  # pyright: ignore[reportUnknownArgumentType]
            return False
    return True


def _sorts_otherwise(text: str) -> bool:
    return "\\u" in text or (not text.isascii() and _BEYOND_16_BITS.search(text) is not None)


def _read_plain(texts: str) -> list[dict[str, Any]] | None:
    """Payloads that stand one after the other; None where orjson may not write one as RFC 8785 asks for."""
    try:
        parts: list[dict[str, Any]] = orjson.loads(f"[{texts}]")
    except orjson.JSONDecodeError:
        return None  # nested deeper than it reads, or a number beyond all doubles
    # Most are flat and have no double: then one look at their types tells, and an integer is safe, or is not written.
    for part in parts:
        if not _WRITTEN_ALIKE.issuperset(map(type, part.values())):
            return parts if _is_plain(texts) else None
    return None if _sorts_otherwise(texts) else parts


def _part(text: str) -> Any:  # noqa: ANN401  an object, or what is written of one
    if _is_plain(text):
        return orjson.loads(text)
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
