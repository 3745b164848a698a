"""The service's own SQL: its accounts."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from permalog.postgres.migrate import Step, file_steps
from permalog.sql import Queries
from security_agent import sql as agent

_HERE: Final = files(__name__)
_FILES: Final = ("migrations/0001_accounts.sql", "migrations/0002_sessions.sql", "access.sql")
query: Final = Queries(_HERE)
"""``query("accounts", "admit")``: one named query of ``queries/accounts.sql``."""


def steps() -> list[Step]:
    """What `permalog.postgres.migrate` applies after the library's own files: the service's tables, and the agent's."""
    return [*file_steps(_FILES, _HERE, "server/"), *agent.steps()]
