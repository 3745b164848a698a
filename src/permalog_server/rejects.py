"""Files of rejected lines (``permalog import --reject``): they hold what the log refused, personal data included."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from permalog.errors import InvalidQuery

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def purge(file: Path, user_id: str, texts: Collection[str], *, dry_run: bool = False) -> int:
    """Removes the lines that tell of a person; how many. The others stay as they are, byte by byte.

    Those of events by the person or for their own log, and those that hold one of the texts (addresses and names,
    as whole words, whatever the case) or one that such an event tells.

    Raises:
        InvalidQuery: it cannot be read or written; then it is as it was.
    """
    try:
        lines = file.read_bytes().splitlines(keepends=True)
        events = [_event(line) for line in lines]
        told = {text for event in events if _acts(event, user_id) for text in _told(event)}
        known = [re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE) for text in {*texts, *told}]
        kept = [
            line
            for line, event in zip(lines, events, strict=True)
            if not (_concerns(event, user_id) or any(text.search(_plain(line, event)) for text in known))
        ]
        if len(kept) < len(lines) and not dry_run:
            _replace(file, b"".join(kept))
    except OSError as error:
        raise InvalidQuery("reject", f"{file.name} cannot be purged: {error.strerror}") from error
    return len(lines) - len(kept)


def _event(line: bytes) -> Any:  # noqa: ANN401  whatever somebody sent
    """The event as it was sent; its text where that is no JSON."""
    try:
        text: Any = orjson.loads(line)["event"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return line.decode(errors="replace")
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(text)
    return text


def _plain(line: bytes, event: object) -> str:
    """All that a line says: with escapes as they were sent, and as they are read."""
    return line.decode(errors="replace") + str(event)


def _acts(event: object, user_id: str) -> bool:
    return _member(event, "actor", "id") == user_id


def _concerns(event: object, user_id: str) -> bool:
    return _acts(event, user_id) or _member(event, "owner", "user_id") == user_id


def _member(event: Any, name: str, inside: str) -> object:  # noqa: ANN401  whatever somebody sent
    try:
        return event[name][inside]
    except (TypeError, KeyError, IndexError):
        return None


def _told(event: object) -> list[str]:
    told = [_member(event, "actor", "email"), _member(event, "actor", "name")]
    return [text for text in told if isinstance(text, str) and text]


def _replace(file: Path, content: bytes) -> None:
    new = file.with_name(file.name + ".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        while content:
            content = content[os.write(handle, content) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    new.replace(file)
