"""Events as the rows of a page: what is seen, and where each part of it leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from permalog_server.pages.sentences import Sentence, sentence_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from permalog.reading.stored import StoredEvent
    from permalog_server.pages.wanted import Wanted


class Row(NamedTuple):
    """One event in a list."""

    id: str
    href: str
    moment: str
    """RFC 3339, for scripts."""
    day: str
    clock: str
    actor: str
    actor_kind: str
    actor_href: str | None
    """The same list, of theirs only; None for staff, whom a customer does not tell apart."""
    sentence: Sentence
    label: str
    action_href: str
    resource: str
    resource_href: str
    outcome: str
    leaf_index: int | None


def row_of(event: StoredEvent, wanted: Wanted, labels: Mapping[str, str]) -> Row:
    """An event as the page shows it."""
    label = labels.get(event.action, event.action)
    return Row(
        id=event.row.id,
        href=event_href(event.row.id, wanted),
        moment=event.row.occurred_at,
        day=event.row.occurred_at[:10],
        clock=event.row.occurred_at[11:19],
        actor=actor_of(event),
        actor_kind=event.actor_type,
        actor_href=None if event.actor_id is None else wanted.with_(actor_id=event.actor_id),
        sentence=sentence_of(event, label),
        label=label,
        action_href=wanted.with_(action=event.action),
        resource=event.resource_id,
        resource_href=wanted.with_(resource_type=event.resource_type, resource_id=event.resource_id),
        outcome=event.outcome,
        leaf_index=event.leaf_index,
    )


def actor_of(event: StoredEvent) -> str:
    """What whoever did it is called."""
    return event.actor_name or event.actor_email or event.actor_id or "(erased)"


def event_href(event_id: str, wanted: Wanted) -> str:
    """Where the page of one event is; it remembers from which list one came."""
    path = f"{wanted.path}/events/{event_id}"
    query = wanted.href.partition("?")[2]
    return f"{path}?{query}" if query else path
