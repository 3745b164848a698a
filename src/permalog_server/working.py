"""The security agent and its background work, put together from the settings."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from permalog_server.wiring import open_github, settings
from security_agent.agent import Agent
from security_agent.analysis import PUBLIC, Means
from security_agent.llm import Model
from security_agent.schedule import sync_all

if TYPE_CHECKING:
    from collections.abc import Generator

    from permalog import Permalog
    from permalog_server.wiring import Place
    from security_agent.jobs import Worker

_log: Final = structlog.get_logger("permalog.worker")
_AGAIN_SECONDS: Final = 5.0
"""Before a worker that lost its database tries again."""


def means() -> Means:
    """What judges findings: a model where the settings name an endpoint and a model, else the rules."""
    chosen = settings()
    model = None
    if chosen.llm_base_url is not None and chosen.llm_model is not None:
        model = Model(chosen.llm_base_url, chosen.llm_model, chosen.llm_api_key)
    return Means(model, chosen.clone_from or PUBLIC)


@contextmanager
def open_agent(log: Permalog) -> Generator[Agent]:
    """The agent, with GitHub where an App is configured.

    Raises:
        NotConfigured: the settings name one, and it cannot be used.
    """
    with open_github() as github:
        yield Agent(log, github)


def worker_of(agent: Agent, place: Place) -> Worker:
    """The worker of a database."""
    from security_agent.jobs import Worker  # noqa: PLC0415  slow to load

    return Worker(place.url, agent, means(), sync_all)


@contextmanager
def working(log: Permalog, place: Place) -> Generator[None]:
    """Works on the queue in a thread of this process."""
    with ExitStack() as stack:
        agent = stack.enter_context(open_agent(log))
        worker = worker_of(agent, place)
        thread = threading.Thread(target=_keep_on, args=(worker,), name="worker")
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join()


def _keep_on(worker: Worker) -> None:
    """A database that goes away and comes back does not end the work."""
    while not worker.agent.stopping.is_set():
        try:
            worker.run()
        except Exception:  # noqa: BLE001  whatever it is: it is told, and the next attempt may do better
            _log.exception("the worker broke off, and begins again")
            worker.agent.stopping.wait(_AGAIN_SECONDS)
