"""Identifiers: event ids that are times, and log ids that are owners."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TAIL_BITS = 62
_TIMES_KEPT = 10_000
_BLOCK = 4_096


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970-01-01 UTC, exactly (a float would lose some)."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def id_floor(moment: datetime) -> UUID:
    """The smallest id that an event of this moment can have.

    So ``id >= id_floor(t)`` is ``occurred_at >= t``.
    """
    return UUID(int=_prefix(microseconds(moment)) << 64)


def id_time(event_id: UUID) -> datetime:
    """The time that an event id carries, exactly."""
    milliseconds, micros = event_id.int >> 80, (event_id.int >> 64) & 0xFFF
    return EPOCH + timedelta(milliseconds=milliseconds, microseconds=micros)


def is_event_id(event_id: UUID) -> bool:
    """Whether this is a UUIDv7 (RFC 9562) with 0 to 999 microseconds in ``rand_a``."""
    return event_id.version == 7 and (event_id.int >> 64) & 0xFFF < 1000  # noqa: PLR2004  the version and a millisecond


class IdMaker:
    """Makes event ids: UUIDv7 of the event's own time, strictly increasing within each time.

    The layout (128 bits, RFC 9562 section 6.2, method 3): 48 bits of Unix milliseconds, version 7, 12 bits holding the
    microseconds 0 to 999 within the millisecond, variant ``10``, 62 bits of tail. The first tail of a time is 61 random
    bits; each further one of the same time adds a random step below a 2^16th of the room that is left (2^45 at first),
    so that a million ids of one microsecond still fit, and their distances do not tell how many there were.

    Ids of different processes differ by chance. The last 10,000 distinct times are remembered. Safe to call from
    several threads, and after a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tails: OrderedDict[int, int] = OrderedDict()
        self._random = b""
        self._taken = 0
        os.register_at_fork(after_in_child=self._forget)

    def make(self, micros: int) -> UUID:
        """A new id for an event that happened ``micros`` microseconds after 1970-01-01 UTC."""
        with self._lock:
            last = self._tails.pop(micros, None)
            if last is None:
                tail = self._random_bits() >> 3
                if len(self._tails) >= _TIMES_KEPT:
                    self._tails.popitem(last=False)
            else:
                room = (1 << _TAIL_BITS) - 1 - last
                tail = last + 1 + self._random_bits() * (room >> 16) // (1 << 64)
            self._tails[micros] = tail
        return UUID(int=_prefix(micros) << 64 | 1 << 63 | tail)

    def _random_bits(self) -> int:
        """64 bits from the operating system, which is asked for a block: one question costs more than an id."""
        if self._taken == len(self._random):
            self._random, self._taken = os.urandom(_BLOCK), 0
        self._taken += 8
        return int.from_bytes(self._random[self._taken - 8 : self._taken], "big")

    def _forget(self) -> None:
        # A child that went on from its parent's tails could make the parent's next ids.
        self._lock = threading.Lock()
        self._tails.clear()
        self._random, self._taken = b"", 0


def _prefix(micros: int) -> int:
    milliseconds, rest = divmod(micros, 1000)
    return milliseconds << 16 | 0x7000 | rest


@lru_cache(maxsize=65_536)
def log_id_of(organization_id: UUID | None, user_id: str | None) -> UUID:
    """The id of an owner's log: a UUIDv8 from SHA-256, the same as SQL's ``permalog.log_id_of``.

    Hashed is ``permalog/log/organization/<uuid>`` or ``permalog/log/user/<id>`` in UTF-8. Exactly one is given.
    """
    name = f"organization/{organization_id}" if organization_id is not None else f"user/{user_id}"
    head = bytearray(hashlib.sha256(f"permalog/log/{name}".encode()).digest()[:16])
    head[6] = head[6] & 0x0F | 0x80
    head[8] = head[8] & 0x3F | 0x80
    return UUID(bytes=bytes(head))
