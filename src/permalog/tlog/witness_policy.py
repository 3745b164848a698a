"""Which witnesses count, and how many of them are enough: a file that who asks them and who verifies may share."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from permalog.errors import InvalidPolicy, Malformed
from permalog.tlog.note import COSIGNATURE, VerifierKey

_MEMBERS: Final = frozenset({"quorum", "witness"})


class WitnessAddress(NamedTuple):
    """A witness, and where it answers."""

    key: VerifierKey
    url: str
    """``<url>/add-checkpoint`` is asked."""


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """Which witnesses count, and how many of them are enough.

    As a file, in TOML:

    quorum = 1

    [[witness]]
    key = "witness.example/w1+858ecd0c+BBdFU7RW3d/GkI7KscEB/mqyHiuqBhd5W31DpjSCmT/V"
    url = "https://witness.example/w1"
    """

    quorum: int
    witnesses: tuple[WitnessAddress, ...]

    @classmethod
    def parse(cls, text: str) -> WitnessPolicy:
        """Reads a policy.

        Raises:
            InvalidPolicy: it is no TOML, has other members, a key is none or stands there twice, an address is no URL,
                or the quorum is not 1 to the number of witnesses.
        """
        try:
            given: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidPolicy(f"the policy is no TOML: {error}") from None
        if given.keys() - _MEMBERS:
            raise InvalidPolicy(f"the policy has quorum and witness, and not {min(given.keys() - _MEMBERS)}")
        tables: Any = given.get("witness", [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):  # pyright: ignore[reportUnknownVariableType]
            raise InvalidPolicy("each witness is a table [[witness]]")
        witnesses = tuple(_address(one) for one in tables)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        quorum: Any = given.get("quorum")
        if not isinstance(quorum, int) or isinstance(quorum, bool) or not 1 <= quorum <= len(witnesses):
            raise InvalidPolicy("the quorum is 1 to the number of witnesses")
        if len({one.key for one in witnesses}) < len(witnesses) or len({one.key.name for one in witnesses}) < len(
            witnesses
        ):
            raise InvalidPolicy("a witness stands there twice")
        return cls(quorum, witnesses)

    @property
    def keys(self) -> list[VerifierKey]:
        """By which cosignatures are checked."""
        return [one.key for one in self.witnesses]

    def is_satisfied(self, signed: Collection[VerifierKey]) -> bool:
        """Whether these keys' cosignatures of one checkpoint, checked already, are enough."""
        return len(set(signed) & set(self.keys)) >= self.quorum


def _address(table: dict[str, Any]) -> WitnessAddress:
    key, url = table.get("key"), table.get("url")
    if not isinstance(key, str) or not isinstance(url, str) or len(table) != 2:  # noqa: PLR2004  these two
        raise InvalidPolicy("a witness has a key and a url")
    try:
        parsed = VerifierKey.parse(key)
    except Malformed as error:
        raise InvalidPolicy(f"the key of a witness is none: {error}") from None
    if parsed.type != COSIGNATURE:
        raise InvalidPolicy(f"{parsed.name} is the key of a log, and not that of a witness")
    if not re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", url):
        raise InvalidPolicy(f"the url of {parsed.name} is no http:// or https:// address")
    return WitnessAddress(parsed, url.rstrip("/"))
