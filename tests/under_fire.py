"""Sealing under fire: processes write and seal, and are killed wherever they are; then everything must be right.

A program of its own, since it forks: ``python tests/under_fire.py URL FOLDER ROUNDS [SEED]`` on a migrated database. In
a round, for a second:

- writers record in transactions of a few events, some of which are rolled back; one holds its own open all the time;
- several sealers work with small batches, and are killed: from outside at a random moment, or by themselves before a
  random step (between noting outside, signing, storing and committing, among others); new ones take their places;
- the key is rotated, connections are cut, and events come that have no exact canonical form.

Whatever a key signs is written down before the signature is handed out, so that what a killed sealer had signed and
not stored counts, too. In the end each committed event must have exactly one leaf, its own; trees, tiles, counts and
checkpoints must be those of second implementations; and everything that was ever signed must be of one history.
"""

import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn
from uuid import UUID

import orjson
import psycopg

import naive
from permalog import Actor, Event, Owner, Resource
from permalog.postgres.database import Database
from permalog.recording.statement import execute_all
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import Sealer, seal_now
from permalog.sealing.signing import Signing
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.note import Signature, Signer, VerifierKey
from permalog.verifying.database import Given, SignedState, verify_database
from permalog.verifying.outside import place_of
from proving import check_log, leaves_of

ORIGIN = "audit.example.com"
SECONDS = 1.0
KILLED, ROTATED, CUT = 0.06, 0.02, 0.02
"""How likely, each 15 milliseconds."""
WRITERS, SEALERS, LOGS = 2, 3, 2
ODD = """INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, resource_type, resource_id, metadata)
    SELECT %s, permalog.new_id(t), t, 'thing.made', 'system', 'thing', 'odd', '{"n": 0.10000000000000000001}'
    FROM date_trunc('milliseconds', now()) AS t"""


class WritingDown(NamedTuple):
    """A signer that notes in a file what it signs, before anybody has the signature."""

    signer: Signer
    file: Path

    @property
    def key(self) -> VerifierKey:
        return self.signer.key

    def sign(self, text: str) -> Signature:
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, orjson.dumps(text) + b"\n")
        os.close(handle)
        return self.signer.sign(text)


class WatchedKeys(NamedTuple):
    """The keys of a file, whose signatures are written down."""

    keys: KeyFile
    file: Path

    def signer(self) -> Signer:
        return WritingDown(self.keys.signer(), self.file)

    def known(self) -> list[VerifierKey]:
        return self.keys.known()


class Place(NamedTuple):
    """Where it all happens."""

    url: str
    folder: Path

    def keys(self) -> KeyFile:
        return KeyFile(self.folder / "signing.key", ORIGIN)

    def signing(self) -> Signing:
        return Signing(ORIGIN, WatchedKeys(self.keys(), self.folder / "signed"), SealedFolder(self.folder / "sealed"))


class Round(NamedTuple):
    """One round's owners, and what it came to."""

    owners: list[Owner]
    events: int
    killed: int
    signed: int


