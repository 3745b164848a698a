"""A database of before goes on: the agent's own migrations, from the first to the newest."""

from dataclasses import replace

import psycopg

from permalog.postgres.migrate import Step, migrate
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS

FIRST = ("agent/migrations/0001_agent.sql", "agent/access.sql")
LOG = "5a3c1e00-0000-4000-8000-00000000000a"


def of_before() -> list[Step]:
    """The steps of the first version; its grants were another text."""
    kept = [one for one in steps() if not one.name.startswith("agent/") or one.name in FIRST]
    return [replace(one, digest=bytes(32)) if one.name == FIRST[1] else one for one in kept]


def test_what_is_there_stays_and_what_is_new_may_be_used(empty_database: str) -> None:
    migrate(empty_database, ACTIONS, further=of_before())
    with psycopg.connect(empty_database) as connection:
        connection.execute(f"INSERT INTO security_agent.owner (log_id, user_id) VALUES ('{LOG}', 'u_ada')")  # pyright: ignore[reportArgumentType, reportCallIssue]
        connection.execute(
            f"INSERT INTO security_agent.integration (log_id, installation_id, account) VALUES ('{LOG}', 1, 'acme')"  # pyright: ignore[reportArgumentType, reportCallIssue]
        )
    applied = migrate(empty_database, ACTIONS, further=steps())
    assert {"agent/migrations/0002_webhooks.sql", "agent/access.sql"} <= set(applied)
    with psycopg.connect(empty_database) as connection:
        kept = connection.execute("SELECT installation_id, told_at FROM security_agent.integration").fetchall()
        rights = [
            connection.execute(
                "SELECT has_table_privilege('permalog_service', 'security_agent.delivery', %s)", (right,)
            ).fetchone()
            for right in ("SELECT", "INSERT", "DELETE")
        ]
    assert kept == [(1, None)]
    assert rights == [(True,)] * 3
    assert migrate(empty_database, ACTIONS, further=steps()) == []


def test_without_roles_of_ones_own_too(empty_database: str) -> None:
    migrate(empty_database, ACTIONS, further=of_before(), single_role=True)
    assert "agent/migrations/0002_webhooks.sql" in migrate(empty_database, ACTIONS, further=steps(), single_role=True)
