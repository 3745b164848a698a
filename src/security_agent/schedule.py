"""Scheduled syncs: all owners who want them, every six hours, as far as the time reaches; the next time goes on."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from permalog import Owner, PermalogError
from security_agent import sync
from security_agent.agent import Acting, Agent
from security_agent.sql import query

EVERY: Final = timedelta(hours=6)
PATIENCE: Final = timedelta(minutes=30)
"""How long one run begins new syncs."""
_SLACK: Final = timedelta(minutes=5)
"""A schedule that begins a little earlier than the time before still finds everybody due."""
_log: Final = logging.getLogger("security_agent")


class Round(NamedTuple):
    """What a run of the schedule has done."""

    synced: int
    failed: int
    is_complete: bool
    """Whether nobody is left who is due; else the next run begins with them."""


def sync_all(agent: Agent, *, patience: timedelta = PATIENCE, every: timedelta = EVERY) -> Round:
    """Syncs all owners that are due, the longest waiting first; may run several times at once, by several processes.

    Args:
        agent: the agent.
        patience: no new sync begins after that.
        every: who had their turn within this time is not due.
    """
    sync.end_lost(agent)
    acting = Acting.alone("sync-scheduler", "cron")
    give_up_at = time.monotonic() + patience.total_seconds()
    # Fixed now: who has had their turn in this round does not get another one, however short the time is.
    due = agent.clock() - max(every - _SLACK, timedelta())
    synced = failed = 0
    while not agent.stopping.is_set() and time.monotonic() < give_up_at:
        owner = _next(agent, due)
        if owner is None:
            return Round(synced, failed, is_complete=True)
        try:
            sync.sync(agent, owner, acting, trigger="scheduled")
            synced += 1
        except PermalogError as error:
            # The others have their turn all the same. What had begun is on record.
            failed += 1
            _log.warning("a scheduled sync failed: %s", type(error).__name__)
    return Round(synced, failed, is_complete=False)


def _next(agent: Agent, due: datetime) -> Owner | None:
    with agent.looking() as connection:
        row = connection.execute(query("sync", "claim"), {"now": agent.clock(), "before": due}).fetchone()
    return None if row is None else Owner(organization_id=row[0], user_id=row[1])
