"""``permalog agent findings``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from permalog_server.commands.agent.parts import open_agent, show_json
from permalog_server.commands.options import Format, Json, OwnerText, Shape, owner_of
from permalog_server.output import print_table
from security_agent import finding


class Status(StrEnum):
    """What ``--status`` takes."""

    OPEN = "open"
    FIXED = "fixed"
    IGNORED = "ignored"
    CLOSED = "closed"


class Severity(StrEnum):
    """What ``--severity`` takes."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


_COLUMNS = ("id", "severity", "status", "repository", "package", "title", "deadline")


def findings(
    *,
    owner: OwnerText,
    status: Annotated[
        Status | None, typer.Option("--status", help="Only these: open, fixed, ignored; closed: the last two.")
    ] = None,
    severity: Annotated[
        list[Severity] | None, typer.Option("--severity", help="Only of this one; may be given several times.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option("--repository", metavar="NAME", help="Only of this one, owner/name.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many; 50 by default.")] = 50,
    offset: Annotated[int, typer.Option("--offset", metavar="N", min=0, help="How many to leave out before.")] = 0,
    shape: Format = Shape.TABLE,
    as_json: Json = False,
) -> None:
    """List findings, newest first."""
    with open_agent() as agent:
        found = finding.page(
            agent, owner_of(owner), status=None if status is None else status.value,
            severity=[one.value for one in severity or ()],
            repository=repository, limit=limit, offset=offset,
        )  # fmt: skip
    listed = [{**one, "id": str(one["id"])} for one in found.findings]
    if as_json or shape is Shape.JSON:
        show_json({"findings": listed, "total": found.total})
        return
    print_table(_COLUMNS, [[one[column] for column in _COLUMNS] for one in listed])
    print(f"{found.total} in all")
