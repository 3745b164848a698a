"""The security agent on a database of the test's own."""

from collections.abc import Iterator

import pytest

from permalog.client import Permalog
from permalog.migrate import migrate
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS
from security_agent.actions import CATALOGUE
from security_agent.agent import Agent


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
