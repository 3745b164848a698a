"""How much a token may ask for: requests in a minute, over all processes of the service; exports at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from permalog_server.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from uuid import UUID

    from permalog_server.accounts import Accounts

T = TypeVar("T")

SHARE: Final = 200
"""Requests that a process sets aside at a time: one statement for so many, and at most so many go unused."""
_TOKENS_KEPT: Final = 10_000


class _Share(NamedTuple):
    """What this process has set aside for a token."""

    minute: int
    left: int
    spent: bool
    """The whole allowance of this minute is gone: no need to ask the database again."""


class Allowance:
    """Takes requests from a token's allowance, or refuses.

    Each process sets shares of the minute's allowance aside in the database and counts these by itself, so that the
    limit holds for all of them together, and costs next to nothing.
    """

    def __init__(self, accounts: Accounts, a_minute: int, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives seconds since 1970."""
        self._accounts: Final = accounts
        self._a_minute: Final = a_minute
        self._clock: Final = clock
        self._share: Final = max(1, min(SHARE, a_minute // 10))
        self._lock: Final = threading.Lock()
        self._shares: Final[OrderedDict[UUID, _Share]] = OrderedDict()
        self._swept = 0

    def take(self, token_id: UUID) -> None:
        """Counts one request.

        Raises:
            Problem: 429, with the seconds until the next minute in ``Retry-After``.
        """
        now = int(self._clock())
        minute = now // 60
        with self._lock:
            share = self._shares.pop(token_id, None)
            if share is None or share.minute != minute or (share.left == 0 and not share.spent):
                share = self._set_aside(token_id, minute)
            self._shares[token_id] = share._replace(left=max(0, share.left - 1))
            if len(self._shares) > _TOKENS_KEPT:
                self._shares.popitem(last=False)
        if share.left == 0:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {self._a_minute} requests in a minute",
                headers={"Retry-After": str(60 - now % 60)},
            )

    def _set_aside(self, token_id: UUID, minute: int) -> _Share:
        if minute != self._swept:
            self._accounts.sweep(minute)
            self._swept = minute
        before = self._accounts.set_aside(token_id, minute, self._share)
        left = max(0, min(self._share, self._a_minute - before))
        return _Share(minute, left, spent=left == 0)


class Places:
    """Things that may go on at a time, in this process: so many in all, and so many for one token."""

    def __init__(self, what: str, in_all: int, each: int) -> None:
        self._what: Final = what
        self._in_all: Final = in_all
        self._each: Final = each
        self._lock: Final = threading.Lock()
        self._taken: Final[Counter[UUID]] = Counter()

    def hold(self, token_id: UUID, pieces: Generator[T]) -> Generator[T]:
        """The same pieces, with a place taken from the first to the last, or until they are closed.

        Raises:
            Problem: 429, before the first piece is asked for.
        """
        with self.place(token_id):
            yield from pieces

    @contextmanager
    def place(self, token_id: UUID) -> Generator[None]:
        """Takes a place for as long as the block lasts.

        Raises:
            Problem: 429, there is none.
        """
        self._take(token_id)
        try:
            yield
        finally:
            with self._lock:
                self._taken[token_id] -= 1
                if not self._taken[token_id]:
                    del self._taken[token_id]

    def _take(self, token_id: UUID) -> None:
        with self._lock:
            if self._taken[token_id] >= self._each:
                detail = f"more than {self._each} {self._what} of this token at once"
            elif self._taken.total() >= self._in_all:
                detail = f"too many {self._what} at once"
            else:
                self._taken[token_id] += 1
                return
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": "5"})
