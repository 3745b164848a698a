"""What a payload (before_state, after_state, metadata) may hold: JSON that every reader understands alike."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from uuid import UUID

import orjson

from permalog.errors import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BYTES: Final = 65_536
"""Bounds what one event costs to store, hash and show; as compact UTF-8 JSON, for each of the three payloads."""
MAX_DEPTH: Final = 16
"""Bounds recursion, here and in every reader; the payload itself is the first level."""
MAX_KEY: Final = 255
MAX_INTEGER: Final = 2**53 - 1
"""Beyond it a double does not carry every integer (RFC 8785, section 3.2.2.3)."""

_DIGITS: Final = 20

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Personal:
    """Personal data inside a payload, such as a GitHub login: ``Personal("github_login", "octocat")``.

    It is stored beside the log and can be destroyed; the payload keeps ``{"$identity": "<commitment>"}``. In JSON in
    and out it is ``{"$personal": {"kind": "github_login", "value": "octocat"}}``, with the value null once erased.

    Raises:
        InvalidEvent: the kind is empty, longer than 100 characters or reserved (``actor``, ``staff``), or the value is
            empty or longer than 2,048 characters.
    """

    kind: str
    value: str | None

    def __post_init__(self) -> None:
        """Holds both to the limits of the identity table."""
        if not _is_text(self.kind, 100) or self.kind in {"actor", "staff"}:
            raise InvalidEvent("$personal.kind", "must be a string of 1 to 100 characters, and neither actor nor staff")
        if self.value is not None and not _is_text(self.value, 2048):
            raise InvalidEvent("$personal.value", "must be a string of 1 to 2048 characters")


def checked(payload: object, field: str) -> dict[str, Any]:
    """A copy of a payload that holds only what JSON carries exactly, and `Personal` values.

    UUIDs, aware datetimes and dates become strings; ``{"$personal": …}`` becomes `Personal`.

    Raises:
        InvalidEvent: names the place, such as ``metadata.tags[3]``.
    """
    if not isinstance(payload, dict):
        raise InvalidEvent(field, "must be an object")
    copy = _object(payload, field, 1)  # pyright: ignore[reportUnknownArgumentType]  its keys are checked there
    if not isinstance(copy, dict):
        raise InvalidEvent(field, "must be an object, not a personal value")
    if len(wire(copy)) > MAX_BYTES:
        raise InvalidEvent(field, f"is larger than {MAX_BYTES} bytes")
    return copy


def parsed(text: bytes) -> Any:  # noqa: ANN401  any JSON value
    """JSON text, refused where two readers could understand it differently.

    Raises:
        InvalidEvent: invalid JSON or UTF-8, a duplicate key, NaN or an infinity, a lone surrogate, an integer beyond
            2^53 - 1, or a decimal that a double does not carry exactly.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _explain(text, error)
    # Compact text without duplicate keys, rounded numbers or needless escapes comes out as it went in: most does.
    return value if orjson.dumps(value) == text else _strictly(text)


def _strictly(text: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_float=_exact, parse_int=_safe, parse_constant=_no_constant
        )
    except RecursionError:
        raise InvalidEvent("", "is nested too deep") from None


def _explain(text: bytes, error: orjson.JSONDecodeError) -> Any:  # noqa: ANN401
    """Says what is wrong in this project's words, where the strict reader can name it."""
    try:
        text.decode()
    except UnicodeDecodeError:
        raise InvalidEvent("", "is not valid UTF-8") from None
    try:
        _strictly(text)
    except InvalidEvent:
        raise
    except ValueError:
        raise InvalidEvent("", f"is not valid JSON: {error.msg}, at character {error.pos}") from None
    raise InvalidEvent("", "is not valid JSON, or holds a lone surrogate, which is no character")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidEvent("", f"has the key {_shown(twice)} twice")
    return found


def _exact(token: str) -> float:
    number = float(token)
    if math.isinf(number) or Decimal(token) != Decimal(repr(number)):
        raise InvalidEvent("", "holds a number which a double does not carry exactly")
    return number


def _safe(token: str) -> int:
    # What has fewer digits is refused later, with its place; turning a million digits into a number takes minutes.
    if len(token) > _DIGITS:
        raise InvalidEvent("", "holds an integer beyond 2^53 - 1, which a double does not carry exactly")
    return int(token)


