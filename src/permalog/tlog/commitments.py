"""Commitments of which each is wanted once and in order, however many there are."""

from __future__ import annotations

from contextlib import ExitStack
from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from permalog.tlog.merkle import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_READ: Final = 256
"""Of each run at a time."""


class Commitments:
    """A set of 32-byte commitments that gives them in increasing order, once each.

    What is more than may be held in memory waits as sorted runs in one file that `new_file` makes.
    """

    def __init__(self, new_file: Callable[[], BinaryIO], held: int) -> None:
        """At most ``held`` stay in memory."""
        self._files: Final = ExitStack()
        self._new_file: Final = new_file
        self._held: Final = held
        self._here: set[bytes] = set()
        self._runs: Final[list[tuple[BinaryIO, int, int]]] = []

    def add(self, commitment: bytes) -> None:
        """Takes one."""
        self._here.add(commitment)
        if len(self._here) >= self._held:
            self._write_run()

    def __iter__(self) -> Iterator[bytes]:
        """All of them; afterwards none may be added."""
        runs = [_read(*run) for run in self._runs]
        return (one for one, _ in groupby(merge(sorted(self._here), *runs)))

    def _write_run(self) -> None:
        file = self._runs[0][0] if self._runs else self._files.enter_context(self._new_file())
        start = file.seek(0, 2)
        file.write(b"".join(sorted(self._here)))
        self._runs.append((file, start, file.tell()))
        self._here = set()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._files.close()


def _read(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _READ * HASH_BYTES):
        file.seek(at)
        data = file.read(min(_READ * HASH_BYTES, end - at))
        yield from (data[n : n + HASH_BYTES] for n in range(0, len(data), HASH_BYTES))
