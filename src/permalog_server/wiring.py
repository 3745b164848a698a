"""Putting the parts together: the database and the log that a command works on, from the settings."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from permalog.catalogue import BUILT_IN, Catalogue
from permalog.client import Permalog
from permalog.event import Actor
from permalog.postgres import embedded
from permalog.postgres.migrate import migrate
from permalog.recording.record import report_to_sentry
from permalog.recording.spool_settings import SpoolSettings
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.signing import Signing
from permalog_server.settings import Settings
from permalog_server.sql import steps
from security_agent.actions import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from security_agent.github import GitHub

ACTIONS: Final[Catalogue] = BUILT_IN | CATALOGUE
"""Every action of this installation."""


class Place(NamedTuple):
    """A database."""

    url: str
    data_dir: Path | None
    """Where the embedded server keeps it; None: it is the operator's own."""


def settings() -> Settings:
    """The settings of this process."""
    return Settings.read(os.environ)


def journal() -> Path:
    """The file, outside the database, in which erasures are noted."""
    chosen = settings()
    return chosen.erasure_journal or chosen.data_dir / "erasures.ndjson"


def signing_key(place: Place, *, make: bool = False) -> KeyFile | None:
    """The file of the signing key; None where the database is the operator's own, and no file is set.

    Args:
        place: the database; beside an embedded one the key has its place.
        make: make the first key there.

    Raises:
        KeyUnusable: it cannot be made.
    """
    chosen = settings()
    path = chosen.signing_key
    if path is None and place.data_dir is not None:
        path = place.data_dir / "signing.key"
    if path is None:
        return None
    keys = KeyFile(path, chosen.origin)
    if make and place.data_dir is not None and not path.exists():
        keys.make()
    return keys


def signing(place: Place) -> Signing | None:
    """What signing takes; None where there is no key. With the embedded database one is made.

    Raises:
        KeyUnusable: the key cannot be used, or not be made.
        Malformed: PERMALOG_ORIGIN is none (`ORIGIN`).
    """
    keys = signing_key(place, make=True)
    if keys is None:
        return None
    keys.signer()  # now, and not with the first log that is sealed
    return Signing(settings().origin, keys, sealed_folder(place))


def sealed_folder(place: Place) -> SealedFolder:
    """Where it is noted, outside the database, what was signed last."""
    chosen = settings()
    return SealedFolder(chosen.sealed_dir or (place.data_dir or chosen.data_dir) / "sealed")


def spool_settings(place: Place) -> SpoolSettings:
    """How events are spooled; unless told otherwise, an embedded database's lie beside it.

    Raises:
        SpoolProblem: a variable cannot be understood.
    """
    return SpoolSettings.of(None, None if place.data_dir is None else place.data_dir / "spool")


def operator_at_console() -> Actor:
    """Whoever runs a command: a member of staff, by the name of their login; the number where it has none."""
    try:
        return Actor.staff(getpass.getuser())
    except (KeyError, OSError):
        return Actor.staff(f"uid-{os.getuid()}")


@contextmanager
def open_database(*, migrated: bool = True) -> Generator[Place]:
    """The database of the settings. The embedded one is started, and migrated unless told otherwise.

    Raises:
        DatabaseProblem: the embedded server cannot be started, or its database not be migrated.
    """
    chosen = settings()
    if chosen.database_url is not None:
        yield Place(chosen.database_url, None)
        return
    with embedded.start(chosen.data_dir) as server:
        if server.notice is not None:
            print(server.notice, file=sys.stderr)
        if migrated:
            migrate(server.url, ACTIONS, further=steps())
        yield Place(server.url, server.data_dir)


@contextmanager
def open_log(place: Place | None = None, *, importing: bool = False) -> Generator[Permalog]:
    """The log in the settings' database, or in `place`.

    Raises:
        DatabaseProblem: the database cannot be reached or started, or has not been migrated.
    """
    if place is None:
        with open_database() as found, open_log(found, importing=importing) as log:
            yield log
        return
    hook = report_to_sentry if settings().sentry_dsn else None
    spool = spool_settings(place)
    with Permalog.connect(place.url, catalogue=CATALOGUE, on_failure=hook, importing=importing, spool=spool) as log:
        yield log


@contextmanager
def open_github() -> Generator[GitHub | None]:
    """GitHub, as the App of the settings; None where no App is configured.

    Raises:
        NotConfigured: the settings name one, and it cannot be used.
    """
    chosen = settings()
    if chosen.github_app_id is None or chosen.github_private_key is None:
        yield None
        return
    from security_agent.github import GitHub, NotConfigured  # noqa: PLC0415  most commands ask no GitHub

    try:
        key = chosen.github_private_key.read_text(encoding="ascii")
    except (OSError, ValueError):
        reason = f"PERMALOG_GITHUB_PRIVATE_KEY: {chosen.github_private_key} cannot be read, or is no PEM file"
        raise NotConfigured(reason) from None
    with GitHub(chosen.github_app_id, key, chosen.github_api_url) as github:
        yield github
