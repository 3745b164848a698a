"""Is this installation as it must be? What the doctor looks at, and what it advises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import psycopg

from permalog.errors import PermalogError
from permalog.postgres.migrate import NEWEST, OLDEST, plan
from permalog.sql import query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from permalog.catalogue import Catalogue
    from permalog.postgres.database import Connection
    from permalog.postgres.migrate import Step

Status: TypeAlias = Literal["ok", "less", "wrong"]

ROLES: Final = tuple(
    f"permalog_{name}"
    for name in (
        "owner",
        "eraser",
        "migrator",
        "writer",
        "importer",
        "reader",
        "sealer",
        "verifier",
        "privacy",
        "service",
    )
)
NEEDED: Final = ("permalog_writer", "permalog_reader")
MONTHS_AHEAD: Final = 12
SKEW: Final = timedelta(seconds=5)
"""Events of more than five minutes ahead are refused: a clock that is off by seconds will be off by minutes."""
_MIGRATE: Final = "run `permalog migrate`"


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    status: Status
    """``less``: it works, and guards less than it could (`migrate --single-role`)."""
    found: str
    remedy: str | None = None
    """What to do about it."""


def examine(url: str, catalogue: Catalogue, *, further: Sequence[Step] = ()) -> list[Check]:
    """Looks at everything, as far as it can get; changes nothing. ``further``: as `migrate` takes them."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            return list(_checks(connection, catalogue, further))
    except psycopg.Error as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return [
            Check(
                "database", "wrong", f"cannot be reached: {reason}",
                "check PERMALOG_DATABASE_URL, the network, and that the server runs",
            )
        ]  # fmt: skip


