"""Migrations: what is missing in a database, as steps that can be applied, printed for a DBA, or only counted.

The schema's truth is ``sql/schema.sql``; ``sql/migrations/*.sql`` lead there and are never edited once released (a test
proves both equal). Functions and grants (``keys.sql``, ``guards.sql``, ``routines/``, ``access.sql``) are replaced as
wholes, whenever their text changes. Everything is applied in one transaction under a lock, so that a database is
migrated, or as it was before.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString, cast

import psycopg
from psycopg import sql

from permalog.errors import DatabaseProblem, MigrationFailed, UnsuitableDatabase
from permalog.sql import HERE, query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable

    from permalog.catalogue import Catalogue
    from permalog.postgres.database import Connection

OLDEST: Final = 15
NEWEST: Final = 18
_LOCK: Final = 0x7065726D616C6F67  # "permalog" in ASCII
_ATTEMPTS: Final = 5
PATIENCE: Final = 10.0
"""Seconds to wait for a lock; bounds how long writers queue up behind a migration that itself waits for a reader."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a database lacks, and the SQL that brings it."""

    name: str
    text: str
    digest: bytes | None = None
    """SHA-256 of a file, remembered in ``permalog.migration``; None for what is looked up instead."""


def migrate(
    url: str,
    catalogue: Catalogue,
    *,
    single_role: bool = False,
    patience: float = PATIENCE,
    further: Sequence[Step] = (),
) -> list[str]:
    """Brings a database up to date; returns the names of the steps that were applied.

    Args:
        url: the database, as a login that may migrate it.
        catalogue: the actions that are put into it, beside those that are there.
        single_role: make no roles, where the login may not; the guards are weaker then.
        patience: seconds to wait for a lock that another session holds.
        further: the files of what builds on the library (`file_steps`): applied after its own, and remembered
            alike; one named ``…access.sql`` grants rights, and is left out with ``single_role``.

    Raises:
        UnsuitableDatabase: its version, encoding or character type cannot hold a log correctly.
        MigrationFailed: a step failed; the database is as it was before.
    """
    with _connect(url) as connection:
        check_suitable(connection)
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        for attempt in range(_ATTEMPTS):
            steps = plan(connection, catalogue, single_role=single_role, patience=patience, further=further)
            try:
                with connection.transaction():
                    for step in steps:
                        connection.execute(cast("LiteralString", step.text))  # the project's own files
                return [step.name for step in steps]
            except psycopg.errors.InternalError_ as error:
                # Roles belong to the whole server: another database was migrated at the same moment.
                if "concurrently updated" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise MigrationFailed(str(error)) from error
                time.sleep(0.1 * (attempt + 1))
            except psycopg.errors.LockNotAvailable as error:
                raise MigrationFailed(
                    f"another session has held a lock on the log's tables for {patience:g} seconds; nothing was"
                    " changed: end its transaction, and run `permalog migrate` again"
                ) from error
            except psycopg.Error as error:
                raise MigrationFailed(str(error).strip()) from error
    raise AssertionError  # the loop returns or raises


def pending(url: str, catalogue: Catalogue, *, single_role: bool = False, further: Sequence[Step] = ()) -> list[Step]:
    """What `migrate` would apply, in order; empty where the database is up to date.

    Raises:
        UnsuitableDatabase: its version, encoding or character type cannot hold a log correctly.
        MigrationFailed: a migration that was applied has been edited since.
    """
    with _connect(url) as connection:
        check_suitable(connection)
        return plan(connection, catalogue, single_role=single_role, further=further)


def script(steps: Iterable[Step]) -> str:
    """The steps as one transaction for psql."""
    parts = [f"\n-- {step.name}\n{step.text.strip().removesuffix(';')};\n" for step in steps]
    return "BEGIN;\n" + "".join(parts) + "\nCOMMIT;\n" if parts else ""


def check_suitable(connection: Connection) -> None:
    """Refuses a database in which searching and lower-casing would silently be wrong, or the SQL would not run.

    Raises:
        UnsuitableDatabase: says what is wrong, and what to do.
    """
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        raise UnsuitableDatabase(f"this server is PostgreSQL {version}; Permalog needs {OLDEST} to {NEWEST}")
    row = connection.execute(query("migrate", "suitability")).fetchone()
    encoding, ctype, lowers = row or ("", "", False)
    if encoding != "UTF8":
        raise UnsuitableDatabase(f"this database's encoding is {encoding}; create one with ENCODING 'UTF8'")
    if ctype in {"C", "POSIX"} or not lowers:
        raise UnsuitableDatabase(
            f"this database's character type is {ctype if lowers else 'C'}: searching and lower-casing beyond ASCII"
            " would be wrong; create one with TEMPLATE template0 LOCALE 'C.UTF-8'"
        )


