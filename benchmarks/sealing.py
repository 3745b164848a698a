"""Sealing: events a second and what they cost, how long they wait, bytes an event, and the summary that it keeps.

    python -m benchmarks.sealing [--events 1000000] [--actors 10 1000] [--seconds 20] [--rate 5000] [--url URL]

The sealer is a process of its own, as `permalog seal` is. Its share is its processor time, Python's and the server's,
of that of writing and sealing together, for events that are written as `permalog import` writes them.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import orjson

from benchmarks.events import ACTIONS
from benchmarks.figures import PERMALOG, Report, machine, say
from benchmarks.place import prepared, query
from benchmarks.processor import own_seconds, server_seconds
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.postgres.database import Database
from permalog.recording.store import Dated
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import INTERVAL, Sealer
from permalog.sealing.signing import Signing

if TYPE_CHECKING:
    from benchmarks.place import Place

ORIGIN: Final = "audit.example.com"
_BATCH: Final = 50_000
_SPACE: Final = UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f")
_WRITTEN: Final = 500
"""Events a batch, while they come steadily."""
_REPEATED: Final = 200


def main() -> None:
    """Fills a log for each number of actors, seals it, asks for its summary; then seals what comes steadily."""
    parser = argparse.ArgumentParser("python -m benchmarks.sealing", description="Measure sealing.")
    add = parser.add_argument
    add("--events", type=int, default=1_000_000, metavar="N")
    add("--actors", type=int, nargs="+", default=[10, 1000], metavar="N")
    add("--seconds", type=int, default=20, metavar="N")
    add("--rate", type=int, default=5_000, metavar="N")
    add("--url", help="a PostgreSQL, as its superuser (default: the embedded one in a temporary folder)")
    add("--folder", type=Path, help="where that folder is made")
    add("--profile", action="store_true", help="print where the sealer's time goes")
    add("--child", nargs=3, metavar=("URL", "FOLDER", "EVENTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        url, folder, events = options.child
        sys.stdout.buffer.write(orjson.dumps(_child(url, Path(folder), int(events), profile=options.profile)))
        return
    report = Report({**machine(), "command": "python -m benchmarks.sealing " + " ".join(sys.argv[1:])})
    with prepared(options.url, options.folder) as place, tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        KeyFile(folder / "signing.key", ORIGIN).make()
        _share(place, report, folder, options)
        _steady(place, report, folder, options)
        for actors in options.actors:
            _whole(place, report, folder, options, actors)
    for name, value in report.about.items():
        print(f"{name}: {value}")
    print(report.table())


def _whole(place: Place, report: Report, folder: Path, options: argparse.Namespace, actors: int) -> None:
    owner = Owner.organization(uuid5(_SPACE, f"of {actors}"))
    row: dict[str, Any] = {"log": owner.log_id, "organization": owner.organization_id, "actors": actors}
    place.ours.execute(query("sealing", "open"), row)
    place.ours.execute(query("sealing", "people"), row)
    row |= {"total": options.events, "newest": datetime.now(UTC)}
    for first in range(0, options.events, _BATCH):
        say(f"writing from {first:,}")
        place.ours.execute(
            query("sealing", "fill"), row | {"first": first, "last": min(first + _BATCH, options.events) - 1}
        )
    place.settle()
    before = dict(place.ours.execute(query("sealing", "bytes")).fetchall())
    say(f"sealing {options.events:,} events of {actors:,} actors")
    group = f"Sealing {options.events:,} events of {actors:,} actors, which wait already"
    _sealed(place, report, group, folder, options)
    place.settle()
    after = dict(place.ours.execute(query("sealing", "bytes")).fetchall())
    for name, size in after.items():
        figure = report.figure(group, f"bytes an event: {name}", "bytes", "all <= 64")
        figure.add(PERMALOG, (size - before[name]) / options.events)
    say("asking for the summary")
    with Permalog.connect(place.url, catalogue=ACTIONS) as log:
        for waiting in (0, 5_000):
            if waiting:
                place.ours.execute(query("sealing", "fill"), row | {"first": 0, "last": waiting - 1})
            figure = report.figure(group, f"summary, {waiting:,} waiting, ms", "ms", "<= 5")
            for _ in range(_REPEATED):
                began = time.perf_counter()
                log.summary(owner)
                figure.add(PERMALOG, 1e3 * (time.perf_counter() - began))
            fast = report.figure(group, f"the same, the fastest tenth of {_REPEATED}", "ms", "<= 5")
            fast.add(PERMALOG, sorted(figure.values[PERMALOG])[_REPEATED // 10])
    _run(place, folder, options)


def _sealed(place: Place, report: Report, group: str, folder: Path, options: argparse.Namespace) -> float:
    """Seals everything that waits; returns the processor time of all of it."""
    served = server_seconds(place.ours)
    found = _run(place, folder, options)
    there = server_seconds(place.ours)
    events = found["events"]
    report.figure(group, "events a second", "events/s", ">= 50,000").add(PERMALOG, events / found["seconds"])
    report.figure(group, "processor time of Python", "µs an event").add(PERMALOG, 1e6 * found["processor"] / events)
    server = 0.0 if served is None or there is None else there - served
    report.figure(group, "processor time of PostgreSQL", "µs an event").add(PERMALOG, 1e6 * server / events)
    return found["processor"] + server


def _share(place: Place, report: Report, folder: Path, options: argparse.Namespace) -> None:
    count = min(options.events, 100_000)
    say(f"writing {count:,} events as an import does")
    events = [_made(number) for number in range(count)]
    with Permalog.connect(place.url, catalogue=ACTIONS) as log, closing(log.writer()) as writer:
        served, own = server_seconds(place.ours), own_seconds()
        for first in range(0, count, 5_000):
            writer.store([Dated.of(event, datetime.now(UTC)) for event in events[first : first + 5_000]])
        there = server_seconds(place.ours)
        written = own_seconds() - own + (0.0 if served is None or there is None else there - served)
    group = f"Sealing's share, {count:,} events"
    sealed = _sealed(place, report, group, folder, options)
    report.figure(group, "share of writing and sealing together", "", "<= 0.25").add(
        PERMALOG, sealed / (written + sealed)
    )


def _steady(place: Place, report: Report, folder: Path, options: argparse.Namespace) -> None:
    owner = Owner.organization(uuid5(_SPACE, "steady"))
    events = [_made(number, owner) for number in range(options.rate * options.seconds)]
    say(f"{options.rate:,} events a second for {options.seconds} seconds")
    command = [*_command(options), "--child", place.url, str(folder), str(len(events))]
    sealer = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  our own program
    with Permalog.connect(place.url, catalogue=ACTIONS) as log, closing(log.writer()) as writer:
        began = time.monotonic()
        for first in range(0, len(events), _WRITTEN):
            time.sleep(max(0.0, began + first / options.rate - time.monotonic()))
            writer.store([Dated.of(event, datetime.now(UTC)) for event in events[first : first + _WRITTEN]])
        rate = len(events) / (time.monotonic() - began)
    out, _ = sealer.communicate()
    commits: list[tuple[float, int]] = orjson.loads(out)["commits"]
    recorded = [moment for (moment,) in place.ours.execute(query("sealing", "recorded"), {"log": owner.log_id})]
    lags, done = list[float](), 0
    for moment, upto in commits:
        lags += [moment - one for one in recorded[done:upto]]
        done = upto
    group = f"What waits, at {rate:,.0f} events a second of one log"
    cuts = statistics.quantiles(lags, n=100)
    for name, value in (("p50", cuts[49]), ("p99", cuts[98]), ("most", max(lags))):
        report.figure(group, f"from being recorded to being sealed, {name}", "s", "<= 2").add(PERMALOG, value)


def _made(number: int, owner: Owner | None = None) -> Event:
    return Event(
        owner=owner or Owner.organization(uuid5(_SPACE, f"share {number % 10}")),
        actor=Actor.user(f"u_{number % 100}", email=f"{number % 100}@tests.example", name=f"Person {number % 100}"),
        action="security.finding.dismissed",
        resource=Resource("security_finding", f"fnd_{number}"),
        before_state={"status": "open"},
        after_state={"status": "ignored"},
        metadata={"reason": "tolerable_risk", "package": f"widget-{number % 50}", "note": f"some words {number}"},
        correlation_id=f"op_{number // 3}",
        source="web",
    )


def _command(options: argparse.Namespace) -> list[str]:
    profile = ["--profile"] if options.profile else []
    return [sys.executable, "-m", "benchmarks.sealing", *profile]


def _run(place: Place, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [*_command(options), "--child", place.url, str(folder), "0"]
    return orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  as above


def _child(url: str, folder: Path, events: int, *, profile: bool) -> dict[str, Any]:
    """Seals all that waits, or goes on until so many events are sealed, and says when each batch was committed."""
    commits: list[tuple[float, int]] = []
    moments: list[float] = []

    def step(name: str) -> None:
        if name == "sealed":
            moments.append(time.time())

    signing = Signing(ORIGIN, KeyFile(folder / "signing.key", ORIGIN), SealedFolder(folder / "sealed"))
    profiler = cProfile.Profile()
    with closing(Database(url)) as database, closing(Sealer(database, signing, step=step)) as sealer:
        began, computed = time.perf_counter(), own_seconds()
        if profile:
            profiler.enable()
        while True:
            at = time.monotonic()
            is_more = sealer.pass_over()
            if moments:
                commits.append((moments[-1], sealer.stats.events))
                moments.clear()
            if sealer.stats.events >= events and not is_more:
                break
            if not is_more:
                time.sleep(max(0.0, at + INTERVAL - time.monotonic()))
        profiler.disable()
        seconds, processor = time.perf_counter() - began, own_seconds() - computed
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(18)
    return {"seconds": seconds, "processor": processor, "events": sealer.stats.events, "commits": commits}


if __name__ == "__main__":
    main()
