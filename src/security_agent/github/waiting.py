"""How long the agent waits for GitHub."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """How patient somebody is. The defaults are for background work; a person at a page waits less."""

    timeout: float = 30.0
    """Seconds between two pieces of an answer."""
    whole: float = 120.0
    """Seconds for one answer as a whole."""
    attempts: int = 5
    """Of one request, where answers are lost or 5xx."""
    patience: float = 30.0
    """Seconds that one request may sleep in all, for rate limits and between attempts. Where GitHub wants more,
    `RateLimited` says until when."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time and chance; others in tests."""

    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    """Between 0 and 1: spreads the retries of many."""
