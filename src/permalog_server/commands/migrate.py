"""``permalog migrate``."""

from __future__ import annotations

from typing import Annotated

import typer

from permalog.errors import InvalidQuery
from permalog.postgres.migrate import migrate as bring_up_to_date
from permalog.postgres.migrate import pending, script
from permalog_server.commands.options import Json
from permalog_server.output import print_json
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS, open_database


def migrate(
    *,
    as_sql: Annotated[bool, typer.Option("--sql", help="Print what is missing as SQL, and change nothing.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say what is missing, and change nothing; exit code 1 if anything is.")
    ] = False,
    single_role: Annotated[
        bool,
        typer.Option("--single-role", help="For a server that lets nobody create roles: works, with less guarded."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Bring the database up to date, or say or check what that takes.

    Needs a login that may create roles and extensions (not with --single-role). All is applied in one transaction, or
    nothing.
    """
    if as_sql and check:
        raise InvalidQuery("sql", "and --check exclude each other")
    with open_database(migrated=False) as place:
        if not as_sql and not check:
            return _report(
                "applied",
                bring_up_to_date(place.url, ACTIONS, single_role=single_role, further=steps()),
                as_json=as_json,
            )
        missing = pending(place.url, ACTIONS, single_role=single_role, further=steps())
    if check:
        _report("pending", [step.name for step in missing], as_json=as_json)
        return 1 if missing else 0
    if as_json:
        print_json({"sql": script(missing)})
    else:
        print(script(missing) or "-- nothing: the database is up to date")
    return 0


def _report(what: str, names: list[str], *, as_json: bool) -> int:
    if as_json:
        print_json({what: names})
    elif names:
        for name in names:
            print(f"{what}: {name}")
    else:
        print("nothing to do: the database is up to date" if what == "applied" else "the database is up to date")
    return 0