def plan(
    connection: Connection,
    catalogue: Catalogue,
    *,
    single_role: bool = False,
    patience: float = PATIENCE,
    further: Sequence[Step] = (),
) -> list[Step]:
    """The steps that this database lacks, in order."""
    applied = _applied(connection)
    single_role = single_role or ("roles.sql" not in applied and bool(applied))
    steps: list[Step] = []
    files = ["keys.sql", "guards.sql", *_folder("migrations"), *_folder("routines")]
    if not single_role:
        files = ["roles.sql", *files]
    changed = [step for step in file_steps(files) if applied.get(step.name) != step.digest]
    changed_further = [
        step
        for step in further
        if applied.get(step.name) != step.digest and not (single_role and step.name.endswith("access.sql"))
    ]
    edited = [s.name for s in (*changed, *changed_further) if "migrations/" in s.name and s.name in applied]
    if edited:
        raise MigrationFailed(f"{edited[0]} was applied to this database in another form: it must never be edited")
    if not applied:
        create = "create_schema_single_role" if single_role else "create_schema"
        steps.append(Step("extension and schema", query("migrate", create)))
    steps += changed
    if not applied or _holds(connection, "partitions_missing"):
        steps.append(Step("partitions", query("migrate", "make_partitions")))
    if not applied or _actions_missing(connection, catalogue):
        rows = [(a.name, a.resource_type, a.label, a.retired) for a in catalogue]
        steps.append(Step("catalogue", _filled("admit", rows) if rows else query("migrate", "admit_nothing")))
    (access,) = file_steps(["access.sql"])
    if not single_role and (steps or applied.get(access.name) != access.digest):
        steps.append(access)
    steps += changed_further
    return _framed(steps, single_role=single_role, patience=patience)


def _framed(steps: list[Step], *, single_role: bool, patience: float) -> list[Step]:
    """The steps within their settings, as the owner of the tables, and the record of what was applied."""
    if not steps:
        return []
    first = ("roles.sql", "extension and schema")
    before = sorted((step for step in steps if step.name in first), key=lambda step: first.index(step.name))
    after = [step for step in steps if step not in before]
    become = [] if single_role else [Step("owner", query("migrate", "become_owner"))]
    rows = [(step.name, step.digest) for step in steps if step.digest is not None]
    record = [Step("record", _filled("note_applied", rows))] if rows else []
    settings = sql.SQL(query("migrate", "settings")).format(patience=sql.Literal(f"{patience * 1000:.0f}ms"))
    return [Step("settings", settings.as_string(None)), *before, *become, *after, *record]


def _filled(name: str, rows: Iterable[tuple[object, ...]]) -> str:
    """A query of migrate.sql with its {rows}, each value quoted as PostgreSQL asks for."""
    values = (sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows)
    return sql.SQL(query("migrate", name)).format(rows=sql.SQL(", ").join(values)).as_string(None)


def _applied(connection: Connection) -> dict[str, bytes]:
    if not _holds(connection, "has_schema"):
        return {}
    return dict(connection.execute(query("migrate", "applied")).fetchall())


def _holds(connection: Connection, name: str) -> bool:
    row = connection.execute(query("migrate", name)).fetchone()
    return bool(row and row[0])


def _actions_missing(connection: Connection, catalogue: Catalogue) -> bool:
    known = {row[0]: row[1:] for row in connection.execute(query("migrate", "known_actions"))}
    return any(known.get(a.name) != (a.resource_type, a.label, a.retired) for a in catalogue)


def file_steps(names: Iterable[str], folder: Traversable = HERE, prefix: str = "") -> list[Step]:
    """A step for each SQL file, in the order given. ``prefix`` tells the files of another folder from the library's."""
    found = ((prefix + name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names)
    return [Step(name, text, hashlib.sha256(text.encode()).digest()) for name, text in found]


def _folder(name: str) -> list[str]:
    return sorted(f"{name}/{entry.name}" for entry in HERE.joinpath(name).iterdir() if entry.name.endswith(".sql"))


def _connect(url: str) -> Connection:
    try:
        # An encoding of its own, since a database in SQL_ASCII would answer in bytes.
        return psycopg.connect(url, autocommit=True, connect_timeout=10, client_encoding="utf8")
    except psycopg.OperationalError as error:
        raise DatabaseProblem(f"cannot connect to the database: {str(error).strip().splitlines()[0]}") from error
