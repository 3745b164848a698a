"""What the doctor finds in the spools of a database."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from permalog.errors import SpoolProblem
from permalog.postgres.health import Check
from permalog.recording.spool_files import private_folder
from permalog.recording.spool_purge import Spools
from permalog.recording.spool_settings import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from permalog.recording.spool_settings import SpoolSettings

_LONG_SECONDS: Final = 60
"""Events that happened so long ago and still wait: the database does not take them."""
_CHOOSE: Final = "set PERMALOG_SPOOL_DIR to a folder on a local disk that the application may write to"


def examine_spools(url: str, settings: SpoolSettings) -> list[Check]:
    """Looks at the spools of one database, whichever process writes them; it makes their folder and changes nothing."""
    folder = settings.folder()
    try:
        private_folder(folder)
        private_folder(place_of(url, "permalog_writer", folder))
    except SpoolProblem as error:
        return [Check("spool", "wrong", f"{folder}: {error}", _CHOOSE)]
    except OSError as error:
        return [Check("spool", "wrong", f"{folder} cannot be written: {error.strerror}", _CHOOSE)]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [Check("spool", "wrong", f"{folder} cannot be written", _CHOOSE)]
    return list(_checks(url, settings))


def _checks(url: str, settings: SpoolSettings) -> Iterator[Check]:
    folder = settings.folder()
    free = shutil.disk_usage(folder).free
    if free < settings.limit:
        yield Check(
            "spool", "wrong", f"{folder} has {free // 2**20} MB left, less than one process may spool",
            "make room there, or set PERMALOG_SPOOL_LIMIT lower: what cannot be spooled is refused",
        )  # fmt: skip
    else:
        yield Check("spool", "ok", f"{folder}, {free // 2**20} MB free")
    found = Spools(url, folder).census()
    if found.unreadable:
        yield Check(
            "spools of others", "wrong", f"{found.unreadable} belong to another user",
            "run the doctor, erasures and the application as one user: nobody else brings these events in",
        )  # fmt: skip
    age = None if found.oldest is None else max((datetime.now(UTC) - found.oldest).total_seconds(), 0.0)
    waiting = f"{found.events} events wait in {found.processes} spools"
    if found.orphans:
        yield Check(
            "waiting events", "wrong", f"{waiting}, {found.orphans} of which their processes have left behind",
            "start a process that records into this database: it brings them in within half a minute",
        )  # fmt: skip
    elif age is not None and age > _LONG_SECONDS:
        yield Check(
            "waiting events", "wrong", f"{waiting}, the oldest for {age:.0f} seconds",
            "see that the database takes events (down, read-only, full, or a right is missing): the log says why",
        )  # fmt: skip
    else:
        yield Check("waiting events", "ok", waiting if age is None else f"{waiting}, the oldest for {age:.0f} seconds")
    if found.quarantined:
        yield Check(
            "quarantine", "wrong", f"{found.quarantined} events were refused, or are damaged",
            "see docs/operations.md, Quarantine",
        )  # fmt: skip
    else:
        yield Check("quarantine", "ok", "empty")
