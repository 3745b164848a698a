"""Checkpoints (C2SP tlog-checkpoint v1.0.0) and proofs in a file (tlog-proof v1). Pure functions over text and bytes.

A checkpoint is a signed note (`permalog.tlog.note`) whose text is

    audit.example.com/log/e152bb82-5527-8d8b-8ded-3f5737b427b3      the origin: which log
    70000                                                           the size of its tree
    2Xq…=                                                           base64 of its root, 32 bytes

Ours have no more lines; those of others may have extension lines, none of them empty.

A tlog-proof is one text that proves a leaf to whoever trusts the log's key:

    c2sp.org/tlog-proof@v1
    extra <base64>                  left out where there is none; nobody has signed it
    index 4711                      the leaf index
    <base64>                        the inclusion proof, a hash a line, from the leaf's sibling upwards
                                    one empty line
    <checkpoint>                    as it was signed
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, Self
from uuid import UUID

from permalog.errors import Malformed, ProofCode, Refuted
from permalog.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, verify_inclusion
from permalog.tlog.note import Note, Signer, Verified, VerifierKey, decode, encode, signed

PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_ORIGIN: Final = 255
"""Newer cosignature formats count an origin's length in one byte."""

# A host in lower case, so that two spellings are not two logs, and a path; no scheme, no slash at the end.
_ORIGIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~-]+)*")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_PROOF: Final = re.compile(
    rb"c2sp\.org/tlog-proof@v1\n(?:extra ([A-Za-z0-9+/]+={0,2})\n)?index (0|[1-9][0-9]{0,18})\n"
    rb"((?:[A-Za-z0-9+/]{43}=\n){0,63})\n"
)
_CONTROLS: Final = re.compile(r"[\x00-\x1f]")
_BODY_LINES: Final = 3


def check_origin(origin: str) -> str:
    """The origin, or the prefix of one, if it is a URL without a scheme, such as ``audit.example.com/log/1``.

    It has a host in lower case, perhaps a port, and a path of letters, digits and ``. _ ~ -`` without a slash at its
    end; at most 255 characters. (Checkpoints of other logs are read whatever their origin.)

    Raises:
        Malformed: it is none (`ORIGIN`).
    """
    if len(origin) > MAX_ORIGIN or not _ORIGIN.fullmatch(origin):
        raise Malformed(ProofCode.ORIGIN, "an origin is a URL without a scheme, such as audit.example.com")
    return origin


def log_origin(prefix: str, log_id: UUID, epoch: int = 1) -> str:
    """The origin of a log: ``<prefix>/log/<log_id>``, and from its second epoch on ``/2``, ``/3``, … behind it.

    Raises:
        Malformed: the prefix is no origin (`ORIGIN`).
    """
    return check_origin(f"{prefix}/log/{log_id}{f'/{epoch}' if epoch > 1 else ''}")


