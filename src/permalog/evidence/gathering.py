"""Evidence bundles from a log in the database: what filters select, proven, in one file; made on record.

What is written waits in temporary files until all of it is there and signed. Memory does not grow with the log: leaves
come some tiles at a time, in short transactions, and the commitments that are to be opened are sorted in runs on disk.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from psycopg import sql

from permalog.errors import BundleCode, NoEvidence, Refuted
from permalog.event import Event, Resource
from permalog.evidence.bundle import Asker, BundleOwner, Opening, Query
from permalog.evidence.writer import Account, BundleWriter
from permalog.identity import Identity
from permalog.reading.filters import EVERYTHING, Filters
from permalog.reading.selection import Selection, select
from permalog.reading.stored import personal_in
from permalog.sql import query
from permalog.tlog.canonical import EventRow, leaf_preimage
from permalog.tlog.checkpoint import Checkpoint, verify_checkpoint
from permalog.tlog.commitments import Commitments
from permalog.tlog.merkle import HASH_BYTES, Closing, Node, NodeReader, leaf_hash, range_closing
from permalog.tlog.note import Note, VerifierKey
from permalog.tlog.tile import WIDTH, Tile, node_reader
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import BinaryIO

    from permalog.event import Actor, Owner, Source
    from permalog.evidence.bundle import Manifest
    from permalog.postgres.database import Connection, Database
    from permalog.tlog.note import Signer

CREATED: Final = "security.audit_log.evidence_created"

_TILES: Final = 16
"""Level-0 tiles a transaction: 4,096 leaves; bounds how long one lasts."""
_FETCHED: Final = 100
"""Events a round trip; bounds what the largest ones take of memory."""
_OPENED: Final = 1_000
"""Identities a query."""
_HELD: Final = 100_000
"""Commitments in memory."""


class Wanted(NamedTuple):
    """What somebody asks for, and who they are."""

    owner: Owner
    actor: Actor
    filters: Filters = EVERYTHING
    viewer: Viewer = Viewer.STAFF
    source: Source | None = None
    epoch: int | None = None
    """Whose tree; the present one's if it is not said."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What was found out in one snapshot: the tree, and where in it the selected events stand."""

    as_of: str
    epoch: int
    checkpoint: Checkpoint
    note: bytes
    selection: Selection
    events: int
    unsealed: int
    closing: Closing


def evidence(  # noqa: PLR0913  what is asked for, and what it takes
    database: Database,
    wanted: Wanted,
    signer: Signer,
    *,
    record: Callable[[Event], object],
    keys: Iterable[VerifierKey],
    progress: Callable[[int, int], object] = lambda _done, _of: None,
    made: Callable[[Manifest], object] = lambda _: None,
) -> Generator[bytes]:
    """A bundle, in pieces. When the first is asked for, it is made as a whole; then it is recorded, and handed out.

    Args:
        database: where the log is.
        wanted: what is asked for.
        signer: the log's key.
        record: called with the record of it, which MUST be committed when it returns.
        keys: every verifier key of the log: the checkpoint must be signed by one of them.
        progress: told how many leaves of the range are done, and of how many.
        made: told the manifest, once it is signed.

    Raises:
        InvalidQuery: an action is unknown.
        NoEvidence: the log has no checkpoint of this epoch, or its owner was erased.
        Refuted: a stored event or identity is not the one that was sealed: `permalog verify` says more.
    """
    with database.reading(wanted.owner.log_id, wanted.viewer, opening=True) as connection:
        basis = _basis(connection, wanted, signer, frozenset(keys))
    return _pieces(_Making(database, wanted, basis, progress), signer, record, made)


def _pieces(
    making: _Making,
    signer: Signer,
    record: Callable[[Event], object],
    made: Callable[[Manifest], object],
) -> Generator[bytes]:
    with BundleWriter(_new_file, making.basis.closing.start) as writer, Commitments(_new_file, _HELD) as commitments:
        making.put_leaves(writer, commitments)
        making.put_identities(writer, commitments)
        manifest, pieces = writer.finished(making.account(), signer)
        record(_created(making.wanted, manifest))
        made(manifest)
        yield from pieces


def _new_file() -> BinaryIO:
    return tempfile.TemporaryFile(prefix="permalog-evidence-")


