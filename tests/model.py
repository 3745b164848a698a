"""A plain model of one log: a list of events as JSON, and what filters, pages and counts mean, said once more."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from permalog import Actor, Event, Owner, Resource
from permalog.reading.filters import Filters
from permalog.recording.store import Dated

Lower = Callable[[list[str]], list[str]]


def lower_of(connection: psycopg.Connection[Any]) -> Lower:
    """Lower-casing is the database's: the model asks it."""

    def lower(texts: list[str]) -> list[str]:
        found = connection.execute(
            "SELECT lower(t) FROM unnest(%s::text[]) WITH ORDINALITY AS u (t, n) ORDER BY n", [texts]
        )
        return [row[0] for row in found]

    return lower


def shown(dated: Dated) -> dict[str, Any]:
    """An event as a reader who is staff sees it, without what only the database knows."""
    event = dated.event
    actor: Actor = event.actor
    return {
        "id": str(dated.id),
        "occurred_at": dated.occurred_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "action": event.action,
        "outcome": event.outcome,
        "actor": {"type": actor.type, "id": actor.id, "email": actor.email, "name": actor.name},
        "resource": {"type": event.resource.type, "id": event.resource.id},
        "before_state": event.before_state,
        "after_state": event.after_state,
        "metadata": event.metadata,
        "correlation_id": event.correlation_id,
        "source": event.source,
        "leaf_index": None,
    }


class ModelLog:
    """The events of one owner, newest first."""

    def __init__(self, owner: Owner, events: list[Dated], lower: Lower) -> None:
        self.owner = owner
        self.events = sorted((shown(dated) for dated in events), key=lambda event: UUID(event["id"]), reverse=True)
        self.lower = lower

    def select(self, filters: Filters) -> list[dict[str, Any]]:
        """The events that all filters let pass."""
        return [event for event in self.events if self._passes(event, filters)]

    def _passes(self, event: dict[str, Any], filters: Filters) -> bool:  # noqa: PLR0911  one a filter
        plain = {
            "actor_id": event["actor"]["id"],
            "resource_type": event["resource"]["type"],
            "resource_id": event["resource"]["id"],
            "outcome": event["outcome"],
            "correlation_id": event["correlation_id"],
            "source": event["source"],
        }
        if any(getattr(filters, name) not in {None, value} for name, value in plain.items()):
            return False
        if filters.action and event["action"] not in filters.action:
            return False
        happened = datetime.fromisoformat(event["occurred_at"])
        if filters.first_moment is not None and happened < filters.first_moment:
            return False
        if filters.last_moment is not None and happened >= filters.last_moment:
            return False
        if filters.actor_email is not None:
            email = event["actor"]["email"]
            if email is None or len(set(self.lower([email, filters.actor_email]))) != 1:
                return False
        if filters.search is None:
            return True
        texts = [
            event["resource"]["type"],
            event["resource"]["id"],
            event["correlation_id"] or "",
            *values(event["metadata"]),
        ]
        needle, *lowered = self.lower([filters.search, *texts])
        return any(needle in text for text in lowered)


def values(payload: object) -> Iterator[str]:
    """The strings and numbers of a payload, numbers as PostgreSQL prints them."""
    match payload:
        case dict():
            for inside in payload.values():
                yield from values(inside)
        case list():
            for inside in payload:
                yield from values(inside)
        case str():
            yield payload
        case int() | float() if not isinstance(payload, bool):
            yield format(Decimal(json.dumps(payload)), "f")
        case _:
            pass


def summed(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary of events that stand newest first."""
    actions = Counter(event["action"] for event in events)
    actors = Counter(_who(event) for event in events)
    names = {_who(event): event["actor"]["name"] for event in reversed(events)}
    names |= {("staff", None): "Support"}
    return {
        "total": len(events),
        "first": events[-1]["occurred_at"] if events else None,
        "last": events[0]["occurred_at"] if events else None,
        "by_action": [
            {"action": action, "count": n}
            for action, n in sorted(actions.items(), key=lambda item: (-item[1], item[0]))
        ],
        "by_actor": [
            {"type": who[0], "id": who[1], "name": names[who], "count": n}
            for who, n in sorted(
                actors.items(), key=lambda item: (-item[1], names[item[0]] or "", item[0][0], item[0][1] or "")
            )
        ],
        "by_day": [
            {"day": day, "count": n}
            for day, n in sorted(Counter(event["occurred_at"][:10] for event in events).items())
        ],
    }


def _who(event: dict[str, Any]) -> tuple[str, str | None]:
    kind = event["actor"]["type"]
    return kind, None if kind == "staff" else event["actor"]["id"]


def event_of(owner: Owner, **members: object) -> Event:
    """An event of which only what matters to a test is said."""
    given: dict[str, object] = {
        "owner": owner,
        "actor": Actor.user("u_1", email="ada@acme.example", name="Ada"),
        "action": "thing.made",
        "resource": Resource("thing", "t_1"),
    }
    return Event(**(given | members))
