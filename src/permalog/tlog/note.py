r"""Signed notes (C2SP signed-note v1.0.0): text that keys have signed, and that anybody can check.

    This is the text.                                    each line ends with a newline (U+000A)
                                                         one empty line
    — example.com/key <base64(key id || signature)>      em dash (U+2014), space, name, space, base64 (padded), newline

    key id          SHA-256(name || 0x0A || type || public key)[:4]
    verifier key    <name>+<key id in hex>+<base64(type || public key)>

    type 0x01       Ed25519 over the text with its last newline
    type 0x04       cosignature v1: 8 bytes of time (Unix seconds, big-endian) before an Ed25519 signature over
                    "cosignature/v1\ntime <seconds>\n" and the text

A further type is a further `_Scheme`. Reading is strict: there is one way to write a note, and nothing else is taken.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typing_extensions import override

from permalog.errors import Malformed, ProofCode, Refuted

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04

MAX_BYTES: Final = 1_000_000
"""Bounds what a hostile note costs to read."""
MAX_SIGNATURES: Final = 100
"""Bounds what a hostile note costs to verify."""
MAX_TIME: Final = 2**63 - 1

_KEY_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8
_NAME: Final = re.compile(r"[^\s+\x00-\x20\ud800-\udfff]+")
_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE: Final = re.compile(r"— (\S+) (\S+)")
_VERIFIER_KEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")


class Signature(NamedTuple):
    """One signature of a note, as it stands there: who says to have made it, and what only its type understands."""

    name: str
    key_id: bytes
    blob: bytes

    def line(self) -> str:
        """The line below the text, without its newline."""
        return f"— {self.name} {encode(self.key_id + self.blob)}"


class Note(NamedTuple):
    """A text and what was signed of it. Reading one proves nothing: see `verify`."""

    text: str
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        """Text, empty line, signatures.

        Raises:
            Malformed: it would not be read again (`NOTE`, `SIGNATURE_LINE`).
        """
        data = (self.text + "\n" + "".join(f"{one.line()}\n" for one in self.signatures)).encode()
        if Note.parse(data) != self:
            raise Malformed(ProofCode.NOTE, "a note has a text that ends with a newline")
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads a note, whoever may have signed it.

        1. At most 1,000,000 bytes, valid UTF-8, no control characters but newlines. 2. A text that ends with a newline,
        an empty line, 1 to 100 lines, each ended. 3. Each line is a signature, and none stands there twice.

        Raises:
            Malformed: 1 and 2 (`NOTE`), 3 (`SIGNATURE_LINE`).
        """
        if len(data) > MAX_BYTES:
            raise Malformed(ProofCode.NOTE, f"the note is larger than {MAX_BYTES} bytes")
        try:
            written = data.decode()
        except UnicodeDecodeError:
            raise Malformed(ProofCode.NOTE, "the note is not valid UTF-8") from None
        if _CONTROLS.search(written):
            raise Malformed(ProofCode.NOTE, "the note holds a control character")
        text, empty, below = written.rpartition("\n\n")
        *lines, last = below.split("\n")
        if not empty or last or not 1 <= len(lines) <= MAX_SIGNATURES:
            raise Malformed(ProofCode.NOTE, f"a note has a text, an empty line, and 1 to {MAX_SIGNATURES} signatures")
        if len(set(lines)) < len(lines):
            raise Malformed(ProofCode.SIGNATURE_LINE, "a signature stands there twice")
        return cls(text + "\n", tuple(_signature(line) for line in lines))

    def verify(self, keys: Iterable[VerifierKey]) -> list[Verified]:
        """What these keys have signed, in the order of the note.

        1. Signatures of other keys are ignored. 2. No key has signed twice. 3. Each signature of a known key verifies.
        4. There is one.

        Raises:
            Refuted: 2 and 3 (`SIGNATURE`), 4 (`UNSIGNED`).
        """
        known = {(key.name, key.key_id): key for key in keys}
        found: dict[VerifierKey, Verified] = {}
        for name, key_id, blob in self.signatures:
            key = known.get((name, key_id))
            if key is None:
                continue
            if key in found:
                raise Refuted(ProofCode.SIGNATURE, f"{name} has signed twice")
            found[key] = Verified(key, key.verify(self.text, blob))
        if not found:
            raise Refuted(ProofCode.UNSIGNED, "none of the known keys has signed")
        return list(found.values())


