"""Recording while everybody is killed: accepted = committed = sealed, each exactly once, in its process's order.

A program of its own, since it forks: ``python tests/killing.py spool|queue ROUNDS OUTAGE [SEED]``. It has a PostgreSQL
of its own. In a round, for about a second:

- writers record numbered events, and note each acceptance in a file right after it; they are killed with SIGKILL at
  random moments, or end in other ways, and new ones take their places, which bring in what the dead have left;
- sealers seal and sign, and are killed;
- the server is killed with all its processes, or one of its sessions is, or it is stopped without ceremony and stays
  away for a while under load.

After each round everything that was accepted must be in its log's tree exactly once, and nothing else but the one
event that a writer may have been about to note; by the time of commit and by the places in the tree the events of one
process must stand in their order. In the last round the server stays away for OUTAGE seconds. In the end `verify` must
pass over all rounds.

With ``queue`` the writers use a plain queue in memory with a thread that inserts, and tries again until it succeeds:
what applications do without a spool. The same is done to them, and what is missing afterwards is counted.
"""

import os
import queue
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from actions import ACTIONS
from asking import ask, value
from own_server import OwnServer, own_server
from permalog import Actor, Event, Owner, Resource
from permalog.catalogue import BUILT_IN
from permalog.client import Permalog
from permalog.errors import PermalogError
from permalog.postgres.database import Database
from permalog.postgres.migrate import migrate
from permalog.recording import drain, spool
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import Sealer, seal_now
from permalog.sealing.signing import Signing
from permalog.verifying.database import Given, SignedState, verify_database
from proving import leaves_of

ORIGIN = "audit.example.com"
SECONDS = 1.0
WRITERS, SEALERS = 3, 1
EACH = 1_000_000
"""Numbers for one writer."""


class Place(NamedTuple):
    """Where it all happens."""

    server: OwnServer
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url

    def keys(self) -> KeyFile:
        return KeyFile(self.folder / "signing.key", ORIGIN)

    def signing(self) -> Signing:
        return Signing(ORIGIN, self.keys(), SealedFolder(self.folder / "sealed"))

    def notes(self, writer: int) -> Path:
        return self.folder / f"accepted-{writer}"


class Round(NamedTuple):
    """What a round came to."""

    accepted: int
    lost: int
    killed: int
    servers: int


class PlainQueue:
    """Fire and forget in memory: a queue, and a thread that inserts what is in it into a plain table."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue = queue.SimpleQueue[int]()
        threading.Thread(target=self._insert, daemon=True).start()

    def record(self, number: int) -> bool:
        self._queue.put(number)
        return True

    def close(self) -> None:
        end = time.monotonic() + 10
        while not self._queue.empty() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)

    def _insert(self) -> None:
        connection: psycopg.Connection | None = None
        while True:
            some = [self._queue.get()]
            while len(some) < 500 and not self._queue.empty():
                some.append(self._queue.get())
            while True:
                try:
                    connection = connection or psycopg.connect(self._url, autocommit=True)
                    connection.execute("INSERT INTO plain (number) SELECT unnest(%s::bigint[])", (some,))
                    break
                except psycopg.Error:
                    connection = None
                    time.sleep(0.05)


class Spooled:
    """Permalog's `record`, on numbers."""

    def __init__(self, url: str, folder: Path, owner: Owner) -> None:
        self._log = connected(url, folder)
        self._owner = owner

    def record(self, number: int) -> bool:
        actor = Actor.user(f"u_{number % 7}", email="ada@acme.example")
        thing = Resource("thing", str(number))
        return self._log.record(Event(owner=self._owner, actor=actor, action="thing.made", resource=thing)).accepted

    def close(self) -> None:
        self._log.close()


def connected(url: str, folder: Path) -> Permalog:
    """The library, as soon as the server is there."""
    while True:
        try:
            return Permalog.connect(url, catalogue=ACTIONS, spool=folder / "spool")
        except (psycopg.Error, PermalogError):
            time.sleep(0.05)


