"""Keeps the embedded PostgreSQL running for programs that are no part of Permalog, such as psql.

Processes of Permalog share the server, and the last to leave stops it (`embedded`). A program that was only
given the address does not count among them. So whoever hands the address out starts a keeper: a small process in the
background that uses the server, and leaves when for an hour nobody was connected to it and nobody asked for the address
again, or when its file ``keeper`` is removed from the data folder.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import psycopg

from permalog.errors import EmbeddedUnavailable
from permalog.postgres import embedded
from permalog.sql import query

IDLE_SECONDS: Final = 3600
"""How long an address that was handed out stays good without being used."""
_LOOK_SECONDS: Final = 1.0


def keep(data_dir: Path) -> None:
    """Starts a keeper for this folder's running server, or tells the one there is that the address is still wanted.

    The caller MUST be using the server, and go on until this returns.

    Raises:
        EmbeddedUnavailable: the keeper could not be started.
    """
    with _opened(data_dir, os.O_CREAT) as file:
        os.utime(file.fileno())
        if not _locked(file):
            return
    ready, done = os.pipe()
    try:
        subprocess.Popen(  # noqa: S603  this interpreter, no shell
            [sys.executable, "-m", "permalog.postgres.embedded_keeper", str(data_dir), str(done)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(done,),
            cwd="/",
        )
    finally:
        os.close(done)
    with os.fdopen(ready, "rb") as answer:
        if not answer.read(1):
            raise EmbeddedUnavailable(f"the embedded PostgreSQL in {data_dir} cannot be kept running")


def release(data_dir: Path) -> None:
    """Tells the keeper to leave; it does so within a second or two."""
    (data_dir / "keeper").unlink(missing_ok=True)


def _opened(data_dir: Path, flags: int = 0) -> BinaryIO:
    return os.fdopen(os.open(data_dir / "keeper", os.O_RDWR | os.O_NOFOLLOW | flags, 0o600), "r+b")


def _locked(file: BinaryIO) -> bool:
    """Takes the lock that a living keeper holds; False where there is one."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stay(data_dir: Path, ready: int) -> None:
    with _opened(data_dir) as file:
        if not _locked(file):
            os.write(ready, b"1")  # another one was quicker
            return
        with embedded.start(data_dir) as server, psycopg.connect(server.url, autocommit=True) as connection:
            os.write(ready, b"1")
            os.close(ready)
            while _is_wanted(data_dir, file) and not connection.closed:
                if _others_connected(connection):
                    os.utime(file.fileno())
                elif time.time() - os.fstat(file.fileno()).st_mtime > IDLE_SECONDS:
                    release(data_dir)
                time.sleep(_LOOK_SECONDS)


def _is_wanted(data_dir: Path, file: BinaryIO) -> bool:
    """Whether the keeper's file is still there, and still the one that this keeper holds."""
    try:
        return (data_dir / "keeper").stat().st_ino == os.fstat(file.fileno()).st_ino
    except OSError:
        return False


def _others_connected(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = connection.execute(query("embedded", "others_connected")).fetchone()
    return bool(row and row[0])


if __name__ == "__main__":
    # The server may go under its feet (a machine that shuts down): there is nobody here to tell.
    with suppress(psycopg.OperationalError):
        _stay(Path(sys.argv[1]), int(sys.argv[2]))
