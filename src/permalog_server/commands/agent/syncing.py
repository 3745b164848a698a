"""``permalog agent sync``."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from permalog.errors import InvalidQuery
from permalog_server.commands.agent.parts import ActorText, acting_as, open_agent, show_json
from permalog_server.commands.options import Json, owner_of
from security_agent import schedule
from security_agent import sync as syncs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from security_agent.report import Outcome, Report

_A_DAY = timedelta(days=1)


def sync(
    *,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="OWNER", help="Whose: org:<uuid> or user:<id>.")
    ] = None,
    every_owner: Annotated[
        bool, typer.Option("--all", help="All owners that are enabled, as the schedule does.")
    ] = False,
    repository: Annotated[
        str | None, typer.Option("--repository", metavar="NAME", help="Only this one, owner/name.")
    ] = None,
    actor: ActorText = None,
    as_json: Json = False,
) -> int:
    """Sync from GitHub, and wait for the end. Exit code 0 also where a part failed, which is said; 1: all of it did."""
    if every_owner == (owner is not None) or (every_owner and (repository or actor)):
        raise InvalidQuery("owner", "give --owner, with or without --repository and --actor; or --all")
    with open_agent() as agent:
        if owner is None:
            done = schedule.sync_all(agent, patience=_A_DAY, every=timedelta())
            if as_json:
                show_json(done._asdict())
            else:
                print(f"synced {done.synced} owners; {done.failed} failed")
            return 1 if done.failed and not done.synced else 0
        whose = owner_of(owner)
        begun = syncs.begin(agent, whose, acting_as(agent, actor), name=repository)
        with _progress(shown=not as_json) as told:
            report = syncs.run(agent, begun, told)
    if as_json:
        state = report.as_payload(begun.milliseconds())
        show_json({"id": str(begun.id), **state})
    else:
        _say(report)
    return 0


def _say(report: Report) -> None:
    taken = report.taken
    print(
        f"synced {report.outcomes} repositories: {taken.created} findings created, {taken.updated} updated,"
        f" {taken.unchanged} unchanged"
    )
    for name, code in sorted(report.failures):
        print(f"  {name}: failed ({code})")
    for name in sorted(report.stale):
        print(f"  {name}: stale; GitHub does not know it, or the installation does not reach it any more")
    for name in sorted(report.disabled):
        print(f"  {name}: Dependabot alerts are switched off")


@contextmanager
def _progress(*, shown: bool) -> Generator[Callable[[Outcome], None] | None]:
    """A line that counts alerts and repositories, on a terminal only."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    alerts: dict[str, int] = {}
    done: set[str] = set()
    lock = threading.Lock()
    columns: tuple[Any, ...] = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("syncing")

        def tell(outcome: Outcome) -> None:
            with lock:
                alerts[outcome.place.full_name] = sum(outcome.taken)
                done.update({outcome.place.full_name} if outcome.is_done else ())
                bar.update(task, description=f"{sum(alerts.values())} alerts, {len(done)} repositories done")

        yield tell
