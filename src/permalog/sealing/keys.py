"""The keys of a log: the one that signs, in a file that only its owner may read, and all that have signed.

    <file>            PRIVATE+KEY+<name>+<key id in hex>+<base64(0x01 || seed)>, one line, mode 0600
    <file>.keyring    the verifier keys, one a line, the present one last: public, and never shortened

A rotation adds a line to the keyring and puts a new key in the place of the old one, whose seed is gone then. What it
has signed stays valid, since whoever verifies takes all keys of the keyring.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from permalog.errors import KeyUnusable, Malformed
from permalog.tlog.note import ED25519, Ed25519Signer, Signer, VerifierKey, decode, encode

_SEED_BYTES: Final = 32
_FORM: Final = re.compile(r"PRIVATE\+KEY\+([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)\n?")
_OTHERS: Final = 0o077
_LONGEST: Final = 4096
"""Bytes of a key file; more is none."""


class Keys(Protocol):
    """Where a log's keys are. A key management service implements this, and the `tlog.note.Signer` it gives."""

    def signer(self) -> Signer:
        """What signs from now on; asked for before each signature, so that a rotation is noticed.

        Raises:
            KeyUnusable: the key cannot be used.
        """
        ...

    def known(self) -> list[VerifierKey]:
        """All keys that have signed, or may have, the present one last."""
        ...


class KeyFile:
    """A signing key in a file, and the keyring beside it.

    Args:
        path: the file.
        name: what the key must be called: ``PERMALOG_ORIGIN``.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path: Final = path
        self.name: Final = name
        self._keyring: Final = path.with_name(path.name + ".keyring")
        self._held: tuple[tuple[int, int, int], Ed25519Signer] | None = None

    def signer(self) -> Signer:
        """The present key; read again when the file is another one.

        Raises:
            KeyUnusable: there is none, others may read it, it belongs to somebody else, or is called otherwise.
        """
        try:
            self._refuse_strange_link()
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise KeyUnusable(f"there is no signing key at {self.path}: `permalog key rotate` makes one") from None
        except OSError as error:
            raise KeyUnusable(f"the signing key at {self.path} cannot be read: {error.strerror}") from None
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            self._refuse_open_file(found)
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._held is None or self._held[0] != identity:
                self._held = identity, self._parsed(file.read(_LONGEST))
        return self._held[1]

    def known(self) -> list[VerifierKey]:
        """The keys of the keyring, and the present one.

        Raises:
            KeyUnusable: the keyring or the key cannot be read.
        """
        keys: dict[VerifierKey, None] = {}
        try:
            lines = self._keyring.read_text(encoding="utf-8").splitlines()
            keys = dict.fromkeys(VerifierKey.parse(line) for line in lines)
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, Malformed) as error:
            raise KeyUnusable(f"the keyring {self._keyring} cannot be read: {error}") from None
        if self.path.exists():
            present = self.signer().key
            keys.pop(present, None)
            keys[present] = None
        return list(keys)

    def make(self) -> VerifierKey:
        """A first key; nothing is ever written over.

        Raises:
            KeyUnusable: there is a file already, or the name is none.
        """
        if self.path.exists():
            raise KeyUnusable(f"there is a key at {self.path} already: `permalog key rotate` replaces it")
        return self._replace(first=True)

    def rotate(self) -> VerifierKey:
        """A new key in the place of the present one, if there is one; returns its public half.

        Raises:
            KeyUnusable: the present one cannot be read, so that it would be lost which key had signed.
        """
        if self.path.exists():
            self._refuse_strange_link()
            self._note(KeyFile(self.path, "").signer().key)  # whatever it is called: PERMALOG_ORIGIN may have changed
        return self._replace(first=False)

    def _replace(self, *, first: bool) -> VerifierKey:
        seed = secrets.token_bytes(_SEED_BYTES)
        try:
            key = Ed25519Signer(self.name, seed).key
        except Malformed as error:
            raise KeyUnusable(f"no key can be called {self.name!r}: {error}") from None
        line = f"PRIVATE+KEY+{self.name}+{key.key_id.hex()}+{encode(bytes([ED25519]) + seed)}\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.new")
        write_new(new, line, 0o600)
        try:
            self._note(key)
            if first:
                self.path.hardlink_to(new)  # fails where there is a file by now
            else:
                new.replace(self.path)
        except FileExistsError:
            raise KeyUnusable(f"somebody else has just made {self.path}") from None
        finally:
            with suppress(FileNotFoundError):
                new.unlink()
        sync_folder(self.path.parent)
        return key

    def _note(self, key: VerifierKey) -> None:
        """Appends to the keyring, on disk before the key signs anything."""
        lines = self._keyring.read_text(encoding="utf-8").splitlines() if self._keyring.exists() else []
        if str(key) in lines:
            return
        with self._keyring.open("a", encoding="utf-8") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._keyring.parent)

    def _refuse_strange_link(self) -> None:
        found = self.path.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in {os.geteuid(), 0}:
            raise KeyUnusable(f"{self.path} is a link that somebody else has made")

    def _refuse_open_file(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise KeyUnusable(f"{self.path} is no file")
        if found.st_mode & _OTHERS:
            raise KeyUnusable(f"{self.path} may be read by others: chmod 600 it, and rotate the key, which is known")
        if found.st_uid not in {os.geteuid(), 0}:
            raise KeyUnusable(f"{self.path} belongs to somebody else")

    def _parsed(self, data: bytes) -> Ed25519Signer:
        fault = KeyUnusable(f"{self.path} holds no signing key")
        try:
            found = _FORM.fullmatch(data.decode())
        except UnicodeDecodeError:
            raise fault from None
        material = decode(found[3]) if found else None
        if not found or not material or material[0] != ED25519:
            raise fault
        try:
            signer = Ed25519Signer(found[1], material[1:])
        except Malformed:
            raise fault from None
        if signer.key.key_id.hex() != found[2]:
            raise KeyUnusable(f"the key in {self.path} is not the one that its id names")
        if self.name and found[1] != self.name:
            raise KeyUnusable(
                f"the key in {self.path} is called {found[1]}, and PERMALOG_ORIGIN is {self.name}: set it as it was, or"
                " `permalog key rotate`"
            )
        return signer


def write_new(path: Path, text: str, mode: int) -> None:
    """A new file, on disk when this returns.

    Raises:
        FileExistsError: there is one.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Brings to disk which files a folder has."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
