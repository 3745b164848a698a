"""``permalog agent analyze``, ``dismiss``, ``auto-dismiss`` and ``jobs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from permalog import Actor, Owner
from permalog.errors import InvalidQuery
from permalog_server.accounts import Accounts
from permalog_server.commands.options import Json, OwnerText, owner_of
from permalog_server.output import print_json, print_table
from permalog_server.wiring import open_log
from permalog_server.working import means, open_agent
from security_agent import analysis, auto_dismiss, dismissal
from security_agent.agent import Acting
from security_agent.case import whose
from security_agent.jobs import jobs as list_jobs
from security_agent.write_back import write_back

if TYPE_CHECKING:
    from permalog import Permalog
    from security_agent.attempt import Attempt

Finding = Annotated[str, typer.Argument(metavar="ID")]
By = Annotated[
    str | None, typer.Option("--actor", metavar="user:ID", help="Who does it, for the record; else the system.")
]


def analyze(
    finding: Finding,
    *,
    force: Annotated[bool, typer.Option("--force", help="Look at the code, whatever triage says.")] = False,
    actor: By = None,
    as_json: Json = False,
) -> int:
    """Analyse a finding, and wait for the end.

    Exit code 1: the analysis failed.
    """
    with open_log() as log, open_agent(log) as agent:
        owner, finding_id = _found(log, finding)
        one = analysis.start(agent, means(), owner, finding_id, _acting(log, actor), force=force)
        if one.is_active:
            analysis.run(agent, means(), owner.log_id, one.id)
        (ended, *_), _ = analysis.listed(agent, owner, finding_id=finding_id, limit=1)
    _tell(ended, as_json=as_json)
    return 1 if ended.status == "failed" else 0


def dismiss(
    finding: Finding,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help=f"{', '.join(dismissal.REASONS)}.")],
    comment: Annotated[
        str | None, typer.Option("--comment", metavar="TEXT", help="Why; up to 2,000 characters.")
    ] = None,
    actor: By = None,
    as_json: Json = False,
) -> None:
    """Dismiss a finding, on GitHub and here.

    If GitHub does not do it, nothing changes here, and the attempt is on record.
    """
    with open_log() as log, open_agent(log) as agent:
        owner, finding_id = _found(log, finding)
        done = dismissal.dismiss(agent, owner, finding_id, _acting(log, actor), reason, comment)
    if as_json:
        print_json({"finding_id": str(finding_id), "reason": done.reason, "correlation_id": done.correlation_id})
    else:
        print(f"dismissed here and on GitHub, as {done.reason}")


def auto_dismiss_eligible(
    *,
    owner: OwnerText,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dismissed.")] = False,
    actor: By = None,
    as_json: Json = False,
) -> None:
    """Dismiss all findings that are eligible, and tell GitHub.

    Each has an event of its own. What GitHub does not take now is tried again by the worker.
    """
    chosen = owner_of(owner)
    with open_log() as log, open_agent(log) as agent:
        if dry_run:
            found, correlation_id = auto_dismiss.eligible(agent, chosen).finding_ids, None
        else:
            bulk = auto_dismiss.dismiss_eligible(agent, chosen, _acting(log, actor))
            found, correlation_id = bulk.finding_ids, bulk.correlation_id
            for order in bulk.write_backs:
                write_back(agent, chosen.log_id, order)
    if as_json:
        ids = [str(one) for one in found]
        print_json({"dismissed": len(ids), "finding_ids": ids, "correlation_id": correlation_id, "dry_run": dry_run})
    else:
        print(f"{len(found):,} findings {'would be' if dry_run else 'were'} dismissed")


def jobs(
    *,
    owner: Annotated[str | None, typer.Option("--owner", metavar="OWNER", help="Only those of this owner.")] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="Only todo, doing, succeeded, failed, cancelled or aborted."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List the agent's background work, newest first."""
    with open_log() as log, open_agent(log) as agent:
        found = list_jobs(agent, owner_of(owner) if owner else None, status=status, limit=limit)
    if as_json:
        print_json({"jobs": found})
    else:
        columns = ("id", "task", "status", "attempts", "about", "deferred_at", "changed_at")
        print_table(columns, ([job[column] for column in columns] for job in found))


def _found(log: Permalog, text: str) -> tuple[Owner, UUID]:
    try:
        finding_id = UUID(text)
    except ValueError:
        raise InvalidQuery("finding", "must be a UUID") from None
    with log.database.shared() as connection:
        return whose(connection, finding_id), finding_id


def _acting(log: Permalog, text: str | None) -> Acting:
    """Whom the command is by.

    Raises:
        InvalidQuery: it is no ``user:ID``.
    """
    if text is None:
        return Acting.alone("cli", "cli")
    kind, _, user_id = text.partition(":")
    if kind != "user" or not user_id:
        raise InvalidQuery("actor", "must be user:<id>")
    standing = Accounts(log.database).standing(user_id, None)
    known: dict[str, Any] = {"email": standing.email, "name": standing.name} if standing else {}
    make = Actor.staff if standing and standing.staff else Actor.user
    return Acting(make(user_id, **known), "cli")


def _tell(one: Attempt, *, as_json: bool) -> None:
    if as_json:
        print_json(one.as_json())
        return
    document = one.as_json()
    triage: dict[str, Any] = document["triage"] or {}
    result: dict[str, Any] = document["result"] or {}
    rows: list[tuple[str, Any]] = [
        ("status", one.status if one.failure_code is None else f"{one.status}: {one.failure_code}"),
        ("triage", triage.get("suggestion")),
        ("confidence", triage.get("confidence")),
        ("why", triage.get("reason")),
        ("exploitable", result.get("exploitable")),
        ("suggested", result.get("suggested_action")),
        ("summary", result.get("summary")),
        ("uses", "\n".join(result.get("usage_locations", [])[:20]) or None),
    ]
    print_table(("", ""), [row for row in rows if row[1] is not None])
