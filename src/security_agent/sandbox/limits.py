"""Limits that a process puts upon itself before it touches what strangers wrote.

Run as a program, ``python -I -m security_agent.sandbox.limits JSON PROGRAM ARGUMENT…``, it takes the limits and becomes
the program. Standard library only: it runs before everything else.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

NOBODY: Final = 65534
"""Whom root becomes: limits on processes do not bind root, nor does the mode of a file."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process and its children may use."""

    memory: int
    """Bytes of address space, each."""
    processor_seconds: int
    """Each."""
    file_bytes: int
    """The largest file that may be written."""
    processes: int
    """How many more the user may have; 0: none may be started."""
    drop: bool = True
    """As root, become nobody."""

    def as_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def take(limits: Limits) -> None:
    """Puts the limits upon this process, for good."""
    os.umask(0o077)
    if limits.drop and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    running = _running() if limits.processes else 0
    for what, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CPU, limits.processor_seconds),
        (resource.RLIMIT_NPROC, running + limits.processes),
        (resource.RLIMIT_AS, limits.memory),
    ):
        _, hard = resource.getrlimit(what)
        bounded = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(what, (bounded, bounded))


def _running() -> int:
    """How many threads this user has already: the limit counts them all, not only this process's children."""
    mine, count = os.getuid(), 0
    for entry in Path("/proc").glob("[0-9]*/task"):
        with suppress(OSError):  # it has ended meanwhile
            if entry.stat().st_uid == mine:
                count += sum(1 for _ in entry.iterdir())
    return count


def main() -> None:
    """Takes the limits and becomes the program."""
    take(Limits(**json.loads(sys.argv[1])))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  without a shell, on purpose


if __name__ == "__main__":
    main()
