"""Frames: events as they lie in a spool, each with its length and its checksums.

A frame is a header and four parts: whose log it is, the event and its identities as lines of PostgreSQL's COPY text
format (the event's without its place in a batch), and a note. All numbers are little-endian.

    4 bytes   F5 50 4C 31; F5 occurs in no UTF-8 text, so a frame is found again behind damage
    4         CRC-32 of the rest of the header
    4         CRC-32 of the parts
    2, 4, 4, 4  the lengths of the parts, in the order above
    1         flags
    8         the event's number in its process, from 1
    16, 16    the ids of the log and of the event
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from uuid import UUID

MAGIC: Final = b"\xf5PL1"
_HEADER: Final = struct.Struct("<4sIIHIIIBQ16s16s")
_CHECKED: Final = 8
HEADER_BYTES: Final = _HEADER.size

GIVEN: Final = 1
"""The event brought its id with it."""
VOID: Final = 2
"""Purged: there is no event in this frame any more."""
DAMAGED: Final = 4
"""In quarantine only: the event is what could not be read, as it was found."""

_BREATH: Final = 64
"""Frames between two moments in which other threads may go on: the interpreter is theirs, too."""


class Frame(NamedTuple):
    """One event in a spool."""

    start: int
    end: int
    """The first byte of the frame in its file, and the first behind it."""
    flags: int
    number: int
    log_id: bytes
    event_id: bytes
    owner: bytes
    """``organization/<uuid>`` or ``user/<id>``."""
    event: bytes
    """One COPY line, without its place."""
    identities: bytes
    """COPY lines, or none where the identity is known to be in the database."""
    note: bytes
    """Why it is in quarantine; the padding of a frame that was purged."""


class Gap(NamedTuple):
    """Bytes that are no frame."""

    kind: Literal["torn", "damaged"]
    """``torn``: the end of a file whose writer was interrupted; ``damaged``: anything else."""
    start: int
    data: bytes


class Found(NamedTuple):
    """What some bytes hold."""

    frames: list[Frame]
    gaps: list[Gap]
    end: int
    """Up to where in the file they were understood."""


def encode(  # noqa: PLR0913, PLR0917  the members of a frame
    number: int,
    log_id: bytes,
    event_id: bytes,
    owner: bytes,
    event: bytes,
    identities: bytes,
    note: bytes = b"",
    flags: int = 0,
) -> bytes:
    """A frame as bytes.

    Raises:
        struct.error: a part is longer than its length can say.
    """
    body = b"".join((owner, event, identities, note))
    header = _HEADER.pack(
        MAGIC, 0, crc32(body), len(owner), len(event), len(identities), len(note), flags, number, log_id, event_id
    )
    checked = header[_CHECKED:]
    return b"".join((MAGIC, crc32(checked).to_bytes(4, "little"), checked, body))


def again(frame: Frame, *, note: bytes | None = None, flags: int | None = None) -> bytes:
    """The bytes of a frame, with another note or other flags."""
    return encode(
        frame.number, frame.log_id, frame.event_id, frame.owner, frame.event, frame.identities,
        frame.note if note is None else note, frame.flags if flags is None else flags,
    )  # fmt: skip


def owner_bytes(organization_id: UUID | None, user_id: str | None) -> bytes:
    """Whose log it is, as a frame holds it."""
    return (f"organization/{organization_id}" if organization_id is not None else f"user/{user_id}").encode()


def read(data: bytes, base: int, *, limit: int, whole: bool, final: bool) -> Found:
    """The frames in some bytes of a file, which begin at ``base`` and with a frame; void ones are passed over.

    At most ``limit`` of them. ``whole``: the bytes reach to the end of what was written. ``final``: whoever wrote the
    file is gone, so that its end may be torn; else every frame in it is complete.
    """
    frames: list[Frame] = []
    gaps: list[Gap] = []
    at = 0
    while at < len(data) and len(frames) < limit:
        frame = frame_at(data, at, base)
        if frame is not None:
            if not frame.flags & VOID:
                frames.append(frame)
                if not len(frames) % _BREATH:
                    time.sleep(0)
            at = frame.end - base
            continue
        following = _next(data, at + 1)
        if following is None and not whole:
            break
        end = len(data) if following is None else following
        torn = final and following is None and _is_torn(data, at)
        gaps.append(Gap("torn" if torn else "damaged", base + at, data[at:end]))
        at = end
    return Found(frames, gaps, base + at)


def frame_at(data: bytes, at: int, base: int = 0) -> Frame | None:
    """The frame that begins at this byte, or None where none does, or not a whole one."""
    if len(data) - at < HEADER_BYTES:
        return None
    magic, head, body, owner, event, identities, note, flags, number, log_id, event_id = _HEADER.unpack_from(data, at)
    if magic != MAGIC or crc32(data[at + _CHECKED : at + HEADER_BYTES]) != head:
        return None
    one = at + HEADER_BYTES
    two = one + owner
    three = two + event
    four = three + identities
    end = four + note
    if end > len(data) or crc32(data[one:end]) != body:
        return None
    return Frame(
        base + at, base + end, flags, number, log_id, event_id,
        data[one:two], data[two:three], data[three:four], data[four:end],
    )  # fmt: skip


def _next(data: bytes, at: int) -> int | None:
    """Where the next whole frame begins."""
    while (at := data.find(MAGIC, at)) >= 0:
        if frame_at(data, at) is not None:
            return at
        at += 1
    return None


def _is_torn(data: bytes, at: int) -> bool:
    """Whether the rest may be the beginning of a frame, or space that was made for one and never filled."""
    rest = data[at:]
    if not rest.strip(b"\0"):
        return True
    if len(rest) < HEADER_BYTES:
        return rest[: len(MAGIC)] == MAGIC[: len(rest)]
    head: int = _HEADER.unpack_from(rest)[1]
    lengths: tuple[int, ...] = _HEADER.unpack_from(rest)[3:7]
    is_header = rest[: len(MAGIC)] == MAGIC and crc32(rest[_CHECKED:HEADER_BYTES]) == head
    return is_header and (HEADER_BYTES + sum(lengths) > len(rest) or not rest[HEADER_BYTES:].strip(b"\0"))
