"""Trees as sealing leaves them, put into a database by hand: for tests of what comes after sealing."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Ed25519Signer
from permalog.tlog.tile import tiles_changed

PREFIX = "audit.example.com"
SIGNER = Ed25519Signer(PREFIX, bytes(range(32)))


@dataclass
class Planted:
    """The tree of a log, which grows as it is told."""

    database: str
    log_id: UUID
    epoch: int = 1
    signer: Ed25519Signer = SIGNER
    leaves: list[bytes] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)

    @property
    def origin(self) -> str:
        return log_origin(PREFIX, self.log_id, self.epoch)

    def grow(self, leaves: list[bytes], ids: Sequence[UUID | None] | None = None, *, sign: bool = True) -> Checkpoint:
        """Appends leaves, as those of these events, and signs."""
        old = self.frontier
        growth = old.grown(leaves)
        self.frontier, events = growth.frontier, list(ids or [None] * len(leaves))
        self.leaves += leaves
        used = [0] * len(growth.rows)
        key = {"log": self.log_id, "epoch": self.epoch}
        with psycopg.connect(self.database) as connection:
            for tile, before in tiles_changed(old.size, self.frontier.size):
                at, new = used[tile.level], tile.width - before
                used[tile.level] += new
                named = None if tile.level else events[at : at + new]
                known = [one for one in named or () if one is not None]
                connection.execute(
                    "INSERT INTO permalog.tile AS t (log_id, epoch, level, index, hashes, event_ids, first_id, last_id)"
                    " VALUES (%(log)s, %(epoch)s, %(level)s, %(number)s, %(hashes)s, %(ids)s::uuid[], %(first)s,"
                    " %(last)s)"
                    " ON CONFLICT (log_id, epoch, level, index) DO UPDATE SET hashes = t.hashes || excluded.hashes,"
                    " event_ids = t.event_ids || excluded.event_ids, first_id = least(t.first_id, excluded.first_id),"
                    " last_id = greatest(t.last_id, excluded.last_id)",
                    {
                        **key, "level": tile.level, "number": tile.number, "ids": named,
                        "hashes": b"".join(growth.rows[tile.level][at : at + new]),
                        "first": min(known, default=None), "last": max(known, default=None),
                    },
                )  # fmt: skip
            connection.execute(
                "INSERT INTO permalog.head (log_id, epoch, size, frontier)"
                " VALUES (%(log)s, %(epoch)s, %(size)s, %(frontier)s)"
                " ON CONFLICT (log_id, epoch) DO UPDATE SET size = excluded.size, frontier = excluded.frontier",
                {**key, "size": self.frontier.size, "frontier": self.frontier.to_bytes()},
            )
            connection.execute("SELECT pg_notify('permalog_sealed', %s)", (str(self.log_id),))
        return self.sign() if sign else Checkpoint(self.origin, self.frontier.size, self.frontier.root())

    def sign(self) -> Checkpoint:
        checkpoint = Checkpoint(self.origin, self.frontier.size, self.frontier.root())
        with psycopg.connect(self.database) as connection:
            connection.execute(
                "INSERT INTO permalog.checkpoint (log_id, epoch, size, root, note) VALUES (%s, %s, %s, %s, %s)",
                (self.log_id, self.epoch, *checkpoint[1:3], checkpoint.signed(self.signer).to_bytes().decode()),
            )
        return checkpoint


def some_leaves(count: int) -> list[bytes]:
    """Hashes that nobody could guess."""
    return [secrets.token_bytes(32) for _ in range(count)]
