"""Many events in many partitions: pages, searches by index, and what the indexes take.

    python -m benchmarks.searching --events 1000000 --partitions 24 --repetitions 100

Brings the events into Permalog and into the plain table, lets the keeper index every closed partition, and measures
in the largest log: the first 100 hits of a rare, a medium and a frequent text, with the index and before it was there;
the first page and those with filters; processor time and bytes of the indexes. Prints medians and 99th percentiles.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from benchmarks.events import ACTIONS, opened
from benchmarks.figures import machine, say
from benchmarks.place import Place, prepared, query
from benchmarks.reading import Largest, timed
from benchmarks.writing import copy_plain, plain_row, run_child
from permalog import Permalog
from permalog.postgres.keeping import Keeper
from permalog.sealing.sealer import seal_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HITS: Final = 100
CHUNK: Final = 50_000


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark, and prints the figures."""
    options = _options(arguments)
    print(machine())
    with (
        opened(options.events, options.input, own=options.own) as (source, lines),
        prepared(options.url, options.folder) as place,
    ):
        _divide(place, options.partitions)
        _load(place, lines, options.events)
        with Permalog.connect(place.url, catalogue=ACTIONS) as log:
            say("sealing")
            seal_now(log.database, None)
        place.settle()
        largest = Largest.of(place)
        print(
            f"{options.events:,} events of {source.name}, {_count(place)} partitions,"
            f" the largest log {largest.events:,}"
        )
        with Permalog.connect(place.url, catalogue=ACTIONS) as log:
            measured = _Measured(place, log, largest, options.repetitions)
            few = _Measured(place, log, largest, min(5, options.repetitions))
            for how_often, needle in source.needles.items():
                few.search(f"before: {how_often}", needle)
            _index(place, log, options.events)
            place.settle()
            for how_often, needle in source.needles.items():
                measured.search(f"by index: {how_often}", needle)
            measured.pages()
    return 0


def _divide(place: Place, count: int) -> None:
    """Instead of what migrations made: `count` partitions of one width over the time of the sample events."""
    place.ours.execute(query("partitions", "divide"))
    place.ours.execute("SELECT bench.divide(%s)", (count,))


def _count(place: Place) -> int:
    row = place.ours.execute("SELECT count(*) FROM permalog.partitions()").fetchone()
    return 0 if row is None else row[0]


def _load(place: Place, lines: Iterable[bytes], count: int) -> None:
    stored = 0
    rest = iter(lines)
    while stored < count:
        chunk = list(islice(rest, min(CHUNK, count - stored)))
        if not chunk:
            raise ValueError("the source has too few events")
        with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
            file.writelines(chunk)
            file.flush()
            run_child("import", place.url, file.name)
        copy_plain(place, [plain_row(line) for line in chunk])
        stored += len(chunk)
        say(f"{stored:,} events are in")


def _index(place: Place, log: Permalog, events: int) -> None:
    keeper = Keeper(log.database)
    before, began = _bytes(place), time.perf_counter()
    keeper.look(at_once=True)
    took, size = time.perf_counter() - began, _bytes(place) - before
    plain: Any = place.plain.execute("SELECT pg_total_relation_size('audit_log')").fetchone()
    print(
        f"{keeper.stats.indexed} indexes: {took:.1f} s, {took / events * 1e6:.1f} µs and {size / events:.0f} bytes"
        " an event;"
        f" Permalog without {before / events:.0f}, with {(before + size) / events:.0f}, plain {plain[0] / events:.0f}:"
        f" {before / plain[0]:.2f} and {(before + size) / plain[0]:.2f} times"
    )


def _bytes(place: Place) -> int:
    rows = place.ours.execute(sql.SQL(query("permalog", "sizes")).format(schema=sql.Literal("permalog")))
    return sum(int(size) for _, size in rows)


class _Measured:
    """Calls that are timed, beside the plain table's."""

    def __init__(self, place: Place, log: Permalog, largest: Largest, times: int) -> None:
        self._place: Final = place
        self._log: Final = log
        self._largest: Final = largest
        self._times: Final = times

    def search(self, what: str, needle: str) -> None:
        """The first hits of a text."""
        found = len(self._log.list(self._largest.owner, search=needle, limit=HITS).events)
        self._both(
            f"{what}, {needle} ({found} found)",
            lambda: self._log.list(self._largest.owner, search=needle, limit=HITS),
            lambda: self._plain("metadata::text ILIKE %(like)s", like=f"%{needle}%"),
        )

    def pages(self) -> None:
        """The first page, the next, and one with each kind of filter that has an index."""
        owner = self._largest.owner
        first = self._log.list(owner)
        event = first.events[20]
        chosen: dict[str, dict[str, Any]] = {
            "first page": {}, "next page": {"before": first.next_cursor}, "action": {"action": event.action},
            "resource_id": {"resource_id": event.resource_id},
            "correlation_id": {"correlation_id": event.correlation_id},
            "outcome": {"outcome": "denied"},
        }  # fmt: skip
        for what, filters in chosen.items():
            self._both(what, lambda filters=filters: self._log.list(owner, **filters), None)

    def _plain(self, where: str, **values: object) -> object:
        statement = sql.SQL(query("plain", "page")).format(where=sql.SQL(where))  # pyright: ignore[reportArgumentType]
        parameters = {**values, "owner": self._largest.owner.organization_id, "rows": HITS}
        return self._place.plain.execute(statement, parameters, prepare=True).fetchall()

    def _both(self, what: str, ours: Callable[[], object], plain: Callable[[], object] | None) -> None:
        ours()
        mine: list[float] = []
        theirs: list[float] = []
        for number in range(self._times):
            mine.append(timed(ours))
            if plain is not None and number < 5:  # noqa: PLR2004  it is slow, and the same each time
                theirs.append(timed(plain))
        print(
            f"{what:52} median {statistics.median(mine):8.2f} ms  p99 {_p99(mine):8.2f}  least {min(mine):8.2f}"
            + (f"  plain {statistics.median(theirs):8.2f}" if theirs else ""),
            flush=True,
        )


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.searching", description="Measure searching by index.")
    add = parser.add_argument
    add("--events", type=int, default=100_000, metavar="N", help="how many (default: 100000)")
    add("--partitions", type=int, default=24, metavar="N", help="over the time of the events (default: 24)")
    add("--repetitions", type=int, default=100, metavar="N", help="of each call (default: 100)")
    add("--input", type=Path, metavar="FILE", help="events as NDJSON (default: event_stream.py of the sample data)")
    add("--own", action="store_true", help="make the events here, as is done where the sample data is missing")
    add("--url", help="a PostgreSQL, as its superuser (default: start the embedded one in a temporary folder)")
    add("--folder", type=Path, help="where that folder is made: on a disk, not in memory")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