class Verified(NamedTuple):
    """A signature that was checked: by whom, and for a cosignature when (Unix seconds)."""

    key: VerifierKey
    time: int | None


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key, by which signatures of one name and type are checked. As text: a C2SP verifier key.

    Raises:
        Malformed: the name is empty, or holds a space, a plus or a control character; the type is not known here; the
            public key has another length than its type asks for (`KEY`).
    """

    name: str
    type: int
    public_key: bytes

    def __post_init__(self) -> None:
        """Holds all three to the format."""
        if not _NAME.fullmatch(self.name):
            raise Malformed(ProofCode.KEY, "the name of a key is not empty, and has neither spaces nor a plus")
        if self.type not in _SCHEMES:
            raise Malformed(ProofCode.KEY, f"keys of the type 0x{self.type:02x} are not known here")
        if len(self.public_key) != _KEY_BYTES:
            raise Malformed(ProofCode.KEY, f"the public key has not {_KEY_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``<name>+<key id>+<base64>``.

        Raises:
            Malformed: it is not written so, or its id is not that of the key (`KEY`).
        """
        found = _VERIFIER_KEY.fullmatch(text)
        material = decode(found[3]) if found else None
        if not found or not material:
            raise Malformed(ProofCode.KEY, "a verifier key is written <name>+<key id in hex>+<base64>")
        key = cls(found[1], material[0], material[1:])
        if key.key_id.hex() != found[2]:
            raise Malformed(ProofCode.KEY, "the id of the verifier key is not that of the key")
        return key

    @override
    def __str__(self) -> str:
        """``<name>+<key id>+<base64>``."""
        return f"{self.name}+{self.key_id.hex()}+{encode(bytes([self.type]) + self.public_key)}"

    @property
    def key_id(self) -> bytes:
        """4 bytes that find the key, and prove nothing."""
        return hashlib.sha256(self.name.encode() + bytes([0x0A, self.type]) + self.public_key).digest()[:_KEY_ID_BYTES]

    def verify(self, text: str, blob: bytes) -> int | None:
        """The text is signed by this key. Returns the time of a cosignature, else None.

        Raises:
            Refuted: it has not (`SIGNATURE`).
        """
        return _SCHEMES[self.type](self, text, blob)


class Signer(Protocol):
    """What signs notes: a key at hand (`Ed25519Signer`), or one that only another system holds."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        ...

    def sign(self, text: str) -> Signature:
        """Signs a note's text, its last newline included."""
        ...


class Ed25519Signer:
    """Signs with a key whose 32-byte seed is at hand (type 0x01).

    Raises:
        Malformed: the name is none, or the seed has not 32 bytes (`KEY`).
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self._private, self.key = _pair(name, ED25519, seed)

    def sign(self, text: str) -> Signature:
        """Signs a note's text, its last newline included."""
        return Signature(self.key.name, self.key.key_id, self._private.sign(text.encode()))


class Cosigner:
    """Signs checkpoints of others, and says when (type 0x04).

    Raises:
        Malformed: the name is none, or the seed has not 32 bytes (`KEY`).
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self._private, self.key = _pair(name, COSIGNATURE, seed)

    def cosign(self, text: str, time: int) -> Signature:
        """States that as of this time (Unix seconds) no larger tree of the text's log was seen.

        Raises:
            ValueError: the time is not within 0 to 2^63 - 1.
        """
        if not 0 <= time <= MAX_TIME:
            raise ValueError("the time is out of bounds")
        signature = self._private.sign(_cosigned(text, time))
        return Signature(self.key.name, self.key.key_id, time.to_bytes(_TIME_BYTES, "big") + signature)


def signed(text: str, *signers: Signer) -> Note:
    """The text as a note, signed by all of them."""
    return Note(text, tuple(signer.sign(text) for signer in signers))


def encode(data: bytes) -> str:
    """Base64 as all these formats write it: the standard alphabet, padded."""
    return base64.b64encode(data).decode()


def decode(text: str) -> bytes | None:
    """The bytes of base64 as `encode` writes it; None where it would write them otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encode(data) == text else None


def _signature(line: str) -> Signature:
    found = _SIGNATURE_LINE.fullmatch(line)
    data = decode(found[2]) if found else None
    if not found or not data or len(data) <= _KEY_ID_BYTES or not _NAME.fullmatch(found[1]):
        raise Malformed(ProofCode.SIGNATURE_LINE, "a signature is written — <name> <base64>")
    return Signature(found[1], data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def _pair(name: str, kind: int, seed: bytes) -> tuple[Ed25519PrivateKey, VerifierKey]:
    if len(seed) != _KEY_BYTES:
        raise Malformed(ProofCode.KEY, f"the seed has not {_KEY_BYTES} bytes")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return private, VerifierKey(name, kind, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


_Scheme = Callable[[VerifierKey, str, bytes], int | None]


def _verify_ed25519(key: VerifierKey, text: str, blob: bytes) -> None:
    _verify(key, text.encode(), blob)


def _verify_cosignature(key: VerifierKey, text: str, blob: bytes) -> int:
    time = int.from_bytes(blob[:_TIME_BYTES], "big")
    if len(blob) != _TIME_BYTES + _SIGNATURE_BYTES or time > MAX_TIME:
        raise Refuted(ProofCode.SIGNATURE, f"the cosignature of {key.name} is not 8 bytes of time and a signature")
    _verify(key, _cosigned(text, time), blob[_TIME_BYTES:])
    return time


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _verify(key: VerifierKey, message: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refuted(ProofCode.SIGNATURE, f"the signature of {key.name} is wrong") from None


_SCHEMES: Final[dict[int, _Scheme]] = {ED25519: _verify_ed25519, COSIGNATURE: _verify_cosignature}
