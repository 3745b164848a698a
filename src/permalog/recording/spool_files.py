"""The files of a spool: the folder of one process, its locks, and its segments.

<spool folder>/<database and role>/     mode 0700, as is everything below; files 0600
    <process>/
        alive               locked by whoever owns the folder: its process, or who adopted it; the kernel lets go
        busy                locked while events are on their way from here to the database, or are purged
        00000001.spool      32 bytes: a mark, up to which everything is settled; then frames
    quarantine/<process>.frames
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import struct
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self
from zlib import crc32

from permalog.errors import SpoolProblem
from permalog.recording import frames

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from permalog.recording.frames import Found

SEGMENT_BYTES: Final = 4 * 1024 * 1024
READ_BYTES: Final = 1024 * 1024
QUARANTINE: Final = "quarantine"
_MAGIC: Final = b"permalog spool 1"
_HEAD: Final = struct.Struct("<16sQI4x")
HEAD_BYTES: Final = _HEAD.size
_SUFFIX: Final = ".spool"


class Segment:
    """One file of frames, of which the first are settled."""

    def __init__(self, path: Path, fd: int, size: int, settled: int) -> None:
        self.path: Final = path
        self.fd: Final = fd
        self.size = size
        """Up to where frames were written."""
        self.settled = settled
        """Up to where they need not be read again."""

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new file."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        segment = cls(path, fd, HEAD_BYTES, HEAD_BYTES)
        try:
            segment.mark()
        except OSError:
            segment.close()
            with suppress(OSError):
                path.unlink()
            raise
        return segment

    @classmethod
    def open(cls, path: Path) -> Self:
        """A file that another process has left."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        size = os.fstat(fd).st_size
        return cls(path, fd, size, min(_marked(os.pread(fd, HEAD_BYTES, 0)), max(size, HEAD_BYTES)))

    def write(self, data: bytes) -> None:
        """Appends a frame.

        Raises:
            OSError: it could not be written as a whole; then it is as if nothing had been.
        """
        try:
            done = os.pwrite(self.fd, data, self.size)
            while done < len(data):
                done += os.pwrite(self.fd, data[done:], self.size + done)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.fd, self.size)
            raise
        self.size += len(data)

    def read(self, limit: int, *, final: bool) -> Found:
        """The next frames that are not settled; ``final``: whoever wrote the file is gone."""
        size = self.size
        data = os.pread(self.fd, min(size - self.settled, READ_BYTES), self.settled)
        whole = self.settled + len(data) >= size
        found = frames.read(data, self.settled, limit=limit, whole=whole, final=final)
        if not data:  # somebody has cut the file
            return frames.Found([], [frames.Gap("damaged", self.settled, b"")], size)
        if not found.frames and not whole:
            # Larger than what was read, or damaged in a way that only the rest can tell.
            data = os.pread(self.fd, size - self.settled, self.settled)
            found = frames.read(data, self.settled, limit=limit, whole=True, final=final)
        return found

    def settle(self, end: int) -> None:
        """Everything up to here is in the database, or has been set aside. Survives the death of the process."""
        self.settled = end
        self.mark()

    def mark(self) -> None:
        """Writes down what is settled. Where that is lost, events are sent again, which doubles nothing."""
        head = _HEAD.pack(_MAGIC, self.settled, crc32(self.settled.to_bytes(8, "little")))
        os.pwrite(self.fd, head, 0)

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits in it."""
        return self.settled >= self.size

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed the file: what is written to it would die with the process."""
        return os.fstat(self.fd).st_nlink == 0

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self.fd)

    def remove(self) -> None:
        """Removes a file that is drained."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()


class Home:
    """The folder of one process's spool; whoever has it holds its lock until the process ends, or it lets go.

    Raises:
        OSError: `create`: it cannot be made.
    """

    def __init__(self, path: Path, alive: int, busy: int) -> None:
        self.path: Final = path
        self._alive: Final = alive
        self._busy: Final = busy
        self._last = max((int(one.stem) for one in _segments_in(path)), default=0)

    @classmethod
    def create(cls, place: Path) -> Self:
        """A folder for this process, which nobody sees before it is locked."""
        private_folder(place)
        name = f"{time.time_ns():016x}-{os.getpid()}-{secrets.token_hex(3)}"
        hidden = place / f".{name}"
        hidden.mkdir(mode=0o700)
        locks = cls._locked(hidden, os.O_CREAT)
        if locks is None:
            raise SpoolProblem("its lock is held by another process")
        hidden.rename(place / name)
        return cls(place / name, *locks)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """The folder of a process that has died; None where it lives, or somebody else was quicker."""
        try:
            locks = cls._locked(path, 0)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        return None if locks is None else cls(path, *locks)

    @staticmethod
    def _locked(path: Path, flags: int) -> tuple[int, int] | None:
        file = path / "alive"
        alive = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have emptied and removed the folder since it was opened.
            if file.stat().st_ino == os.fstat(alive).st_ino:
                return alive, os.open(path / "busy", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT, 0o600)
        except BlockingIOError:
            pass
        except OSError:
            os.close(alive)
            raise
        os.close(alive)
        return None

    @contextmanager
    def working(self) -> Generator[None]:
        """While this lasts, nobody purges what is in the folder."""
        fcntl.flock(self._busy, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._busy, fcntl.LOCK_UN)

    def segments(self) -> deque[Segment]:
        """What lies in it, opened, the oldest first."""
        return deque(Segment.open(one) for one in _segments_in(self.path))

    def new_segment(self, *, durable: bool) -> Segment:
        """One more file; ``durable``: its entry in the folder must survive a power cut."""
        self._last += 1
        segment = Segment.create(self.path / f"{self._last:08}{_SUFFIX}")
        if durable:
            _settle_folder(self.path)
        return segment

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed the folder."""
        return os.fstat(self._alive).st_nlink == 0

    def close(self) -> None:
        """Lets go of it: whoever looks for spools of the dead finds it."""
        os.close(self._busy)
        os.close(self._alive)

    def remove(self) -> None:
        """Removes the folder if no frames are left in it, and lets go of it either way."""
        try:
            if not self.is_gone and not _segments_in(self.path):
                for name in ("busy", "alive"):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()
        except OSError:  # not empty, or not ours any more: it stays, and is found again
            pass
        finally:
            self.close()


