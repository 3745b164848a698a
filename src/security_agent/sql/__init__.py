"""The agent's own SQL: its tables and queries."""

from __future__ import annotations

from importlib import resources
from typing import Final

from permalog import Queries, Step, file_steps
from security_agent.sql import queue

_HERE: Final = resources.files(__name__)
query: Final = Queries(_HERE)
"""``query("finding", "one")``: one named query of ``queries/finding.sql``."""


def steps() -> list[Step]:
    """What `permalog.postgres.migrate` applies after the library's own files."""
    files = ["migrations/0001_agent.sql", "migrations/0002_webhooks.sql", "access.sql"]
    return [*file_steps(files, _HERE, "agent/"), *queue.steps()]
