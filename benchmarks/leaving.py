"""Leaving: exports beside COPY TO, and what an event takes on disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from benchmarks.figures import LIMIT, PERMALOG, PLAIN, Report, say
from benchmarks.place import query
from benchmarks.reading import Largest
from benchmarks.writing import run_child

if TYPE_CHECKING:
    from benchmarks.place import Place
    from permalog.postgres.database import Connection

FORMATS: Final = ("csv", "json", "ndjson")
_AIM: Final = "≥ 0.2x limit"
_MEMORY_AIM: Final = "< 150 MB"


def export(place: Place, report: Report, stored: int, repetitions: int) -> None:
    """The largest log, several times, and all logs once, in each format."""
    largest = Largest.of(place)
    rows = place.ours.execute(query("permalog", "owners")).fetchall()
    one, everybody = [str(largest.owner)], [owner for (owner,) in rows]
    copy_one: Any = sql.SQL(query("limit", "copy_log_out")).format(log=sql.Literal(largest.owner.log_id))
    copy_all: Any = query("limit", "copy_all_out")
    group = f"Export: {stored:,} events, the largest log {largest.events:,}"
    for owners, statement, times, whose in (
        (one, copy_one, repetitions, "the largest log"),
        (everybody, copy_all, 1, f"all {len(everybody):,} logs"),
    ):
        for form in FORMATS:
            rate = report.figure(group, f"{whose}, {form}", "events/s", _AIM)
            memory = report.figure(group, f"{whose}, {form}, peak memory", "MB", _MEMORY_AIM)
            say(f"exporting {whose} as {form}")
            for _ in range(times):
                result = run_child("export", place.url, form, *owners)
                rate.add(PERMALOG, result["events"] / result["seconds"])
                memory.add(PERMALOG, result["peak_mb"])
                rate.add(LIMIT, _copy_out(place.ours, statement))


def _copy_out(connection: Connection, statement: Any) -> float:  # noqa: ANN401  text, or composed
    began = time.perf_counter()
    rows = 0
    with connection.cursor().copy(statement) as copy:
        for _row in copy:
            rows += 1
    return rows / (time.perf_counter() - began)


def sizes(place: Place, report: Report, stored: int) -> None:
    """Bytes of tables and indexes, divided by the number of events."""
    place.settle()
    parts = {name: _parts(connection, schema) for name, connection, schema in (
        (PERMALOG, place.ours, "permalog"), (PLAIN, place.plain, "public"),
    )}  # fmt: skip
    group = f"Bytes an event: {stored:,} events"
    total = report.figure(group, "all", "bytes", "≤ 1.6x plain, once sealed")
    for subject, found in parts.items():
        total.add(subject, sum(found.values()) / stored)
    for subject, found in parts.items():
        for part, size in found.items():
            if size / stored >= 1:
                report.figure(group, part, "bytes").add(subject, size / stored)


def _parts(connection: Connection, schema: str) -> dict[str, int]:
    statement = sql.SQL(query("permalog", "sizes")).format(schema=sql.Literal(schema))
    return {part: int(size) for part, size in connection.execute(statement)}
