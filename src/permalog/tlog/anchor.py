"""Anchors: the log of checkpoints, published outside the database. Pure functions over text and bytes.

Every minute the newest checkpoint of each log that has changed becomes a leaf of one more tree, the anchor log, whose
origin is ``<prefix>/anchor``:

    anchor leaf     SHA-256(0x00 || the checkpoint's text: origin, size and root, each with a newline)

What is published holds these hashes and the anchor log's own signed checkpoint, and nothing of what was hashed:

    permalog.anchor@v1
    start 118                       the index of the first leaf below: how many were published before
    <base64>                        an anchor leaf a line, at least one
                                    one empty line
    <checkpoint>                    of the anchor log, at the size after these leaves, as it was signed

Whoever holds a checkpoint of a log recognises its leaf; who holds none learns how many checkpoints there were, and
neither whose nor how large: a root is not to be guessed, since every leaf below it has a random id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Self

from permalog.errors import Malformed, ProofCode, Refuted
from permalog.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, check_origin, verify_checkpoint
from permalog.tlog.merkle import HASH_BYTES, MAX_SIZE, Frontier, leaf_hash
from permalog.tlog.note import Note, VerifierKey, decode, encode

ANCHOR_HEADER: Final = "permalog.anchor@v1"
MAX_LEAVES: Final = 10_000
"""In one published text: bounds what a hostile one costs to read; more leaves make more texts."""

_HEAD: Final = re.compile(rb"permalog\.anchor@v1\nstart (0|[1-9][0-9]{0,18})\n((?:[A-Za-z0-9+/]{43}=\n)+)\n")


def anchor_origin(prefix: str, epoch: int = 1) -> str:
    """The origin of the anchor log: ``<prefix>/anchor``, from its second epoch on ``/2``, ``/3``, … behind it.

    Raises:
        Malformed: the prefix is no origin (`ORIGIN`).
    """
    return check_origin(f"{prefix}/anchor{f'/{epoch}' if epoch > 1 else ''}")


def anchor_leaf(checkpoint: Checkpoint) -> bytes:
    """The leaf that a log's checkpoint has in the anchor log.

    Raises:
        Malformed: it is no checkpoint that could be read again (`CHECKPOINT`).
    """
    return leaf_hash(checkpoint.text().encode())


class Anchor(NamedTuple):
    """One published text. Reading one proves nothing: see `read_anchors`."""

    start: int
    leaves: tuple[bytes, ...]
    checkpoint: bytes
    """The anchor log's signed note, byte by byte."""

    @property
    def size(self) -> int:
        """Leaves of the anchor log, these included."""
        return self.start + len(self.leaves)

    def to_bytes(self) -> bytes:
        """The text.

        Raises:
            Malformed: it would not be read again (`ANCHOR`).
        """
        lines = [ANCHOR_HEADER, f"start {self.start}", *map(encode, self.leaves), "", ""]
        data = "\n".join(lines).encode() + self.checkpoint
        if Anchor.parse(data) != self:
            raise Malformed(ProofCode.ANCHOR, "the start or a leaf of an anchor is none")
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads a text.

        1. The header. 2. The start, without leading zeros. 3. 1 to 10,000 leaves of 32 bytes, in padded base64. 4. An
        empty line, and a note.

        Raises:
            Malformed: 1 to 3 (`ANCHOR`), 4 (`NOTE`, `SIGNATURE_LINE`).
        """
        found = _HEAD.match(data)
        leaves = [decode(line.decode()) for line in found[2].splitlines()] if found else []
        whole = tuple(leaf for leaf in leaves if leaf is not None and len(leaf) == HASH_BYTES)
        if not found or len(whole) != len(leaves) or len(leaves) > MAX_LEAVES or int(found[1]) > MAX_SIZE:
            raise Malformed(ProofCode.ANCHOR, "not an anchor")
        checkpoint = data[found.end() :]
        Note.parse(checkpoint)
        return cls(int(found[1]), whole, checkpoint)


class AnchorBatch(NamedTuple):
    """What one published text proves: these leaves stand from `start` on in the anchor log that was signed."""

    start: int
    leaves: tuple[bytes, ...]
    checkpoint: VerifiedCheckpoint


def read_anchors(
    published: Iterable[bytes], origin: str, keys: Iterable[VerifierKey], witnesses: Iterable[VerifierKey] = ()
) -> Iterator[AnchorBatch]:
    """Reads all texts of one anchor log in their order, from its first leaf on, in memory that does not grow with them.

    1. Each is an anchor. 2. Each starts where the one before ended. 3. Its checkpoint is signed by a key of the log
    (`checkpoint.verify_checkpoint`). 4. It is of the size after its leaves. 5. All leaves so far lead to its
    root. The texts prove therefore that the anchor log only ever grew.

    Raises:
        Malformed: 1 (`ANCHOR`, `NOTE`, `SIGNATURE_LINE`, `CHECKPOINT`).
        Refuted: 2 and 4 (`ANCHOR_ORDER`), 3 (`SIGNATURE`, `UNSIGNED`, `ORIGIN`), 5 (`ANCHOR_ROOT`).
    """
    frontier, keys, witnesses = Frontier(), tuple(keys), tuple(witnesses)
    for data in published:
        anchor = Anchor.parse(data)
        verified = verify_checkpoint(anchor.checkpoint, origin, keys, witnesses)
        if anchor.start != frontier.size or verified.checkpoint.size != anchor.size:
            raise Refuted(
                ProofCode.ANCHOR_ORDER,
                f"an anchor from {anchor.start} to {anchor.size}, signed at {verified.checkpoint.size}, follows one"
                f" that ended at {frontier.size}",
            )
        frontier = frontier.grown(anchor.leaves).frontier
        if frontier.root() != verified.checkpoint.root:
            raise Refuted(ProofCode.ANCHOR_ROOT, f"the anchor at {anchor.size} leaves is of another anchor log")
        yield AnchorBatch(anchor.start, anchor.leaves, verified)


class AnchoredFact(NamedTuple):
    """The log of this origin had this root at this size when the anchor was published: so it must have for ever."""

    leaf_index: int
    """In the anchor log."""
    origin: str
    size: int
    root: bytes


class Opened(NamedTuple):
    """Anchors, as far as the checkpoints at hand open them.

    Attributes:
        facts: what was anchored, in the order of the anchor log.
        unopened: the indices of the leaves that none of the checkpoints has. Where all checkpoints of an installation
            are at hand, there must be none: something that was signed and anchored is gone, or was replaced.
    """

    facts: list[AnchoredFact]
    unopened: list[int]


def open_anchors(batches: Iterable[AnchorBatch], known: Mapping[bytes, Checkpoint]) -> Opened:
    """Finds in the anchors the checkpoints at hand, by their leaves (`anchor_leaf`).

    ``open_anchors(read_anchors(texts, origin, keys), {anchor_leaf(one): one for one in checkpoints})``
    """
    opened = Opened([], [])
    for batch in batches:
        for index, leaf in enumerate(batch.leaves, batch.start):
            checkpoint = known.get(leaf)
            if checkpoint is None:
                opened.unopened.append(index)
            else:
                opened.facts.append(AnchoredFact(index, checkpoint.origin, checkpoint.size, checkpoint.root))
    return opened
