"""Taking in alerts beside one upsert a row: alerts a second, statements an alert, peak memory.

    python -m benchmarks.sync [--alerts 4000] [--url URL] [--folder FOLDER]

Alerts come in pages of 100 from memory, so that no network is measured; ours are taken in with findings, events,
deadlines and identities, each page in one transaction. The peer upserts each alert by itself into the same table,
within the same transactions, and records nothing. Then all of them come a second time, unchanged.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import psycopg

from benchmarks.figures import machine, say
from benchmarks.place import prepared
from permalog import Actor, Owner, Permalog
from permalog.catalogue import BUILT_IN
from permalog.migrate import migrate
from security_agent.actions import CATALOGUE
from security_agent.agent import Acting, Agent
from security_agent.alert import read_alert
from security_agent.intake import Intake
from security_agent.sql import query, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PAGE: Final = 100
_OURS, _PEER = Owner.user("ours"), Owner.user("peer")
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SEVERITIES: Final = ("critical", "high", "medium", "low")


def alert(number: int) -> dict[str, Any]:
    """An alert of about the size of a real one (3 kB)."""
    at = (_FIRST + timedelta(minutes=number)).isoformat()
    return {
        "number": number, "state": "open", "created_at": at, "updated_at": at,
        "html_url": f"https://github.example/acme/web/security/dependabot/{number}",
        "dependency": {
            "package": {"ecosystem": "npm", "name": f"package-{number % 400}"}, "manifest_path": "package.json",
            "scope": "runtime",
        },
        "security_advisory": {
            "ghsa_id": f"GHSA-{number:04d}-aaaa-bbbb"[:19], "cve_id": None, "summary": f"Fault {number}",
            "description": "What it does, and how. " * 120, "severity": _SEVERITIES[number % 4],
        },
        "security_vulnerability": {"vulnerable_version_range": "< 2", "first_patched_version": {"identifier": "2"}},
    }  # fmt: skip


def pages(count: int) -> Generator[list[dict[str, Any]]]:
    """The alerts, made as they are asked for."""
    for start in range(1, count + 1, PAGE):
        yield [alert(number) for number in range(start, min(start + PAGE, count + 1))]


def ours(agent: Agent, count: int) -> None:
    """Takes all in."""
    intake = Intake(agent, _OURS, 1, "acme/web", Acting(Actor.user("u_1"), "api"), "sync")
    for page in pages(count):
        with agent.changing(_OURS) as connection:
            intake.take(connection, [read_alert(raw) for raw in page])


def peer(agent: Agent, count: int) -> None:
    """One upsert a row."""
    upsert = query("intake", "add").replace(
        "DO NOTHING\nRETURNING source_id, id",
        "DO UPDATE SET raw = excluded.raw, status = excluded.status, severity = excluded.severity",
    )
    place = {
        "log": _PEER.log_id, "repository_id": 1, "repository": "acme/web", "source": "dependabot",
        "now": agent.clock(),
    }  # fmt: skip
    for page in pages(count):
        with agent.changing(_PEER) as connection:
            for raw in page:
                row = orjson.dumps([{**read_alert(raw), "deadline": None}]).decode()
                connection.execute(upsert, {**place, "alerts": row})  # pyright: ignore[reportArgumentType, reportCallIssue]


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


def measure(name: str, work: Callable[[Agent, int], None], agent: Agent, count: int) -> None:
    """Says how long it took, how many statements, and how much memory Python held at most."""
    tracemalloc.start()
    with counted() as tally:
        began = time.perf_counter()
        work(agent, count)
        seconds = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    each = tally["statements"] / count
    say(f"{name}: {count / seconds:,.0f} alerts/s, {each:.3f} statements an alert, peak {peak:.1f} MiB")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser("python -m benchmarks.sync", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alerts", type=int, default=4_000)
    parser.add_argument("--url", help="a server, as its superuser; else an embedded one")
    parser.add_argument("--folder", type=Path, help="where the embedded server's data lie")
    options = parser.parse_args()
    say(str(machine()))
    with prepared(options.url, options.folder) as place:
        migrate(place.url, BUILT_IN | CATALOGUE, further=steps())
        with Permalog.connect(place.url, catalogue=CATALOGUE) as log:
            agent = Agent(log)
            measure("ours, new", ours, agent, options.alerts)
            measure("ours, again", ours, agent, options.alerts)
            measure("one upsert a row, new", peer, agent, options.alerts)
            measure("one upsert a row, again", peer, agent, options.alerts)


if __name__ == "__main__":
    main()