def _checks(connection: Connection, catalogue: Catalogue, further: Sequence[Step]) -> Iterator[Check]:
    encoding, ctype, has_schema, has_trigrams, login = _row(connection, "server")
    yield Check("database", "ok", f"reached as {login}")
    yield _version(connection.info.server_version // 10_000)
    yield _verdict(
        "encoding", encoding == "UTF8", f"{encoding}", "create a database with ENCODING 'UTF8', and move the log there"
    )
    yield _verdict(
        "character type", ctype not in {"C", "POSIX"}, f"{ctype}",
        "searching beyond ASCII is wrong here: create a database with TEMPLATE template0 LOCALE 'C.UTF-8'",
    )  # fmt: skip
    yield _verdict(
        "pg_trgm", has_trigrams, "installed" if has_trigrams else "not installed",
        f"{_MIGRATE} as a login that may create extensions, or CREATE EXTENSION pg_trgm",
    )  # fmt: skip
    yield _migrated(connection, catalogue, further)
    yield _clock(connection)
    if has_schema:
        yield from _schema(connection, catalogue, login)


def _schema(connection: Connection, catalogue: Catalogue, login: str) -> Iterator[Check]:
    missing, foreign = _row(connection, "roles", roles=list(ROLES))
    single = "permalog_owner" in missing
    ahead = _row(connection, "months_ahead")[0]
    yield _verdict(
        "partitions", ahead >= MONTHS_AHEAD, f"{ahead} months ahead",
        f"{_MIGRATE}, and do so every month: without a partition nothing can be recorded",
    )  # fmt: skip
    yield from _search(connection)
    yield _roles(missing, single=single)
    if not single:
        lacking = [role for role in NEEDED if role in foreign]
        found = f"{login} is no member of {_listed(lacking)}" if lacking else f"{login} may record and read"
        yield _verdict("login", not lacking, found, f"GRANT {', '.join(lacking)} TO {login}")
        importing = "permalog_importer" not in foreign
        yield Check(
            "import", "ok", f"{login} may {'' if importing else 'not '}import events of more than seven days ago"
        )
    yield _owners(connection, single=single)
    yield _none_of(
        "triggers", _column(connection, "triggers_missing"), "all are there and always on",
        "are missing or not ENABLE ALWAYS", "find out who changed them, and restore them from schema.sql",
    )  # fmt: skip
    unguarded = _column(connection, "tables_without_row_security")
    if single:
        yield Check("row-level security", "less", "off: without roles, every reader is trusted with every log")
    else:
        yield _none_of(
            "row-level security", unguarded, "on", "have none",
            "find out who switched it off: ALTER TABLE … ENABLE ROW LEVEL SECURITY",
        )  # fmt: skip
    yield _none_of(
        "actions", _column(connection, "actions_not_admitted", declared=[action.name for action in catalogue]),
        f"all {len(catalogue)} that this version declares are admitted", "would be refused", _MIGRATE,
    )  # fmt: skip


def _search(connection: Connection) -> Iterator[Check]:
    try:
        closed, waiting = _row(connection, "search_indexes")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
        return  # a login that may not read, or a database that is not migrated: both are told of elsewhere
    if waiting == 0:
        yield Check("search", "ok", f"{closed} closed partitions are indexed")
    else:
        yield Check(
            "search", "less", f"{waiting} of {closed} closed partitions have no search index: searching them is slow",
            "have `permalog seal` or `permalog serve` run, as a login that is granted permalog_sealer",
        )  # fmt: skip


def _version(version: int) -> Check:
    return _verdict(
        "version", OLDEST <= version <= NEWEST, f"PostgreSQL {version}", f"Permalog is tested on {OLDEST} to {NEWEST}"
    )


def _migrated(connection: Connection, catalogue: Catalogue, further: Sequence[Step]) -> Check:
    try:
        steps = [step.name for step in plan(connection, catalogue, further=further) if step.digest is not None]
    except PermalogError as error:
        return Check("migrations", "wrong", str(error), "this database was changed by another program: ask for help")
    except psycopg.errors.InsufficientPrivilege:
        return Check("migrations", "wrong", "this login may not look", "GRANT permalog_reader to it")
    return _none_of("migrations", steps, "up to date", "are pending", _MIGRATE)


def _clock(connection: Connection) -> Check:
    before = datetime.now(UTC)
    there: datetime = _row(connection, "now")[0]
    skew = there - (before + (datetime.now(UTC) - before) / 2)
    seconds = skew.total_seconds()
    return _verdict(
        "clock", abs(skew) <= SKEW, f"the database's is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}",
        "set both clocks by NTP: events of more than 5 minutes ahead are refused",
    )  # fmt: skip


def _roles(missing: list[str], *, single: bool) -> Check:
    if not missing:
        return Check("roles", "ok", "all are there")
    if single:
        return Check(
            "roles", "less", "none (single-role): the application's own login can change rows, and reads every log",
            "have an administrator run `permalog migrate` without --single-role on a new database, and move the log",
        )  # fmt: skip
    return Check("roles", "wrong", f"missing: {_listed(missing)}", _MIGRATE)


def _owners(connection: Connection, *, single: bool) -> Check:
    owners = [name for name, _ in connection.execute(query("health", "owned_by_logins"))]
    if not owners:
        return Check("owner", "ok", "nobody can log in as it")
    found = f"{_listed(owners)} can log in, and owns parts of the log"
    if single:
        return Check("owner", "less", found)
    return Check("owner", "wrong", found, "ALTER … OWNER TO permalog_owner: an owner can switch the guards off")


def _verdict(name: str, passed: bool, found: str, remedy: str) -> Check:  # noqa: FBT001  the condition reads well in its place
    return Check(name, "ok", found) if passed else Check(name, "wrong", found, remedy)


def _none_of(name: str, faults: list[str], good: str, bad: str, remedy: str) -> Check:
    return _verdict(name, not faults, f"{_listed(faults)} {bad}" if faults else good, remedy)


def _listed(names: list[str]) -> str:
    first = ", ".join(names[:5])
    return first if len(names) <= 5 else f"{first} and {len(names) - 5} more"  # noqa: PLR2004  a line's worth


def _row(connection: Connection, name: str, **parameters: object) -> Any:  # noqa: ANN401
    return connection.execute(query("health", name), parameters or None).fetchone()


def _column(connection: Connection, name: str, **parameters: object) -> list[str]:
    return [row[0] for row in connection.execute(query("health", name), parameters or None)]
