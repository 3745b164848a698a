"""Quarantine: what the database refused, and what could not be read, with the reason; until somebody looks at it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from permalog.recording import frames
from permalog.recording.spool_files import QUARANTINE, private_folder, read_file

if TYPE_CHECKING:
    from pathlib import Path

    from permalog.recording.frames import Frame, Gap

_NOBODY: Final = bytes(16)


class Quarantine:
    """The file of one spool's quarantine. It is appended to by whoever owns the spool, and only by them."""

    def __init__(self, place: Path, name: str, limit: int) -> None:
        """``limit``: bytes; what would exceed them is not kept."""
        self._folder: Final = place / QUARANTINE
        self._path: Final = self._folder / f"{name}.frames"
        self._limit: Final = limit
        self._known: set[bytes] | None = None

    def keep(self, frame: Frame, reason: str) -> bool:
        """Keeps an event, once; False where there is no room.

        Raises:
            OSError: it cannot be written.
        """
        if self._known is None:
            self._known = {one.event_id for one in kept_in(self._path)}
        if frame.event_id in self._known:
            return True
        kept = self._append(frames.again(frame, note=reason.encode()))
        if kept:
            self._known.add(frame.event_id)
        return kept

    def set_aside(self, gap: Gap) -> bool:
        """Keeps bytes that could not be read; False where there is no room.

        Raises:
            OSError: they cannot be written.
        """
        return self._append(
            frames.encode(0, _NOBODY, _NOBODY, b"", gap.data, b"", b"damaged in the spool", frames.DAMAGED)
        )

    def _append(self, data: bytes) -> bool:
        private_folder(self._folder)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size + len(data) > self._limit:
                return False
            done = 0
            while done < len(data):
                done += os.pwrite(handle, data[done:], size + done)
        finally:
            os.close(handle)
        return True


def kept_in(path: Path) -> list[Frame]:
    """What a file of a quarantine holds, whatever became of parts of it."""
    data = read_file(path)
    return frames.read(data, 0, limit=len(data), whole=True, final=True).frames
