"""Answers that are asked for again with ``If-None-Match``: GitHub's 304 costs nothing of the primary limit.

In memory, compressed, bounded, and by installation: what one may see is never handed to another.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

ROOM: Final = 32 * 1024 * 1024
"""Bytes, compressed: alerts shrink tenfold, so this holds some hundred thousand of them."""
_LEVEL: Final = 1


class Kept(NamedTuple):
    """An earlier answer."""

    etag: str
    link: str | None
    body: bytes


class _Packed(NamedTuple):
    etag: str
    link: str | None
    packed: bytes


@final
@dataclass(slots=True)
class Remembered:
    """The answers at hand; the least used go first. Safe for threads."""

    room: int = ROOM
    _answers: OrderedDict[tuple[int | None, str], _Packed] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, installation_id: int | None, url: str) -> Kept | None:
        """The earlier answer, if there is one."""
        with self._lock:
            found = self._answers.get((installation_id, url))
            if found is None:
                return None
            self._answers.move_to_end((installation_id, url))
        return Kept(found.etag, found.link, zlib.decompress(found.packed))

    def put(self, installation_id: int | None, url: str, kept: Kept) -> None:
        """Keeps an answer in the place of an earlier one."""
        packed = zlib.compress(kept.body, _LEVEL)
        if len(packed) > self.room // 4:
            return
        with self._lock:
            self._drop((installation_id, url))
            self._answers[installation_id, url] = _Packed(kept.etag, kept.link, packed)
            self._size += len(packed)
            while self._size > self.room:
                self._drop(next(iter(self._answers)))

    def _drop(self, key: tuple[int | None, str]) -> None:
        gone = self._answers.pop(key, None)
        if gone is not None:
            self._size -= len(gone.packed)
