"""Verifying the installation's database from the command line, with what is known outside it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import orjson
import psycopg

from permalog.errors import InvalidQuery, PermalogError
from permalog.postgres.database import Database
from permalog.tlog.findings import Broken
from permalog.tlog.note import VerifierKey
from permalog.verifying.database import Given, SignedState, Verification, verify_database
from permalog.verifying.outside import place_of
from permalog_server.bundles import BROKEN, PROVEN, collecting_rarely, line_of, published_in
from permalog_server.output import print_json
from permalog_server.wiring import open_database, sealed_folder, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from permalog.tlog.witness_policy import WitnessPolicy
    from permalog.verifying.database import Progress
    from permalog_server.wiring import Place

_LONGEST: Final = 1_000_000
States = dict[tuple[UUID, int], SignedState]


class Sources(NamedTuple):
    """Where it is found, as the options name it."""

    keys: Sequence[VerifierKey] = ()
    witnesses: Sequence[VerifierKey] = ()
    sealed: Path | None = None
    anchors: Path | None = None
    witnessed: Sequence[Path] = ()
    since: Path | None = None
    policy: WitnessPolicy | None = None


def known(place: Place, sources: Sources) -> Given:
    """What is known. Without a key, the installation's own keyring; without a folder, its own of what was signed.

    Raises:
        InvalidQuery: an option names what is none, or cannot be read.
        OutsideUnusable: what was signed last cannot be read.
    """
    keys = sources.keys
    if not keys:
        own = signing_key(place)
        keys = own.known() if own is not None and own.path.exists() else []
    folder = sealed_folder(place)
    if sources.sealed is not None:
        _readable(sources.sealed, "sealed")
        folder = type(folder)(sources.sealed)
    outside: States = {}
    for log_id in _logs_in(folder.folder):
        last = folder.last(log_id)
        if last is not None and "/log/" in last.origin:  # and not the anchor log
            outside[place_of(last.origin)] = SignedState(last.size, last.root)
    return Given(
        keys=keys,
        prefix=keys[0].name if keys else None,
        outside=outside,
        anchors={} if sources.anchors is None else published_in(sources.anchors),
        witnessed=[_bytes(path) for path in sources.witnessed],
        witnesses=sources.witnesses,
        policy=sources.policy,
        since={} if sources.since is None else read_ends(sources.since),
    )


def read_ends(path: Path) -> States:
    """Where earlier verifications have ended; nothing where there is no such file yet.

    Raises:
        InvalidQuery: it is not what `write_ends` wrote.
    """
    if not path.exists():
        return {}
    try:
        found: dict[str, dict[str, str | int]] = orjson.loads(_bytes(path))
        return {
            (UUID(log), int(epoch)): SignedState(int(end["size"]), bytes.fromhex(str(end["root"])))
            for (log, _, epoch), end in ((name.partition("/"), end) for name, end in found.items())
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidQuery("since", "is not a file that an earlier verification wrote") from error


def write_ends(path: Path, result: Verification) -> None:
    """Notes where this one has ended, beside what is known of other logs; as a whole, or not at all."""
    ends = {f"{log}/{epoch}": state for (log, epoch), state in read_ends(path).items()}
    ends |= {f"{one.log_id}/{one.epoch}": SignedState(one.size, one.root) for one in result.logs}
    content = {name: {"size": state.size, "root": state.root.hex()} for name, state in sorted(ends.items())}
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    new.replace(path)


def _logs_in(folder: Path) -> list[UUID]:
    found: list[UUID] = []
    for path in folder.glob("[0-9a-f][0-9a-f]/*-*-*-*-*") if folder.is_dir() else ():
        try:
            found.append(UUID(path.name))
        except ValueError:
            continue  # a file that is being written
    return sorted(found)


def _readable(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise InvalidQuery(option, "is no folder")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except OSError as error:
        raise InvalidQuery(str(path), f"cannot be read: {error.strerror}") from error


class CannotCheck(PermalogError, ValueError):
    """Nothing can be said: the database cannot be read."""


def verify_live(log_id: UUID | None, sources: Sources, *, keep_going: bool, as_json: bool) -> int:
    """Verifies one log, or all, says what was found, and returns the exit code.

    Raises:
        InvalidQuery: an option names what is none, or cannot be read.
        CannotCheck: the database, or what is kept outside it, cannot be read.
    """
    began = time.monotonic()
    try:
        with (
            open_database(migrated=False) as place,
            closing(Database(place.url)) as database,
            _progress() as progress,
            collecting_rarely(),
        ):
            given = known(place, sources)
            result = verify_database(database, log_id, given, keep_going=keep_going, progress=progress)
    except Broken as broken:
        result = Verification(findings=[broken.finding], failures=1)
    except InvalidQuery:
        raise
    except (PermalogError, psycopg.Error, OSError) as error:
        raise CannotCheck(f"could not be checked: {error}") from error
    if sources.since is not None and result.proven:
        write_ends(sources.since, result)
    _tell(result, time.monotonic() - began, as_json=as_json)
    return PROVEN if result.proven else BROKEN


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
        print(line_of(finding))
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
