"""Looking into all spools of a database, whoever writes them: how much waits, and forgetting somebody in them.

Erasing somebody in the database reaches what arrives later; this reaches what lies in files until then. Frames are
rewritten where they are, at the same length, since their process goes on appending behind them.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from permalog.errors import SpoolProblem
from permalog.ids import id_time, log_id_of
from permalog.recording import frames
from permalog.recording.frames import DAMAGED, HEADER_BYTES, VOID, Frame
from permalog.recording.quarantine import kept_in
from permalog.recording.spool_files import HEAD_BYTES, QUARANTINE, Home, homes_in, read_file, settled_up_to
from permalog.recording.spool_settings import places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator
    from datetime import datetime
    from pathlib import Path

WAIT_SECONDS: Final = 30.0
"""For a batch that is on its way to the database, before its spool can be purged."""
_NO_SALT: Final = rb"\\x" + b"0" * 32
_NULL: Final = rb"\N"
_ESCAPED: Final = re.compile(r"\\([\\tnr])")
_PLAIN: Final = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
_ACTOR_ID: Final = 3


class Census(NamedTuple):
    """What lies in the spools of a database."""

    processes: int
    orphans: int
    """Of these, those whose process has died and that nobody has adopted yet."""
    events: int
    bytes: int
    quarantined: int
    """Events that the database refused, and damaged places."""
    unreadable: int
    """Folders that this user may not look into."""
    oldest: datetime | None = None
    """When the oldest of the events that wait happened, by its id."""


class Spools:
    """All spools of one database in one folder, those of live processes included."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder: Final = folder
        self._url: Final = url

    def census(self) -> Census:
        """Counts what waits, as far as this user may look."""
        processes = orphans = events = size = quarantined = unreadable = 0
        ids: list[bytes] = []
        for place in places_of(self._url, self.folder):
            for home in homes_in(place):
                processes += 1
                try:
                    for path in _files(home, ".spool"):
                        found = _waiting_in(path)
                        events += len(found)
                        size += sum(frame.end - frame.start for frame in found)
                        ids += [frame.event_id for frame in found]
                    orphans += _is_orphan(home)
                except PermissionError:
                    unreadable += 1
            quarantined += sum(len(kept_in(path)) for path in _files(place / QUARANTINE, ".frames"))
        oldest = id_time(UUID(bytes=min(ids))) if ids else None
        return Census(processes, orphans, events, size, quarantined, unreadable, oldest)

    def purge_user(self, user_id: str, texts: Collection[str] = (), *, wait: float = WAIT_SECONDS) -> int:
        """Removes what tells of a person from all spools and quarantines; how many events were concerned.

        Their identities are blanked, and so are personal values that tell one of the texts (addresses and names), or
        what their own identities tell; events for their own log go as a whole. Bar the person first, so that nothing
        comes in behind it.

        Raises:
            SpoolProblem: a spool cannot be read or written, or a batch is on its way for longer than ``wait`` seconds.
        """
        own_log = log_id_of(None, user_id).bytes
        with self._opened(wait) as files:
            told = {text for _, frame in files for text in _told_by(frame, user_id)}
            person = _Person(user_id, [*texts, *told])

            def rewritten(frame: Frame) -> bytes | None:
                if frame.log_id == own_log or (frame.flags & DAMAGED and person.is_in(frame.event)):
                    return b""
                identities = b"".join(person.blanked(line) for line in frame.identities.splitlines(keepends=True))
                return None if identities == frame.identities else frames.again(frame._replace(identities=identities))

            return sum(_rewrite(path, frame, rewritten) for path, frame in files)

    def purge_organization(self, organization_id: UUID, *, wait: float = WAIT_SECONDS) -> int:
        """Removes the events for an organisation's log from all spools and quarantines; how many.

        Raises:
            SpoolProblem: as for `purge_user`.
        """
        its_log, name = log_id_of(organization_id, None).bytes, str(organization_id).encode()

        def rewritten(frame: Frame) -> bytes | None:
            concerns = frame.log_id == its_log or (frame.flags & DAMAGED and name in frame.event)
            return b"" if concerns else None

        with self._opened(wait) as files:
            return sum(_rewrite(path, frame, rewritten) for path, frame in files)

    @contextmanager
    def _opened(self, wait: float) -> Generator[list[tuple[Path, Frame]]]:
        """All frames, settled or not, and their files; meanwhile nothing goes from a spool to the database."""
        held: list[int] = []
        files: list[tuple[Path, Frame]] = []
        try:
            for place in places_of(self._url, self.folder):
                for home in homes_in(place):
                    held += _held(home / "busy", wait)
                    files += [
                        (path, frame) for path in _files(home, ".spool") for frame in _frames_of(path, HEAD_BYTES)
                    ]
                quarantine = _files(place / QUARANTINE, ".frames")
                files += [(path, frame) for path in quarantine for frame in _frames_of(path, 0)]
            yield files
        except OSError as error:
            raise SpoolProblem(f"a spool cannot be purged: {error.strerror}") from error
        finally:
            for handle in held:
                os.close(handle)