def forked(work: Callable[[], object]) -> int:
    """A process that does this, and nothing of what the parent would do afterwards."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.close(2)
        os.open(os.environ.get("KILLING_SAYS", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent sees the code
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code)


def write(place: Place, kind: str, owner: Owner, writer: int, end: float) -> None:
    """Records numbers one after the other, until the end or until it is killed."""
    chance = random.Random(writer)  # noqa: S311  no secret
    recorder = PlainQueue(place.url) if kind == "queue" else Spooled(place.url, place.folder, owner)
    notes = os.open(place.notes(writer), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    number = writer * EACH
    leaves_at = time.time() + chance.random() * 4 if chance.random() < 0.3 else end
    while time.time() < min(end, leaves_at):
        for _ in range(chance.randint(1, 20)):
            if recorder.record(number):
                os.write(notes, b"%d\n" % number)
            number += 1
        time.sleep(chance.random() * 0.04)
    recorder.close()


def seal(place: Place, seed: int) -> None:
    """Seals until it is killed."""
    chance = random.Random(seed)  # noqa: S311  no secret
    while True:
        try:
            sealer = Sealer(Database(place.url), place.signing(), rows=chance.choice((7, 100, 1_000)))
            while True:
                if not sealer.pass_over():
                    time.sleep(0.05)
        except (psycopg.Error, PermalogError):
            time.sleep(0.05)


class Writers:
    """The writers of a round: always as many, each with numbers of its own."""

    def __init__(self, place: Place, kind: str, owner: Owner, first: int) -> None:
        self._start: Callable[[int, float], int] = lambda writer, end: forked(
            partial(write, place, kind, owner, writer, end)
        )
        self.next = first
        self.alive: dict[int, int] = {}
        self.killed = 0

    def fill(self, end: float) -> None:
        """Starts what is missing."""
        while len(self.alive) < WRITERS:
            self.alive[self._start(self.next, end)] = self.next
            self.next += 1

    def kill(self, chance: random.Random) -> None:
        """One of them."""
        child = chance.choice(sorted(self.alive))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        del self.alive[child]
        self.killed += 1

    def reap(self) -> None:
        """Those that have ended by themselves."""
        for child in tuple(self.alive):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == 0, "a writer failed"
                del self.alive[child]


def fight(place: Place, kind: str, number: int, outage: float, chance: random.Random) -> Round:
    """One round, and whether all is right after it."""
    owner = Owner.user(f"u_round_{number}")
    first = 1 + number * 1_000
    end = time.time() + SECONDS + outage
    writers = Writers(place, kind, owner, first)
    sealers = [forked(partial(seal, place, chance.getrandbits(32))) for _ in range(SEALERS)] if kind == "spool" else []
    servers = 0
    back_at: float | None = None
    shots = 0 if number % 4 == 3 else 1
    when = time.time() + chance.random() * SECONDS
    while time.time() < end:
        writers.fill(end)
        time.sleep(chance.random() * 0.05)
        writers.reap()
        if chance.random() < 0.1 and writers.alive:
            writers.kill(chance)
        if chance.random() < 0.04 and sealers:
            kill_all([sealers.pop()])
            sealers.append(forked(partial(seal, place, chance.getrandbits(32))))
        if back_at is None and shots and time.time() > when:
            shots, servers = shots - 1, servers + 1
            back_at = time.time() + (outage or chance.random() / 2) if shoot(place.server, chance, outage) else None
        if back_at is not None and time.time() > back_at:
            place.server.start()
            back_at = None
    if back_at is not None:
        place.server.start()
    while writers.alive:
        writers.kill(chance)
    kill_all(sealers)
    accepted = {writer: noted(place, writer) for writer in range(first, writers.next)}
    count = sum(map(len, accepted.values()))
    if kind == "queue":
        return Round(count, lost(place, accepted), writers.killed, servers)
    settle(place)
    check(place, owner, accepted)
    return Round(count, 0, writers.killed, servers)


def shoot(server: OwnServer, chance: random.Random, outage: float) -> bool:
    """Does something to the server; whether it has to be started again."""
    how = "stop" if outage else chance.choice(("kill", "stop", "session"))
    if how == "kill":
        server.kill()
    elif how == "stop":
        server.stop("immediate")
    elif len(sessions := server.processes()) > 1:
        os.kill(chance.choice(sessions[1:]), signal.SIGKILL)  # the postmaster then ends all, and recovers
    return how != "session"


def kill_all(children: list[int]) -> None:
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def noted(place: Place, writer: int) -> list[int]:
    """What a writer noted as accepted."""
    path = place.notes(writer)
    return [int(line) for line in path.read_bytes().split()] if path.exists() else []


def lost(place: Place, accepted: dict[int, list[int]]) -> int:
    """How many of a plain queue's events are nowhere."""
    until_answering(place.server)
    with psycopg.connect(place.url) as connection:
        stored = {number for (number,) in ask(connection, "SELECT number FROM plain")}
    return sum(number not in stored for some in accepted.values() for number in some)


def until_answering(server: OwnServer) -> None:
    end = time.monotonic() + 60
    while not server.is_answering():
        assert time.monotonic() < end, "the server does not come back"
        time.sleep(0.05)


