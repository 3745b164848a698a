"""The Merkle tree of RFC 6962 with SHA-256, as pure functions over bytes.

    root()              SHA-256("")
    leaf                SHA-256(0x00 || preimage)
    node                SHA-256(0x01 || left || right)
    root(D[0:n])        node(root(D[0:k]), root(D[k:n])), k the largest power of two smaller than n

Sizes and indices reach 2^63 - 1. Hashes are 32 bytes each. Functions named verify_* return nothing and raise
`permalog.errors.NotProven`. The number of hashes is checked exactly: what is left over is as wrong as what is missing.

Trees grow by a frontier, and proofs are made of hashes that are stored: those of complete subtrees (`Node`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Self

from permalog.errors import Malformed, ProofCode, Refuted

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
# Leaves that are folded at a time: it bounds memory where they come as a stream.
_BATCH: Final = 4096
_SIZE_BYTES: Final = 8


def leaf_hash(preimage: bytes) -> bytes:
    """The leaf of these bytes."""
    return hashlib.sha256(b"\x00" + preimage).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two subtrees, the left of which is complete."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes, in memory that does not grow with them."""
    frontier = Frontier()
    leaves = iter(leaves)
    while batch := list(islice(leaves, _BATCH)):
        frontier = frontier.grown(batch).frontier
    return frontier.root()


class Node(NamedTuple):
    """A complete subtree: ``2**height`` leaves from ``number * 2**height`` on. Its hash never changes."""

    height: int
    number: int


NodeReader = Callable[[Node], bytes]
"""Gives the stored hash of a complete subtree; `permalog.tlog.tile.node_reader` reads it from tiles."""


class Frontier(NamedTuple):
    """All that a tree needs to grow: the hashes of its largest complete subtrees, from left to right.

    There is one for each bit that is set in the size. As bytes: the size as 8 bytes, big-endian, then the hashes.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """The root of the tree."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT

    def grown(self, leaves: Sequence[bytes]) -> Growth:
        """The frontier with these leaf hashes behind the tree's, and what is new in the tiles.

        Raises:
            Malformed: the tree would have more than 2^63 - 1 leaves.
        """
        if self.size + len(leaves) > MAX_SIZE:
            raise Malformed(ProofCode.BOUNDS, "a tree has at most 2^63 - 1 leaves")
        before = dict(zip(_heights(self.size), self.hashes, strict=True))
        after: dict[int, bytes] = {}
        rows: list[list[bytes]] = []
        nodes, first, height = list(leaves), self.size, 0
        while nodes:
            if height % 8 == 0:
                rows.append(nodes)
            if first % 2:  # the first new one is a right child
                nodes = [before.pop(height), *nodes]
            if len(nodes) % 2:
                after[height] = nodes[-1]
            nodes = [node_hash(*pair) for pair in zip(nodes[::2], nodes[1::2], strict=False)]
            first, height = first // 2, height + 1
        size = self.size + len(leaves)
        hashes = after | before
        return Growth(Frontier(size, tuple(hashes[height] for height in _heights(size))), rows)

    def to_bytes(self) -> bytes:
        """Size and hashes; at most 8 + 63 * 32 bytes."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads what `to_bytes` wrote.

        Raises:
            Malformed: its length is not that of its size.
        """
        size = int.from_bytes(data[:_SIZE_BYTES], "big")
        if len(data) != _SIZE_BYTES + HASH_BYTES * size.bit_count() or size > MAX_SIZE:
            raise Malformed(ProofCode.FRONTIER, "the length of a frontier is not that of its size")
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in range(_SIZE_BYTES, len(data), HASH_BYTES)))


class Growth(NamedTuple):
    """What came of appending leaves.

    Attributes:
        frontier: that of the grown tree.
        rows: for each level of tiles, what is appended to it: the leaves, then the roots of each 256 leaves, of each
            65,536, …, in order. The first of level L has the index ``old size >> 8 * L``. Empty levels are left out.
    """

    frontier: Frontier
    rows: list[list[bytes]]


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """The hashes that lead from a leaf to the root, from its sibling upwards (RFC 6962, section 2.1.1).

    Raises:
        Malformed: the index is not below the size.
    """
    _check(0 <= index < size <= MAX_SIZE)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        left = index < middle
        path.append(_range_root(middle, end, read) if left else _range_root(start, middle, read))
        start, end = (start, middle) if left else (middle, end)
    return path[::-1]


