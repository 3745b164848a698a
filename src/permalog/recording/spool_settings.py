"""How events are spooled: where, how safely, and how many."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias, cast

from psycopg.conninfo import conninfo_to_dict

from permalog.errors import SpoolProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

WhenFull: TypeAlias = Literal["drop", "raise"]
SPOOL_LIMIT: Final = 256 * 1024 * 1024
GROUP_MILLISECONDS: Final = 100


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """How a process spools its events. `Permalog.connect` takes one; else the environment says.

    Raises:
        SpoolProblem: `read`, where a variable cannot be understood.
    """

    directory: Path | None = None
    """``PERMALOG_SPOOL_DIR``; None: ``permalog/spool`` in ``XDG_STATE_HOME`` or ``~/.local/state``, or where that
    cannot be written ``permalog-<uid>`` in the folder for temporary files."""
    fsync: Literal["none", "each"] | int = GROUP_MILLISECONDS
    """``PERMALOG_SPOOL_FSYNC``: what survives a power cut. ``each``: every event, waited for. A number: every event
    that is older than so many milliseconds, by another thread. ``none``: what the system has written by itself. The
    death of the process loses nothing with any of them."""
    limit: int = SPOOL_LIMIT
    """``PERMALOG_SPOOL_LIMIT``: bytes that may wait, for each process."""
    when_full: WhenFull = "drop"
    """``PERMALOG_SPOOL_FULL``: what becomes of an event that cannot be spooled. ``drop``: it is counted and handed to
    ``on_failure``; ``raise``: `record` raises RecorderFull or SpoolProblem, too."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Takes the settings from environment variables; an empty one counts as not set."""
        directory = environment.get("PERMALOG_SPOOL_DIR")
        full = environment.get("PERMALOG_SPOOL_FULL") or "drop"
        if full not in {"drop", "raise"}:
            raise SpoolProblem("PERMALOG_SPOOL_FULL must be drop or raise")
        return cls(
            Path(directory) if directory else None,
            _fsync(environment.get("PERMALOG_SPOOL_FSYNC") or str(GROUP_MILLISECONDS)),
            _number("PERMALOG_SPOOL_LIMIT", environment.get("PERMALOG_SPOOL_LIMIT") or str(SPOOL_LIMIT)),
            cast("WhenFull", full),
        )

    @classmethod
    def of(cls, given: SpoolSettings | Path | str | None, otherwise: Path | None = None) -> SpoolSettings:
        """What a caller gave, completed from the environment; ``otherwise``: the folder, where neither names one."""
        if isinstance(given, SpoolSettings):
            return given
        found = cls.read(os.environ)
        if given is not None:
            return replace(found, directory=Path(given))
        return found if found.directory is not None else replace(found, directory=otherwise)

    def folder(self) -> Path:
        """Where all spools of this user are."""
        if self.directory is not None:
            return self.directory
        state = os.environ.get("XDG_STATE_HOME")
        home = Path(state) if state else Path("~/.local/state").expanduser()
        if home.is_absolute() and _can_be_made(home):
            return home / "permalog" / "spool"
        return Path(tempfile.gettempdir()) / f"permalog-{os.getuid()}"


def place_of(url: str, role: str, folder: Path) -> Path:
    """The spools of one database and one role in a folder of spools: what one may store, another may not."""
    return folder / f"{_address(url)}-{role.removeprefix('permalog_')}"


def places_of(url: str, folder: Path) -> list[Path]:
    """Those of all roles in one database."""
    return sorted(folder.glob(f"{_address(url)}-*"))


def _address(url: str) -> str:
    """A database by its host, port and name, without the login."""
    parts = conninfo_to_dict(url)
    address = [
        str(parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST") or ""),
        str(parts.get("port") or os.environ.get("PGPORT") or "5432"),
        str(parts.get("dbname") or os.environ.get("PGDATABASE") or parts.get("service") or parts.get("user") or ""),
    ]
    return hashlib.sha256("\n".join(address).encode()).hexdigest()[:16]


def _can_be_made(path: Path) -> bool:
    while not path.exists():
        path = path.parent
    return os.access(path, os.W_OK | os.X_OK)


def _fsync(text: str) -> Literal["none", "each"] | int:
    if text == "none" or text == "each":  # noqa: PLR1714  narrows the type
        return text
    return _number("PERMALOG_SPOOL_FSYNC", text, "none, each or a number of milliseconds")


def _number(name: str, text: str, form: str = "a number") -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SpoolProblem(f"{name} must be {form}")
    return int(text)
