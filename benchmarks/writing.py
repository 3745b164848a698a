"""Writing: the import and the recorder beside single inserts into the plain table, and bare COPY."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid4

import orjson
from psycopg import sql
from psycopg.types.json import Jsonb

from benchmarks.events import ROOT
from benchmarks.figures import LIMIT, PERMALOG, PLAIN, Figure, Report, say
from benchmarks.place import query
from benchmarks.processor import server_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

RECORDED: Final = 50_000
"""The most events that are recorded in a repetition; they fit into a spool of 256 MB."""
GROUP: Final = "Writing"


class Effort(NamedTuple):
    """How much is done."""

    repetitions: int
    singles: int
    """Single inserts into the plain table that are timed in a repetition; the rest is loaded by COPY."""


@dataclass(frozen=True, slots=True)
class _Figures:
    imported: Figure
    recorded: Figure
    taken: Figure
    peak: Figure
    python: Figure
    server: Figure


def write(place: Place, report: Report, lines: Iterator[bytes], count: int, effort: Effort) -> None:
    """Brings `count` events into all tables, in as many equal parts as there are repetitions, and measures each."""
    group = f"{GROUP}, up to {count + _stored(place):,} events"
    figures = _Figures(
        report.figure(group, "import", "events/s", "≥ 8x plain, ≥ 0.5x limit"),
        report.figure(group, "record(event), until committed", "events/s", "≥ 8x plain, ≥ 0.5x limit"),
        report.figure(group, "record(event), the caller's time", "µs"),
        report.figure(group, "import, peak memory", "MB"),
        report.figure(group, "import, processor time of Python", "µs"),
        report.figure(group, "import, processor time of PostgreSQL", "µs"),
    )
    sizes = [count // effort.repetitions] * effort.repetitions
    sizes[-1] += count - sum(sizes)
    for number, size in enumerate(sizes, start=1):
        chunk = list(islice(lines, size))
        if not chunk:
            raise ValueError("the source has too few events")
        say(f"writing, {number} of {len(sizes)}: {len(chunk):,} events")
        _write_chunk(place, figures, chunk, effort)


def _stored(place: Place) -> int:
    row = place.ours.execute("SELECT count(*) FROM bench.event").fetchone()
    return 0 if row is None else row[0]


def _write_chunk(place: Place, figures: _Figures, chunk: list[bytes], effort: Effort) -> None:
    since: Any = (place.ours.execute(query("permalog", "now")).fetchone() or (None,))[0]
    recorded = min(len(chunk) // 5, RECORDED)
    place.checkpoint()
    before = server_seconds(place.ours)
    result = _run_child(place, "import", chunk[recorded:])
    after = server_seconds(place.ours)
    if before is not None and after is not None:
        figures.server.add(PERMALOG, (after - before) / result["events"] * 1e6)
    figures.python.add(PERMALOG, result["processor"] / result["events"] * 1e6)
    figures.imported.add(PERMALOG, result["events"] / result["seconds"])
    figures.peak.add(PERMALOG, result["peak_mb"])
    result = _run_child(place, "record", chunk[:recorded])
    figures.recorded.add(PERMALOG, result["events"] / result["seconds"])
    figures.taken.add(PERMALOG, result["taken"] / result["events"] * 1e6)
    rate = _copy_bare(place, since, figures)
    figures.imported.add(LIMIT, rate)
    figures.recorded.add(LIMIT, rate)
    rows = [plain_row(line) for line in chunk]
    rate = _insert_singly(place, rows[: effort.singles])
    figures.imported.add(PLAIN, rate)
    figures.recorded.add(PLAIN, rate)
    figures.taken.add(PLAIN, 1e6 / rate)
    copy_plain(place, rows[effort.singles :])


def _run_child(place: Place, what: str, lines: Sequence[bytes]) -> dict[str, Any]:
    place.checkpoint()
    with tempfile.NamedTemporaryFile(prefix="permalog-bench-", suffix=".ndjson") as file:
        file.write(b"".join(lines))
        file.flush()
        result = run_child(what, place.url, file.name)
    if result["events"] != len(lines):
        raise RuntimeError(f"{what}: {result['events']} of {len(lines)} events were stored")
    return result


def run_child(*arguments: str) -> dict[str, Any]:
    """Runs `benchmarks.child`, and returns what it printed."""
    command = [sys.executable, "-m", "benchmarks.child", *arguments]
    return orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)  # noqa: S603  ours


def _copy_bare(place: Place, since: object, figures: _Figures) -> float:
    """The rows that Permalog has just stored, by one COPY into a table like its own."""
    statement = sql.SQL(query("limit", "new_rows")).format(since=sql.Literal(since))
    with place.ours.cursor().copy(statement) as copy:
        lines = [bytes(piece) for piece in copy]
    content = b"".join(lines)
    place.checkpoint()
    before, began = server_seconds(place.ours), time.perf_counter()
    with place.ours.cursor().copy(query("limit", "copy")) as copy:
        copy.write(content)
    seconds, after = time.perf_counter() - began, server_seconds(place.ours)
    if before is not None and after is not None:
        figures.server.add(LIMIT, (after - before) / len(lines) * 1e6)
    return len(lines) / seconds


def _insert_singly(place: Place, rows: list[tuple[Any, ...]]) -> float:
    """Each awaited, each a transaction: as an application without a queue does."""
    place.checkpoint()
    began = time.perf_counter()
    for row in rows:
        place.plain.execute(query("plain", "insert"), row, prepare=True)
    return len(rows) / (time.perf_counter() - began)


def copy_plain(place: Place, rows: list[tuple[Any, ...]]) -> None:
    """Rows of `plain_row`, at once, where it is not their writing that is measured."""
    with place.plain.cursor().copy(query("plain", "copy")) as copy:
        for row in rows:
            copy.write_row(row)


def plain_row(line: bytes) -> tuple[Any, ...]:
    """An event as a row of the plain table."""
    event = orjson.loads(line)
    get, actor, owner = event.get, event["actor"], event["owner"]
    organization = owner.get("organization_id")
    states = [None if get(name) is None else Jsonb(get(name)) for name in ("before_state", "after_state", "metadata")]
    return (
        uuid4(), organization and UUID(organization), owner.get("user_id"), event["action"], get("outcome", "success"),
        actor["type"], actor.get("id"), actor.get("email"), actor.get("name"), actor.get("ip_address"),
        event["resource"]["type"], event["resource"]["id"], *states, get("correlation_id"), get("source"),
        event["occurred_at"],
    )  # fmt: skip
