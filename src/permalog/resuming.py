"""Going on after a restore: a log whose tree is not the one that was signed last begins a new epoch, on record.

The new tree, whose origin is ``<PERMALOG_ORIGIN>/log/<log_id>/<epoch>``, begins with two leaves:

    0   SHA-256(0x00 || text) of the last checkpoint that is known, mostly from outside the database; no event
    1   the event ``security.log.resumed``, whose metadata open leaf 0 (``last``), and say where the tree of the epoch
        before ends in this database (``database``), so that whatever of it no checkpoint covers is covered by this leaf

What the database no longer has is not brought back, and nothing is signed that contradicts what was: the old epoch gets
no further checkpoint, and the new one says from which checkpoint it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from uuid import UUID

from psycopg import Rollback
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from permalog.errors import DatabaseProblem, NotProven, PermalogError, SealingRefused
from permalog.event import Event, Owner, Resource
from permalog.recording import statement
from permalog.sealing.growing import grow, take_event
from permalog.sealing.sealer import lock_head, sealing_connection
from permalog.sealing.signing import check_goes_on, epoch_of, link, sign
from permalog.sealing.tree import Head, signed_of
from permalog.sql import query
from permalog.tlog.checkpoint import Checkpoint, log_origin, verify_checkpoint
from permalog.tlog.merkle import Frontier
from permalog.tlog.note import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from permalog.errors import RefusedBecause
    from permalog.event import Actor, Source
    from permalog.postgres.database import Connection, Database
    from permalog.sealing.signing import Signing

RESUMED: Final = "security.log.resumed"
PAGE: Final = 1_000
"""Logs that are fetched at a time."""


class Resumption(NamedTuple):
    """A log that goes on in a new epoch."""

    log_id: UUID
    owner: Owner
    because: RefusedBecause
    """Why nothing was signed."""
    reason: str
    """The same, as a sentence."""
    last: Checkpoint
    """From which it goes on: what was signed last."""
    size: int
    """Leaves that the epoch before has in this database."""
    epoch: int
    """The new one."""


class Resumed(NamedTuple):
    """What came of it."""

    logs: list[Resumption]
    well: int
    """Logs that had no need of it, and were left as they are."""
    failed: dict[UUID, str]
    """Logs that could not be resumed, and why."""


def resume_after_restore(  # noqa: PLR0913  who resumes what
    database: Database,
    signing: Signing,
    owner: Owner | None = None,
    *,
    actor: Actor,
    source: Source | None = None,
    dry_run: bool = False,
    step: Callable[[str], object] = lambda _: None,
) -> Resumed:
    """Lets an owner's log, or every log, go on in a new epoch, if sealing refuses to sign it; others stay as they are.

    Each log in a transaction of its own, so that it is safe to run again. The login needs to be a member of
    ``permalog_sealer`` and ``permalog_writer``.

    Args:
        database: that was restored.
        signing: the key, the origin, and the place outside.
        owner: whose log; None: all logs.
        actor: who says that it was a restore, and no attack.
        source: becomes the record's.
        dry_run: write nothing, and say what would be done.
        step: is told what comes next, for tests.

    Raises:
        KeyUnusable: there is no key to sign with.
        DatabaseProblem: the database cannot be reached, or the login lacks a role.
    """
    signing.keys.signer()
    done = Resumed([], 0, {})
    well = 0
    connection = sealing_connection(database)
    try:
        for log_id, each in _logs(connection, owner):
            work = _Resuming(
                connection, signing, log_id=log_id, owner=each, actor=actor, source=source,
                has_roles=database.has_roles, dry_run=dry_run, step=step,
            )  # fmt: skip
            try:
                found = work.resume()
            except PermalogError as error:
                done.failed[log_id] = str(error)
                continue
            if found is None:
                well += 1
            else:
                done.logs.append(found)
    finally:
        connection.close()
    return done._replace(well=well)


def _logs(connection: Connection, owner: Owner | None) -> Iterator[tuple[UUID, Owner]]:
    if owner is not None:
        yield owner.log_id, owner
        return
    after = UUID(int=0)
    while rows := connection.execute(query("seal", "logs"), {"after": after, "most": PAGE}).fetchall():
        for log_id, organization_id, user_id in rows:
            yield log_id, Owner.user(user_id) if organization_id is None else Owner.organization(organization_id)
            after = log_id


class _Resuming:
    """One log."""

    def __init__(  # noqa: PLR0913  as above
        self,
        connection: Connection,
        signing: Signing,
        *,
        log_id: UUID,
        owner: Owner,
        actor: Actor,
        source: Source | None,
        has_roles: bool,
        dry_run: bool,
        step: Callable[[str], object],
    ) -> None:
        self._connection: Final = connection
        self._signing: Final = signing
        self._log_id: Final = log_id
        self._owner: Final = owner
        self._actor: Final = actor
        self._source: Final = source
        self._has_roles: Final = has_roles
        self._dry_run: Final = dry_run
        self._step: Final = step

    def resume(self) -> Resumption | None:
        """Begins the new epoch, and signs it; None: there is no need, or there is no such log.

        The head is locked before the place outside, as whoever signs does.
        """
        found: Resumption | None = None
        with self._connection.transaction() as transaction:
            found = self._tried()
            if self._dry_run or found is None:
                raise Rollback(transaction)
            self._step("commit")
        if found and not self._dry_run:
            self._step("begun")
            self._sign(found)
        return found

    def _tried(self) -> Resumption | None:
        head = self._head()
        if head is None:
            return None
        with self._signing.outside.locked(self._log_id):
            found = self._found(head)
            if found is not None:
                self._begin(head, found)
        return found

    def _head(self) -> Head | None:
        """The present epoch's. A log that was opened after the backup, of which only the outside knows, is opened."""
        if self._signing.outside.last(self._log_id) is not None:
            owner = self._owner
            row = {"log_ids": [self._log_id], "organization_ids": [owner.organization_id], "user_ids": [owner.user_id]}
            self._become("permalog_writer")
            self._connection.execute(query("store", "open_logs"), row)
            self._become("permalog_sealer")
        self._connection.execute(query("seal", "begin_head"), {"log_id": self._log_id})
        return lock_head(self._connection, self._log_id, wait=True)

    def _become(self, role: Literal["permalog_writer", "permalog_sealer"]) -> None:
        if not self._has_roles:
            return
        try:
            self._connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(role)))
        except InsufficientPrivilege as error:
            raise DatabaseProblem(f"this login is no member of {role}: GRANT {role} TO it") from error

    def _found(self, head: Head) -> Resumption | None:
        try:
            check_goes_on(self._connection, self._signing, self._log_id, head)
        except SealingRefused as refused:
            last = self._last()
            epoch = max(head.epoch, epoch_of(last.origin, self._log_id)) + 1
            reason = str(refused).partition(". ")[0]
            return Resumption(self._log_id, self._owner, refused.because, reason, last, head.size, epoch)
        return None

    def _last(self) -> Checkpoint:
        """The newest checkpoint that is known: that from outside, or one that is stored, if our key has signed it.

        Raises:
            NotProven: none is known from outside, and what is stored was not signed by a key of ours.
        """
        outside = self._signing.outside.last(self._log_id)
        stored = signed_of(self._connection, self._log_id)
        if stored is None and outside is not None:
            return outside
        try:
            note = (stored.note if stored else "").encode()
            origin = Checkpoint.parse(Note.parse(note).text).origin
            kept = verify_checkpoint(note, origin, self._signing.keys.known()).checkpoint
        except NotProven:
            if outside is None:
                raise
            return outside
        return kept if outside is None else max(kept, outside, key=self._age)

    def _age(self, checkpoint: Checkpoint) -> tuple[int, int]:
        return epoch_of(checkpoint.origin, self._log_id), checkpoint.size

    def _begin(self, head: Head, found: Resumption) -> None:
        """The new epoch's tree with its first two leaves; epochs that the database has lost stay without a leaf."""
        self._become("permalog_writer")
        event_id = statement.execute(self._event(head, found), self._connection)
        self._become("permalog_sealer")
        key = {"log_id": self._log_id, "epoch": found.epoch}
        self._step("epoch")
        self._connection.execute(query("seal", "begin_epoch"), key)
        leaves = take_event(self._connection, self._log_id, event_id)
        new = Head(found.epoch, Frontier(), head.sealed_at)
        grow(self._connection, self._log_id, new, leaves, self._step, first=link(found.last))

    def _event(self, head: Head, found: Resumption) -> Event:
        last = found.last
        return Event(
            owner=self._owner,
            actor=self._actor,
            action=RESUMED,
            resource=Resource("audit_log", str(self._log_id)),
            source=self._source,
            metadata={
                "epoch": found.epoch,
                "because": found.because.value,
                "last": {"origin": last.origin, "size": last.size, "root": last.root.hex()},
                "database": {"epoch": head.epoch, "size": head.size, "root": head.frontier.root().hex()},
            },
        )

    def _sign(self, found: Resumption) -> None:
        """Signs what is committed. Where nothing was known outside, it is known from here on."""
        with self._connection.transaction():
            head = lock_head(self._connection, self._log_id, wait=True)
            if head is None or head.epoch != found.epoch:
                return  # somebody else is further already
            with self._signing.outside.locked(self._log_id):
                known = self._signing.outside.last(self._log_id)
                if known is None or self._age(known) < self._age(found.last):
                    self._signing.outside.note(self._log_id, found.last)
            sign(self._connection, self._signing, self._log_id, head, step=self._step)


def new_origin(signing: Signing, resumption: Resumption) -> str:
    """What the checkpoints of the new epoch are called: witnesses must know it."""
    return log_origin(signing.origin, resumption.log_id, resumption.epoch)
