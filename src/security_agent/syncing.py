"""The work of a sync: several repositories at once, each page by page, each page in a transaction of its own."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from security_agent import reach
from security_agent.alert import AlertFacts, UnreadableAlert, read_alert
from security_agent.github import GitHubError, NotFound, RateLimited, Suspended, Unauthorized
from security_agent.intake import Intake
from security_agent.report import Outcome, code_of
from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from uuid import UUID

    from permalog import Owner
    from security_agent.agent import Acting, Agent
    from security_agent.repository import Place

AT_ONCE: Final = 4
"""Repositories of one sync: GitHub wants few requests at once of an installation, and each takes a connection."""
_log: Final = logging.getLogger("security_agent")


@dataclass(frozen=True, slots=True)
class Syncing:
    """A sync in work."""

    agent: Agent
    owner: Owner
    acting: Acting
    installation_id: int
    id: UUID
    progress: Callable[[Outcome], None] | None = None
    halt: threading.Event = field(default_factory=threading.Event)
    """Set when going on is useless: no repository would fare better."""

    def all(self, places: Sequence[Place]) -> Generator[Outcome]:
        """Syncs repositories; each comes when it is done."""
        waiting = iter(places)
        with ThreadPoolExecutor(AT_ONCE, "sync") as pool:
            # As many as are in work, and no more: thousands of repositories need no thousands of futures.
            running = {pool.submit(self.one, place) for _, place in zip(range(AT_ONCE), waiting, strict=False)}
            try:
                while running:
                    done = next(as_completed(running))
                    running.remove(done)
                    yield done.result()
                    for place in waiting:
                        running.add(pool.submit(self.one, place))
                        break
            finally:
                self.halt.set()

    def one(self, place: Place) -> Outcome:
        """Syncs one repository; what goes wrong with it or GitHub is in the outcome."""
        outcome = Outcome(place)
        try:
            self._pages(outcome)
        except GitHubError as error:
            outcome.error = code_of(error)
            if isinstance(error, Unauthorized | Suspended | RateLimited):
                self.halt.set()
            if isinstance(error, NotFound):
                reach.forsake(self.agent, self.owner, [place.repository_id], self.acting, str(self.id))
        except BaseException:
            self.halt.set()
            raise
        outcome.is_done = True
        self._note(outcome)
        self._tell(outcome)
        return outcome

    def _pages(self, outcome: Outcome) -> None:
        place = outcome.place
        intake = Intake(self.agent, self.owner, place.repository_id, place.full_name, self.acting, str(self.id))
        if self._is_over(outcome):
            return
        pages = self.agent.asking().alerts(self.installation_id, place.full_name)
        while (asked_at := self.agent.clock()) and (page := next(pages, None)) is not None:
            facts = list(self._readable(page, outcome))
            with self.agent.changing(self.owner) as connection:
                outcome.taken = outcome.taken.and_(intake.take(connection, facts, asked_at))
                connection.execute(
                    query("sync", "alive"), {"log": self.owner.log_id, "id": self.id, "now": self.agent.clock()}
                )
            self._tell(outcome)
            if self._is_over(outcome):
                return

    def _is_over(self, outcome: Outcome) -> bool:
        if self.agent.stopping.is_set() or self.halt.is_set():
            outcome.error = "interrupted"
            return True
        return False

    def _readable(self, page: Sequence[dict[str, Any]], outcome: Outcome) -> Generator[AlertFacts]:
        for raw in page:
            try:
                yield read_alert(raw)
            except UnreadableAlert as error:
                outcome.unreadable += 1
                _log.warning("an alert of %s was left out: %s", outcome.place.full_name, error.field)

    def _note(self, outcome: Outcome) -> None:
        states = {"alerts_disabled": "alerts_disabled", "not_found": "stale", None: "active"}
        error = outcome.error or ("unreadable_alerts" if outcome.unreadable else None)
        with self.agent.looking() as connection:
            connection.execute(
                query("repository", "note"),
                {
                    "log": self.owner.log_id, "repository_id": outcome.place.repository_id, "now": self.agent.clock(),
                    "state": states.get(outcome.error), "error": error, "synced": outcome.error is None,
                },
            )  # fmt: skip

    def _tell(self, outcome: Outcome) -> None:
        if self.progress is not None:
            with suppress(BrokenPipeError):
                self.progress(replace(outcome))
