"""The rules of a log as pure functions over rows and hashes: no database, no network, memory that does not grow.

A live database and an evidence bundle are held to these same rules. Each rule hands what it finds to a `Report`; none
returns yes or no.

    rows and leaves     check_leaf, check_identity; `permalog.verifying.times`
    the tree            Tree: grows by stored leaf hashes; its tiles, frontier and claims are compared with it
    claims              what somebody has said of the tree, in a checkpoint, outside the database, as a witness: at this
                        size it has this root
    checkpoints         check_checkpoint: a stored note and what stands beside it
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from itertools import pairwise
from typing import Final, NamedTuple
from uuid import UUID

from permalog.errors import NotProven
from permalog.identity import SALT_BYTES, Identity
from permalog.tlog.canonical import EventRow, leaf_hash
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.findings import Finding, Report, VerifyCode
from permalog.tlog.merkle import HASH_BYTES, Frontier
from permalog.tlog.note import Note, VerifierKey
from permalog.tlog.tile import WIDTH


class Place(NamedTuple):
    """Whose tree is looked at: a log, and which of its epochs."""

    log_id: UUID
    epoch: int = 1

    def found(
        self, code: VerifyCode, message: str, *, leaf_index: int | None = None, event_id: UUID | str | None = None
    ) -> Finding:
        """A finding at this place."""
        event = UUID(event_id) if isinstance(event_id, str) else event_id
        return Finding(code, message, self.log_id, self.epoch, leaf_index, event)


class Leaf(NamedTuple):
    """A leaf as it is stored: its hash, and the event that it is of."""

    leaf_index: int
    event_id: str
    hash: bytes


def check_leaf(place: Place, leaf: Leaf, row: EventRow | None, report: Report) -> None:
    """The event of a leaf is there, and its row has the leaf's hash."""
    if row is None:
        code, message = VerifyCode.EVENT_MISSING, "the event that was sealed here is not there"
    elif row.id != leaf.event_id or leaf_hash(row) != leaf.hash:
        code, message = VerifyCode.EVENT_CHANGED, "the event is not as it was sealed"
    else:
        return
    report(place.found(code, message, leaf_index=leaf.leaf_index, event_id=leaf.event_id))


def check_identity(  # noqa: PLR0913  a row's columns
    place: Place, commitment: bytes, salt: bytes | None, identity: Identity, report: Report, *, is_erased: bool = False
) -> None:
    """An identity opens its commitment, or is erased and holds nothing but its kind."""
    if is_erased:
        if salt is None and not any(identity[1:]):
            return
        what = "counts as erased, and still holds data"
    elif salt is not None and len(salt) == SALT_BYTES and identity.commitment(salt) == commitment:
        return
    else:
        what = "is not the one that was recorded"
    message = f"the identity {commitment.hex()[:16]}… {what}"
    report(Finding(VerifyCode.IDENTITY_CHANGED, message, place.log_id))


class Source(Enum):
    """Who says of a tree that at a size it has a root; the codes of a claim that it does not bear out."""

    CHECKPOINT = ("the checkpoint", VerifyCode.CHECKPOINT_SIZE, VerifyCode.CHECKPOINT_ROOT)
    OUTSIDE = ("the state outside the database", VerifyCode.OUTSIDE_SIZE, VerifyCode.OUTSIDE_ROOT)
    WITNESS = ("a witness", VerifyCode.WITNESS_SIZE, VerifyCode.WITNESS_ROOT)
    RESUMPTION = ("the event of the resumption", VerifyCode.EPOCH_BROKEN, VerifyCode.EPOCH_BROKEN)

    @property
    def who(self) -> str:
        """For messages."""
        return self.value[0]

    @property
    def too_large(self) -> VerifyCode:
        """The tree has fewer leaves than was said."""
        return self.value[1]

    @property
    def other_root(self) -> VerifyCode:
        """The tree had another root at this size."""
        return self.value[2]


class Claim(NamedTuple):
    """What somebody has said of a tree: at this size it has this root. Two that hold of one tree are consistent."""

    size: int
    root: bytes
    source: Source


