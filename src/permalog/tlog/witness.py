"""A witness (C2SP tlog-witness): cosigns a log's checkpoint only if it is consistent with the one it cosigned last.

What it is asked (``POST /add-checkpoint``):

    old 118                         the size that the log believes this witness cosigned last; 0: none
    <base64>                        the consistency proof from there, 0 to 63 hashes, a line each
                                    one empty line
    <checkpoint>                    as its log signed it

What it answers: its signature line. What it remembers of each log is the text of the checkpoint that it cosigned last,
in a file of its own, on disk before the answer leaves. It needs no database, and knows nothing of what is logged.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Final, NamedTuple, Self

from permalog.errors import Malformed, NotProven, ProofCode, Refusal, Refuted, WitnessRefused, WitnessUnusable
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.merkle import EMPTY_ROOT, MAX_SIZE, verify_consistency
from permalog.tlog.note import COSIGNATURE, Cosigner, Note, Signature, VerifierKey, decode, encode

MAX_REQUEST: Final = 64 * 1024
"""Bytes: 63 hashes, and a checkpoint with as many signatures as anybody has."""
MAX_ANSWER: Final = 64 * 1024
_HEAD: Final = re.compile(rb"old (0|[1-9][0-9]{0,18})\n((?:[A-Za-z0-9+/]{43}=\n){0,63})\n")


class AddCheckpoint(NamedTuple):
    """What a witness is asked."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, byte by byte."""

    def to_bytes(self) -> bytes:
        """The body of the request.

        Raises:
            Malformed: it would not be read again (`WITNESS_REQUEST`).
        """
        data = "\n".join([f"old {self.old}", *map(encode, self.proof), "", ""]).encode() + self.checkpoint
        if AddCheckpoint.parse(data) != self:
            raise Malformed(ProofCode.WITNESS_REQUEST, "the old size or a hash of the proof is none")
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads the body of a request.

        1. At most 65,536 bytes. 2. The old size, without leading zeros, at most 2^63 - 1. 3. At most 63 hashes of 32
        bytes, in padded base64. 4. An empty line, and a note.

        Raises:
            Malformed: 1 to 3 (`WITNESS_REQUEST`), 4 (`NOTE`, `SIGNATURE_LINE`).
        """
        found = _HEAD.match(data) if len(data) <= MAX_REQUEST else None
        hashes = [decode(line.decode()) for line in found[2].splitlines()] if found else []
        whole = tuple(one for one in hashes if one is not None)
        if not found or len(whole) != len(hashes) or int(found[1]) > MAX_SIZE:
            raise Malformed(ProofCode.WITNESS_REQUEST, "not an add-checkpoint request")
        checkpoint = data[found.end() :]
        Note.parse(checkpoint)
        return cls(int(found[1]), whole, checkpoint)


def read_cosignature(answer: bytes, text: str, witness: VerifierKey) -> Signature:
    """The signature line of this witness in its answer, over the text of the checkpoint that it was asked for.

    Lines of other keys are passed over: a witness may sign with several.

    Raises:
        Malformed: the answer is not signature lines, or longer than 65,536 bytes (`NOTE`, `SIGNATURE_LINE`).
        Refuted: none is of this witness, or it is wrong (`UNSIGNED`, `SIGNATURE`).
    """
    if len(answer) > MAX_ANSWER:
        raise Malformed(ProofCode.NOTE, f"the answer is longer than {MAX_ANSWER} bytes")
    note = Note.parse(text.encode() + b"\n" + answer)
    if note.text != text:
        raise Malformed(ProofCode.NOTE, "the answer is more than signature lines")
    note.verify([witness])
    return next(one for one in note.signatures if (one.name, one.key_id) == (witness.name, witness.key_id))


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """Logs that a witness knows, and the key by which it knows them. Several for one origin: any of the keys will do.

    Attributes:
        origin: that of one log; with ``below``, also of every log whose origin begins with it and a slash.
        key: what signs their checkpoints.
        below: one key may sign for many logs, as Permalog's does for ``<key name>/log/<log id>``.
    """

    origin: str
    key: VerifierKey
    below: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``<verifier key>`` (the logs at and below the key's name), or ``<origin>=<verifier key>`` (one log).

        Raises:
            Malformed: it is neither (`KEY`), or the key makes cosignatures.
        """
        # A verifier key ends in base64, which may end in an equals sign, but holds none before its first plus.
        named = re.fullmatch(r"([^=\s]+)=([^=\s]+\+[0-9a-f]{8}\+\S+)", text)
        key = VerifierKey.parse(named[2] if named else text)
        if key.type == COSIGNATURE:
            raise Malformed(ProofCode.KEY, "this is the key of a witness, and not that of a log")
        return cls(named[1], key) if named else cls(key.name, key, below=True)

    def covers(self, origin: str) -> bool:
        """Whether the log of this origin is meant."""
        return origin == self.origin or (self.below and origin.startswith(self.origin + "/"))