def forked(work: Callable[[], object]) -> int:
    """A process that does this, and nothing of what the parent would do afterwards."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except (psycopg.Error, OSError):
        code = 0  # the connection was cut, which is part of it
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent says so
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code)


def write(place: Place, owners: list[Owner], seed: int, end: float, acknowledged: int) -> None:
    """Transactions until the end; the ids of what was committed go into a pipe."""
    chance = random.Random(seed)  # noqa: S311  no secret
    with psycopg.connect(place.url) as connection:
        connection.execute("SET ROLE permalog_writer")
        connection.commit()
        while time.time() < end:
            owner = chance.choice(owners)
            ids = execute_all([made(owner, chance) for _ in range(chance.randint(1, 12))], connection)
            if chance.random() < 0.2:  # so that others, with later events, commit before
                time.sleep(chance.random() * 0.1)
            if chance.random() < 0.1:
                connection.rollback()
                continue
            connection.commit()
            os.write(acknowledged, b"".join(f"{one}\n".encode() for one in ids))
            if chance.random() < 0.1:
                connection.execute("RESET ROLE")
                connection.execute(ODD, (owner.log_id,))
                connection.execute("SET ROLE permalog_writer")
                connection.commit()


def hold(place: Place, owners: list[Owner], seed: int, end: float, acknowledged: int) -> None:
    """One transaction as long as the round: its events are older than most that are sealed by then."""
    chance = random.Random(seed)  # noqa: S311  no secret
    with psycopg.connect(place.url) as connection:
        ids = execute_all([made(owner, chance) for owner in owners for _ in range(3)], connection)
        time.sleep(max(0.0, end - time.time() - 0.05))
        connection.commit()
        os.write(acknowledged, b"".join(f"{one}\n".encode() for one in ids))


def seal(place: Place, seed: int) -> NoReturn:
    """Seals until it is killed, by others or, before a step that was drawn, by itself."""
    chance = random.Random(seed)  # noqa: S311  no secret
    left = chance.randint(1, 60) if chance.random() < 0.7 else sys.maxsize

    def step(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sealer = Sealer(Database(place.url), place.signing(), rows=chance.choice((1, 3, 7, 30, 200)), step=step)
    while True:
        sealer.pass_over()


def made(owner: Owner, chance: random.Random) -> Event:
    return Event(
        owner=owner,
        actor=Actor.user(f"u_{chance.randint(1, 5)}", email="ada@acme.example"),
        action=chance.choice(("thing.made", "thing.changed")),
        resource=Resource("thing", f"t_{chance.randint(1, 9)}"),
        metadata={"n": chance.random()},
    )


def fight(place: Place, number: int, chance: random.Random) -> Round:
    """One round, and whether all is right after it."""
    owners = [Owner.user(f"u_{number}_{each}") for each in range(LOGS)]
    for owner in owners:
        with psycopg.connect(place.url) as connection:
            execute_all([made(owner, chance)], connection)
    end = time.time() + SECONDS
    reading, writing = os.pipe()
    writers = [forked(partial(write, place, owners, chance.getrandbits(32), end, writing)) for _ in range(WRITERS)]
    writers.append(forked(partial(hold, place, owners, number, end, writing)))
    os.close(writing)
    sealers = {forked(partial(seal, place, chance.getrandbits(32))) for _ in range(SEALERS)}
    doomed = writers[0] if chance.random() < 0.3 else None
    killed = 0
    while time.time() < end:
        time.sleep(chance.random() * 0.03)
        if chance.random() < KILLED:
            os.kill(chance.choice(sorted(sealers)), signal.SIGKILL)
        if chance.random() < ROTATED:
            place.keys().rotate()
        if chance.random() < CUT:
            cut(place)
        if doomed is not None and chance.random() < 0.1:
            os.kill(doomed, signal.SIGKILL)
            doomed = None
        for child in ended(sealers):
            killed += 1
            sealers.discard(child)
            sealers.add(forked(partial(seal, place, chance.getrandbits(32))))
    for child in sealers:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for child in writers:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in {0, -signal.SIGKILL}
    acknowledged = {UUID(one) for one in drained(reading).decode().split()}
    settle(place)
    events = sum(check_log(place.url, owner.log_id, keys=place.keys().known()) for owner in owners)
    with psycopg.connect(place.url) as connection:
        stored = {one for owner in owners for one, _ in leaves_of(connection, owner.log_id)}
    assert acknowledged <= stored, "an event that was committed has no leaf"
    return Round(owners, events, killed + len(sealers), check_signed(place, owners))


def ended(children: set[int]) -> list[int]:
    """Those that have ended; one that was neither killed nor cut off ends the round."""
    found: list[int] = []
    for child in children:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}, "a sealer failed"
            found.append(child)
    return found


def cut(place: Place) -> None:
    """Ends a connection of somebody else, wherever it is."""
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
        )


def drained(handle: int) -> bytes:
    found = b""
    while select.select([handle], [], [], 5)[0] and (some := os.read(handle, 65_536)):
        found += some
    os.close(handle)
    return found


def settle(place: Place) -> None:
    """What is left is sealed and signed; a killed process's transaction ends once the server notices."""
    database = Database(place.url)
    end = time.monotonic() + 30
    while True:
        stats = seal_now(database, place.signing())
        assert not stats.refused, stats.refused
        assert not stats.errors
        with psycopg.connect(place.url) as connection:
            others = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            ).fetchone()
            waiting = connection.execute("SELECT count(*) FROM permalog.unsealed").fetchone()
        if (others, waiting, stats.checkpoints) == ((0,), (0,), 0):
            break
        assert time.monotonic() < end, f"{waiting} events still wait, beside {others} connections"
    database.close()


def check_signed(place: Place, owners: list[Owner]) -> int:
    """Everything that was ever signed, stored or not, is a beginning of the tree; and the outside knows the last."""
    trees: dict[UUID, list[bytes]] = {}
    with psycopg.connect(place.url) as connection:
        for owner in owners:
            trees[owner.log_id] = [leaf for _, leaf in leaves_of(connection, owner.log_id)]
            last = SealedFolder(place.folder / "sealed").last(owner.log_id)
            assert last is not None
            assert last.size == len(trees[owner.log_id])
    signed = 0
    for line in (place.folder / "signed").read_bytes().splitlines():
        checkpoint = Checkpoint.parse(orjson.loads(line))
        log_id, epoch = place_of(checkpoint.origin)
        if log_id in trees:
            signed += 1
            assert (epoch, checkpoint.root) == (1, naive.root(trees[log_id][: checkpoint.size]))
    return signed


def verify(place: Place, owners: list[Owner]) -> None:
    """The verifier's own word, over all rounds."""
    outside = SealedFolder(place.folder / "sealed")
    known: dict[tuple[UUID, int], SignedState] = {}
    for owner in owners:
        last = outside.last(owner.log_id)
        assert last is not None
        known[owner.log_id, 1] = SignedState(last.size, last.root)
    database = Database(place.url)
    given = Given(keys=place.keys().known(), prefix=ORIGIN, outside=known)
    result = verify_database(database, None, given, keep_going=True)
    assert result.proven, result.findings[:10]
    database.close()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(url: str, folder: str, rounds: str, seed: str = "") -> None:
    place = Place(url, Path(folder))
    seed = seed or str(time.time_ns())
    say(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  no secret
    place.keys().make()
    began, owners, events, killed, signed = time.monotonic(), list[Owner](), 0, 0, 0
    for number in range(int(rounds)):
        done = fight(place, number, chance)
        owners += done.owners
        events, killed, signed = events + done.events, killed + done.killed, signed + done.signed
        if number % 20 == 19:
            say(f"{number + 1} rounds, {time.monotonic() - began:.0f} s")
    verify(place, owners)
    say(
        f"{rounds} rounds in {time.monotonic() - began:.0f} s: {events} events, each with one leaf; {killed} sealers"
        f" killed; {signed} signatures, all of one history"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
