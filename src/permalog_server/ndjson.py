"""Reading NDJSON in bounded memory, whatever somebody sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE: Final = 1 << 20
"""Bytes of a line without its newline; bounds the memory that one line costs. The largest event needs a fifth."""
_PIECE: Final = 1 << 16


class Line(NamedTuple):
    """One line that is not blank."""

    number: int
    """From 1, blank lines counted."""
    text: bytes
    """Without the newline; of a line that is too long, the beginning."""
    size: int
    """In bytes, with the newline."""
    too_long: bool = False
    cut_off: bool = False
    """Whether the newline is missing, as at the end of a file that was cut off."""


def lines_of(file: BinaryIO) -> Iterator[Line]:
    """The lines of a file, one at a time; no more than `MAX_LINE` bytes of one are ever held."""
    number = 0
    while text := file.readline(MAX_LINE + 1):
        number += 1
        size = len(text)
        if text.endswith(b"\n"):
            text = text[:-1]
            if text and not text.isspace():
                yield Line(number, text, size)
        elif size > MAX_LINE:
            yield Line(number, text[:_PIECE], size + _skip_rest(file), too_long=True)
        elif not text.isspace():
            yield Line(number, text, size, cut_off=True)


def _skip_rest(file: BinaryIO) -> int:
    """Reads up to the newline and forgets; says how many bytes that were."""
    skipped = 0
    while piece := file.readline(_PIECE):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped
