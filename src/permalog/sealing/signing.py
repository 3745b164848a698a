"""Signing a log's tree, so that no two checkpoints of it contradict each other, whatever crashes and wherever.

It is a second step, after what was sealed is committed. Under the lock of the log's head, and one of the place outside:

    1. What was signed last, as noted outside, is a beginning of the tree as it is stored: a consistency proof is made
       of the stored tiles, and verified. If not, nothing is signed.
    2. The new size and root are noted outside, on disk.
    3. They are signed, and the checkpoint is stored.

After a crash behind 2 the same is signed again, or a larger tree that begins with it. A database that was rolled back
or restored has a smaller tree than was noted, or another one, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from permalog.errors import NotProven, RefusedBecause, SealingRefused
from permalog.sealing.tree import consistency, signed_of, tiles_of
from permalog.sql import query
from permalog.tlog.checkpoint import Checkpoint, check_origin, log_origin
from permalog.tlog.merkle import leaf_hash, verify_consistency
from permalog.tlog.tile import Tile

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from permalog.postgres.database import Connection
    from permalog.sealing.keys import Keys
    from permalog.sealing.outside import Outside
    from permalog.sealing.tree import Head


@dataclass(frozen=True, slots=True)
class Signing:
    """What signing takes.

    Attributes:
        origin: ``PERMALOG_ORIGIN``, the prefix of every log's origin.
        keys: where the key is.
        outside: where what was signed last is noted, outside the database.

    Raises:
        Malformed: the origin is none (`ORIGIN`).
    """

    origin: str
    keys: Keys
    outside: Outside

    def __post_init__(self) -> None:
        """Refuses what would be found out only when the first log is signed."""
        check_origin(self.origin)


def check_not_rolled_back(connection: Connection, signing: Signing, log_id: UUID, head: Head) -> Checkpoint | None:
    """The tree is not smaller than what was signed; quick, and done before a tree grows. Returns what was signed last.

    Raises:
        SealingRefused: it is, or of another epoch or origin, or nobody knows what was signed.
        OutsideUnusable: what was signed cannot be read.
    """
    last = signing.outside.last(log_id)
    if last is None:
        if signed_of(connection, log_id) is not None:
            raise SealingRefused(
                log_id, RefusedBecause.FORGOTTEN,
                "the database has checkpoints, and in the place outside (PERMALOG_SEALED_DIR) nothing is known of them",
            )  # fmt: skip
        return None
    if last.origin != log_origin(signing.origin, log_id, head.epoch):
        if not _goes_on(connection, log_id, head, last):
            renamed = not last.origin.startswith(log_origin(signing.origin, log_id))
            raise SealingRefused(
                log_id, RefusedBecause.RENAMED if renamed else RefusedBecause.SMALLER,
                f"it was last signed as {last.origin}, and is now {log_origin(signing.origin, log_id, head.epoch)}",
            )  # fmt: skip
    elif last.size > head.size:
        raise SealingRefused(
            log_id,
            RefusedBecause.SMALLER,
            f"{last.size} leaves were signed, and its tree in this database has {head.size}",
        )
    return last


def check_goes_on(connection: Connection, signing: Signing, log_id: UUID, head: Head) -> None:
    """Whether this tree could be signed: what was signed last is a beginning of it.

    Raises:
        SealingRefused: it is not, or nobody knows what was signed.
        OutsideUnusable: what was signed cannot be read.
    """
    last = check_not_rolled_back(connection, signing, log_id, head)
    if last is not None and last.origin == log_origin(signing.origin, log_id, head.epoch):
        _check_begins_with(connection, log_id, head, last, head.frontier.root())


def sign(
    connection: Connection,
    signing: Signing,
    log_id: UUID,
    head: Head,
    *,
    step: Callable[[str], object] = lambda _: None,
) -> bool:
    """Signs the tree of a log whose head the caller has locked; returns whether there was anything to sign.

    The caller commits. `step` is told what comes next, for tests.

    Raises:
        SealingRefused: what was signed last is no beginning of this tree.
        OutsideUnusable: what is signed cannot be noted.
        KeyUnusable: there is no key to sign with.
    """
    if head.size == 0:
        return False
    newest = signed_of(connection, log_id)
    if newest is not None and (newest.epoch, newest.size) == (head.epoch, head.size):
        return False
    signer = signing.keys.signer()  # before anything is noted that it would then not sign
    root = head.frontier.root()
    with signing.outside.locked(log_id):
        last = check_not_rolled_back(connection, signing, log_id, head)
        checkpoint = Checkpoint(log_origin(signing.origin, log_id, head.epoch), head.size, root)
        if last is not None and last.origin == checkpoint.origin:
            _check_begins_with(connection, log_id, head, last, root)
        step("note")
        if last != checkpoint:
            signing.outside.note(log_id, checkpoint)
        step("sign")
        note = checkpoint.signed(signer).to_bytes().decode()
        step("store")
        row = {"log_id": log_id, "epoch": head.epoch, "size": head.size, "root": root, "note": note}
        connection.execute(query("seal", "store_checkpoint"), row)
    return True


def _check_begins_with(connection: Connection, log_id: UUID, head: Head, last: Checkpoint, root: bytes) -> None:
    try:
        proof = consistency(connection, log_id, head.epoch, last.size, head.size)
        verify_consistency(last.size, last.root, head.size, root, proof)
    except NotProven as error:
        raise SealingRefused(
            log_id, RefusedBecause.DIFFERENT,
            f"its tree of {head.size} leaves does not begin with the {last.size} that were signed: {error}",
        ) from error  # fmt: skip


def _goes_on(connection: Connection, log_id: UUID, head: Head, last: Checkpoint) -> bool:
    """Whether this is a new epoch whose first leaf is that checkpoint."""
    if head.epoch == 1 or head.size == 0:
        return False
    first = tiles_of(connection, log_id, head.epoch, [Tile(0, 0, 1)])[0, 0]
    return first == link(last)


def epoch_of(origin: str, log_id: UUID) -> int:
    """The epoch of an origin of this log, whatever its prefix; 1 for one that names none."""
    epoch = origin.partition(f"/log/{log_id}")[2].removeprefix("/")
    return int(epoch) if epoch.isascii() and epoch.isdigit() else 1


def link(last: Checkpoint) -> bytes:
    """The first leaf of an epoch: ``SHA-256(0x00 || text)`` of the last known checkpoint of the one before."""
    return leaf_hash(last.text().encode())
