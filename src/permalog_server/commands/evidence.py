"""``permalog evidence``."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permalog.errors import KeyUnusable
from permalog.reading.filters import FilterArguments
from permalog_server.commands.options import As, Json, OwnerText, filtered, owner_of
from permalog_server.output import print_json, target
from permalog_server.standing import reader_of
from permalog_server.wiring import open_database, open_log, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from permalog.evidence.bundle import Manifest


@filtered
def evidence(
    *,
    owner: OwnerText,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The bundle, such as audit.zip.")],
    whom: As = None,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of this epoch's tree; else of the present one's.")
    ] = None,
    as_json: Json = False,
    filters: FilterArguments,
) -> None:
    """Write events with all that proves them into one file; recorded in the log.

    An auditor verifies it with the file and the log's public key alone: permalog verify --bundle FILE --key VKEY. The
    file appears when it is complete, and not before. Without --as it is made for staff and opens their identities, too:
    what goes to a customer is made with --as user:ID.
    """
    whose = owner_of(owner)
    with open_database() as place, open_log(place) as log:
        actor, viewer = reader_of(log, whom, whose)
        keys = signing_key(place)
        if keys is None:
            raise KeyUnusable("there is no signing key: set PERMALOG_SIGNING_KEY to the file of the one that seals")
        with target(output) as file, _progress() as progress:
            made = log.evidence(
                whose,
                file,
                keys=keys,
                actor=actor,
                viewer=viewer,
                through="cli",
                epoch=epoch,
                progress=progress,
                **filters,
            )
    if as_json:
        print_json(_report(made))
    else:
        print(_line(output, made))


def _report(made: Manifest) -> dict[str, object]:
    return {
        "log_id": made.log_id,
        "epoch": made.epoch,
        "tree_size": made.tree.size,
        "key": made.key,
        "viewer": made.viewer,
        **made.counts.model_dump(),
        "first_id": made.first and made.first.id,
        "last_id": made.last and made.last.id,
    }


def _line(path: Path, made: Manifest) -> str:
    counts = made.counts
    waiting = f"; {counts.unsealed:,} that match are not in its tree" if counts.unsealed else ""
    return f"{path}: {counts.events:,} events, {counts.left_out:,} left out between them{waiting}"


@contextmanager
def _progress() -> Generator[Callable[[int, int], object]]:
    """A bar with count and rate on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _of: None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    began = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("collecting", total=None)

        def show(done: int, of: int) -> None:
            rate = done / max(time.monotonic() - began, 0.001)
            bar.update(task, total=of, completed=done, description=f"{done:,} leaves, {rate:,.0f} a second")

        yield show
