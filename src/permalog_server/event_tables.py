"""Events and counts as tables, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from permalog_server.output import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from permalog.reading.stored import StoredEvent


def print_events(events: Iterable[StoredEvent]) -> None:
    """Events as a table, one line each."""
    print_table(
        ("occurred at", "action", "outcome", "actor", "resource", "id"),
        [
            (e.occurred_at.strftime("%Y-%m-%d %H:%M:%S"), e.action, e.outcome, _actor(e), e.resource_id, e.id)
            for e in events
        ],
    )


def print_summary(summary: dict[str, Any]) -> None:
    """Counts as tables: by action, by actor and by day."""
    print(f"{summary['total']:,} events, from {summary['first'] or '-'} to {summary['last'] or '-'}\n")
    print_table(("action", "count"), [(row["action"], row["count"]) for row in summary["by_action"]])
    print()
    print_table(
        ("actor", "name", "count"),
        [(" ".join(filter(None, (row["type"], row["id"]))), row["name"], row["count"]) for row in summary["by_actor"]],
    )
    print()
    print_table(("day", "count"), [(row["day"], row["count"]) for row in summary["by_day"]])


def _actor(event: StoredEvent) -> str:
    return event.actor_name or event.actor_email or " ".join(filter(None, (event.actor_type, event.actor_id)))
