"""Forgetting: what the agent knows of a person is cleared; of an owner, everything goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from security_agent.queue import forget_jobs
from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Collection

    from permalog import Connection, Owner


def forget_person(connection: Connection, user_id: str, texts: Collection[str] = ()) -> None:
    """Clears who somebody was, in all owners' findings and configurations, in the connection's transaction.

    Args:
        connection: after the person was barred (`Permalog.bar_user`).
        user_id: whose traces go.
        texts: addresses and names of theirs: what people wrote in comments is searched for them.
    """
    parameters = {"user": user_id, "texts": [text for text in texts if text]}
    connection.execute(query("forgetting", "forget_person"), parameters)
    connection.execute(query("forgetting", "forget_in_alerts"), parameters)


def forget_owner(connection: Connection, owner: Owner) -> None:
    """Deletes all of an owner, likewise. A row stays that holds nothing but the owner's id, and lets nothing in."""
    whose = {"log": owner.log_id, "organization": owner.organization_id, "user": owner.user_id}
    connection.execute(query("forgetting", "wait_for_owner"), whose)
    connection.execute(query("forgetting", "forget_owner"), whose)
    forget_jobs(connection, owner.log_id)
