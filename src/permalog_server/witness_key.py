"""The key of a witness, in a file: one line, ``PRIVATE+KEY+<name>+<key id>+<base64(0x04 || seed)>``."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Final

from permalog.errors import Malformed, WitnessUnusable
from permalog.tlog.note import COSIGNATURE, Cosigner, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

_SEED_BYTES: Final = 32
_FORM: Final = re.compile(r"PRIVATE\+KEY\+([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)\n?")
_OTHERS: Final = 0o077


def make_key(path: Path, name: str) -> Cosigner:
    """A new key in a new file, which only its owner may read (mode 0600).

    Raises:
        Malformed: the name is none (`KEY`).
        FileExistsError: there is a file already; a key is never written over.
    """
    seed = secrets.token_bytes(_SEED_BYTES)
    cosigner = Cosigner(name, seed)
    line = f"PRIVATE+KEY+{name}+{cosigner.key.key_id.hex()}+{encode(bytes([COSIGNATURE]) + seed)}\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return cosigner


def read_key(path: Path) -> Cosigner:
    """The key in a file.

    Raises:
        WitnessUnusable: there is none, others may read it, or it is no witness's key.
    """
    try:
        if path.stat().st_mode & _OTHERS:
            raise WitnessUnusable(f"{path} may be read by others: chmod 600 it, and consider the key known")
        found = _FORM.fullmatch(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WitnessUnusable(f"there is no key at {path}: `permalog witness key --name` makes one") from None
    except UnicodeDecodeError:
        found = None
    material = decode(found[3]) if found else None
    if not found or not material or material[0] != COSIGNATURE:
        raise WitnessUnusable(f"{path} holds no key of a witness")
    try:
        cosigner = Cosigner(found[1], material[1:])
    except Malformed:
        raise WitnessUnusable(f"{path} holds no key of a witness") from None
    if cosigner.key.key_id.hex() != found[2]:
        raise WitnessUnusable(f"the key in {path} is not the one that its id names")
    return cosigner
