"""One tree of a log read from its tiles, leaf by leaf, with its head, its checkpoints and what others say of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from permalog.errors import NotProven
from permalog.sql import query
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.findings import Report, VerifyCode
from permalog.tlog.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, Node, leaf_hash
from permalog.tlog.note import Note, VerifierKey
from permalog.tlog.tile import WIDTH, node_reader
from permalog.verifying.epochs import Resumed
from permalog.verifying.rows import Rows
from permalog.verifying.rules import Claim, Leaf, Place, Source, StoredCheckpoint, Tree, check_checkpoint
from permalog.verifying.times import Times

if TYPE_CHECKING:
    from permalog.postgres.database import Connection
    from permalog.tlog.tile import Tile
    from permalog.tlog.witness_policy import WitnessPolicy

_TILES: Final = 32
"""Tiles that are read at a time: 8,192 leaves. It divides 256, so that tiles above are complete when looked at."""
UNSIGNED_TOO_LONG: Final = 120.0
"""Seconds: a sealer looks for unsigned trees every minute."""
UNCOVERED_TOO_LONG: Final = 900.0
"""Seconds since an event was recorded: more, since what a long transaction records is sealed when that ends."""


class Head(NamedTuple):
    """What the head of a tree says: no leaves and no frontier where it is not there."""

    size: int
    frontier: bytes | None
    age: float = 0.0
    """Seconds since the tree grew last."""


class Before(NamedTuple):
    """From what an epoch goes on."""

    newest: Checkpoint | None = None
    """The newest checkpoint that this database holds of the epochs before."""
    resumed: Resumed | None = None
    """What the event of its resumption says."""

    def told(self, size: int) -> str:
        """What an auditor must know of an epoch of this size that begins with a checkpoint that is not here."""
        if self.resumed is None:
            return "the epoch begins with a checkpoint that this database does not hold: it was restored"
        last, had = self.resumed.last, self.resumed.claim.size
        return (
            f"the database was restored: of {last.origin} {last.size} leaves were signed, and {had} are here. This"
            f" epoch goes on from that checkpoint, and covers the {size - 1} events since"
        )


class _Stored(NamedTuple):
    """A tile of the leaves."""

    number: int
    hashes: bytes
    event_ids: list[str | None] | None
    first_id: str | None
    last_id: str | None


class TreeReader:
    """Verifies one epoch of one log.

    Attributes:
        root: that of the tree, after it was verified.
        checkpoints: how many were verified.
        read: how many events were read.
    """

    def __init__(  # noqa: PLR0913  what a tree is read from, and held to
        self,
        connection: Connection,
        place: Place,
        rows: Rows,
        report: Report,
        *,
        origin: str | None,
        keys: Collection[VerifierKey],
        witnesses: Sequence[VerifierKey],
        opened: Callable[[Checkpoint], object],
        policy: WitnessPolicy | None = None,
    ) -> None:
        self._connection = connection
        self._place = place
        self._rows = rows
        self._report = report
        self._origin = origin
        self._keys = keys
        self._witnesses = witnesses
        self._opened = opened
        self._policy = policy
        self._at = {"log": place.log_id, "epoch": place.epoch}
        self._last: Checkpoint | None = None
        self.root = EMPTY_ROOT
        self.checkpoints = 0
        self.read = 0

    def verify(  # noqa: PLR0913, PLR0917  what a tree is held to
        self,
        head: Head,
        claims: Iterable[Claim],
        since: Claim | None,
        before: Before,
        end: Claim | None,
        tell: Callable[[int], object],
    ) -> Checkpoint | None:
        """Rebuilds the tree; returns its newest checkpoint.

        Args:
            head: its size is that of the tree.
            claims: what others say of the tree.
            since: where an earlier verification has ended: leaves before it are taken from the tiles.
            before: from what the epoch goes on.
            end: how it ends, as the next says.
            tell: is told how many leaves are done.
        """
        size = head.size
        self._shapes(size)
        start = self._start(since, size)
        tree = Tree(self._place, size, self._above, self._report, start=start)
        for claim in (*claims, *(one for one in (since, end) if one is not None)):
            tree.claim(claim)
        times = Times(self._place, self._report)
        low, whole = start.size, True
        self._checkpoints(tree, low or 0, low)
        while low < size and whole:
            high = min(low + _TILES * WIDTH, size)
            self._checkpoints(tree, low + 1, high)
            whole = self._grow(tree, low, high, before, times)
            low = high
            tell(low)
        self._checkpoints(tree, size + 1, 2**63 - 1)
        times.finish()
        if whole:
            tree.finish(head.frontier)
            self.root = tree.frontier.root()
        self._is_signed(head, since, end)
        self._is_witnessed(head, self._cosignatures())
        return self._last

    def _is_signed(self, head: Head, *covering: Claim | None) -> None:
        """All leaves are covered by a checkpoint: a tree is signed in a second step, soon after it has grown."""
        covered = [claim.size for claim in covering if claim is not None]
        signed = max(0 if self._last is None else self._last.size, *covered, 0)
        if signed < head.size:
            # A head of the future would put it off for ever, and so would a log that never stops growing.
            overdue = not -UNSIGNED_TOO_LONG < head.age < UNSIGNED_TOO_LONG or self._is_old(signed)
            code = VerifyCode.CHECKPOINT_MISSING if overdue else VerifyCode.NOT_SIGNED_YET
            message = f"the {head.size - signed} newest leaves are covered by no checkpoint"
            self._report(self._place.found(code, message))

    def _is_witnessed(self, head: Head, witnessed: int) -> None:
        """All leaves are covered by a checkpoint with a quorum, or are young: witnesses are asked every minute."""
        if self._policy is not None and witnessed < head.size:
            code = VerifyCode.WITNESS_QUORUM if self._is_old(witnessed) else VerifyCode.NOT_WITNESSED_YET
            message = f"the {head.size - witnessed} newest leaves are covered by no checkpoint that has a quorum"
            self._report(self._place.found(code, message))

    def _is_old(self, leaf_index: int) -> bool:
        """The event of a leaf was recorded so long ago that the leaf should be covered by now."""
        at = {**self._at, "index": leaf_index // WIDTH, "subscript": leaf_index % WIDTH + 1}
        row = self._connection.execute(query("verify", "first_uncovered"), at).fetchone()
        return row is not None and row[0] > UNCOVERED_TOO_LONG

    def signed_only(self, head: Head, claims: Iterable[Claim]) -> Checkpoint | None:
        """What can be told of a log that was erased: its checkpoints are signed, and the newest is that of its head."""
        tree = Tree(self._place, head.size, lambda _level, _index: None, self._report)
        self._checkpoints(tree, 0, 2**63 - 1)
        for claim in claims:
            self._is_stored(tree, claim)
        try:
            kept = None if head.frontier is None else Frontier.from_bytes(head.frontier)
        except NotProven as error:
            self._report(self._place.found(VerifyCode.HEAD_CHANGED, str(error)))
            return self._last
        if kept is not None and self._last is not None and (kept.size, kept.root()) != self._last[1:3]:
            message = "the head of the erased log is not that of its newest checkpoint"
            self._report(self._place.found(VerifyCode.HEAD_CHANGED, message))
        self._cosignatures()
        return self._last

    def _is_stored(self, tree: Tree, claim: Claim) -> None:
        """Without leaves, a claim is held to the checkpoint of its size."""
        if claim.size > tree.size:
            tree.claim(claim)
            return
        stored = self._query("checkpoints", {**self._at, "first": claim.size, "last": claim.size})
        if [root for _, root, _ in stored] != [claim.root]:
            message = f"no stored checkpoint of {claim.size} leaves has the root that {claim.source.who} says"
            self._report(self._place.found(claim.source.other_root, message))

    def _grow(self, tree: Tree, low: int, high: int, before: Before, times: Times) -> bool:
        """The leaves from `low` up to `high`; False where a tile is missing, without which there is no tree."""
        parameters = {**self._at, "first": low // WIDTH, "end": -(-high // WIDTH)}
        stored = {tile.number: tile for tile in map(_Stored._make, self._query("leaf_tiles", parameters))}
        hashes: list[bytes] = []
        leaves: list[Leaf] = []
        for number in range(low // WIDTH, -(-high // WIDTH)):
            tile = stored.get(number)
            width = min(WIDTH, high - number * WIDTH)
            if tile is None or len(tile.hashes) < width * HASH_BYTES:
                if tile is None:
                    self._missing(0, number)
                return False
            own = [tile.hashes[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]
            hashes += own
            leaves += self._leaves(tile, own, before, tree.size)
        tree_leaves = [leaf for leaf in leaves if leaf.event_id]
        self._rows.leaves(self._place, tree_leaves, times)
        self.read += len(tree_leaves)
        tree.append(hashes)
        return True

    def _leaves(self, tile: _Stored, hashes: list[bytes], before: Before, size: int) -> Iterable[Leaf]:
        ids = tile.event_ids or []
        if len(ids) != len(hashes):
            message = f"the tile {tile.number} of level 0 names {len(ids)} events for {len(hashes)} hashes"
            self._report(self._place.found(VerifyCode.TILE_CHANGED, message))
        first = tile.number * WIDTH
        named = [one for one in ids if one is not None]
        if (min(named, default=None), max(named, default=None)) != (tile.first_id, tile.last_id):
            # They lead from an event to its leaf.
            message = f"the tile {tile.number} of level 0 does not name the first and last of its events"
            self._report(self._place.found(VerifyCode.TILE_CHANGED, message))
        for index, (event, own) in enumerate(zip(ids, hashes, strict=False), start=first):
            if event is not None:
                if index == 0 and self._place.epoch > 1:
                    message = "the epoch does not begin with a checkpoint of the one before"
                    self._report(self._place.found(VerifyCode.EPOCH_BROKEN, message, leaf_index=0, event_id=event))
                yield Leaf(index, event, own)
            elif index or self._place.epoch == 1:
                self._report(
                    self._place.found(VerifyCode.EVENT_MISSING, "a leaf stands for no event", leaf_index=index)
                )
            elif before.newest is None or own != leaf_hash(before.newest.text().encode()):
                self._report(self._place.found(VerifyCode.RESTORED, before.told(size), leaf_index=index))

    def _above(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile above the leaves."""
        row = self._tile(level, index)
        return None if row is None else row[0]

    def _tile(self, level: int, index: int) -> tuple[bytes, str | None, str | None] | None:
        parameters = {**self._at, "level": level, "index": index}
        row = self._connection.execute(query("verify", "tile"), parameters, binary=True).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def _start(self, since: Claim | None, size: int) -> Frontier:
        """The frontier to begin with, from the tiles: that of the whole tiles of leaves before the earlier end."""
        whole = 0 if since is None else min(since.size, size) // WIDTH * WIDTH
        if not whole:
            return Frontier()
        read = node_reader(self._bytes)
        hashes: list[bytes] = []
        first = 0
        try:
            for height in reversed(range(whole.bit_length())):
                if whole >> height & 1:
                    hashes.append(read(Node(height, first >> height)))
                    first += 1 << height
        except NotProven:
            return Frontier()  # a tile is missing: all of it is read again, and that is reported
        return Frontier(whole, tuple(hashes))

    def _bytes(self, tile: Tile) -> bytes:
        row = self._tile(tile.level, tile.number)
        return b"" if row is None else row[0]

    def _shapes(self, size: int) -> None:
        for level, index, width, expected in self._query("misshapen_tiles", {**self._at, "size": size}):
            code = VerifyCode.TILE_EXTRA if width > expected else VerifyCode.TILE_MISSING
            message = f"the tile {index} of level {level} has {width} hashes, where there must be {expected}"
            self._report(self._place.found(code, message))

    def _missing(self, level: int, index: int) -> None:
        message = f"the tile {index} of level {level} is not there; what is above it was not looked at"
        self._report(self._place.found(VerifyCode.TILE_MISSING, message))

    def _checkpoints(self, tree: Tree, first: int, last: int) -> None:
        """Those of these sizes: each is checked by itself, and becomes a claim."""
        for size, root, note in self._query("checkpoints", {**self._at, "first": first, "last": last}):
            stored = StoredCheckpoint(size, root, note.encode())
            found = check_checkpoint(self._place, stored, self._origin, self._keys, self._report)
            tree.claim(Claim(size, root, Source.CHECKPOINT))
            self.checkpoints += 1
            if found is not None:
                self._last = found
                self._opened(found)

    def _cosignatures(self) -> int:
        """Each is of its checkpoint; returns the largest size that has a quorum."""
        witnessed, at, signed = 0, -1, set[VerifierKey]()
        rows = self._connection.cursor(binary=True).stream(query("verify", "cosignatures"), self._at)
        for size, witness, line, note in rows:
            if size != at:
                at, signed = size, set[VerifierKey]()
            try:
                if note is None:
                    raise ValueError("there is no checkpoint of this size")  # noqa: TRY301  one way to report
                cosigned = Note.parse((Note.parse(note.encode()).text + "\n" + line + "\n").encode())
                if cosigned.signatures[0].name != witness:
                    raise ValueError("it is another's")  # noqa: TRY301
                if any(key.name == witness for key in self._witnesses):
                    signed |= {one.key for one in cosigned.verify(self._witnesses)}
            except (NotProven, ValueError) as error:
                message = f"the signature of {witness} at {size} leaves: {error}"
                self._report(self._place.found(VerifyCode.COSIGNATURE_WRONG, message))
            if self._policy is not None and self._policy.is_satisfied(signed):
                witnessed = size
        return witnessed

    def _query(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        return self._connection.execute(query("verify", name), parameters, binary=True).fetchall()