def _basis(connection: Connection, wanted: Wanted, signer: Signer, keys: frozenset[VerifierKey]) -> Basis:
    log: dict[str, Any] = {"log_id": wanted.owner.log_id, "epoch": wanted.epoch}
    row = connection.execute(query("evidence", "log"), log).fetchone()
    if row is not None and row[0]:
        raise NoEvidence("the owner of this log was erased: what is left are its checkpoints")
    signed = connection.execute(query("evidence", "checkpoint"), log).fetchone()
    if row is None or signed is None:
        raise NoEvidence("this log has no checkpoint yet: it is signed when its first events are sealed")
    epoch, size, written = signed
    tree = {**log, "epoch": epoch, "size": size}
    cosignatures = [line for (line,) in connection.execute(query("evidence", "cosignatures"), tree).fetchall()]
    checkpoint, note = _signed(written, cosignatures, signer, keys)
    selection = select(connection, wanted.owner.log_id, wanted.filters)
    parameters = {"start": None, "end": None, **selection.parameters, **tree}
    statement = sql.SQL(query("evidence", "reach")).format(where=selection.where)
    found = connection.execute(statement, parameters).fetchone()
    selected, placed, first, last = found or (0, 0, None, None)
    read = _node_reader(connection, tree)
    return Basis(
        row[1], epoch, checkpoint, note, selection, placed, selected - placed, _closing(first, last, size, read)
    )


def _signed(
    written: str, cosignatures: list[str], signer: Signer, keys: frozenset[VerifierKey]
) -> tuple[Checkpoint, bytes]:
    """The stored checkpoint, if a key of the log has signed it: then the present key signs it, too, after a rotation.

    Never otherwise: whoever writes to the database could have anything signed.
    """
    note = Note.parse(written.encode())
    checkpoint = Checkpoint.parse(note.text)
    found = verify_checkpoint(written.encode(), checkpoint.origin, keys)
    lines = [] if signer.key in {one.key for one in found.signatures} else [signer.sign(note.text).line()]
    whole = "".join((written, *(f"{line}\n" for line in (*lines, *cosignatures)))).encode()
    Note.parse(whole)
    return checkpoint, whole


def _closing(first: int | None, last: int | None, size: int, read: NodeReader) -> Closing:
    if first is None or last is None:
        return Closing(size, size, size, _frontier(size, read), ())
    return range_closing(first, last + 1, size, read)


def _frontier(size: int, read: NodeReader) -> tuple[bytes, ...]:
    """The largest complete subtrees of the whole tree, from left to right."""
    heights = [height for height in reversed(range(size.bit_length())) if size >> height & 1]
    return tuple(read(Node(height, (size >> height) - 1)) for height in heights)


def _node_reader(connection: Connection, tree: dict[str, Any]) -> NodeReader:
    def read(tile: Tile) -> bytes:
        row = connection.execute(
            query("evidence", "tile"), {**tree, "level": tile.level, "index": tile.number}
        ).fetchone()
        if row is None:
            raise Refuted(BundleCode.LEAVES, f"the tree of this log lacks the tile {tile.path()}")
        return row[0]

    return node_reader(read)


