"""Syncing alerts beside one upsert a row: alerts a second, statements an alert, peak memory.

    python -m benchmarks.sync [--alerts 4000] [--url URL] [--folder FOLDER]

*Taking in*: pages of 100 come from memory, so that no network is measured. Ours are taken in with findings, events,
deadlines and identities, each page in one transaction; the peer upserts each alert by itself into the same table, in
the same transactions, and records nothing. *A sync*: the same from a stand-in for GitHub in a process of its own, over
HTTP, four repositories; the peer reads the same pages, one repository after the other. Each comes once new and once
unchanged. Memory is what Python held at most, of a run of its own, since watching it takes time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
import psycopg

from benchmarks.figures import machine, say
from benchmarks.place import prepared
from permalog import Actor, Owner, Permalog
from permalog.catalogue import BUILT_IN
from permalog.postgres.migrate import migrate
from permalog_server.standin import StandIn, World
from permalog_server.standin.documents import Advisory, alert
from security_agent import installation, sync
from security_agent.actions import CATALOGUE
from security_agent.agent import Acting, Agent
from security_agent.alert import read_alert
from security_agent.github import GitHub
from security_agent.intake import Intake
from security_agent.sql import query, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from multiprocessing.connection import Connection

Work: TypeAlias = "Callable[[Agent, Owner], object]"
PAGE: Final = 100
_BY: Final = Acting(Actor.user("u_1"), "api")
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SEVERITIES: Final = ("critical", "high", "medium", "low")
_INSTALLATION: Final = 1
_NAMES: Final = tuple(f"acme/repository-{number}" for number in range(4))
_UPSERT: Final = query("intake", "add").replace(
    "DO NOTHING\nRETURNING source_id, id",
    "DO UPDATE SET raw = excluded.raw, status = excluded.status, severity = excluded.severity",
)


def made(full_name: str, number: int) -> dict[str, Any]:
    """An alert of about the size of a real one (3 kB)."""
    advisory = Advisory(
        f"GHSA-{number:04d}-aaaa-bbbb"[:19], None, "npm", f"package-{number % 400}", _SEVERITIES[number % 4],
        f"Fault {number}", "What it does, and how. " * 60, "< 2", "2",
    )  # fmt: skip
    return alert(full_name, number, advisory, f"{_FIRST + timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}")


def pages(count: int) -> Generator[list[dict[str, Any]]]:
    """The alerts, made as they are asked for."""
    for start in range(1, count + 1, PAGE):
        yield [made(_NAMES[0], number) for number in range(start, min(start + PAGE, count + 1))]


def taking_in(count: int) -> Work:
    """Ours, from memory."""

    def work(agent: Agent, owner: Owner) -> None:
        intake = Intake(agent, owner, 1, _NAMES[0], _BY, "sync")
        for page in pages(count):
            with agent.changing(owner) as connection:
                intake.take(connection, [read_alert(raw) for raw in page])

    return work


def upserting(agent: Agent, owner: Owner, given: Iterable[list[dict[str, Any]]], repository_id: int = 1) -> None:
    """The peer: one upsert a row."""
    place = {
        "log": owner.log_id, "repository_id": repository_id, "repository": _NAMES[0], "source": "dependabot",
        "now": agent.clock(),
    }  # fmt: skip
    for page in given:
        with agent.changing(owner) as connection:
            for raw in page:
                row = orjson.dumps([{**read_alert(raw), "deadline": None}]).decode()
                connection.execute(_UPSERT, {**place, "alerts": row})  # pyright: ignore[reportArgumentType, reportCallIssue]


def syncing(agent: Agent, owner: Owner) -> None:
    """Ours, from the stand-in; the first time the installation is connected before."""
    if installation.read(agent, owner) is None:
        installation.connect(agent, owner, _INSTALLATION, _BY)
    sync.sync(agent, owner, _BY)


def upserting_from_github(agent: Agent, owner: Owner) -> None:
    """The peer, likewise."""
    for number, name in enumerate(_NAMES, start=1):
        upserting(agent, owner, agent.asking().alerts(_INSTALLATION, name), number)


@contextmanager
def github(count: int) -> Generator[GitHub]:
    """The stand-in in a process of its own, with so many alerts in all."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_stand_in, args=(there, count))
    process.start()
    try:
        app_id, key, url = here.recv()
        with GitHub(app_id, key, url) as asked:
            yield asked
    finally:
        here.send("the end")
        process.join(30)


def _stand_in(pipe: Connection, count: int) -> None:
    world = World()
    world.install("acme", _NAMES, id=_INSTALLATION)
    for number in range(1, count + 1):
        name = _NAMES[number % len(_NAMES)]
        world.put(name, made(name, number))
    with StandIn(world) as running:
        pipe.send((running.app_id, running.private_key, running.url))
        pipe.recv()


@contextmanager
def counted() -> Generator[Counter[str]]:
    """Counts the statements that go to the database."""
    tally: Counter[str] = Counter()
    execute = psycopg.Cursor[Any].execute

    def counting(self: Any, *given: Any, **more: Any) -> Any:  # noqa: ANN401  psycopg's own
        tally["statements"] += 1
        return execute(self, *given, **more)

    psycopg.Cursor.execute = counting
    try:
        yield tally
    finally:
        psycopg.Cursor.execute = execute


def measure(name: str, work: Work, agent: Agent, count: int) -> None:
    """Says how long it took, how many statements, and how much memory Python held at most; of new, then of the same."""
    timed, watched = Owner.user(f"{name} timed"), Owner.user(f"{name} watched")
    for when in ("new", "again"):
        with counted() as tally:
            began = time.perf_counter()
            work(agent, timed)
            seconds = time.perf_counter() - began
        tracemalloc.start()
        work(agent, watched)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        each = tally["statements"] / count
        say(f"{name}, {when}: {count / seconds:,.0f} alerts/s, {each:.3f} statements an alert, peak {peak:.1f} MiB")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser("python -m benchmarks.sync", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alerts", type=int, default=4_000)
    parser.add_argument("--url", help="a server, as its superuser; else an embedded one")
    parser.add_argument("--folder", type=Path, help="where the embedded server's data lie")
    options = parser.parse_args()
    count: int = options.alerts
    say(str(machine()))
    with prepared(options.url, options.folder) as place, github(count) as asked:
        migrate(place.url, BUILT_IN | CATALOGUE, further=steps())
        with Permalog.connect(place.url, catalogue=CATALOGUE) as log:
            agent = Agent(log, asked)
            measure("taking in", taking_in(count), agent, count)
            measure("one upsert a row", lambda a, o: upserting(a, o, pages(count)), agent, count)
            measure("a sync", syncing, agent, count)
            measure("one upsert a row from GitHub", upserting_from_github, agent, count)


if __name__ == "__main__":
    main()
