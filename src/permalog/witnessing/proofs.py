"""Proofs from what is stored: where an event's leaf is, which checkpoint covers it, and the hashes between the two.

A proof needs a handful of tiles, however large the tree is: they are fetched in one query, each by its key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from permalog.errors import EventNotFound, Malformed, NotSealed, ProofCode
from permalog.event import Owner
from permalog.sealing.tree import prove, tiles_of
from permalog.sql import query
from permalog.tlog.checkpoint import TlogProof
from permalog.tlog.merkle import MAX_SIZE, consistency_proof, inclusion_proof
from permalog.tlog.witness import AddCheckpoint

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.postgres.database import Connection, Database
    from permalog.tlog.tile import Tile

FIRST_EPOCH: Final = 1


class Place(NamedTuple):
    """Where a leaf is: in which epoch of its log, and at which index there."""

    epoch: int
    leaf_index: int


class Published(NamedTuple):
    """A signed checkpoint as it goes out: with the cosignatures that have come in."""

    size: int
    note: bytes


class Tree:
    """The stored tree of one epoch of a log, inside a transaction that may read it."""

    def __init__(self, connection: Connection, log_id: UUID, epoch: int = FIRST_EPOCH) -> None:
        self._connection = connection
        self._log_id = log_id
        self._epoch = epoch
        self._key: dict[str, Any] = {"log_id": log_id, "epoch": epoch}

    def newest(self) -> Published | None:
        """The newest checkpoint; None where nothing was signed."""
        return self._published("newest_checkpoint")

    def at(self, size: int) -> Published | None:
        """The checkpoint of this size; None where there is none."""
        return self._published("checkpoint", size=size) if size <= MAX_SIZE else None

    def covering(self, leaf_index: int) -> Published | None:
        """A checkpoint that covers a leaf: the newest that a witness has cosigned, else the newest; None: none does."""
        return self._published("covering", index=leaf_index)

    def tile(self, tile: Tile) -> bytes | None:
        """The hashes of a tile, as wide as was asked; None where a published checkpoint does not reach so far."""
        newest = self._row("newest_size")
        if newest is None or tile.leaves() > newest[0]:
            return None
        return tiles_of(self._connection, self._log_id, self._epoch, [tile])[tile.level, tile.number]

    def inclusion(self, leaf_index: int, size: int) -> list[bytes]:
        """The proof that a leaf is in the tree of this size."""
        return prove(self._connection, self._log_id, self._epoch, lambda read: inclusion_proof(leaf_index, size, read))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of the new size begins with that of the old; none from an empty one."""
        if not old:
            return []
        return prove(self._connection, self._log_id, self._epoch, lambda read: consistency_proof(old, new, read))

    def _published(self, name: str, **parameters: object) -> Published | None:
        row = self._row(name, **parameters)
        return None if row is None else Published(row[0], (row[1] + row[2]).encode())

    def _row(self, name: str, **parameters: object) -> tuple[Any, ...] | None:
        return self._connection.execute(query("proofs", name), self._key | parameters, prepare=True).fetchone()


def owner_of(connection: Connection, log_id: UUID) -> Owner | None:
    """Whose log it is; None where there is none of this id."""
    row = connection.execute(query("proofs", "owner"), {"log_id": log_id}, prepare=True).fetchone()
    if row is None:
        return None
    organization_id, user_id = row
    return Owner.user(user_id) if organization_id is None else Owner.organization(organization_id)


def place_of(connection: Connection, log_id: UUID, event_id: UUID) -> Place | None:
    """Where an event's leaf is; None where it has none."""
    row = connection.execute(query("proofs", "place"), {"log_id": log_id, "id": event_id}, prepare=True).fetchone()
    return None if row is None else Place(*row)


def is_sealed(database: Database, log_id: UUID, event_id: UUID) -> bool:
    """Whether an event is a leaf under a signed checkpoint.

    Raises:
        DatabaseProblem: the database cannot be reached, or the login may not read.
    """
    with database.reading(log_id, in_order=True) as connection:
        place = place_of(connection, log_id, event_id)
        return place is not None and Tree(connection, log_id, place.epoch).covering(place.leaf_index) is not None


def prove_event(database: Database, owner: Owner, event_id: UUID) -> TlogProof:
    """The inclusion proof of an event, under the newest checkpoint that a witness has cosigned, else the newest.

    Raises:
        EventNotFound: the log has none of this id.
        NotSealed: no signed checkpoint covers it yet.
    """
    key = {"log_id": owner.log_id, "id": event_id}
    with database.reading(owner.log_id, in_order=True) as connection:
        row = connection.execute(query("proofs", "event_place"), key, prepare=True).fetchone()
        if row is None:
            raise EventNotFound(f"there is no event {event_id} in this log")
        place = None if row[0] is None else Place(*row)
        tree = Tree(connection, owner.log_id, place.epoch if place else FIRST_EPOCH)
        covering = tree.covering(place.leaf_index) if place else None
        if place is None or covering is None:
            raise NotSealed("the event waits for sealing: no signed checkpoint covers it yet")
        hashes = tree.inclusion(place.leaf_index, covering.size)
    return TlogProof(place.leaf_index, tuple(hashes), covering.note)


def prove_consistency(
    connection: Connection, log_id: UUID, epoch: int, old: int, new: int | None = None
) -> AddCheckpoint | None:
    """The consistency of an older size with a checkpoint, as a witness is asked; None: there is no such checkpoint.

    Args:
        connection: in a transaction that may read the log.
        log_id: which log.
        epoch: which of its trees.
        old: the older size; 0: of the empty tree, from which nothing is to be proven.
        new: the size of the checkpoint; None: the newest.

    Raises:
        Malformed: the old size is larger than the new one (`BOUNDS`).
    """
    tree = Tree(connection, log_id, epoch)
    checkpoint = tree.newest() if new is None else tree.at(new)
    if checkpoint is None:
        return None
    if not 0 <= old <= checkpoint.size:
        raise Malformed(ProofCode.BOUNDS, "the old size is larger than that of the checkpoint")
    return AddCheckpoint(old, tuple(tree.consistency(old, checkpoint.size)), checkpoint.note)