class Checkpoint(NamedTuple):
    """What a log states of itself: at this size its tree has this root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The text of the note.

        Raises:
            Malformed: it would not be read again (`CHECKPOINT`).
        """
        text = "".join(f"{line}\n" for line in (self.origin, self.size, encode(self.root), *self.extensions))
        if Checkpoint.parse(text) != self:
            raise Malformed(ProofCode.CHECKPOINT, "a line of a checkpoint holds no newline")
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the text of a note.

        1. At least three lines, each ended and none empty, without control characters. 2. The size is decimal, without
        leading zeros, at most 2^63 - 1. 3. The root is 32 bytes in padded base64, for no leaves that of the empty tree.

        Raises:
            Malformed: one of these (`CHECKPOINT`).
        """
        *lines, last = text.split("\n")
        if last or len(lines) < _BODY_LINES or not all(lines) or any(map(_CONTROLS.search, lines)):
            raise Malformed(ProofCode.CHECKPOINT, "a checkpoint has an origin, a size and a root, each on its line")
        origin, written, encoded, *extensions = lines
        size, root = _decimal(written), decode(encoded)
        if size is None or root is None or len(root) != HASH_BYTES or (size == 0 and root != EMPTY_ROOT):
            raise Malformed(ProofCode.CHECKPOINT, "the size or the root of a checkpoint is none")
        return cls(origin, size, root, tuple(extensions))

    def signed(self, *signers: Signer) -> Note:
        """The checkpoint as a note.

        The caller MUST have made sure that it is consistent with all that these keys have signed for this origin.

        Raises:
            Malformed: the origin is none of ours (`ORIGIN`), or as `text`.
        """
        check_origin(self.origin)
        return signed(self.text(), *signers)


class VerifiedCheckpoint(NamedTuple):
    """A checkpoint that its log has signed.

    Attributes:
        checkpoint: what it says.
        signatures: those of the log's keys.
        cosignatures: those of the witnesses that are known, with their times; there may be none.
    """

    checkpoint: Checkpoint
    signatures: list[Verified]
    cosignatures: list[Verified]


def verify_checkpoint(
    data: bytes, origin: str, keys: Iterable[VerifierKey], witnesses: Iterable[VerifierKey] = ()
) -> VerifiedCheckpoint:
    """The log of this origin has signed this checkpoint, with one of these keys.

    How many witnesses are enough is for the caller to say.

    1. It is a note. 2. Every signature of a key of the log or of a witness verifies. 3. One is of the log. 4. The text
    is a checkpoint. 5. It is that of this log.

    Raises:
        Malformed: 1 (`NOTE`, `SIGNATURE_LINE`), 4 (`CHECKPOINT`).
        Refuted: 2 (`SIGNATURE`), 3 (`UNSIGNED`), 5 (`ORIGIN`).
    """
    keys = frozenset(keys)
    note = Note.parse(data)
    found = note.verify([*keys, *witnesses])
    signatures = [one for one in found if one.key in keys]
    if not signatures:
        raise Refuted(ProofCode.UNSIGNED, "none of the log's keys has signed")
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != origin:
        raise Refuted(ProofCode.ORIGIN, "the checkpoint is that of another log")
    return VerifiedCheckpoint(checkpoint, signatures, [one for one in found if one.key not in keys])


class TlogProof(NamedTuple):
    """What a tlog-proof file holds. Reading one proves nothing: see `verify`."""

    leaf_index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, byte by byte."""
    extra: bytes | None = None
    """For the application; nobody has signed it."""

    def to_bytes(self) -> bytes:
        """The file.

        Raises:
            Malformed: it would not be read again (`TLOG_PROOF`).
        """
        lines = [PROOF_HEADER, f"index {self.leaf_index}", *map(encode, self.hashes), "", ""]
        if self.extra is not None:
            lines.insert(1, f"extra {encode(self.extra)}")
        data = "\n".join(lines).encode() + self.checkpoint
        if TlogProof.parse(data) != self:
            raise Malformed(ProofCode.TLOG_PROOF, "the index or a hash of the proof is none")
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads a file.

        1. The header. 2. Perhaps extra data, not empty. 3. The index, without leading zeros. 4. At most 63 hashes of 32
        bytes, in padded base64. 5. An empty line, and a note.

        Raises:
            Malformed: 1 to 4 (`TLOG_PROOF`), 5 (`NOTE`, `SIGNATURE_LINE`).
        """
        found = _PROOF.match(data)
        index = _decimal(found[2].decode()) if found else None
        extra = decode(found[1].decode()) if found and found[1] else None
        hashes = [decode(line.decode()) for line in found[3].splitlines()] if found else []
        if not found or index is None or (found[1] and not extra) or None in hashes:
            raise Malformed(ProofCode.TLOG_PROOF, "not a tlog-proof")
        checkpoint = data[found.end() :]
        Note.parse(checkpoint)
        return cls(index, tuple(one for one in hashes if one is not None), checkpoint, extra)

    def verify(
        self, leaf: bytes, origin: str, keys: Iterable[VerifierKey], witnesses: Iterable[VerifierKey] = ()
    ) -> VerifiedCheckpoint:
        """The log of this origin holds this leaf.

        1. `verify_checkpoint`. 2. `permalog.tlog.merkle.verify_inclusion` of the leaf under its root.

        Raises:
            NotProven: as those two.
        """
        verified = verify_checkpoint(self.checkpoint, origin, keys, witnesses)
        checkpoint = verified.checkpoint
        verify_inclusion(leaf, self.leaf_index, checkpoint.size, self.hashes, checkpoint.root)
        return verified


def _decimal(text: str) -> int | None:
    number = int(text) if _DECIMAL.fullmatch(text) else None
    return number if number is None or number <= MAX_SIZE else None
