"""The agent's own SQL: its tables and queries."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from permalog import Queries, Step, file_steps
from security_agent.sql import queue

_HERE: Final = files(__name__)
query: Final = Queries(_HERE)
"""``query("finding", "one")``: one named query of ``queries/finding.sql``."""


def steps() -> list[Step]:
    """What `permalog.migrate.migrate` applies after the library's own files."""
    return [*file_steps(["migrations/0001_agent.sql", "access.sql"], _HERE, "agent/"), *queue.steps()]
