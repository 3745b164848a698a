"""``python -m benchmarks.proofs``: how long it takes to prove an event, from the tiles of a tree of a million leaves.

Every 500th leaf is that of an event that is there; the others stand for it. Ids are in the order of the leaves, but for
one in a hundred that was sealed late, as those of long transactions are.
"""

from __future__ import annotations

import argparse
import gc
import random
import secrets
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.ids import IdMaker, id_time, microseconds
from permalog.recording.store import Dated
from permalog.sealing.growing import store_tiles
from permalog.sealing.tree import Head
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Ed25519Signer
from permalog.witnessing.proofs import prove_event

if TYPE_CHECKING:
    from uuid import UUID

OWNER: Final = Owner.user("proofs")
SIGNER: Final = Ed25519Signer("audit.example.com", bytes(32))
_EVERY: Final = 500
_BATCH: Final = 5_000
_LATE: Final = 100
_AIM: Final = 5.0
"""Milliseconds, p99."""


def main() -> None:
    """Grows a tree, and proves events of it at random."""
    parser = argparse.ArgumentParser("python -m benchmarks.proofs")
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--proofs", type=int, default=5_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Permalog.embedded(Path(folder) / "data", importing=True) as log,
    ):
        events, hashes = _planted(log, options.leaves)
        gc.collect()
        gc.freeze()  # millions of objects that no service has must not be gone through while it is timed
        milliseconds: list[float] = []
        for event_id in random.choices(list(events), k=options.proofs):  # noqa: S311  a sample
            began = time.perf_counter()
            proof = prove_event(log.database, OWNER, event_id)
            milliseconds.append((time.perf_counter() - began) * 1000)
            proof.verify(hashes[events[event_id]], log_origin("audit.example.com", OWNER.log_id), [SIGNER.key])
    p99 = statistics.quantiles(milliseconds, n=100)[98]
    print(f"{options.leaves:,} leaves, {len(milliseconds):,} proofs, each verified afterwards")
    print(f"p50 {statistics.median(milliseconds):.2f} ms, p99 {p99:.2f} ms, aim {_AIM:.0f} ms")


def _planted(log: Permalog, count: int) -> tuple[dict[UUID, int], list[bytes]]:
    """The tree; returns the events that are there with their leaf indices, and all leaves."""
    now, maker = datetime.now(UTC), IdMaker()
    start, step = now - timedelta(days=30), timedelta(days=30) / count
    ids = [maker.make(microseconds(start + n * step)) for n in range(count)]
    for place in range(_LATE, count, _LATE):
        late = place + random.randrange(_LATE)  # noqa: S311  where a late one stands
        if late < count:
            ids[place], ids[late] = ids[late], ids[place]
    chosen = range(0, count, _EVERY)
    events = {ids[n]: n for n in chosen}
    made = [_event(ids[n]) for n in chosen]
    writer = log.writer()
    for at in range(0, len(made), _BATCH):
        writer.store(made[at : at + _BATCH])
    writer.close()
    hashes = [secrets.token_bytes(32) for _ in range(count)]
    with psycopg.connect(log.database.url, autocommit=True) as connection:
        head = Head(1, Frontier(), now)
        for at in range(0, count, _BATCH):
            growth = head.frontier.grown(hashes[at : at + _BATCH])
            store_tiles(connection, OWNER.log_id, head, growth, [str(one) for one in ids[at : at + _BATCH]])
            head = Head(1, growth.frontier, now)
        checkpoint = Checkpoint(log_origin("audit.example.com", OWNER.log_id), count, head.frontier.root())
        connection.execute(
            "INSERT INTO permalog.checkpoint (log_id, size, root, note) VALUES (%s, %s, %s, %s)",
            (OWNER.log_id, count, checkpoint.root, checkpoint.signed(SIGNER).to_bytes().decode()),
        )
        connection.execute("ANALYZE permalog.tile")
    return events, hashes


def _event(event_id: UUID) -> Dated:
    event = Event(
        owner=OWNER, action="security.access.denied", actor=Actor.system("benchmark"), resource=Resource("thing", "t")
    )
    return Dated(event, event_id, id_time(event_id))


if __name__ == "__main__":
    main()