class Tree:
    """Grows a tree from the leaf hashes that its tiles hold, and holds to it whatever else is stored or said of it.

    Claims must be added before the leaves beyond their size, in any order.

    Args:
        place: whose tree it is.
        size: how many leaves it has, as its head says.
        read: the stored hashes of a tile above the leaves, by level and number; None where there is none.
        report: takes what is found.
        start: the frontier to begin with; its size is a multiple of 256.
    """

    def __init__(
        self,
        place: Place,
        size: int,
        read: Callable[[int, int], bytes | None],
        report: Report,
        *,
        start: Frontier = Frontier(),  # noqa: B008  immutable
    ) -> None:
        self._place = place
        self._read = read
        self._report = report
        self._claims: dict[int, list[Claim]] = {}
        self._above: dict[int, list[bytes]] = {}
        self._begun: Final = start.size
        self.size: Final = size
        self.frontier = start

    def claim(self, claim: Claim) -> None:
        """Takes a claim, to be checked when the tree has its size."""
        if claim.size > self.size:
            self._report(
                self._place.found(
                    claim.source.too_large,
                    f"{claim.source.who} speaks of {claim.size} leaves, and there are {self.size}",
                )
            )
        elif claim.size <= self.frontier.size:
            if claim.size == self.frontier.size:
                self._settle([claim])
        else:
            self._claims.setdefault(claim.size, []).append(claim)

    def append(self, hashes: Sequence[bytes]) -> None:
        """The next leaf hashes."""
        first = self.frontier.size
        stops = sorted(size for size in self._claims if first < size <= first + len(hashes))
        for low, high in pairwise((first, *stops, first + len(hashes))):
            if low == high:
                continue
            growth = self.frontier.grown(hashes[low - first : high - first])
            self.frontier = growth.frontier
            for level, row in enumerate(growth.rows[1:], start=1):
                self._climb(level, high >> 8 * level, row)
            if high in self._claims:
                self._settle(self._claims.pop(high))

    def finish(self, head: bytes | None) -> None:
        """All leaves are in: the tiles that are not full, and the frontier that the log's head holds."""
        for level, pending in sorted(self._above.items()):
            count = self.frontier.size >> 8 * level
            if pending:
                self._compare(level, count // WIDTH, pending)
        if head is not None and head != self.frontier.to_bytes():
            self._report(
                self._place.found(VerifyCode.HEAD_CHANGED, "the frontier in the head is not that of the tiles")
            )

    def _climb(self, level: int, count: int, row: Sequence[bytes]) -> None:
        """The hashes that a level gains, whole tiles of which are compared; `count` is what it has with them."""
        start = count - len(row)
        pending = self._above.setdefault(level, self._kept(level, start))
        for number, one in enumerate(row, start=start):
            pending.append(one)
            if number % WIDTH == WIDTH - 1:
                self._compare(level, number // WIDTH, pending)
                pending.clear()

    def _kept(self, level: int, start: int) -> list[bytes]:
        """What a level's tile holds already where the tree did not begin with its first leaf."""
        width = start % WIDTH
        stored = self._read(level, start // WIDTH) if self._begun and width else None
        data = stored or b""
        return [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]

    def _compare(self, level: int, number: int, hashes: Sequence[bytes]) -> None:
        stored = self._read(level, number)
        where = f"the tile {number} of level {level}"
        if stored is None or len(stored) < len(hashes) * HASH_BYTES:
            self._report(self._place.found(VerifyCode.TILE_MISSING, f"{where} is not there, or too narrow"))
        elif stored != b"".join(hashes):
            self._report(
                self._place.found(VerifyCode.TILE_CHANGED, f"{where} does not hold the hashes of what is below it")
            )

    def _settle(self, claims: Iterable[Claim]) -> None:
        root = self.frontier.root()
        for claim in claims:
            if claim.root != root:
                self._report(
                    self._place.found(
                        claim.source.other_root,
                        f"at {claim.size} leaves the tree has another root than {claim.source.who} says",
                    )
                )


class StoredCheckpoint(NamedTuple):
    """A checkpoint as it is stored: the signed note, and what stands beside it."""

    size: int
    root: bytes
    note: bytes


def check_checkpoint(
    place: Place, stored: StoredCheckpoint, origin: str | None, keys: Collection[VerifierKey], report: Report
) -> Checkpoint | None:
    """A stored checkpoint: its note is one, of this log, says what the columns say, and is signed by one of the keys.

    Returns what the note says, None if it is none. Without an origin or without keys, these are not looked at.
    """

    def fault(code: VerifyCode, reason: str) -> None:
        report(place.found(code, f"the checkpoint of {stored.size} leaves: {reason}"))

    try:
        parsed = Note.parse(stored.note)
        found = Checkpoint.parse(parsed.text)
    except NotProven as error:
        fault(VerifyCode.CHECKPOINT_MALFORMED, str(error))
        return None
    if (found.size, found.root) != (stored.size, stored.root):
        fault(VerifyCode.CHECKPOINT_MALFORMED, "the note does not say what the columns say")
    elif origin is not None and found.origin != origin:
        fault(VerifyCode.CHECKPOINT_MALFORMED, "it is that of another log")
    if keys:
        try:
            parsed.verify(keys)
        except NotProven as error:
            fault(VerifyCode.CHECKPOINT_SIGNATURE, str(error))
    return found
