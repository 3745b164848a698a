"""A sealed database to attack, and what an attacker with all rights can do: among other things, seal it anew."""

import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from asking import composed
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.tlog.canonical import EventRow, leaf_hash
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Ed25519Signer
from permalog.tlog.tile import WIDTH

PREFIX = "audit.example.com"
SIGNER = Ed25519Signer(PREFIX, hashlib.sha256(b"the log's key").digest())
ACME, BETA = (Owner.organization(UUID(int=number)) for number in (0xACE, 0xBE7A))
WHOLE = 310
SIZES = (3, 256, 300)
"""At which sizes a log gets a checkpoint; the last is all that is sealed."""
ROWS = """SELECT log_id, id, occurred_at, recorded_at, recorded_by, action, outcome, actor_type, actor_id, identity,
    resource_type, resource_id, correlation_id, source, schema_version, before_state::text, after_state::text,
    metadata::text FROM permalog.event WHERE log_id = %s ORDER BY id"""

Connection = psycopg.Connection[Any]


def fill(log: Permalog, url: str, count: int) -> None:
    """As many events in each of two logs, of every kind of actor."""
    began = datetime.now(UTC) - timedelta(hours=1)
    actors = (
        Actor.user("u_1", email="ada@acme.example", name="Ada", ip_address="2001:db8::7", user_agent="Mozilla/5.0"),
        Actor.api_key("k_1", name="deploy"),
        Actor.staff("s_1", email="sam@vendor.example", name="Sam"),
        Actor.system("sync"),
    )
    with psycopg.connect(url) as connection:
        for owner in (ACME, BETA):
            for number in range(count):
                event = Event(
                    owner=owner,
                    actor=actors[number % len(actors)],
                    action=("thing.made", "thing.changed")[number % 3 == 0],
                    resource=Resource("thing", f"t_{number % 7}"),
                    occurred_at=began + timedelta(seconds=number),
                    before_state={"n": number} if number % 2 else None,
                    after_state={"n": number + 1} if number % 2 else None,
                    metadata={"by": Personal("github_login", "octo-ada")} if number % 5 == 0 else {"n": number},
                    correlation_id=f"op_{number // 3}",
                    source="api",
                    event_key=f"key-{number}" if number % 4 == 0 and count == WHOLE else None,
                )
                log.record(event, connection=connection)


class Sealed(NamedTuple):
    """What sealing wrote of a log."""

    checkpoints: list[Checkpoint]
    notes: list[bytes]


def rows_of(connection: Connection, log_id: UUID) -> list[EventRow]:
    """The rows of a log, by id."""
    return [EventRow.read(row) for row in connection.execute(ROWS, (log_id,))]


def seal(
    connection: Connection,
    log_id: UUID,
    sizes: Iterable[int] = SIZES,
    signer: Ed25519Signer = SIGNER,
    rows: Sequence[EventRow] | None = None,
    epoch: int = 1,
) -> Sealed:
    """Writes a log's tree as if all of it had been sealed now: said once more, and as plainly as possible."""
    sizes = tuple(sizes)
    rows = (rows_of(connection, log_id) if rows is None else rows)[: sizes[-1]]
    for table in ("head", "tile", "checkpoint", "activity", "unsealed"):
        connection.execute(composed(f"DELETE FROM permalog.{table} WHERE log_id = %s"), (log_id,))
    levels: list[list[tuple[bytes, list[str]]]] = [[(leaf_hash(row), [row.id]) for row in rows]]
    while len(levels[-1]) >= WIDTH:
        whole = len(levels[-1]) // WIDTH * WIDTH
        groups = [levels[-1][at : at + WIDTH] for at in range(0, whole, WIDTH)]
        levels.append(
            [
                (Frontier().grown([one for one, _ in group]).frontier.root(), [one for _, ids in group for one in ids])
                for group in groups
            ]
        )
    for level, hashes in enumerate(levels):
        for at in range(0, len(hashes), WIDTH):
            tile = hashes[at : at + WIDTH]
            ids = [one for _, below in tile for one in below]
            connection.execute(
                "INSERT INTO permalog.tile (log_id, epoch, level, index, hashes, event_ids, first_id, last_id)"
                " VALUES (%s, %s, %s, %s, %s, %s::uuid[], %s, %s)",
                (log_id, epoch, level, at // WIDTH, b"".join(one for one, _ in tile),
                 *((None, None, None) if level else (ids, min(ids), max(ids)))),
            )  # fmt: skip
    leaves = [one for one, _ in levels[0]]
    sealed = Sealed([], [])
    for size in sizes:
        root = Frontier().grown(leaves[:size]).frontier.root()
        checkpoint = Checkpoint(log_origin(PREFIX, log_id, epoch), size, root)
        note = checkpoint.signed(signer).to_bytes()
        connection.execute(
            "INSERT INTO permalog.checkpoint (log_id, epoch, size, root, note) VALUES (%s, %s, %s, %s, %s)",
            (log_id, epoch, size, root, note.decode()),
        )
        sealed.checkpoints.append(checkpoint)
        sealed.notes.append(note)
    frontier = Frontier().grown(leaves).frontier
    connection.execute(
        "INSERT INTO permalog.head (log_id, epoch, size, frontier, sealed_at)"
        " VALUES (%s, %s, %s, %s, clock_timestamp() - interval '1 hour')",
        (log_id, epoch, len(leaves), frontier.to_bytes()),
    )
    count(connection, log_id, rows)
    connection.execute(
        "INSERT INTO permalog.unsealed SELECT log_id, id FROM permalog.event WHERE log_id = %s AND NOT id = ANY (%s)",
        (log_id, [UUID(row.id) for row in rows]),
    )
    return sealed


def count(connection: Connection, log_id: UUID, rows: Iterable[EventRow]) -> None:
    """The counts of the summary, event by event."""
    parts: dict[tuple[str, str, str, str, str], list[str]] = {}
    for row in rows:
        day = row.occurred_at[:10]
        for key in (
            ("all", "-infinity", "", "", ""),
            ("action", "-infinity", row.action, "", ""),
            ("actor", "-infinity", "", row.actor_type, row.actor_id or ""),
            ("day", day, "", "", ""),
            ("day_action", day, row.action, "", ""),
        ):
            parts.setdefault(key, []).append(row.id)
    for key, ids in parts.items():
        connection.execute(
            "INSERT INTO permalog.activity (log_id, part, day, action, actor_type, actor_id, events, first_id, last_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (log_id, *key, len(ids), min(ids), max(ids)),
        )


@contextmanager
def unguarded(connection: Connection) -> Generator[None]:
    """All triggers off, and on again as they were: whoever tampers leaves no trace in the schema."""
    tables = [
        f"permalog.{name}"
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'permalog'::regnamespace AND relkind IN ('r', 'p')"
        ).fetchall()
    ]
    triggers = connection.execute(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger"
        " WHERE tgrelid = ANY (%s::regclass[]) AND tgenabled = 'A'",
        (tables,),
    ).fetchall()
    for table, trigger in triggers:
        connection.execute(composed(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}"))
    yield
    for table, trigger in triggers:
        connection.execute(composed(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"))


class Within:
    """Stands in for a `Database`: verifies inside a transaction that is rolled back, as the verifier."""

    has_roles = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def verifying(self) -> Generator[Connection]:
        self._connection.execute("SET LOCAL timezone = 'UTC'; SET LOCAL ROLE permalog_verifier")
        yield self._connection
        self._connection.execute("RESET ROLE; RESET search_path")


Apply = Callable[[Connection], object]
