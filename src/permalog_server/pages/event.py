"""One event with everything about it: what it changed, what belongs to it, what happened before, and its proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from permalog.errors import Malformed, NotSealed
from permalog.tlog.note import Note
from permalog.witnessing.proofs import prove_event
from permalog_server.entry import READING
from permalog_server.pages.differences import differences, lines_of
from permalog_server.pages.rendering import is_partial, page
from permalog_server.pages.rows import Row, actor_of, event_href, row_of
from permalog_server.pages.visiting import Looker, PageRoute, labels_of, path_of
from permalog_server.pages.wanted import Wanted

if TYPE_CHECKING:
    from permalog.reading.stored import StoredEvent
    from permalog_server.entry import Entry
    from permalog_server.pages.visiting import Caller

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

BESIDE: Final = 25
"""Events of the same operation, and of the same resource, that are shown; the rest is behind a link."""


class Proof(NamedTuple):
    """Where an event is in the log's tree, and who has signed for it."""

    leaf_index: int
    size: int
    """Of the tree that was signed."""
    origin: str
    signers: list[str]
    hashes: int


class Beside(NamedTuple):
    """Other events that belong to one."""

    rows: list[Row]
    href: str
    """All of them."""
    is_more: bool


@router.get("/audit-log/events/{event_id}")
@router.get("/organizations/{organization_id}/audit-log/events/{event_id}")
def show(looker: Looker, event_id: UUID) -> Response:
    """The page of one event; for a script, the panel beside the list."""
    wanted = looker.wanted(path_of(looker))
    entry = looker.admit(READING)
    event = looker.log.get(entry.owner, event_id, entry.viewer)
    labels = labels_of(looker.log)
    context: dict[str, Any] = {
        "shell": looker.shell(entry),
        "wanted": wanted,
        "event": event,
        "actor": actor_of(event),
        "row": row_of(event, Wanted(wanted.path, ()), labels),
        "differences": differences(event.before_state, event.after_state),
        "metadata": lines_of(event.metadata),
        "operation": _operation(looker, entry, event, wanted, labels),
        "history": _beside(
            looker, entry, wanted, labels, resource_type=event.resource_type, resource_id=event.resource_id
        ),
        "proof": _proof(looker, entry, event_id),
        "api": f"/v1{wanted.path}/events/{event_id}",
    }
    response = page("event.html", context)
    if is_partial(looker.request):
        response.headers["HX-Push-Url"] = str(looker.request.url.path) + (
            f"?{looker.request.url.query}" if looker.request.url.query else ""
        )
    return response


def _operation(
    looker: Caller, entry: Entry, event: StoredEvent, wanted: Wanted, labels: dict[str, str]
) -> Beside | None:
    if event.correlation_id is None:
        return None
    return _beside(looker, entry, wanted, labels, correlation_id=event.correlation_id)


def _beside(looker: Caller, entry: Entry, wanted: Wanted, labels: dict[str, str], **filters: str) -> Beside:
    """Events that belong to one; each leads back to the list that one came from."""
    found = looker.log.list(entry.owner, limit=BESIDE, viewer=entry.viewer, **filters)
    everything = Wanted(wanted.path, ())
    rows = [row_of(one, everything, labels)._replace(href=event_href(one.row.id, wanted)) for one in found.events]
    return Beside(rows, everything.with_(**filters), found.has_next)


def _proof(looker: Caller, entry: Entry, event_id: UUID) -> Proof | str:
    """The proof, or why there is none."""
    try:
        found = prove_event(looker.log.database, entry.owner, event_id)
        note = Note.parse(found.checkpoint)
    except NotSealed:
        return "It waits for sealing, which takes two seconds as a rule."
    except Malformed:
        return "The log's tree is not as it was sealed: whoever runs Permalog should run permalog verify."
    origin, size, *_ = note.text.splitlines()
    return Proof(found.leaf_index, int(size), origin, [one.name for one in note.signatures], len(found.hashes))
