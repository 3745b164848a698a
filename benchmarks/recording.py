"""What `record(event)` takes of its caller's time, while the spool is drained; and what a plain insert takes.

    python -m benchmarks.recording [--url URL] [--seconds 30] [--rate 1000] [--fsync 100] [--json FILE]

Calls come evenly, ``--rate`` a second, in one thread; each event is built just before, and that is timed apart. The
peer is one INSERT into the plain table, waited for, at the same pace. Without a URL an embedded server in a folder of
its own is used, with fsync on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import orjson
import psycopg

from benchmarks.place import query
from benchmarks.writing import plain_row
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.catalogue import BUILT_IN
from permalog.postgres import embedded
from permalog.postgres.migrate import migrate
from permalog.recording.spool_settings import SpoolSettings
from security_agent.actions import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")
_ACTION = "security.audit_log.viewed"


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=1_000)
    parser.add_argument("--fsync", default="100")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        server = None if asked.url else embedded.start(Path(folder) / "data")
        try:
            url = asked.url or cast("embedded.EmbeddedServer", server).url
            figures = _measure(url, Path(folder) / "spool", asked)
        finally:
            if server is not None:
                server.stop()
    _print(figures)
    if asked.json is not None:
        asked.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))


def _measure(url: str, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    migrate(url, BUILT_IN | CATALOGUE)
    fsync = cast('Literal["none", "each"] | int', int(asked.fsync) if asked.fsync.isdigit() else asked.fsync)
    began = os.getloadavg()
    with Permalog.connect(url, catalogue=CATALOGUE, spool=SpoolSettings(folder, fsync=fsync)) as log:
        log.record(_event(0)).wait()
        building, taking = _paced(_event, log.record, asked.rate, asked.seconds)
        waiting = log.stats.waiting
        drained = log.flush(60)
        stats = log.stats
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS audit_log")
        connection.execute(query("plain", "create"))
        _, inserting = _paced(_row, lambda row: _insert(connection, row), asked.rate, asked.seconds)
    return {
        "rate": asked.rate, "seconds": asked.seconds, "fsync": asked.fsync, "load": began, "calls": len(taking),
        "waiting_at_the_end": waiting, "drained": drained, "stored": stats.stored, "failed": stats.failed,
        "building": _quantiles(building), "record": _quantiles(taking), "insert": _quantiles(inserting),
    }  # fmt: skip


def _event(number: int) -> Event:
    return Event(
        owner=Owner.user(f"u_{number % 50}"),
        actor=Actor.user(f"u_{number % 50}", email=f"u{number % 50}@acme.example", ip_address="203.0.113.7"),
        action=_ACTION, resource=Resource("audit_log", f"log_{number}"),
        metadata={"filters": {"action": "security.finding.viewed"}, "rows": 50},
    )  # fmt: skip


def _row(number: int) -> tuple[Any, ...]:
    now = datetime.now(UTC).isoformat()
    return plain_row(orjson.dumps({**orjson.loads(_event(number).to_json()), "occurred_at": now}))


def _insert(connection: psycopg.Connection[Any], row: tuple[Any, ...]) -> None:
    connection.execute(query("plain", "insert"), row, prepare=True)


def _paced(
    build: Callable[[int], Made], take: Callable[[Made], object], rate: float, seconds: float
) -> tuple[list[float], list[float]]:
    """Seconds for building, and for taking, of each call. Who is late does not catch up."""
    building: list[float] = []
    taking: list[float] = []
    due = end = time.perf_counter()
    end += seconds
    number = 0
    while (now := time.perf_counter()) < end:
        if now < due:
            time.sleep(due - now)
        due = max(due + 1 / rate, time.perf_counter() - 1 / rate)
        first = time.perf_counter()
        event = build(number)
        second = time.perf_counter()
        take(event)
        third = time.perf_counter()
        building.append(second - first)
        taking.append(third - second)
        number += 1
    return building, taking


def _quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    microseconds = [value * 1e6 for value in ordered]
    pick = {name: microseconds[min(int(len(ordered) * part), len(ordered) - 1)] for name, part in _PARTS.items()}
    return {name: round(value, 1) for name, value in pick.items()}


_PARTS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['calls']} calls at {figures['rate']:g} a second, load {figures['load'][0]:.1f}, in microseconds")
    for name in ("building", "record", "insert"):
        print(f"  {name:9}", *(f"{part} {value:8.1f}" for part, value in figures[name].items()))
    ratio = figures["insert"]["p50"] / figures["record"]["p50"]
    print(f"  record is {ratio:.1f} times quicker than an awaited insert; {figures['stored']} stored")


if __name__ == "__main__":
    main()