def _no_constant(token: str) -> float:
    raise InvalidEvent("", f"holds {token}, which is no JSON")


def _object(payload: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any] | Personal:
    if depth > MAX_DEPTH:
        raise InvalidEvent(path, f"is nested more than {MAX_DEPTH} deep")
    copy: dict[str, Any] = {}
    for key, value in payload.items():
        if type(key) is not str or len(key) > MAX_KEY or "\0" in key:
            raise InvalidEvent(path, f"has a key that is no string of at most {MAX_KEY} characters without NUL")
        if key[:1] == "$" and key in {"$identity", "$personal"}:
            return _personal(payload, path)
        if not key.isascii():
            _encodable(key, path)
        copy[key] = _value(value, path, key, depth)
    return copy


def _value(value: object, path: str, key: str | int, depth: int) -> Any:  # noqa: ANN401
    kind = type(value)
    if kind is str:
        return _text(cast("str", value), path, key)
    if value is None or kind is bool:
        return value
    if kind is int:
        if not -MAX_INTEGER <= cast("int", value) <= MAX_INTEGER:
            raise InvalidEvent(_join(path, key), "is an integer beyond 2^53 - 1, which a double does not carry exactly")
        return value
    if kind is float:
        if not math.isfinite(cast("float", value)):
            raise InvalidEvent(_join(path, key), "is NaN or an infinity, which JSON does not have")
        return value
    return _other(value, _join(path, key), depth)


def _text(value: str, path: str, key: str | int) -> str:
    if not value.isascii():
        _encodable(value, _join(path, key))
    if "\0" in value:
        raise InvalidEvent(_join(path, key), "holds a NUL character, which cannot be stored")
    return value


def _other(value: object, path: str, depth: int) -> Any:  # noqa: ANN401, PLR0911  one return a type
    match value:
        case dict():
            return _object(value, path, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
        case list() | tuple() | Personal() if depth + 1 > MAX_DEPTH:
            raise InvalidEvent(path, f"is nested more than {MAX_DEPTH} deep")
        case list() | tuple():
            return [_value(item, path, index, depth + 1) for index, item in enumerate(value)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case Personal():
            return value
        case str() | bool() | int() | float():  # subclasses, such as members of a StrEnum
            plain = str(value) if isinstance(value, str) else (int(value) if isinstance(value, int) else float(value))
            return _value(plain, path, "", depth)
        case UUID():
            return str(value)
        case datetime():
            if value.tzinfo is None:
                raise InvalidEvent(path, "is a time without a time zone")
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case _:
            raise InvalidEvent(path, f"is a {type(value).__name__}, which JSON does not have")


def _personal(payload: Mapping[Any, Any], path: str) -> Personal:
    inside = payload.get("$personal")
    if len(payload) != 1 or not isinstance(inside, dict) or inside.keys() != {"kind", "value"}:  # pyright: ignore[reportUnknownMemberType]
        raise InvalidEvent(
            path,
            'a personal value is {"$personal": {"kind": …, "value": …}} and nothing else, and "$identity" is reserved',
        )
    try:
        return Personal(inside["kind"], inside["value"])  # pyright: ignore[reportUnknownArgumentType]
    except InvalidEvent as error:
        raise InvalidEvent(f"{path}.{error.field}", error.reason) from None


def _personal_form(value: Personal) -> Any:  # noqa: ANN401
    return {"$personal": {"kind": value.kind, "value": value.value}}


def wire(payload: dict[str, Any], personal: Callable[[Personal], object] = _personal_form) -> bytes:
    """A checked payload as compact JSON; `personal` writes personal values, by default in their outer form."""
    # Without the option orjson would write a Personal, which is a dataclass, by itself: its value in clear.
    return orjson.dumps(payload, default=personal, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= most and "\0" not in value and _encodable(value, "$personal")


def _encodable(text: str, path: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEvent(path, "holds a lone surrogate, which is no character") from None
    return True


def _join(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{_shown(key)[1:-1]}" if key else path


def _shown(key: str) -> str:
    return json.dumps(key[:50])
