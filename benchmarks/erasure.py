"""Erasing people from a large log: how long it takes, what it writes, and that it writes no event.

    python -m benchmarks.erasure [--events 400000] [--share 100000] [--url URL] [--folder FOLDER]

Of the events, `share` are by one user (from 250 addresses), as many by one member of staff (each with an identity
of its own, as staff have), and the others by five thousand users; every third holds a personal value.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from benchmarks.events import ACTIONS
from benchmarks.figures import machine, say
from benchmarks.place import prepared
from permalog import Actor, Event, Owner, Permalog, Personal, Resource
from permalog.recording.store import Dated

if TYPE_CHECKING:
    from benchmarks.place import Place

BATCH: Final = 5_000
_USERS: Final = 5_000
_OWNER: Final = Owner.organization(UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f"))
_WRITTEN: Final = (
    "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables"
    " WHERE schemaname = 'permalog' AND relname ~ '^event_([0-9]{6}|before)$'"
)


def main() -> None:
    """Fills a log, erases, and prints the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.erasure", description="Measure erasing people.")
    parser.add_argument("--events", type=int, default=400_000, metavar="N", help="in the log (default: 400000)")
    parser.add_argument("--share", type=int, default=100_000, metavar="N", help="of each of the two (default: 100000)")
    parser.add_argument("--url", help="a PostgreSQL, as its superuser (default: start the embedded one)")
    parser.add_argument("--folder", type=Path, help="where that one's data lie: on a disk, not in memory")
    options = parser.parse_args()
    with prepared(options.url, options.folder) as place:
        _fill(place, options.events, options.share)
        place.settle()
        for name, value in (machine() | place.settings).items():
            print(f"{name}: {value}")
        for whom in ("a user", "staff", "somebody with one event"):
            _measure(place, whom)


def _fill(place: Place, events: int, share: int) -> None:
    with Permalog.connect(place.url, catalogue=ACTIONS) as log:
        writer = log.writer()
        began = datetime.now(UTC) - timedelta(days=1)
        for start in range(0, events, BATCH):
            batch = [
                Dated.of(_event(number, share, began + timedelta(milliseconds=number)), began)
                for number in range(start, min(start + BATCH, events))
            ]
            writer.store(batch)
            if start % (BATCH * 20) == 0:
                say(f"{start:,} events written")
        one = Actor.user("somebody with one event", email="once@acme.example", name="Once Only")
        writer.store([Dated.of(_by(one, events, began + timedelta(milliseconds=events)), began)])
        writer.close()


def _event(number: int, share: int, moment: datetime) -> Event:
    if number % 4 == 0 and number // 4 < share:
        address = f"10.0.{number % 1000 // 250}.{number % 250}"
        actor = Actor.user("a user", email="ada@acme.example", name="Ada Byron", ip_address=address)
    elif number % 4 == 1 and number // 4 < share:
        actor = Actor.staff("staff", email="sam@staff.example", name="Sam Field")
    else:
        who = number % _USERS
        actor = Actor.user(f"u_{who}", email=f"u_{who}@acme.example", name=f"User {who}")
    return _by(actor, number, moment)


def _by(actor: Actor, number: int, moment: datetime) -> Event:
    told = {"by": Personal("github_login", f"login-{number % 50_000}")} if number % 3 == 0 else {}
    if number % 1000 == 0:
        told["searched"] = Personal("search", "events of ada@acme.example, please")
    return Event(
        owner=_OWNER, actor=actor, action="security.finding.dismissed", occurred_at=moment, metadata=told,
        resource=Resource("security_finding", f"fnd_{number % 10_000}"),
    )  # fmt: skip


def _measure(place: Place, whom: str) -> None:
    place.checkpoint()
    with psycopg.connect(place.url, autocommit=True) as connection:
        written, position = _one(connection, _WRITTEN), _one(connection, "SELECT pg_current_wal_lsn()")
    with Permalog.connect(place.url) as log:
        began = time.perf_counter()
        log.erase_user(whom, actor=Actor.system("benchmark"), dry_run=True)
        dry = time.perf_counter() - began
        began = time.perf_counter()
        erased = log.erase_user(whom, actor=Actor.system("benchmark"))
        seconds = time.perf_counter() - began
    time.sleep(1)  # the server process has counted its writes when it has ended
    with psycopg.connect(place.url, autocommit=True) as connection:
        log_bytes = _one(connection, "SELECT pg_current_wal_lsn() - %s::pg_lsn", str(position))
        touched = int(str(_one(connection, _WRITTEN))) - int(str(written))
    identities = sum(one.identities for one in erased)
    print(
        f"{whom}: {identities:,} identities, {seconds:.2f} s (dry run {dry:.2f} s),"
        f" {int(str(log_bytes)) / 1e6:.1f} MB of WAL, {touched} event rows written"
    )


def _one(connection: psycopg.Connection, statement: str, *values: str) -> object:
    row = connection.execute(statement.encode(), values).fetchone()
    return row[0] if row else None


if __name__ == "__main__":
    main()
