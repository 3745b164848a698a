"""What an installation reaches, brought up to date before a sync; what it reaches no more leaves the selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from security_agent import configuration, repository
from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Collection

    from permalog import Owner
    from security_agent.agent import Acting, Agent
    from security_agent.repository import Place


def refresh(
    agent: Agent, owner: Owner, installation_id: int, acting: Acting, correlation_id: str | None = None
) -> list[Place]:
    """Asks GitHub which repositories there are; returns those that are stale now and were not before.

    Raises:
        GitHubError: nothing was changed.
    """
    reached = [one for page in agent.asking().repositories(installation_id) for one in page]
    with agent.changing(owner) as connection:
        repository.put(connection, owner, reached)
        stale = repository.forsake_others(connection, owner, reached)
        gone = {place.repository_id for place in stale}
        configuration.prune(agent, connection, owner, gone, acting, "sync", correlation_id)
    return stale


def forsake(
    agent: Agent, owner: Owner, ids: Collection[int], acting: Acting, correlation_id: str | None = None
) -> list[Place]:
    """Marks repositories stale that are not there any more, and takes them out of the selection."""
    with agent.changing(owner) as connection:
        stale = repository.forsake(connection, owner, ids)
        configuration.prune(agent, connection, owner, set(ids), acting, "sync", correlation_id)
    return stale


def to_sync(agent: Agent, owner: Owner, name: str | None) -> list[Place]:
    """The repositories that a sync goes through: all that are selected, or the one of a name."""
    with agent.looking() as connection:
        rows = connection.execute(query("repository", "to_sync"), {"log": owner.log_id, "repository": name}).fetchall()
    return [repository.Place(*row) for row in rows]
