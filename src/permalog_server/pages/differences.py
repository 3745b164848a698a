"""What differs between two states, and payloads as lines: whatever is in them, in a bounded number of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST: Final = 200
"""Lines of one payload; the rest is in the event as JSON."""
_DEEPEST: Final = 12
_LONGEST: Final = 2000
_WITHHELD: Final = "(withheld or erased)"

Kind: TypeAlias = Literal["same", "changed", "added", "removed"]


class Line(NamedTuple):
    """One value of a payload."""

    name: str
    """Its place: ``finding.cvss.score``."""
    value: str


class Difference(NamedTuple):
    """One value before and after."""

    name: str
    before: str | None
    after: str | None
    kind: Kind


def lines_of(payload: dict[str, Any] | None) -> list[Line]:
    """A payload's values by their places, at most `MOST`."""
    found: list[Line] = []
    for line in _lines(payload or {}, "", 0):
        if len(found) == MOST:
            break
        found.append(line)
    return found


def differences(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Difference]:
    """What was, and what is: what has changed first, then what has stayed."""
    old, new = dict(lines_of(before)), dict(lines_of(after))
    found = [
        Difference(name, old.get(name), new.get(name), _kind(old.get(name), new.get(name))) for name in {**old, **new}
    ]
    return sorted(found, key=lambda one: one.kind == "same")


def _kind(before: str | None, after: str | None) -> Kind:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    return "same" if before == after else "changed"


def _lines(value: object, place: str, depth: int) -> Iterator[Line]:
    match value:
        case {"$personal": {"value": str(inner)}}:
            yield Line(place, _text(inner))
        case dict() if "$personal" in value:
            yield Line(place, _WITHHELD)
        case dict() if value and depth < _DEEPEST:
            for name, inside in cast("dict[str, object]", value).items():
                yield from _lines(inside, f"{place}.{name}" if place else name, depth + 1)
        case list() if value and depth < _DEEPEST:
            items = cast("list[object]", value)
            if all(isinstance(item, str | int | float) for item in items):
                yield Line(place, _shortened(", ".join(map(_text, items))))
                return
            for index, inside in enumerate(items):
                yield from _lines(inside, f"{place}[{index}]", depth + 1)
        case _ if place:
            yield Line(place, _text(value))
        case _:
            return


def _text(value: object) -> str:
    if isinstance(value, str):
        return _shortened(value)
    return _shortened(orjson.dumps(value).decode())


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