@dataclass(slots=True)
class _Making:
    """A bundle on its way."""

    database: Database
    wanted: Wanted
    basis: Basis
    progress: Callable[[int, int], object]
    statement: sql.Composed = field(init=False)
    events: int = 0

    def __post_init__(self) -> None:
        self.statement = sql.SQL(query("evidence", "events")).format(where=self.basis.selection.where)

    def put_leaves(self, writer: BundleWriter, commitments: Commitments) -> None:
        """Every leaf of the range, as an event or as a hash."""
        start, end = self.basis.closing.start, self.basis.closing.end
        for first in range(start // WIDTH, -(-end // WIDTH), _TILES):
            with self.database.reading(self.wanted.owner.log_id, self.wanted.viewer, opening=True) as connection:
                self._put_tiles(connection, first, writer, commitments)
            self.progress(min((first + _TILES) * WIDTH, end) - start, end - start)
        if self.events != self.basis.events:
            raise NoEvidence("events were removed while the bundle was made: try again")

    def _put_tiles(self, connection: Connection, first: int, writer: BundleWriter, commitments: Commitments) -> None:
        tree: dict[str, Any] = {"log_id": self.wanted.owner.log_id, "epoch": self.basis.epoch}
        tiles = connection.execute(
            query("evidence", "leaves"), {**tree, "first": first, "last": first + _TILES - 1}
        ).fetchall()
        hashes = b"".join(one[1] for one in tiles)
        ids = [event_id for one in tiles for event_id in one[2]]
        begin = max(self.basis.closing.start - first * WIDTH, 0)
        end = min(self.basis.closing.end - first * WIDTH, _TILES * WIDTH)
        if len(ids) < end:
            raise Refuted(BundleCode.LEAVES, f"the tree of this log lacks tiles behind leaf {first * WIDTH}")
        at = begin
        for position, row in self._events(connection, ids[begin:end]):
            place = begin + position - 1
            _put_left_out(writer, hashes, at, place)
            self._put_event(row, hashes[place * HASH_BYTES :][:HASH_BYTES], first * WIDTH + place, writer, commitments)
            at = place + 1
        _put_left_out(writer, hashes, at, end)

    def _events(self, connection: Connection, ids: list[UUID | None]) -> Generator[tuple[int, EventRow]]:
        parameters = {**self.basis.selection.parameters, "ids": ids}
        # On the server, a cursor: how large the events are is known only when they come.
        with connection.cursor("evidence") as cursor:
            cursor.execute(self.statement, parameters)
            while fetched := cursor.fetchmany(_FETCHED):
                for position, *columns in fetched:
                    yield position, EventRow(*columns)

    def _put_event(
        self, row: EventRow, sealed: bytes, index: int, writer: BundleWriter, commitments: Commitments
    ) -> None:
        preimage = leaf_preimage(row)
        if leaf_hash(preimage) != sealed:
            raise Refuted(
                BundleCode.EVENT, f"the event at leaf {index} is not the one that was sealed: see permalog verify"
            )
        writer.event(preimage, row.id, row.occurred_at)
        self.events += 1
        if self.wanted.viewer is Viewer.CUSTOMER and row.actor_type == "staff":
            return  # nor may the personal values of what they did tell who it was
        if row.identity is not None:
            commitments.add(row.identity)
        for one in personal_in(row.before_state, row.after_state, row.metadata):
            commitments.add(one)

    def put_identities(self, writer: BundleWriter, commitments: Commitments) -> None:
        """What opens the commitments, as far as the reader may see it."""
        log_id, viewer = self.wanted.owner.log_id, self.wanted.viewer
        waiting = iter(commitments)
        while batch := list(islice(waiting, _OPENED)):
            with self.database.reading(log_id, viewer, opening=True) as connection:
                parameters = {"log_id": log_id, "commitments": batch}
                for commitment, salt, *columns in connection.execute(query("evidence", "openings"), parameters):
                    identity = Identity(*columns)
                    if identity.commitment(salt) != commitment:
                        raise Refuted(
                            BundleCode.IDENTITY, "an identity does not open its commitment: see permalog verify"
                        )
                    writer.identity(Opening(commitment, identity.canonical(), salt))

    def account(self) -> Account:
        """What the bundle says of itself."""
        wanted, basis = self.wanted, self.basis
        owner, actor = wanted.owner, wanted.actor
        return Account(
            log_id=str(owner.log_id),
            epoch=basis.epoch,
            owner=BundleOwner(
                organization_id=None if owner.organization_id is None else str(owner.organization_id),
                user_id=owner.user_id,
            ),
            as_of=basis.as_of,
            made_by=Asker(type=actor.type, id=actor.id, email=actor.email, name=actor.name),
            viewer=wanted.viewer.value,
            query=Query.model_validate(
                {name: list(value) if isinstance(value, tuple) else value for name, value in wanted.filters.given()}
            ),
            unsealed=basis.unsealed,
            checkpoint=basis.checkpoint,
            note=basis.note,
            closing=basis.closing,
        )


def _put_left_out(writer: BundleWriter, hashes: bytes, start: int, end: int) -> None:
    for place in range(start, end):
        writer.left_out(hashes[place * HASH_BYTES :][:HASH_BYTES])


def _created(wanted: Wanted, manifest: Manifest) -> Event:
    query, counts = manifest.query, manifest.counts
    return Event(
        owner=wanted.owner,
        actor=wanted.actor,
        action=CREATED,
        resource=Resource("audit_log", str(wanted.owner.log_id)),
        source=wanted.source,
        metadata={
            "period": {"start": query.start, "end": query.end},
            "filters": sorted(query.model_dump(exclude_none=True)),
            "viewer": manifest.viewer,
            **counts.model_dump(),
            "first_id": manifest.first and manifest.first.id,
            "last_id": manifest.last and manifest.last.id,
            "epoch": manifest.epoch,
            "tree_size": manifest.tree.size,
            "manifest_sha256": manifest.digest().hex(),
        },
    )
