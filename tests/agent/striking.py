"""Strikes after the n-th statement that a piece of work runs: an exception, a killed connection, a killed process.

Run as a program, it does one piece of work on a database and is struck dead after its n-th statement.
"""

import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

import psycopg

from agent.planting import ACTING
from permalog import Owner, Permalog
from security_agent.actions import CATALOGUE
from security_agent.agent import Agent
from security_agent.analysis import Means, run, start
from security_agent.auto_dismiss import dismiss_eligible
from security_agent.dismissal import dismiss
from security_agent.extraction import Exploitable, Extracted, Result, SuggestedAction
from security_agent.github import GitHub, Waiting
from security_agent.sandbox import runner
from security_agent.write_back import write_back

Manner = Literal["exception", "connection", "process"]
DIED = 77


class Struck(Exception):
    """The blow."""


class Blow:
    """Whether it fell."""

    fell = False


@contextmanager
def striking(url: str, after: int, manner: Manner) -> Generator[Blow]:
    """Within it, the n-th statement of this process is run, and then the blow falls."""
    blow, count, run_it = Blow(), 0, psycopg.Cursor.execute

    def execute(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        answer = run_it(self, *arguments, **options)
        count += 1
        if count == after:
            blow.fell = True
            fall(url, self.connection.info.backend_pid, manner)
        return answer

    psycopg.Cursor.execute = execute
    try:
        yield blow
    finally:
        psycopg.Cursor.execute = run_it


def fall(url: str, pid: int, manner: Manner) -> None:
    if manner == "exception":
        raise Struck
    if manner == "process":
        os._exit(DIED)
    with psycopg.connect(url, autocommit=True) as other:
        # It waits for the end. As a plain statement of the protocol: the counted cursor is not used.
        other.pgconn.exec_(f"SELECT pg_terminate_backend({pid}, 10000)".encode())


SAFE = Extracted(
    result=Result(
        exploitable=Exploitable.NO, reasoning="", suggested_action=SuggestedAction.DISMISS, summary="not used"
    ),
    extractor="runner",
)


def looked(*_: object, **__: object) -> Extracted:
    """A sandbox that finds no use."""
    return SAFE


WORK: dict[str, Callable[[Agent, Owner, UUID], object]] = {
    "start": lambda agent, owner, finding: start(agent, Means(), owner, finding, ACTING),
    "run": lambda agent, owner, analysis: run(agent, Means(), owner.log_id, analysis),
    "dismiss": lambda agent, owner, finding: dismiss(agent, owner, finding, ACTING, "not_used", "as tried"),
    "write_back": lambda agent, owner, order: write_back(agent, owner.log_id, order),
    "bulk": lambda agent, owner, _: dismiss_eligible(agent, owner, ACTING),
}


def main() -> None:
    given = json.loads(sys.argv[1])
    runner.analyze = looked
    owner = Owner.organization(given["organization"])
    with Permalog.connect(given["url"], catalogue=CATALOGUE) as log:
        agent = Agent(log)
        if given["github"]:
            agent = replace(agent, github=GitHub(**given["github"], waiting=Waiting(5, 5, 1, 0)))
        with striking(given["url"], given["after"], "process"):
            WORK[given["work"]](agent, owner, UUID(given["about"]))


if __name__ == "__main__":
    main()
