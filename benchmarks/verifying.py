"""Verifying a live database: events a second, all rules included, and memory at two sizes of a log.

    python -m benchmarks.verifying [--events 200000] [--repetitions 3] [--url URL] [--folder FOLDER]

Each run is a process of its own, as `permalog verify` is. The limit is the same rows read and hashed, and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from benchmarks.child import peak_megabytes
from benchmarks.figures import LIMIT, PERMALOG, Report, machine, say
from benchmarks.place import prepared, query
from benchmarks.processor import own_seconds
from permalog import Owner
from permalog.postgres.database import Database
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from permalog.sql import query as library
from permalog.tlog.canonical import EventRow, leaf_hash
from permalog.tlog.note import VerifierKey
from permalog.verifying.database import Given, verify_database
from permalog_server.bundles import collecting_rarely

if TYPE_CHECKING:
    from benchmarks.place import Place

ORIGIN: Final = "audit.example.com"
OWNER: Final = Owner.organization(UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f"))
_BATCH: Final = 50_000


def main() -> None:
    """Fills a log, seals it, verifies it at a quarter of its size and at all of it, and prints the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.verifying", description="Measure verifying a live database.")
    parser.add_argument("--events", type=int, default=200_000, metavar="N")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument(
        "--url", help="a PostgreSQL, as its superuser (default: the embedded one in a temporary folder)"
    )
    parser.add_argument("--folder", type=Path, help="where that folder is made")
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "URL", "KEY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        what, url, key = options.child
        sys.stdout.buffer.write(orjson.dumps(_verified(url, key) if what == "verify" else _limit(url)))
        return
    report = Report({**machine(), "command": "python -m benchmarks.verifying " + " ".join(sys.argv[1:])})
    with prepared(options.url, options.folder) as place, tempfile.TemporaryDirectory() as home:
        keys = KeyFile(Path(home) / "signing.key", ORIGIN)
        keys.make()
        signing = Signing(ORIGIN, keys, SealedFolder(Path(home) / "sealed"))
        stored = 0
        for size in (options.events // 4, options.events):
            _fill(place, stored, size, options.events)
            stored = size
            say(f"sealing up to {size:,}")
            database = Database(place.url)
            with closing(database):
                seal_now(database, signing)
            place.settle()
            _measure(place, report, size, str(keys.known()[-1]), options.repetitions)
    for name, value in report.about.items():
        print(f"{name}: {value}")
    print(report.table())


def _measure(place: Place, report: Report, size: int, key: str, repetitions: int) -> None:
    group = f"Verifying a log of {size:,} events, live"
    rate = report.figure(group, "events a second", "events/s", ">= 60,000")
    computed = report.figure(group, "processor time of Python", "µs an event")
    memory = report.figure(group, "peak memory", "MB")
    for number in range(repetitions):
        say(f"verifying {size:,}, {number + 1} of {repetitions}")
        for what, subject in (("verify", PERMALOG), ("limit", LIMIT)):
            found = _child(what, place.url, key)
            rate.add(subject, found["events"] / found["seconds"])
            computed.add(subject, 1e6 * found["processor"] / found["events"])
            memory.add(subject, found["peak_mb"])


def _child(what: str, url: str, key: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.verifying", "--child", what, url, key]
    return orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603  our own program


def _fill(place: Place, stored: int, size: int, total: int) -> None:
    place.ours.execute(query("verifying", "open"), {"log": OWNER.log_id, "organization": OWNER.organization_id})
    newest = datetime.now(UTC)
    for first in range(stored, size, _BATCH):
        say(f"writing from {first:,}")
        row = {
            "log": OWNER.log_id,
            "first": first,
            "last": min(first + _BATCH, size) - 1,
            "total": total,
            "newest": newest,
        }
        place.ours.execute(query("verifying", "fill"), row)


def _verified(url: str, key: str) -> dict[str, Any]:
    given = Given(keys=[VerifierKey.parse(key)], prefix=ORIGIN)
    with closing(Database(url)) as database, collecting_rarely():  # as `permalog verify` does
        began, computed = time.perf_counter(), own_seconds()
        result = verify_database(database, OWNER.log_id, given)
        seconds, processor = time.perf_counter() - began, own_seconds() - computed
    if not result.proven:
        raise AssertionError(result.findings)
    events = result.logs[0].read
    return {"seconds": seconds, "processor": processor, "events": events, "peak_mb": peak_megabytes()}


def _limit(url: str) -> dict[str, Any]:
    """All rows, in any order: read, canonicalised and hashed."""
    low, high = UUID(int=0), UUID(int=2**128 - 1)
    row = {"log": OWNER.log_id, "low": low, "high": high}
    events, last = 0, b""
    with closing(Database(url)) as database, database.verifying() as connection:
        began, computed = time.perf_counter(), own_seconds()
        for columns in connection.cursor(binary=True).stream(library("verify", "rows_of_range"), row, size=1000):
            last = leaf_hash(EventRow._make(columns))
            events += 1
        seconds, processor = time.perf_counter() - began, own_seconds() - computed
    if len(last) != hashlib.sha256().digest_size:
        raise AssertionError
    return {"seconds": seconds, "processor": processor, "events": events, "peak_mb": peak_megabytes()}


if __name__ == "__main__":
    main()
