"""Who the agent is to GitHub: the App's key, and the tokens of its installations.

The key signs a JWT of nine minutes; with it GitHub issues a token of an hour for an installation, which is kept in
memory, and never written anywhere, until shortly before it expires.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from pydantic import SecretStr

from security_agent.github.errors import NotConfigured

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

CLOCKS_APART: Final = 60
"""Seconds by which our clock may be ahead of GitHub's; it recommends a minute."""
JWT_SECONDS: Final = 540
"""GitHub takes ten minutes at most, from its own clock."""
MARGIN: Final = 300
"""Seconds before its end at which a token is replaced: long enough for a request that has begun to be answered."""
LEAST_BITS: Final = 2048


@final
class AppKey:
    """The identity of one App. Its ``repr`` shows no key.

    Raises:
        NotConfigured: the id is empty, or the key is no RSA key in PEM form.
    """

    def __init__(self, app_id: str, private_key: str) -> None:
        if not app_id.strip():
            raise NotConfigured("the id of the GitHub App is missing")
        self._app_id = app_id.strip()
        self._key = _rsa_key(private_key)

    def jwt(self, now: float) -> SecretStr:
        """What shows GitHub that the App asks.

        Args:
            now: seconds since 1970.
        """
        import jwt  # noqa: PLC0415  loaded only by who asks GitHub

        issued = int(now) - CLOCKS_APART
        claims = {"iss": self._app_id, "iat": issued, "exp": int(now) + JWT_SECONDS}
        return SecretStr(jwt.encode(claims, self._key, algorithm="RS256"))


def _rsa_key(private_key: str) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        # Without the cause: it speaks of what was in the file.
        raise NotConfigured("the private key of the GitHub App is no RSA key in PEM form") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_BITS:
        raise NotConfigured(f"the private key of the GitHub App is no RSA key of {LEAST_BITS} bits or more")
    return key


@dataclass(frozen=True, slots=True)
class Token:
    """An installation's token."""

    secret: SecretStr
    expires_at: float
    """Seconds since 1970."""


@final
@dataclass(slots=True)
class Tokens:
    """The tokens at hand. Safe for threads: an installation's token is asked for once, and the others wait for it."""

    issue: Callable[[int], Token]
    """Asks GitHub for a token of this installation."""
    clock: Callable[[], float]
    _held: dict[int, Token] = field(default_factory=dict)
    _locks: defaultdict[int, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def get(self, installation_id: int, *, instead_of: Token | None = None) -> tuple[Token, bool]:
        """A token that is good for some minutes, and whether it has just been issued.

        Args:
            installation_id: whose.
            instead_of: one that GitHub did not take; another than this is handed out.
        """
        with self._guard:
            lock = self._locks[installation_id]
        with lock:
            held = self._held.get(installation_id)
            if held is not None and held is not instead_of and held.expires_at - MARGIN > self.clock():
                return held, False
            token = self.issue(installation_id)
            self._held[installation_id] = token
            return token, True

    def forget(self, installation_id: int) -> None:
        """Drops what is held for an installation, so that its next token has the permissions of now."""
        with self._guard:
            lock = self._locks[installation_id]
        with lock:
            self._held.pop(installation_id, None)
