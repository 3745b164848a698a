"""``permalog verify``."""

from __future__ import annotations

import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import psycopg
import typer

from permalog.bundle_verifier import verify_bundle
from permalog.database import Database
from permalog.errors import InvalidQuery, NotProven, PermalogError
from permalog.findings import Broken
from permalog.verify_database import Verification, verify_database
from permalog_server.commands.options import Json, owner_of
from permalog_server.output import print_json
from permalog_server.verifying import Sources, given, keys_of, write_ends
from permalog_server.wiring import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from permalog.findings import Finding
    from permalog.verify_database import Progress

PROVEN: Final = 0
BROKEN: Final = 1


class CannotCheck(PermalogError, ValueError):
    """Nothing can be said: the database or a file cannot be read."""


def verify(
    *,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="OWNER", help="Whose log: org:<uuid> or user:<id>. Else all.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Verify an evidence bundle; needs no database.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VKEY", help="A key of the log; repeatable. Else this installation's own."),
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", metavar="VKEY", help="The key of a witness; repeatable.")
    ] = None,
    sealed: Annotated[
        Path | None,
        typer.Option("--sealed", metavar="DIR", help="What was signed last. Else this installation's own folder."),
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option("--anchors", metavar="DIR", help="The published anchors, all of them.")
    ] = None,
    witnessed: Annotated[
        list[Path] | None,
        typer.Option("--witnessed", metavar="FILE", help="A checkpoint that a witness cosigned; repeatable."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            "--since", metavar="FILE", help="Begin where the last run with this file ended, and note the end."
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Report all that is wrong, not only the first.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Prove that no sealed event was changed, removed, moved or put in, or say which.

    Exit code 0: proven; 1: broken, and where; 2: it could not be checked.
    """
    if bundle is not None:
        return _bundle(bundle, key or [], witness or [], as_json=as_json)
    if anchors is not None and owner is not None:
        raise InvalidQuery("anchors", "tell of all logs together: leave --owner out")
    log_id = None if owner is None else owner_of(owner).log_id
    sources = Sources(key or (), witness or (), sealed, anchors, witnessed or (), since)
    began = time.monotonic()
    try:
        with open_database(migrated=False) as place, closing(Database(place.url)) as database, _progress() as progress:
            known = given(place, sources)
            result = verify_database(database, log_id, known, keep_going=keep_going, progress=progress)
    except Broken as broken:
        result = Verification(findings=[broken.finding], failures=1)
    except InvalidQuery:
        raise
    except (PermalogError, psycopg.Error, OSError) as error:
        raise CannotCheck(f"could not be checked: {error}") from error
    if since is not None and result.proven:
        write_ends(since, result)
    _tell(result, time.monotonic() - began, as_json=as_json)
    return PROVEN if result.proven else BROKEN


def _bundle(path: Path, keys: list[str], witnesses: list[str], *, as_json: bool) -> int:
    known = keys_of(keys, "key")
    try:
        with path.open("rb") as file:
            verified = verify_bundle(file, known, witnesses=keys_of(witnesses, "witness"))
    except OSError as error:
        raise CannotCheck(f"the bundle cannot be read: {error.strerror}") from error
    except NotProven as error:
        if as_json:
            print_json({"proven": False, "code": error.code.value, "error": str(error)})
        else:
            print(f"BROKEN  {error}")
        return BROKEN
    checkpoint = verified.checkpoint.checkpoint
    if as_json:
        print_json({"proven": True, **verified.as_json()})
        return PROVEN
    print(f"proven: {checkpoint.origin}, a tree of {checkpoint.size:,} leaves")
    if not known:
        print("notice  no key was given: that inside the bundle was used, which does not show whose log it is")
    return PROVEN


def _tell(result: Verification, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({
            "proven": result.proven,
            "failures": result.failures,
            "findings": [finding.as_json() for finding in result.findings],
            "logs": [_shown(one._asdict()) for one in result.logs],
        })  # fmt: skip
        return
    for finding in result.findings:
        print(_line(finding))
    hidden = result.failures - sum(one.severity == "failure" for one in result.findings)
    if hidden:
        print(f"BROKEN  and {hidden:,} more")
    events = sum(one.read for one in result.logs)
    what = f"{len(result.logs):,} log(s), {events:,} events read in {seconds:.1f} s"
    print(f"{'proven' if result.proven else 'not proven'}: {what}")


def _shown(members: dict[str, Any]) -> dict[str, object]:
    return {
        name: value.hex() if isinstance(value, bytes) else value if isinstance(value, int) else str(value)
        for name, value in members.items()
    }


def _line(finding: Finding) -> str:
    where = [f"log {finding.log_id}"] if finding.log_id is not None else []
    where += [f"epoch {finding.epoch}"] if finding.epoch is not None and finding.epoch > 1 else []
    where += [f"leaf {finding.leaf_index}"] if finding.leaf_index is not None else []
    where += [f"event {finding.event_id}"] if finding.event_id is not None else []
    mark = "BROKEN" if finding.severity == "failure" else "notice"
    return f"{mark}  {finding.code}: {finding.message}{' (' + ', '.join(where) + ')' if where else ''}"


@contextmanager
def _progress() -> Generator[Callable[[Progress], object] | None]:
    """A bar with the rate on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    began = time.monotonic()
    finished, latest = 0, 0
    with Bar(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("verifying", total=None)

        def show(progress: Progress) -> None:
            nonlocal finished, latest
            if progress.done < latest:  # another log
                finished += latest
            latest = progress.done
            rate = (finished + latest) / max(time.monotonic() - began, 0.001)
            about = f"log {str(progress.log_id)[:8]}, {finished + latest:,} events, {rate:,.0f} a second"
            bar.update(task, completed=progress.done, total=progress.total, description=about)

        yield show