def consistency_proof(old: int, new: int, read: NodeReader) -> list[bytes]:
    """The hashes that show that the tree of the new size begins with that of the old (RFC 6962, section 2.1.2).

    Raises:
        Malformed: not 0 < old <= new.
    """
    _check(0 < old <= new <= MAX_SIZE)
    path: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = _split(start, end)
        left = old <= middle
        path.append(_range_root(middle, end, read) if left else _range_root(start, middle, read))
        start, end = (start, middle) if left else (middle, end)
    if start:
        path.append(_range_root(start, end, read))
    return path[::-1]


class Closing(NamedTuple):
    """What stands left and right of a range of leaves, so that a verifier can recompute the root of the whole tree.

    Cut the tree as RFC 6962 does, from the root down, until each part lies inside the range or outside it: `left` and
    `right` are the hashes of the parts outside, from left to right.
    """

    start: int
    """The first leaf's index."""
    end: int
    """That of the first leaf behind the range."""
    size: int
    """Leaves in the whole tree."""
    left: tuple[bytes, ...]
    right: tuple[bytes, ...]


def range_closing(start: int, end: int, size: int, read: NodeReader) -> Closing:
    """Closes the leaves from `start` up to but not including `end`.

    Raises:
        Malformed: not 0 <= start < end <= size.
    """
    left, right = _outside(start, end, size)
    outside = [tuple(_range_root(*one, read) for one in side) for side in (left, right)]
    return Closing(start, end, size, *outside)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """The leaf stands at this index in the tree of this size and root.

    1. 0 <= index < size <= 2^63 - 1. 2. Each hash has 32 bytes. 3. The proof has exactly as many as index and size ask
    for. 4. Leaf and proof lead to the root.

    Raises:
        Malformed: 1 (`BOUNDS`), 2 (`HASH`), 3 (`LENGTH`).
        Refuted: 4 (`INCLUSION`).
    """
    _check(0 <= index < size <= MAX_SIZE)
    _check_hashes(leaf, root, *proof)
    # Where the path to this leaf leaves that to the last, the tree is complete below, and ragged above.
    complete = (index ^ (size - 1)).bit_length()
    _check_length(proof, complete + (index >> complete).bit_count())
    found = leaf
    for height, sibling in enumerate(proof):
        left = height >= complete or index >> height & 1
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    if found != root:
        raise Refuted(ProofCode.INCLUSION, f"the leaf {index} does not lead to the root of {size} leaves")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """The tree of the new size and root begins with that of the old.

    1. 0 < old <= new <= 2^63 - 1. 2. Each hash has 32 bytes. 3. The proof has exactly as many as the sizes ask for,
    none for equal sizes. 4. It leads to the old root. 5. It leads to the new root.

    Raises:
        Malformed: 1 (`BOUNDS`), 2 (`HASH`), 3 (`LENGTH`).
        Refuted: 4 (`OLD_ROOT`), 5 (`NEW_ROOT`).
    """
    _check(0 < old <= new <= MAX_SIZE)
    _check_hashes(old_root, new_root, *proof)
    # The lowest subtree of which both trees are made: the smallest of the old tree's frontier.
    shared = (old & -old).bit_length() - 1
    index = (old - 1) >> shared
    complete = (index ^ ((new - 1) >> shared)).bit_length()
    given = int(old & (old - 1) != 0)
    _check_length(proof, 0 if old == new else given + complete + (index >> complete).bit_count())
    # A complete old tree is itself that subtree, and equal sizes need none.
    seed, *path = (old_root, *proof) if not given or old == new else proof
    old_found = new_found = seed
    for height, sibling in enumerate(path):
        if height >= complete or index >> height & 1:
            old_found, new_found = node_hash(sibling, old_found), node_hash(sibling, new_found)
        else:
            new_found = node_hash(new_found, sibling)
    if old_found != old_root:
        raise Refuted(ProofCode.OLD_ROOT, f"the proof does not lead to the root of {old} leaves")
    if new_found != new_root:
        raise Refuted(ProofCode.NEW_ROOT, f"the tree of {new} leaves does not begin with that of {old}")


