"""Findings put straight into the tables, for tests of what is done with them."""

import uuid
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
import psycopg.rows
from psycopg.types.json import Jsonb

from permalog import Actor, Owner
from security_agent.agent import Acting, Agent

PERSON = Actor.user("u_ada", email="ada@tests.example", name="Ada")
ACTING = Acting(PERSON, "api")
DETECTED = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)

DEVELOPMENT: dict[str, Any] = {"scope": "development", "severity": "low"}
"""What the rules would dismiss."""
GRAVE: dict[str, Any] = {"scope": "runtime", "severity": "critical"}
"""What only the code can tell."""


def plant(
    agent: Agent,
    owner: Owner,
    *,
    installation: int | None = 1,
    permission: str = "write",
    auto_dismiss: bool = False,
    confidence: str = "high",
    **columns: Any,
) -> UUID:
    """An open finding of an owner with an installation and wishes; its columns as they are given."""
    row: dict[str, Any] = {
        "log_id": owner.log_id, "id": uuid.uuid4(), "repository_id": 7, "repository": "northwind/shop",
        "source": "dependabot", "source_id": str(uuid.uuid4().int % 10**8 + 1), "source_state": "open",
        "source_updated_at": DETECTED, "status": "open", "severity": "low", "ghsa_id": "GHSA-35jh-r3h4-6jhm",
        "cve_id": "CVE-2021-23337", "package": "lodash", "ecosystem": "npm", "vulnerable_range": "< 4.17.21",
        "patched_version": "4.17.21", "manifest_path": "package-lock.json", "title": "Something in lodash",
        "description": "Told at length.", "cwe_ids": [], "cvss_score": None, "scope": "development",
        "url": "https://github.example/northwind/shop/security/dependabot/1", "raw": Jsonb({}), "digest": bytes(32),
        "first_detected_at": DETECTED, "deadline": None, "last_synced_at": DETECTED, **columns,
    }  # fmt: skip
    with agent.changing(owner) as connection:
        connection.execute(
            "UPDATE security_agent.owner SET enabled = true, auto_dismiss = %s, auto_dismiss_confidence = %s"
            " WHERE log_id = %s",
            (auto_dismiss, confidence, owner.log_id),
        )
        if installation is not None:
            connection.execute(
                "INSERT INTO security_agent.integration (log_id, installation_id, account, permissions)"
                " VALUES (%s, %s, 'northwind', %s)"
                " ON CONFLICT (log_id) DO UPDATE SET permissions = EXCLUDED.permissions",
                (owner.log_id, installation, Jsonb({"vulnerability_alerts": permission})),
            )
        names = ", ".join(row)
        marks = ", ".join(f"%({name})s" for name in row)
        connection.execute(f"INSERT INTO security_agent.finding ({names}) VALUES ({marks})", row)  # pyright: ignore[reportArgumentType]
    return row["id"]


def events(agent: Agent, owner: Owner, action: str | None = None) -> list[dict[str, Any]]:
    """The owner's events, oldest first."""
    found = orjson.loads(agent.log.list(owner, limit=100).to_json())["events"]
    return [one for one in reversed(found) if action in {None, one["action"].rpartition(".")[2]}]


def row_of(agent: Agent, table: str, id: UUID) -> dict[str, Any]:
    """One row, by its id."""
    with agent.looking() as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        found = cursor.execute(f"SELECT * FROM security_agent.{table} WHERE id = %s", (id,)).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert found is not None
    return found


def rows(agent: Agent, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with agent.looking() as connection:
        return connection.execute(statement, parameters).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]
