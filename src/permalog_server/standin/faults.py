"""What may go wrong on the way: scripted, so that a test says when and how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Final, final

ALWAYS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens instead of an answer, or to it.

    The first of those that fit is taken, and used up after `times`.
    """

    status: int | None = None
    """Answer with this status instead."""
    message: str = "Something went wrong"
    """What the answer says, for a status."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers of the answer, for a status."""
    body: bytes | None = None
    """The body, as it is, instead of an error document."""
    delay: float = 0.0
    """Seconds before the answer begins."""
    drip: float = 0.0
    """Seconds between any two pieces of 64 bytes of the answer."""
    cut: bool = False
    """The connection breaks in the middle of the answer: the change, if any, was made."""
    drop: bool = False
    """The connection breaks before anything is done."""
    method: str = ""
    """Only these requests; empty: all."""
    path: str = ""
    """Only where this regular expression is found in the path; empty: everywhere."""
    times: int = 1
    after: int = 0
    """How many fitting requests pass unharmed before."""

    def fits(self, method: str, path: str) -> bool:
        """Whether it is about this request."""
        return (not self.method or self.method == method) and re.search(self.path, path) is not None

    @classmethod
    def secondary_limit(cls, retry_after: int | None = 1, path: str = "", *, times: int = 1) -> Fault:
        """A secondary rate limit; without `retry_after`, only the message tells."""
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return cls(status=403, message=message, headers=headers, path=path, times=times)


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    pass_first: int
    left: int


@final
class Faults:
    """The faults that wait for their requests. Safe for threads."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """From now on."""
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.after, fault.times))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._waiting.clear()

    def next(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, if one does."""
        with self._lock:
            for entry in self._waiting:
                if not entry.fault.fits(method, path):
                    continue
                if entry.pass_first > 0:
                    entry.pass_first -= 1
                    continue
                entry.left -= 1
                if entry.left <= 0:
                    self._waiting.remove(entry)
                return entry.fault
        return None
