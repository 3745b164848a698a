"""Cursors: a place in one log under certain filters, as text that tells nothing and fits into an address.

The 30 bytes, written in base64url without padding (40 characters):

    1   version, 1
    16  position: the id that the page begins beyond; no event need have it
    13  the first bytes of SHA-256 over version, log id, position and filters

The hash is no secret. It keeps a cursor from being used where it means nothing: in another log, with other filters,
or cut off.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

import orjson

from permalog.errors import InvalidCursor

if TYPE_CHECKING:
    from permalog.reading.filters import Filters

OLDEST: Final = UUID(int=0)
NEWEST: Final = UUID(int=2**128 - 1)
"""No event's id is either: both lack the version bits of a UUIDv7."""

_VERSION: Final = b"\x01"
_LENGTH: Final = 40


def cursor_at(position: UUID, log_id: UUID, filters: Filters) -> str:
    """The cursor of a position."""
    return urlsafe_b64encode(_VERSION + position.bytes + _binding(position, log_id, filters)).decode()


def position_of(cursor: object, field: Literal["before", "after"], log_id: UUID, filters: Filters) -> UUID:
    """The position that a cursor stands for.

    Raises:
        InvalidCursor: it was not made for this log and these filters; `field` is the parameter it came in.
    """
    if not isinstance(cursor, str) or len(cursor) != _LENGTH or not cursor.isascii():
        raise InvalidCursor(field, "is no cursor")
    try:
        content = b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor(field, "is no cursor") from None
    if content[:1] != _VERSION:
        raise InvalidCursor(field, "is no cursor of this version")
    position = UUID(bytes=content[1:17])
    if cursor_at(position, log_id, filters) != cursor:
        raise InvalidCursor(field, "is not a cursor of this log with these filters")
    return position


def _binding(position: UUID, log_id: UUID, filters: Filters) -> bytes:
    content = _VERSION + log_id.bytes + position.bytes + orjson.dumps(dict(filters.given()))
    return hashlib.sha256(content).digest()[:13]
