"""The security agent on a database of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.placing import FREE, SECRET, SHOP, TILL, Place
from github import ask, open_alert, standing_in
from permalog.client import Permalog
from permalog.postgres.migrate import migrate
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS
from security_agent.actions import CATALOGUE
from security_agent.agent import Agent
from service import running, settle


@pytest.fixture
def agent_database(database: str) -> str:
    """A database that knows the agent's actions, once on each PostgreSQL there is."""
    migrate(database, ACTIONS, further=steps())
    return database


@pytest.fixture
def agent(agent_database: str) -> Iterator[Agent]:
    """The agent, without GitHub."""
    with Permalog.connect(agent_database, catalogue=CATALOGUE) as log:
        yield Agent(log)


@pytest.fixture(params=["organization", "personal"])
def place(agent_database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The service with a stand-in for GitHub; one alert in one of two repositories. For both kinds of owners."""
    with standing_in() as github, ask(github) as client:
        github.world.install("northwind", [SHOP, TILL], id=FREE)
        github.world.put(SHOP, open_alert(SHOP, 1))
        with running(agent_database, tmp_path, github=client, internal_secret=SECRET) as site:
            yield Place(site, github, settle(site.accounts), request.param == "personal")


@pytest.fixture
def connected(place: Place) -> Place:
    """The same, with the installation connected."""
    place.connect()
    return place
