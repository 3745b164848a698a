"""GitHub's rate limits: reading them from an answer, and keeping away until they are over.

Source: GitHub's REST documentation, "Rate limits for the REST API". The primary limit is in ``x-ratelimit-*``; the
secondary ones show as 403 or 429 with ``retry-after``, or with a message only, and then ask for a minute at least.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, final

MINUTE: Final = 60.0
LONGEST: Final = 3600.0
"""Seconds that any answer can make us wait: the primary limit's hour. A clock gone wrong blocks nobody for a year."""

_TOO_OFTEN: Final = ("rate limit", "abuse detection")
_LIMITED: Final = frozenset({403, 429})


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait as ``Retry-After`` says, as a number or as a date; None: it says nothing."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:6]), LONGEST)
    try:
        until = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
    return min(max(until - now, 0.0), LONGEST)


def used_up(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the primary limit is full again; None: something is left, or nothing is said."""
    if headers.get("x-ratelimit-remaining", "").strip() != "0":
        return None
    reset = headers.get("x-ratelimit-reset", "").strip()
    if not (reset.isascii() and reset.isdigit()):
        return MINUTE
    return min(max(float(reset[:12]) - now, 0.0) + 1.0, LONGEST)


def refusal(status: int, headers: Mapping[str, str], said: str, now: float) -> float | None:
    """Seconds to wait after an answer that refuses for a rate limit; None: it is no such answer."""
    if status not in _LIMITED:
        return None
    given = retry_after(headers, now)
    if given is not None:
        return given
    primary = used_up(headers, now)
    if primary is not None:
        return primary
    if status == 429 or any(words in said.lower() for words in _TOO_OFTEN):  # noqa: PLR2004  Too Many Requests
        return MINUTE
    return None


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time in UTC, not before it is over."""
    return datetime.fromtimestamp(math.ceil(seconds), UTC)


@final
@dataclass(slots=True)
class Allowance:
    """Until when each installation is to be left alone. Safe for threads."""

    clock: Callable[[], float]
    _until: dict[int | None, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pause(self, installation_id: int | None, seconds: float) -> None:
        """Notes that GitHub wants to be left alone; a longer pause that was noted before stays."""
        until = self.clock() + seconds
        with self._lock:
            self._until[installation_id] = max(until, self._until.get(installation_id, 0.0))

    def wait(self, installation_id: int | None) -> float:
        """Seconds until this installation may be asked again; 0: now."""
        with self._lock:
            until = self._until.get(installation_id, 0.0)
            left = until - self.clock()
            if left <= 0:
                self._until.pop(installation_id, None)
            return max(left, 0.0)