def adopt_all(place: Place) -> None:
    """One more process, which brings in what all that were killed have left."""
    log = connected(place.url, place.folder)
    end = time.monotonic() + 120
    while list((place.folder / "spool").glob("*/*/alive")):
        assert time.monotonic() < end, "what is left is not brought in"
        time.sleep(0.02)
    assert log.stats.failed == log.stats.damaged == 0
    log.close()


def settle(place: Place) -> None:
    """Everything is brought in, sealed and signed."""
    until_answering(place.server)
    child = forked(partial(adopt_all, place))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "adopting failed"
    database = Database(place.url)
    end = time.monotonic() + 60
    while True:
        stats = seal_now(database, place.signing())
        assert not stats.refused, stats.refused
        with psycopg.connect(place.url) as connection:
            if value(connection, "SELECT count(*) FROM permalog.unsealed") == 0 and stats.checkpoints == 0:
                break
        assert time.monotonic() < end, "what is left is not sealed"
    database.close()


def check(place: Place, owner: Owner, accepted: dict[int, list[int]]) -> None:
    """Accepted, committed and sealed are the same, each once, and in order."""
    with psycopg.connect(place.url) as connection:
        rows = connection.execute(
            "SELECT id, resource_id::bigint FROM permalog.event WHERE log_id = %s ORDER BY recorded_at, id",
            (owner.log_id,),
        ).fetchall()
        committed = [number for _, number in rows]
        numbers: dict[UUID | None, int] = dict(rows)
        leaves = [] if not rows else [numbers[event_id] for event_id, _ in leaves_of(connection, owner.log_id)]
        assert value(connection, "SELECT count(*) FROM permalog.identity WHERE erased_at IS NOT NULL") == 0
    assert len(committed) == len(set(committed)), "an event was committed twice"
    assert len(leaves) == len(set(leaves)), "an event was sealed twice"
    assert set(leaves) == set(committed), "what was committed is not what was sealed"
    for writer, own in accepted.items():
        for of_writer, where in ((of(committed, writer), "committed"), (of(leaves, writer), "sealed")):
            # The number behind the last may have been taken before the note of it was written.
            last = own[-1] + 1 if own else writer * EACH
            assert of_writer in (own, [*own, last]), f"writer {writer}: what was {where} is not what was accepted"
    assert {number // EACH for number in committed} <= set(accepted)


def of(numbers: list[int], writer: int) -> list[int]:
    return [number for number in numbers if number // EACH == writer]


def verify(place: Place) -> int:
    """The verifier's own word, over all rounds; how many events it has seen."""
    outside = SealedFolder(place.folder / "sealed")
    known: dict[tuple[UUID, int], SignedState] = {}
    with psycopg.connect(place.url) as connection:
        heads: list[tuple[Any, ...]] = ask(connection, "SELECT log_id FROM permalog.head WHERE size > 0")
        events: int = value(connection, "SELECT count(*) FROM permalog.event")
    for (log_id,) in heads:
        last = outside.last(log_id)
        assert last is not None
        known[log_id, 1] = SignedState(last.size, last.root)
    database = Database(place.url)
    result = verify_database(
        database, None, Given(keys=place.keys().known(), prefix=ORIGIN, outside=known), keep_going=True
    )
    assert result.proven, result.findings[:10]
    database.close()
    return events


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(kind: str, rounds: str, outage: str, seed: str = "") -> None:
    seed = seed or str(time.time_ns())
    say(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  no secret
    # Dead processes are looked for all the time, and leave several files.
    drain.ADOPT_SECONDS, spool.SEGMENT_BYTES = 0.1, 20_000  # pyright: ignore[reportPrivateLocalImportUsage]
    server = own_server("killing")
    place = Place(server, server.home.with_name(f"{server.home.name}-files"))
    place.folder.mkdir(mode=0o700)
    try:
        server.start()
        migrate(server.url, BUILT_IN | ACTIONS)
        with psycopg.connect(server.url) as connection:
            ask(connection, "CREATE TABLE plain (number bigint)")
        place.keys().make()
        began = time.monotonic()
        done: list[Round] = []
        for number in range(int(rounds)):
            is_last = number == int(rounds) - 1
            done.append(fight(place, kind, number, float(outage) if is_last else 0.0, chance))
            if number % 10 == 9:
                say(
                    f"{number + 1} rounds, {time.monotonic() - began:.0f} s, {sum(one.accepted for one in done)} events"
                )
        accepted, missing, killed, servers = (sum(column) for column in zip(*done, strict=True))
        verified = verify(place) if kind == "spool" else 0
        say(
            f"{rounds} rounds in {time.monotonic() - began:.0f} s: {accepted} events accepted, {missing} lost;"
            f" {killed} writers killed, the server {servers} times; {verified} verified"
        )
    finally:
        server.remove()
        shutil.rmtree(place.folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
