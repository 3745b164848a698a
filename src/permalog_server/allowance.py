"""How many requests a token may make in a minute, counted across all processes of the service."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from permalog_server.problem import Problem

if TYPE_CHECKING:
    from uuid import UUID

    from permalog_server.accounts import Accounts

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

    def __init__(self, accounts: Accounts, a_minute: int) -> None:
        self._accounts: Final = accounts
        self._a_minute: Final = a_minute
        self._share: Final = max(1, min(SHARE, a_minute // 10))
        self._lock: Final = threading.Lock()
        self._shares: Final[OrderedDict[UUID, _Share]] = OrderedDict()
        self._swept = 0

    def take(self, token_id: UUID) -> None:
        """Counts one request.

        Raises:
            Problem: 429, with the seconds until the next minute in ``Retry-After``.
        """
        minute = int(time.time()) // 60
        with self._lock:
            share = self._shares.pop(token_id, None)
            if share is None or share.minute != minute or (share.left == 0 and not share.spent):
                share = self._set_aside(token_id, minute)
            self._shares[token_id] = share._replace(left=max(0, share.left - 1))
            if len(self._shares) > _TOKENS_KEPT:
                self._shares.popitem(last=False)
        if share.left == 0:
            wait = str(60 - int(time.time()) % 60)
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {self._a_minute} requests in a minute",
                headers={"Retry-After": wait},
            )

    def _set_aside(self, token_id: UUID, minute: int) -> _Share:
        if minute != self._swept:
            self._accounts.clear_allowances()
            self._swept = minute
        before = self._accounts.set_aside(token_id, self._share)
        left = max(0, min(self._share, self._a_minute - before))
        return _Share(minute, left, spent=left == 0)
