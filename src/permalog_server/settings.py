"""The settings: read once, from the environment, into one frozen object."""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_DIR: Final = ".permalog"
_HIDDEN: Final = "********"


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set. A variable that is empty counts as not set."""

    database_url: str | None = field(
        default=None,
        metadata={
            "name": "PERMALOG_DATABASE_URL",
            "meaning": "The PostgreSQL database (15 to 18) that holds the logs; without it, an embedded one",
        },
    )
    data_dir: Path = field(
        default=Path(DATA_DIR),
        metadata={
            "name": "PERMALOG_DATA_DIR",
            "meaning": "The folder of the embedded PostgreSQL, for when no database is given",
        },
    )
    erasure_journal: Path | None = field(
        default=None,
        metadata={
            "name": "PERMALOG_ERASURE_JOURNAL",
            "meaning": "The file that notes erasures outside the database; else erasures.ndjson in PERMALOG_DATA_DIR",
        },
    )
    sentry_dsn: str | None = field(
        default=None,
        metadata={
            "name": "PERMALOG_SENTRY_DSN",
            "meaning": "The Sentry project that hears of events that could not be recorded, and of crashes",
        },
    )

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Takes the settings from environment variables."""
        given = {f.name: environment.get(_name(f)) or None for f in fields(cls)}
        return cls(
            database_url=given["database_url"],
            data_dir=Path(given["data_dir"] or DATA_DIR),
            erasure_journal=Path(given["erasure_journal"]) if given["erasure_journal"] else None,
            sentry_dsn=given["sentry_dsn"],
        )

    def described(self, environment: Mapping[str, str]) -> list[Described]:
        """Each setting as it may be shown: secrets hidden, and where the value came from."""
        return [
            Described(
                _name(f),
                _shown(f.name, getattr(self, f.name)),
                "environment" if environment.get(_name(f)) else "default",
                str(f.metadata["meaning"]),
            )
            for f in fields(self)
        ]


class Described(NamedTuple):
    """One setting, for people."""

    name: str
    value: str | None
    """Without secrets; None: not set."""
    source: str
    """``environment`` or ``default``."""
    meaning: str


def hide_password(url: str) -> str:
    """A database address, as a URL or as libpq's ``key=value`` words, without its password."""
    if "://" not in url:
        # A quoted value may hold blanks, and a backslash keeps what follows it.
        return re.sub(r"(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s'\\]|\\.)+)", rf"\1{_HIDDEN}", url)
    try:
        parts = urlsplit(url)
        login, at, host = parts.netloc.rpartition("@")
        user, colon, _ = login.partition(":")
        query = [
            (k, _HIDDEN if "password" in k.lower() else v) for k, v in parse_qsl(parts.query, keep_blank_values=True)
        ]
    except ValueError:
        return _HIDDEN
    netloc = f"{user}{f':{_HIDDEN}' if colon else ''}{at}{host}"
    # Rewritten only where something was hidden: the address of the embedded server must stay as it is.
    text = urlencode(query, safe="/*") if any(v == _HIDDEN for _, v in query) else parts.query
    return urlunsplit(parts._replace(netloc=netloc, query=text))


def _name(setting: Field[object]) -> str:
    return str(setting.metadata["name"])


def _shown(name: str, value: object) -> str | None:
    if value is None:
        return None
    if name == "sentry_dsn":
        return _HIDDEN
    return hide_password(str(value)) if name == "database_url" else str(value)
