"""What was signed last, kept outside the database: whoever restores or rolls back the database does not roll this back.

    <folder>/<first two digits of the log's id>/<log id>     the text of the last checkpoint: origin, size, root

Files are replaced as wholes, and are on disk before a signature leaves. Keep the folder on the disk of another
machine or volume than the database's, out of its backups. The text has no secret in it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from permalog.errors import Malformed, OutsideUnusable
from permalog.sealing.keys import sync_folder, write_new
from permalog.tlog.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from uuid import UUID

_LONGEST: Final = 4096


class Outside(Protocol):
    """A place for the last checkpoint of each log. Another can stand in for the folder, such as a service."""

    def locked(self, log_id: UUID) -> AbstractContextManager[None]:
        """While it is held, nobody else holds it for this log."""
        ...

    def last(self, log_id: UUID) -> Checkpoint | None:
        """What was noted last; None: nothing was.

        Raises:
            OutsideUnusable: it cannot be read, which is not the same as that there is none.
        """
        ...

    def note(self, log_id: UUID, checkpoint: Checkpoint) -> None:
        """Notes what is about to be signed; when this returns, it survives the loss of power.

        Raises:
            OutsideUnusable: it could not be written.
        """
        ...


class SealedFolder:
    """A folder of small files."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    @contextmanager
    def locked(self, log_id: UUID) -> Generator[None]:
        """By a lock on the part of the folder in which the log's file is: of all processes of this machine."""
        try:
            handle = os.open(self._part(log_id) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._fault(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def last(self, log_id: UUID) -> Checkpoint | None:
        """Reads the log's file."""
        path = self.folder / log_id.hex[:2] / str(log_id)
        try:
            with path.open(encoding="utf-8") as file:
                return Checkpoint.parse(file.read(_LONGEST))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(error) from error
        except (Malformed, UnicodeDecodeError) as error:
            raise OutsideUnusable(f"{path} is not what was written there; restore it") from error

    def note(self, log_id: UUID, checkpoint: Checkpoint) -> None:
        """Replaces the log's file, or leaves it as it was."""
        try:
            path = self._part(log_id) / str(log_id)
            new = path.with_name(f".{log_id}.{secrets.token_hex(4)}")
            try:
                write_new(new, checkpoint.text(), 0o644)
                new.replace(path)
            finally:
                with suppress(FileNotFoundError):
                    new.unlink()
            sync_folder(path.parent)
        except OSError as error:
            raise self._fault(error) from error

    def _part(self, log_id: UUID) -> Path:
        part = self.folder / log_id.hex[:2]
        if not part.is_dir():
            part.mkdir(parents=True, exist_ok=True)
            sync_folder(part.parent)
        return part

    def _fault(self, error: OSError) -> OutsideUnusable:
        return OutsideUnusable(
            f"what is signed cannot be noted in {self.folder} (PERMALOG_SEALED_DIR): {error.strerror or error}"
        )