class State:
    """What a witness has cosigned, in a folder of its own: one file an origin, changed whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder if it is not there (mode 0700)."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder: Final = folder

    def belongs_to(self, key: VerifierKey) -> None:
        """Notes whose state this is, or makes sure of it.

        Raises:
            WitnessUnusable: it is that of another key.
        """
        with self._locked("key"):
            path = self._folder / "key"
            if not path.exists():
                self._replace(path, f"{key}\n")
            elif path.read_text(encoding="utf-8") != f"{key}\n":
                raise WitnessUnusable(f"{self._folder} is the state of another key: give it the key that it began with")

    def last(self, origin: str) -> tuple[int, bytes]:
        """The size and the root that were cosigned last; of a log that never was, those of the empty tree.

        Raises:
            WitnessUnusable: the file cannot be read, or is not what was written.
        """
        path = self._path(origin)
        try:
            known = Checkpoint.parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0, EMPTY_ROOT
        except (NotProven, OSError, UnicodeDecodeError) as error:
            raise WitnessUnusable(f"{path} cannot be read as what this witness wrote") from error
        if known.origin != origin:
            raise WitnessUnusable(f"{path} is of another log")
        return known.size, known.root

    @contextmanager
    def turn(self, origin: str) -> Generator[None]:
        """Keeps everybody else, of any process, from this log until the end of the block."""
        with self._locked(self._path(origin).name):
            yield

    def keep(self, checkpoint: Checkpoint) -> None:
        """Remembers a checkpoint as the last one of its log; it is on disk when this returns. Take a `turn` first."""
        # Without extension lines: what counts later is size and root.
        self._replace(self._path(checkpoint.origin), checkpoint._replace(extensions=()).text())

    def _path(self, origin: str) -> Path:
        # An origin may be as long as its log likes, and hold anything but newlines.
        return self._folder / hashlib.sha256(origin.encode()).hexdigest()

    @contextmanager
    def _locked(self, name: str) -> Generator[None]:
        """Each holder opens the file anew, so that the lock parts threads as well as processes."""
        handle = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _replace(self, path: Path, text: str) -> None:
        handle, name = mkstemp(dir=self._folder, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the renaming, too, must outlive a power failure
        finally:
            os.close(folder)


class Witness:
    """Cosigns checkpoints of the logs that it trusts. Threads and processes may share one state.

    Raises:
        WitnessUnusable: the state is that of another key.
    """

    def __init__(
        self,
        cosigner: Cosigner,
        state: State,
        logs: Iterable[TrustedLog],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` gives seconds since 1970."""
        state.belongs_to(cosigner.key)
        self._cosigner: Final = cosigner
        self._state: Final = state
        self._logs: Final = tuple(logs)
        self._clock: Final = clock

    @property
    def key(self) -> VerifierKey:
        """By which its cosignatures are checked."""
        return self._cosigner.key

    def add_checkpoint(self, body: bytes) -> Signature:
        """Cosigns the checkpoint of a request, or says why not.

        1. The request is well formed. 2. The origin is known. 3. A trusted key has signed. 4. The old size is not
        larger than the checkpoint's. 5. It is the size that was cosigned last. 6. At the same size, the root is the
        same. 7. The proof shows the one tree to begin with the other; from an empty one there is none.

        From 5 on everybody else waits, and the new checkpoint is on disk before this returns.

        Raises:
            WitnessRefused: 1 and 4 (`MALFORMED`), 2 (`UNKNOWN`), 3 (`UNSIGNED`), 5 and 6 (`CONFLICT`), 7
                (`INCONSISTENT`).
            WitnessUnusable: its own state cannot be read.
        """
        try:
            request = AddCheckpoint.parse(body)
            note = Note.parse(request.checkpoint)
            checkpoint = Checkpoint.parse(note.text)
        except Malformed as error:
            raise WitnessRefused(Refusal.MALFORMED, str(error)) from None
        self._check_signed(note, checkpoint.origin)
        if request.old > checkpoint.size:
            raise WitnessRefused(Refusal.MALFORMED, "the old size is larger than that of the checkpoint")
        with self._state.turn(checkpoint.origin):
            self._check_consistent(request, checkpoint)
            self._state.keep(checkpoint)
            # Inside, so that the time of a cosignature never goes back from one size to the next.
            return self._cosigner.cosign(note.text, int(self._clock()))

    def _check_signed(self, note: Note, origin: str) -> None:
        keys = [log.key for log in self._logs if log.covers(origin)]
        if not keys:
            raise WitnessRefused(Refusal.UNKNOWN, "this witness knows no log of this origin")
        try:
            note.verify(keys)
        except Refuted as error:
            raise WitnessRefused(Refusal.UNSIGNED, str(error)) from None

    def _check_consistent(self, request: AddCheckpoint, checkpoint: Checkpoint) -> None:
        size, root = self._state.last(checkpoint.origin)
        if request.old != size:
            raise WitnessRefused(Refusal.CONFLICT, f"{size} leaves were cosigned last", size)
        if checkpoint.size == size and checkpoint.root != root:
            raise WitnessRefused(Refusal.CONFLICT, f"another root was cosigned at {size} leaves", size)
        try:
            if size:
                verify_consistency(size, root, checkpoint.size, checkpoint.root, request.proof)
            elif request.proof:
                raise Malformed(ProofCode.LENGTH, "from an empty tree there is no proof")
        except NotProven as error:
            raise WitnessRefused(Refusal.INCONSISTENT, str(error)) from None
