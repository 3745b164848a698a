"""A folder of published anchors: one text a file, never written over.

    <folder>/<epoch>/<start, 20 digits>.anchor

Such a folder may be a mount of an object store that keeps what is written (WORM), a share elsewhere, a checked-out
repository; whoever verifies reads it as it is.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from permalog.errors import PublishFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from permalog.tlog.anchor import Anchor

_FILE: Final = re.compile(r"[0-9]{20}\.anchor")
_EPOCH: Final = re.compile(r"[1-9][0-9]{0,8}")
_LONGEST: Final = 2_000_000
"""Bytes of one text; one of 10,000 leaves has 450,000, and a checkpoint."""


class AnchorFolder:
    """A place for anchors, and where they are read."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.name: Final = f"folder {folder.absolute()}"

    def publish(self, epoch: int, anchor: Anchor) -> None:
        """Puts a text there; on disk when this returns. The same text again changes nothing.

        Raises:
            PublishFailed: there is another text in its place, or the folder cannot be written.
        """
        path = self.folder / str(epoch) / f"{anchor.start:020}.anchor"
        text = anchor.to_bytes()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                self._write(path, text)
            same = path.read_bytes() == text
        except OSError as error:
            raise PublishFailed(f"{path} cannot be written: {error.strerror}") from error
        if not same:
            raise PublishFailed(
                f"{path} holds another anchor: two databases publish into one folder, or one was restored"
            )

    def epochs(self) -> list[int]:
        """Of which epochs there are anchors."""
        names = [one.name for one in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(int(name) for name in names if _EPOCH.fullmatch(name))

    def texts(self, epoch: int = 1) -> Iterator[bytes]:
        """The texts of an epoch in their order, for `permalog.tlog.anchor.read_anchors`, which judges them."""
        folder = self.folder / str(epoch)
        for name in sorted(one.name for one in folder.iterdir() if _FILE.fullmatch(one.name)):
            with (folder / name).open("rb") as file:
                yield file.read(_LONGEST)

    @staticmethod
    def _write(path: Path, text: bytes) -> None:
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with new.open("xb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # somebody else was first: the caller compares
                path.hardlink_to(new)
        finally:
            new.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
