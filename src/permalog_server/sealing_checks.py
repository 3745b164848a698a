"""What the doctor finds of sealing: the key, its name, the place outside the database, and whether it keeps up."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import psycopg

from permalog.errors import KeyUnusable, Malformed, NotMigrated, PermalogError
from permalog.postgres.database import Database
from permalog.postgres.health import Check
from permalog.sealing.sealer import SAMPLE, backlog, may_seal, overdue
from permalog_server.settings import Settings
from permalog_server.wiring import sealed_folder, settings, signing, signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from permalog_server.wiring import Place

LONGEST_WAIT: Final = 60.0
"""Seconds that an event may wait: sealing takes two, and a stopped sealer should be noticed soon."""
_SEALER: Final = "see that `permalog seal` or `permalog serve` runs with a login that is a member of permalog_sealer"


def sealing(place: Place) -> list[Check]:
    """Looks at everything, as far as it can get; changes nothing."""
    checks = [_key(place), _origin(place), _folder(sealed_folder(place).folder, place)]
    try:
        with closing(Database(place.url)) as database:
            checks += _keeping_up(database, is_signing=checks[0].status == "ok")
    except NotMigrated:
        pass  # which `examine` says
    except (PermalogError, psycopg.Error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        checks.append(Check("sealing", "wrong", reason, _SEALER))
    return checks


def _key(place: Place) -> Check:
    name = "signing key"
    keys = signing_key(place)
    if keys is None:
        return Check(
            name, "less", "PERMALOG_SIGNING_KEY is not set: whoever signs runs elsewhere, or nothing is signed",
            "set it where sealing runs, and `permalog key rotate` makes the key",
        )  # fmt: skip
    if place.data_dir is not None and not keys.path.exists():
        return Check(name, "ok", "is made when sealing starts")
    try:
        signing(place)
        return Check(name, "ok", f"{keys.signer().key.name}, one of {len(keys.known())} in the keyring")
    except (KeyUnusable, Malformed) as error:
        return Check(name, "wrong", str(error), "nothing is signed until the key can be used")


def _origin(place: Place) -> Check:
    origin = settings().origin
    if place.data_dir is None and origin == Settings.read({}).origin:
        return Check(
            "origin", "less", f"checkpoints call this installation {origin}",
            "set PERMALOG_ORIGIN before auditors and witnesses take the key: it is its name",
        )  # fmt: skip
    return Check("origin", "ok", origin)


def _folder(folder: Path, place: Place) -> Check:
    """The place outside the database."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check(
            "sealed folder", "wrong", f"{folder} cannot be written",
            "nothing is signed without it: set PERMALOG_SEALED_DIR to a folder that the sealer may write",
        )  # fmt: skip
    if settings().sealed_dir is None:
        return Check(
            "sealed folder", "less", f"{folder}, {'beside the database' if place.data_dir else 'on this machine'}",
            "set PERMALOG_SEALED_DIR to another volume than the database's, out of its backups",
        )  # fmt: skip
    return Check("sealed folder", "ok", str(folder))


def _keeping_up(database: Database, *, is_signing: bool) -> Iterator[Check]:
    if not may_seal(database):
        yield Check(
            "sealing", "ok", "this login does not seal, nor may it look at the backlog: somebody else must",
            "GRANT permalog_sealer TO it, where `permalog serve` shall seal",
        )  # fmt: skip
        return
    count, oldest = backlog(database)
    waited = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
    events = f"{'at least ' if count >= SAMPLE else ''}{count:,} events wait"
    found = f"{events}, the oldest for {max(waited, 0.0):.0f} s" if count else "nothing waits"
    yield Check("sealing", "wrong", found, _SEALER) if waited > LONGEST_WAIT else Check("sealing", "ok", found)
    unsigned = overdue(database)
    if unsigned and is_signing:
        yield Check(
            "checkpoints", "wrong", f"{unsigned:,} logs have grown, and were not signed for two minutes",
            "`permalog seal --once` says why; after a restore, docs/operations.md says what to do",
        )  # fmt: skip
    else:
        yield Check("checkpoints", "ok" if not unsigned else "less", f"{unsigned:,} logs wait for their signature")
