"""The journal of erasures: a file outside the database, so that they can be repeated after a backup was restored."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from uuid import UUID

import orjson

from permalog.errors import InvalidQuery

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

Kind: TypeAlias = Literal["user", "organization"]
_KINDS: Final[tuple[Kind, ...]] = ("user", "organization")


def note(journal: Path, kind: Kind, identifier: str) -> None:
    """Appends one line to the journal, and waits until it is on disk. It holds ids only.

    Raises:
        OSError: it cannot be written; then nothing may be erased.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    is_new = not journal.exists()
    line = orjson.dumps(
        {"at": datetime.now(UTC).isoformat(timespec="seconds"), "erased": kind, "id": identifier},
        option=orjson.OPT_APPEND_NEWLINE,
    )
    handle = os.open(journal, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # behind a line that a crash has cut off
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        _settle_folder(journal.parent)


def noted(journal: Path) -> Generator[tuple[Kind, str]]:
    """What a journal says was erased, in order: each once, as it stood when this was called first.

    Raises:
        InvalidQuery: lines are none of ours, such as one that a crash has cut off; names them, after all the others.
    """
    unreadable: list[str] = []
    entries: dict[tuple[Kind, str], None] = {}
    for number, line in enumerate(journal.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entries[_entry(line)] = None
        except (ValueError, KeyError, TypeError):
            unreadable.append(str(number))
    yield from entries
    if unreadable:
        raise InvalidQuery(f"line {', '.join(unreadable)}", "is no line of an erasure journal; all others were read")


def _entry(line: bytes) -> tuple[Kind, str]:
    entry = json.loads(line)
    kind = _KINDS[_KINDS.index(entry["erased"])]
    identifier = entry["id"]
    if not isinstance(identifier, str):
        raise TypeError
    return kind, identifier if kind == "user" else str(UUID(identifier))


def _settle_folder(folder: Path) -> None:
    """A new file is safe from a power cut only when its folder is on disk, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
