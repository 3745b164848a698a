"""Searches a tree for uses of a package: a contained program that reads a request and prints what it found.

``python -I -m security_agent.sandbox.search`` with ``{"tree", "ecosystem", "package", "memory", "seconds"}`` on
standard input. Standard library only. It starts no processes, follows no links, opens regular files only, and says what
it left out.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from security_agent.sandbox.limits import Limits, take
from security_agent.sandbox.packages import dependents, package

if TYPE_CHECKING:
    from security_agent.sandbox.packages import Package

LARGEST_FILE: Final = 2 * 1024 * 1024
LARGEST_LOCK: Final = 32 * 1024 * 1024
"""Bytes; a longer file is left out, and said."""
MOST_FILES: Final = 200_000
DEEPEST: Final = 64
MOST_PLACES: Final = 200
_LEFT_OUT: Final = frozenset({".git", "node_modules", "bower_components", "vendor", "target", "__pycache__", ".venv"})
"""Folders of others' code, or of what was built."""
_DOCUMENTS: Final = (".md", ".rst", ".txt", ".adoc", ".lock", ".sum", ".svg", ".map", ".snap")
"""What a name in is no use of it."""


@dataclass
class Found:
    """What a search has found so far."""

    uses: list[str] = field(default_factory=list)
    use_count: int = 0
    mentions: list[str] = field(default_factory=list)
    mention_count: int = 0
    declared: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    dependents: list[str] = field(default_factory=list)
    files: int = 0
    links: int = 0
    large: list[str] = field(default_factory=list)
    unreadable: int = 0
    complete: bool = True
    """Every file that may hold a use was read."""


def search(tree: Path, wanted: Package) -> Found:
    """Looks through a tree."""
    found = Found()
    folders: list[tuple[str, int]] = [("", 0)]
    while folders:
        inner, depth = folders.pop()
        try:
            with os.scandir(tree / inner) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            found.unreadable += 1
            found.complete = False
            continue
        for entry in listed:
            path = f"{inner}/{entry.name}" if inner else entry.name
            if entry.is_symlink():
                found.links += 1
            elif entry.is_dir(follow_symlinks=False):
                if depth >= DEEPEST:
                    found.complete = False
                elif entry.name.lower() not in _LEFT_OUT:
                    folders.append((path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                if found.files >= MOST_FILES:
                    found.complete = False
                    return found
                found.files += 1
                _look(tree, path, wanted, found)
    return found


def _look(tree: Path, path: str, wanted: Package, found: Found) -> None:
    low = path.lower()
    is_lock = wanted.locks.match(low) is not None
    text = _text(tree, path, LARGEST_LOCK if is_lock else LARGEST_FILE, found)
    if text is None:
        return
    if is_lock:
        if wanted.mentions.search(text):
            found.locked.append(_shown(path))
            found.dependents += dependents(wanted, low, text)[:MOST_PLACES]
        return
    if wanted.manifests.match(low):
        if wanted.declares.search(text):
            found.declared.append(_shown(path))
        return
    uses = [match.start() for match in wanted.uses.finditer(text)] if wanted.sources.match(low) else []
    found.use_count += len(uses)
    _place(found.uses, path, text, uses)
    if not uses and not low.endswith(_DOCUMENTS) and (mention := wanted.mentions.search(text)):
        found.mention_count += 1
        _place(found.mentions, path, text, [mention.start()])


def _place(places: list[str], path: str, text: str, starts: list[int]) -> None:
    """Adds ``path:line`` for each place, as long as there is room."""
    line, last = 1, 0
    for start in starts[: MOST_PLACES - len(places)]:
        # A match may begin with the newline's blanks: its line is that of the first letter.
        line += text.count("\n", last, start)
        last = start
        places.append(f"{_shown(path)}:{line}")


def _text(tree: Path, path: str, largest: int, found: Found) -> str | None:
    """A regular file's text; None: it is not read, and that is noted."""
    try:
        # Between listing and opening, nobody may put a link or a pipe in its place.
        descriptor = os.open(tree / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        found.unreadable += 1
        found.complete = False
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            found.unreadable += 1
            return None
        if about.st_size > largest:
            if len(found.large) < MOST_PLACES:
                found.large.append(_shown(path))
            found.complete = False
            return None
        data = file.read(largest)
    return None if b"\0" in data[:8192] else data.decode(errors="replace")


def _shown(path: str) -> str:
    """A path that may be printed: strangers name their files as they like."""
    clean = path.encode(errors="replace").decode(errors="replace")
    return "".join(c if c.isprintable() else "?" for c in clean)[:400]


def main() -> None:
    """Reads the request, takes the limits, searches, prints."""
    request: dict[str, Any] = json.load(sys.stdin)
    wanted = package(request["ecosystem"], request["package"])
    if wanted is None:
        sys.exit(3)
    take(Limits(request["memory"], request["seconds"], file_bytes=64 * 1024 * 1024, processes=0))
    found = search(Path(request["tree"]), wanted)
    json.dump(vars(found), sys.stdout)


if __name__ == "__main__":
    main()
