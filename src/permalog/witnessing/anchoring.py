"""Anchoring: the checkpoints of all logs become leaves of the anchor log, and what is signed of it goes out.

Never in the transaction that seals: it reads what was committed, in transactions of its own. Any number of processes
may anchor; of two that make the same step, one finds out and does nothing.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from uuid import UUID

from psycopg.errors import InsufficientPrivilege

from permalog.errors import AnchorConflict, DatabaseProblem, PublishFailed
from permalog.sql import query
from permalog.tlog.anchor import MAX_LEAVES, Anchor, anchor_leaf, anchor_origin
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.merkle import HASH_BYTES, Frontier
from permalog.tlog.note import Note, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from contextlib import AbstractContextManager

    from permalog.postgres.database import Connection, Database


class AnchorPlace(Protocol):
    """Where anchors are published: `AnchorFolder`, an HTTP endpoint, or any further one."""

    @property
    def name(self) -> str:
        """What the place is called in the database, which remembers what it has taken; at most 1,000 characters."""
        ...

    def publish(self, epoch: int, anchor: Anchor) -> None:
        """Takes a text; they come in their order. The same one may come again.

        Raises:
            PublishFailed: it could not, or holds something else; it is tried again later.
        """
        ...


class Known(Protocol):
    """What was published last, outside the database: `permalog.sealing.outside.SealedFolder` is one."""

    def locked(self, log_id: UUID) -> AbstractContextManager[None]:
        """Keeps others away."""
        ...

    def last(self, log_id: UUID) -> Checkpoint | None:
        """What was noted last."""
        ...

    def note(self, log_id: UUID, checkpoint: Checkpoint) -> None:
        """Notes what is about to go out."""
        ...


class Step(NamedTuple):
    """What one step added to the anchor log."""

    epoch: int
    size: int
    added: int
    """Leaves; 0: no log had changed, or another process was first."""


class Failure(NamedTuple):
    """A place that did not take what it was given."""

    place: str
    reason: str


class AnchorLog:
    """The anchor log of one database."""

    def __init__(
        self, database: Database, signer: Callable[[], Signer], prefix: str, known: Known | None = None
    ) -> None:
        """``signer`` gives the present key, ``prefix`` is ``PERMALOG_ORIGIN``.

        Raises:
            Malformed: the prefix is no origin.
        """
        anchor_origin(prefix)
        self._database: Final = database
        self._signer: Final = signer
        self._prefix: Final = prefix
        self._known: Final = known
        self.id: Final = UUID(bytes=hashlib.sha256(f"permalog/anchor/{prefix}".encode()).digest()[:16])
        """Under which what was published last is noted outside the database."""

    def grow(self, *, new_epoch: bool = False) -> Step:
        """Anchors the newest checkpoint of each log that has changed, in as many steps as it takes.

        With ``new_epoch`` the anchor log begins anew, under its next origin: after the database was restored.

        Raises:
            AnchorConflict: what was published is not in this database.
            DatabaseProblem: the login is no member of permalog_sealer.
        """
        added = 0
        while True:
            step = self._grow(new_epoch=new_epoch)
            added, new_epoch = added + step.added, False
            if step.added < MAX_LEAVES:
                return step._replace(added=added)

    def publish(self, places: Iterable[AnchorPlace]) -> list[Failure]:
        """Hands to each place what it lacks; one that fails does not keep the others from theirs."""
        failures: list[Failure] = []
        for place in places:
            try:
                self._publish(place)
            except PublishFailed as error:
                failures.append(Failure(place.name, str(error)))
        return failures

    def _grow(self, *, new_epoch: bool) -> Step:
        with as_sealer(self._database) as connection:
            epoch, frontier = self._last(connection)
            if new_epoch:
                epoch, frontier = self._next_epoch(epoch), Frontier()
            else:
                self._check_known(connection, epoch)
            due = connection.execute(query("anchors", "due"), {"most": MAX_LEAVES}).fetchall()
            if not due:
                return Step(epoch, frontier.size, 0)
            leaves = [anchor_leaf(Checkpoint.parse(Note.parse(note.encode()).text)) for *_, note in due]
            grown = frontier.grown(leaves).frontier
            signed = Checkpoint(anchor_origin(self._prefix, epoch), grown.size, grown.root()).signed(self._signer())
            row: dict[str, Any] = {
                "epoch": epoch, "start": frontier.size, "size": grown.size, "leaves": b"".join(leaves),
                "frontier": grown.to_bytes(), "note": signed.to_bytes().decode(),
            }  # fmt: skip
            if connection.execute(query("anchors", "add"), row).fetchone() is None:
                return Step(epoch, frontier.size, 0)
            log_ids, epochs, sizes, _ = zip(*due, strict=True)
            columns: dict[str, Any] = {"log_ids": list(log_ids), "epochs": list(epochs), "sizes": list(sizes)}
            connection.execute(
                query("anchors", "add_leaves"), {"anchor_epoch": epoch, "start": frontier.size, **columns}
            )
        return Step(epoch, grown.size, len(leaves))

    def _publish(self, place: AnchorPlace) -> None:
        while anchors := list(self._unpublished(place)):
            for epoch, anchor in anchors:
                self._note(epoch, anchor)
                place.publish(epoch, anchor)
                with as_sealer(self._database) as connection:
                    connection.execute(
                        query("anchors", "published"), {"epoch": epoch, "place": place.name, "size": anchor.size}
                    )

    def _unpublished(self, place: AnchorPlace) -> Iterator[tuple[int, Anchor]]:
        with as_sealer(self._database) as connection:
            rows = connection.execute(query("anchors", "unpublished"), {"place": place.name}).fetchall()
        for epoch, start, data, note in rows:
            leaves = tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))
            yield epoch, Anchor(start, leaves, note.encode())

    @staticmethod
    def _last(connection: Connection) -> tuple[int, Frontier]:
        row = connection.execute(query("anchors", "last")).fetchone()
        return (1, Frontier()) if row is None else (row[0], Frontier.from_bytes(row[2]))

    def _check_known(self, connection: Connection, epoch: int) -> None:
        """Signs nothing that would not continue what was published."""
        known = self._known.last(self.id) if self._known else None
        if known is None:
            return
        row = connection.execute(query("anchors", "at"), {"epoch": epoch, "size": known.size}).fetchone()
        stands = row is not None and Frontier.from_bytes(row[0]).root() == known.root
        if not stands or known.origin != anchor_origin(self._prefix, epoch):
            raise AnchorConflict(
                f"an anchor of {known.size} leaves was published, and is not in this database: it was restored, or"
                " altered. Find out which; after a restore, `permalog anchor --new-epoch` goes on"
            )

    def _note(self, epoch: int, anchor: Anchor) -> None:
        if self._known is None:
            return
        checkpoint = Checkpoint.parse(Note.parse(anchor.checkpoint).text)
        with self._known.locked(self.id):
            last = self._known.last(self.id)
            present = anchor_origin(self._prefix, epoch)
            if last is None or last.origin != present or last.size < checkpoint.size:
                self._known.note(self.id, checkpoint)

    def _next_epoch(self, epoch: int) -> int:
        """That after the newest which the database or the outside knows of."""
        known = self._known.last(self.id) if self._known else None
        tail = known.origin.removeprefix(anchor_origin(self._prefix)).removeprefix("/") if known else ""
        return max(epoch, int(tail) if tail.isdigit() else 1) + 1


@contextmanager
def as_sealer(database: Database) -> Generator[Connection]:
    """A transaction of a connection of the pool, in the role that sees all logs.

    Raises:
        DatabaseProblem: the login is no member of it.
    """
    with database.shared() as connection, connection.transaction():
        if database.has_roles:
            try:
                connection.execute("SET LOCAL ROLE permalog_sealer")
            except InsufficientPrivilege as error:
                raise DatabaseProblem(
                    "this login is no member of permalog_sealer: GRANT permalog_sealer TO it"
                ) from error
        yield connection
