"""Processor time: what work costs, however busy the machine is with other things."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from permalog.postgres.database import Connection

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)
"""utime, stime, and those of children that have ended: fields 14 to 17 of /proc/PID/stat, counted from 3."""


def server_seconds(connection: Connection) -> float | None:
    """Seconds that the processes of the server have computed so far, ended ones included; None of one elsewhere."""
    try:
        main = _fields(connection.info.backend_pid)[_PARENT]
        every = [_fields(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        own = [_fields(int(main)), *(fields for fields in every if fields and fields[_PARENT] == main)]
        return sum(int(ticks) for fields in own for ticks in fields[_TIMES]) / _TICKS
    except (OSError, IndexError):
        return None


def own_seconds() -> float:
    """Seconds that this process has computed so far."""
    times = os.times()
    return times.user + times.system


def _fields(process: int) -> list[str]:
    """Of /proc/PID/stat, from the third on: the second, a name, may hold spaces. Of a process that has ended, none."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except FileNotFoundError:
        return []
