"""Identities: personal data beside the log, bound to it by a commitment that tells nothing without its salt."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, NamedTuple

import orjson

SALT_BYTES: Final = 16


class Identity(NamedTuple):
    """One row of ``permalog.identity``: who somebody was at a moment, or one personal value of a payload."""

    kind: str
    """``actor``, ``staff``, or the kind of a personal value."""
    actor_id: str | None = None
    email: str | None = None
    name: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    value: str | None = None

    def canonical(self) -> bytes:
        """The identity in the canonical form of RFC 8785 (JCS), absent members left out.

        All keys are ASCII and all values are strings: for these, orjson with sorted keys writes what RFC 8785 asks for.
        """
        return orjson.dumps({k: v for k, v in self._asdict().items() if v is not None}, option=orjson.OPT_SORT_KEYS)

    def commitment(self, salt: bytes) -> bytes:
        """32 bytes: ``SHA-256(0x02 || salt || JCS(identity))``, the same as SQL's ``permalog.commitment``."""
        return hashlib.sha256(b"\x02" + salt + self.canonical()).digest()


def new_salt() -> bytes:
    """16 random bytes: without them nobody can test whether a commitment is that of a person they think of."""
    return secrets.token_bytes(SALT_BYTES)
