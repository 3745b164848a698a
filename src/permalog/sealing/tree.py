"""A log's tree as the database holds it: its head, its tiles, what was signed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from permalog.errors import Malformed, ProofCode
from permalog.sql import query
from permalog.tlog.merkle import HASH_BYTES, Frontier, consistency_proof
from permalog.tlog.tile import Tile, node_reader, tiles_needed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from permalog.postgres.database import Connection
    from permalog.tlog.merkle import NodeReader


class Head(NamedTuple):
    """How far a log's present tree has grown."""

    epoch: int
    frontier: Frontier
    sealed_at: datetime

    @property
    def size(self) -> int:
        """Leaves."""
        return self.frontier.size


class Signed(NamedTuple):
    """A checkpoint as it is stored."""

    epoch: int
    size: int
    root: bytes
    note: str
    """The signed note."""


def head_of(connection: Connection, log_id: UUID) -> Head | None:
    """The head of a log's present epoch; None: nothing was ever sealed.

    Raises:
        Malformed: the stored frontier is none (`FRONTIER`).
    """
    row = connection.execute(query("tree", "head"), {"log_id": log_id}).fetchone()
    return None if row is None else Head(row[0], Frontier.from_bytes(row[1]), row[2])


def signed_of(connection: Connection, log_id: UUID) -> Signed | None:
    """The newest checkpoint of a log, of its newest epoch that has one."""
    row = connection.execute(query("tree", "newest_checkpoint"), {"log_id": log_id}).fetchone()
    return None if row is None else Signed(*row)


def consistency(connection: Connection, log_id: UUID, epoch: int, old: int, new: int) -> list[bytes]:
    """The proof that the tree of the new size begins with that of the old, from the stored tiles.

    Raises:
        Malformed: not 0 < old <= new (`BOUNDS`); a tile is missing, or too narrow (`TILE_WIDTH`).
    """
    return prove(connection, log_id, epoch, lambda read: consistency_proof(old, new, read))


def prove(connection: Connection, log_id: UUID, epoch: int, proof: Callable[[NodeReader], list[bytes]]) -> list[bytes]:
    """A proof made of a log's stored tiles, which are fetched by one query."""
    tiles = tiles_of(connection, log_id, epoch, tiles_needed(proof))
    return proof(node_reader(lambda tile: tiles[tile.level, tile.number]))


def tiles_of(connection: Connection, log_id: UUID, epoch: int, tiles: list[Tile]) -> dict[tuple[int, int], bytes]:
    """The first hashes of tiles, as many as each is wide, by level and number.

    Raises:
        Malformed: one is missing, or too narrow (`TILE_WIDTH`).
    """
    if not tiles:
        return {}
    parameters = {
        "log_id": log_id,
        "epoch": epoch,
        "levels": [tile.level for tile in tiles],
        "numbers": [tile.number for tile in tiles],
        "sizes": [tile.width * HASH_BYTES for tile in tiles],
    }
    rows = connection.execute(query("tree", "tiles"), parameters, prepare=True).fetchall()
    found: dict[tuple[int, int], bytes] = {(level, number): hashes for level, number, hashes in rows}
    for tile in tiles:
        if len(found.get((tile.level, tile.number), b"")) != tile.width * HASH_BYTES:
            raise Malformed(ProofCode.TILE_WIDTH, f"the stored tile {tile.path()} is missing or too narrow")
    return found
