"""``permalog log resume``."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from permalog.errors import InvalidQuery, KeyUnusable
from permalog.postgres.database import Database
from permalog.resuming import new_origin, resume_after_restore
from permalog_server.commands.options import Json, owner_of
from permalog_server.output import print_json
from permalog_server.wiring import open_database, operator_at_console, signing

if TYPE_CHECKING:
    from permalog.event import Owner
    from permalog.resuming import Resumed, Resumption
    from permalog.sealing.signing import Signing

app: Final = typer.Typer(help="Look after logs as wholes.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Keeps `resume` a command of its own while it is the only one."""


@app.command()
def resume(
    *,
    after_restore: Annotated[
        bool,
        typer.Option("--after-restore", help="Say that the database was restored, or moved, on purpose. Required."),
    ] = False,
    owner: Annotated[
        str | None,
        typer.Option(
            "--owner", metavar="OWNER", help="Only this log: org:<uuid> or user:<id>. Else every log in need."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, at a terminal, whether to go on.")] = False,
    as_json: Json = False,
) -> int:
    """Let logs go on that sealing refuses to sign, in a new epoch, after the database was restored.

    What the database no longer has is not brought back. On record in each log. Exit code 1 if one could not be resumed.
    """
    if not after_restore:
        raise InvalidQuery(
            "after-restore", "must be given: it says that this was a restore, and that nobody has changed the database"
        )
    whose = None if owner is None else owner_of(owner)
    with open_database() as place, closing(Database(place.url)) as database:
        found = signing(place)
        if found is None:
            raise KeyUnusable("there is no key to sign with: set PERMALOG_SIGNING_KEY")
        if not (dry_run or yes or as_json) and sys.stdin.isatty():
            planned = _resumed(database, found, whose, dry_run=True)
            if planned.logs:
                _tell(planned, found, dry_run=True)
                if not typer.confirm("Go on in new epochs?", err=True):
                    raise typer.Exit(1)
        done = _resumed(database, found, whose, dry_run=dry_run)
        if as_json:
            print_json({
                "resumed": [_shown(one, found) for one in done.logs],
                "well": done.well,
                "failed": [{"log_id": str(log_id), "error": reason} for log_id, reason in done.failed.items()],
                "dry_run": dry_run,
            })  # fmt: skip
        else:
            _tell(done, found, dry_run=dry_run)
    return 1 if done.failed else 0


def _resumed(database: Database, found: Signing, owner: Owner | None, *, dry_run: bool) -> Resumed:
    return resume_after_restore(database, found, owner, actor=operator_at_console(), source="cli", dry_run=dry_run)


def _shown(one: Resumption, found: Signing) -> dict[str, Any]:
    return {
        "log_id": str(one.log_id), "owner": str(one.owner), "because": one.because.value, "previous_size": one.size,
        "last": {"origin": one.last.origin, "size": one.last.size, "root": one.last.root.hex()},
        "epoch": one.epoch, "origin": new_origin(found, one),
    }  # fmt: skip


def _tell(done: Resumed, found: Signing, *, dry_run: bool) -> None:
    for one in done.logs:
        print(f"{one.owner}: {one.reason}")
        print(f"  {'would go' if dry_run else 'goes'} on as {new_origin(found, one)}")
    verb = "would be resumed" if dry_run else "resumed"
    print(f"{len(done.logs):,} logs {verb}, {done.well:,} had no need of it")
    for reason in done.failed.values():
        print(f"permalog: {reason}", file=sys.stderr)
