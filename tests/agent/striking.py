"""Strikes after the n-th step of a piece of work: an exception, a killed connection, a killed process.

A step is a statement or a request to GitHub. Run as a program, it reads orders, a line of JSON each, and has each
carried out by a child of its own, which is struck dead; it answers with the child's exit status.
"""

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import psycopg
import pytest

from agent.mutations import WORK, looked
from permalog import Owner, Permalog
from permalog_server.standin import StandIn
from security_agent.actions import CATALOGUE
from security_agent.agent import Agent
from security_agent.github import GitHub, Waiting
from security_agent.github.transport import Transport
from security_agent.sandbox import runner

Manner = Literal["exception", "connection", "process"]
DIED = 77
PATIENT = Waiting(timeout=5, whole=5, attempts=1, patience=0)
T = TypeVar("T")


class Struck(Exception):
    """The blow."""


@dataclass
class Blow:
    """Falls after the n-th step."""

    url: str
    after: int
    manner: Manner
    steps: int = 0
    pid: int = 0
    """Of the connection that has run the latest statement."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fell(self) -> bool:
        return self.steps >= self.after

    def step(self, pid: int | None = None) -> None:
        with self.lock:
            self.pid = pid or self.pid
            self.steps += 1
            falls = self.steps == self.after
        if falls:
            self._fall()

    def _fall(self) -> None:
        if self.manner == "exception":
            raise Struck
        if self.manner == "process":
            os._exit(DIED)
        with psycopg.connect(self.url, autocommit=True) as other:
            # It waits for the end. As a plain statement of the protocol: the counted cursor is not used.
            other.pgconn.exec_(f"SELECT pg_terminate_backend({self.pid}, 10000)".encode())


@contextmanager
def striking(url: str, after: int, manner: Manner) -> Generator[Blow]:
    """Within it, the n-th step of this process is done, and then the blow falls."""
    blow = Blow(url, after, manner)

    def counted(step: Callable[..., T], pid: Callable[[Any], int | None]) -> Callable[..., T]:
        def do(self: Any, *arguments: Any, **options: Any) -> T:
            answer = step(self, *arguments, **options)
            blow.step(pid(self))
            return answer

        return do

    with pytest.MonkeyPatch.context() as patch:
        run, send = psycopg.Cursor.execute, Transport.send
        patch.setattr(psycopg.Cursor, "execute", counted(run, lambda cursor: cursor.connection.info.backend_pid))
        patch.setattr(Transport, "send", counted(send, lambda _: None))
        yield blow


class Forks:
    """The program of this module, running."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "agent.striking"], cwd=Path(__file__).parents[1], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def strike(self, url: str, after: int, work: str, owner: Owner, about: str, github: StandIn) -> bool:
        """Whether the blow fell before the work was done."""
        order = {
            "url": url, "after": after, "work": work, "organization": str(owner.organization_id), "about": about,
            "github": {"app_id": github.app_id, "private_key": github.private_key, "api_url": github.url},
        }  # fmt: skip
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(order) + "\n")
        self._popen.stdin.flush()
        status = int(self._popen.stdout.readline())
        assert status in {0, DIED}
        return status == DIED

    def close(self) -> None:
        self._popen.communicate()


def _carry_out(order: dict[str, Any]) -> None:
    with (
        Permalog.connect(order["url"], catalogue=CATALOGUE) as log,
        GitHub(**order["github"], waiting=PATIENT) as github,
    ):
        agent = replace(Agent(log), github=github)
        with striking(order["url"], order["after"], "process"):
            WORK[order["work"]].do(agent, Owner.organization(order["organization"]), order["about"])


def main() -> None:
    runner.analyze = looked
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _carry_out(json.loads(line))
                status = 0
            except BaseException:  # noqa: BLE001  told, and it ends in any case
                traceback.print_exc()
            finally:
                os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