def homes_in(place: Path) -> Iterator[Path]:
    """The folders of all processes, the oldest first."""
    try:
        found = sorted(place.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    yield from (path for path in found if path.name != QUARANTINE and not path.name.startswith("."))


def private_folder(path: Path) -> None:
    """Makes a folder that nobody else may enter.

    Raises:
        SpoolProblem: there is one, and others may write to it, or it is another user's.
        OSError: it cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022 or found.st_uid not in {os.geteuid(), os.getuid()}:
        raise SpoolProblem("its folder is another user's, or others may write to it")


def read_file(path: Path) -> bytes:
    """What a file holds now; nothing where its owner has removed it meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def settled_up_to(path: Path) -> int:
    """Up to which byte everything in a segment is settled."""
    return _marked(read_file(path)[:HEAD_BYTES])


def _segments_in(path: Path) -> list[Path]:
    return sorted(one for one in path.glob(f"*{_SUFFIX}") if one.stem.isdigit())


def _marked(head: bytes) -> int:
    """Up to where a file says that it is settled; its beginning where that cannot be read."""
    if len(head) < HEAD_BYTES:
        return HEAD_BYTES
    magic, mark, check = _HEAD.unpack(head)
    is_mark = magic == _MAGIC and crc32(mark.to_bytes(8, "little")) == check
    return max(mark, HEAD_BYTES) if is_mark else HEAD_BYTES


def _settle_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