def verify_range(leaves: Iterable[bytes], closing: Closing, root: bytes) -> None:
    """These leaves, all of them and in this order, are the range that is closed, in the tree of this root.

    Leaves may come as a stream: memory does not grow with them.

    1. 0 <= start < end <= size <= 2^63 - 1. 2. Each hash has 32 bytes. 3. Left and right have exactly as many as the
    bounds ask for. 4. There are exactly ``end - start`` leaves. 5. All lead to the root.

    Raises:
        Malformed: 1 (`BOUNDS`), 2 (`HASH`), 3 and 4 (`LENGTH`).
        Refuted: 5 (`RANGE`).
    """
    start, end, size, *_ = closing
    left, right = _outside(start, end, size)
    _check_hashes(root, *closing.left, *closing.right)
    _check_length(closing.left, len(left))
    _check_length(closing.right, len(right))
    outside = dict(zip((*left, *right), (*closing.left, *closing.right), strict=True))
    stream = iter(leaves)

    def found(low: int, high: int) -> bytes:
        if (low, high) in outside:
            return outside[low, high]
        if start <= low and high <= end:
            return root_of(_exactly(stream, high - low))
        middle = _split(low, high)
        return node_hash(found(low, middle), found(middle, high))

    computed = found(0, size)
    if next(stream, None) is not None:
        raise Malformed(ProofCode.LENGTH, f"there are more than {end - start} leaves")
    if computed != root:
        raise Refuted(ProofCode.RANGE, f"the leaves {start} to {end} do not lead to the root of {size} leaves")


def _exactly(stream: Iterator[bytes], count: int) -> Iterator[bytes]:
    left = count
    for left, leaf in zip(range(count - 1, -1, -1), stream, strict=False):  # noqa: B007  in this order: no leaf too many is taken
        if len(leaf) != HASH_BYTES:
            _check_hashes(leaf)
        yield leaf
    if left:
        raise Malformed(ProofCode.LENGTH, "there are too few leaves")


def _outside(start: int, end: int, size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The largest parts of the tree that lie outside a range, left and right of it."""
    _check(0 <= start < end <= size <= MAX_SIZE)
    left: list[tuple[int, int]] = []
    right: list[tuple[int, int]] = []
    waiting = [(0, size)]
    while waiting:
        low, high = waiting.pop()
        if high <= start:
            left.append((low, high))
        elif low >= end:
            right.append((low, high))
        elif low < start or high > end:
            middle = _split(low, high)
            waiting += [(middle, high), (low, middle)]
    return left, right


def _range_root(start: int, end: int, read: NodeReader) -> bytes:
    """The root over a part of the tree as RFC 6962 cuts it, from its complete subtrees."""
    hashes: list[bytes] = []
    for height in _heights(end - start):
        hashes.append(read(Node(height, start >> height)))
        start += 1 << height
    return _fold(hashes)


def _fold(hashes: Sequence[bytes]) -> bytes:
    *rest, found = hashes
    for left in reversed(rest):
        found = node_hash(left, found)
    return found


def _heights(size: int) -> list[int]:
    """The heights of the complete subtrees of a tree, the largest first."""
    return [height for height in reversed(range(size.bit_length())) if size >> height & 1]


def _split(start: int, end: int) -> int:
    """Where RFC 6962 cuts a part of more than one leaf."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _check(within: bool) -> None:  # noqa: FBT001  the condition is the argument
    if not within:
        raise Malformed(ProofCode.BOUNDS, "a size, an index or a range is out of bounds")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        raise Malformed(ProofCode.HASH, f"a hash has {HASH_BYTES} bytes")


def _check_length(proof: Sequence[bytes], length: int) -> None:
    if len(proof) != length:
        raise Malformed(ProofCode.LENGTH, f"the proof has {len(proof)} hashes, where there must be {length}")