class _Person:
    """Who is to be forgotten."""

    def __init__(self, user_id: str, texts: Collection[str]) -> None:
        self._id: Final = user_id
        self._escaped: Final = user_id.replace("\\", "\\\\").translate({9: "\\t", 10: "\\n", 13: "\\r"}).encode()
        known = {" ".join(text.split()).casefold() for text in texts} - {""}
        self._names: Final = {text for text in known if "@" not in text}
        self._addresses: Final = [_as_word(word) for text in known for word in text.split() if "@" in word]
        self._long_names: Final = [_as_word(name) for name in self._names if " " in name]
        self._known: Final = known | {user_id.casefold()}

    def blanked(self, line: bytes) -> bytes:
        """An identity's line without what tells of the person; it arrives as that of somebody who is erased."""
        fields = line.rstrip(b"\n").split(b"\t")
        kind, actor = _text(fields[2]), _text(fields[_ACTOR_ID])
        if actor != self._id and (kind in {"actor", "staff"} or not self._is_told(kind, _text(fields[8]))):
            return line
        return b"\t".join((*fields[:_ACTOR_ID], self._escaped, *[_NULL] * 5, _NO_SALT, fields[10])) + b"\n"

    def is_in(self, data: bytes) -> bool:
        """Whether bytes that nobody understands may tell of the person."""
        text = data.decode(errors="replace").casefold()
        return any(known in text for known in self._known)

    def _is_told(self, kind: str, value: str) -> bool:
        plain = " ".join(value.split()).casefold()
        return (
            plain in self._names
            or any(address.search(plain) for address in self._addresses)
            or (kind == "search" and any(name.search(plain) for name in self._long_names))
        )


def _as_word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def _told_by(frame: Frame, user_id: str) -> Iterator[str]:
    """Addresses and names that an identity of the person tells."""
    for line in frame.identities.splitlines():
        fields = [_text(field) for field in line.split(b"\t")]
        if fields[2] in {"actor", "staff"} and fields[_ACTOR_ID] == user_id:
            yield from (text for text in fields[4:6] if text)


def _text(field: bytes) -> str:
    if field == _NULL:
        return ""
    return _ESCAPED.sub(lambda found: _PLAIN[found[1]], field.decode(errors="replace"))


def _rewrite(path: Path, frame: Frame, rewritten: Callable[[Frame], bytes | None]) -> bool:
    """Writes what is to stay of a frame over it; whether anything was to go."""
    data = rewritten(frame)
    if data is None:
        return False
    room = frame.end - frame.start
    if len(data) > room:
        _move(path.parent.parent, data)
        data = b""
    if data:
        found = frames.frame_at(data, 0)
        if found is not None and len(data) < room:
            data = frames.again(found, note=found.note + b"\0" * (room - len(data)))
    else:
        data = frames.encode(frame.number, bytes(16), bytes(16), b"", b"", b"", b"\0" * (room - HEADER_BYTES), VOID)
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        done = 0
        while done < len(data):
            done += os.pwrite(handle, data[done:], frame.start + done)
        os.fsync(handle)
    finally:
        os.close(handle)
    return True


def _move(place: Path, data: bytes) -> None:
    """Puts a frame that has become too long for its place into a spool of its own, which the next process adopts."""
    home = Home.create(place)
    try:
        segment = home.new_segment(durable=True)
        segment.write(data)
        os.fsync(segment.fd)
        segment.close()
    finally:
        home.close()


def _held(path: Path, wait: float) -> list[int]:
    """The lock of a folder from which nothing is on its way; none where the folder has gone meanwhile."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    give_up_at = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                os.close(handle)
                raise SpoolProblem(f"a batch has been on its way to the database for {wait:g} seconds") from None
            time.sleep(0.005)
        else:
            return [handle]


def _is_orphan(home: Path) -> bool:
    try:
        handle = os.open(home / "alive", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def _frames_of(path: Path, base: int) -> list[Frame]:
    data = read_file(path)[base:]
    return frames.read(data, base, limit=len(data) + 1, whole=True, final=True).frames


def _waiting_in(path: Path) -> list[Frame]:
    return [frame for frame in _frames_of(path, HEAD_BYTES) if frame.start >= settled_up_to(path)]
