"""``permalog erase-user``, ``erase-organization`` and ``erase --replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from permalog.errors import InvalidQuery
from permalog_server.accounts import Accounts
from permalog_server.commands.options import Json
from permalog_server.forgetting import Erased, Office
from permalog_server.output import print_json
from permalog_server.wiring import journal, open_log, operator_at_console

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


def erase_user(
    user_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    rejects: Annotated[
        list[Path] | None,
        typer.Option("--reject", metavar="FILE", help="Rejected lines of an import to purge, too; repeatable."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Forget a person; what happened stays on record.

    E-mail, name and addresses go from all logs, the log that they own goes as a whole, and the account. The id stays.
    Exit code 1: there is nobody and nothing by this id.
    """
    with open_log() as log:
        office = Office(log, Accounts(log.database), journal())
        purged = {"rejected_lines": office.purge_rejects(rejects, user_id, dry_run=dry_run)} if rejects else {}
        erased = office.forget_user(user_id, operator_at_console(), dry_run=dry_run)
        return _report(erased, purged, as_json=as_json)


def erase_organization(
    organization: Annotated[str, typer.Argument(metavar="UUID")], *, dry_run: DryRun = False, as_json: Json = False
) -> int:
    """Remove an organisation's log and accounts.

    A tombstone stays, and refuses new events. Exit code 1: there is no such organisation.
    """
    try:
        wanted = UUID(organization)
    except ValueError:
        raise InvalidQuery("organization", "must be a UUID") from None
    with open_log() as log:
        office = Office(log, Accounts(log.database), journal())
        erased = office.forget_organization(wanted, operator_at_console(), dry_run=dry_run)
        return _report(erased, {}, as_json=as_json)


def erase(
    *,
    replay: Annotated[
        Path, typer.Option("--replay", metavar="FILE", help="A journal of erasures.", exists=True, dir_okay=False)
    ],
    as_json: Json = False,
) -> None:
    """Repeat the erasures of a journal, after a backup was restored.

    Safe to run again.
    """
    with open_log() as log:
        office = Office(log, Accounts(log.database), journal())
        repeated = office.replay(replay, operator_at_console())
    if as_json:
        print_json({"replayed": repeated})
    else:
        print(f"{repeated:,} erasures repeated")


def _report(erased: Erased | None, purged: dict[str, int], *, as_json: bool) -> int:
    if as_json:
        print_json(None if erased is None else erased.as_json() | purged)
    elif erased is None:
        print("there is nobody and nothing by this id")
    else:
        verb = "would be" if erased.dry_run else "were"
        identities = sum(one["identities"] for one in erased.logs)
        events = sum(one["events"] for one in erased.logs)
        print(f"{identities:,} identities in {len(erased.logs):,} logs {verb} erased,")
        print(f"{events:,} events {verb} removed together with logs of their own,")
        for lines in purged.values():
            print(f"{lines:,} rejected lines {verb} purged,")
        print(f"{erased.tokens:,} tokens {verb} revoked, and {erased.memberships:,} memberships ended")
    return 1 if erased is None else 0
