"""The audit log's page: what happened, newest first; and one event with everything about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from permalog import Owner
from permalog.errors import InvalidCursor, InvalidQuery
from permalog_server.entry import READING
from permalog_server.pages.histogram import HEIGHT, WIDTH, histogram
from permalog_server.pages.rendering import is_partial, page
from permalog_server.pages.rows import row_of
from permalog_server.pages.taking_out import FORMATS
from permalog_server.pages.visiting import Looker, PageRoute, labels_of, path_of

if TYPE_CHECKING:
    from permalog.reading.activity import SealState
    from permalog.reading.query import Page
    from permalog_server.pages.visiting import Caller
    from permalog_server.pages.wanted import Wanted

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

PERSONAL: Final = "/audit-log"
ORGANIZATION: Final = "/organizations/{organization_id}/audit-log"
ROWS: Final = 50
LAG: Final = timedelta(seconds=60)
"""Events are sealed within two seconds; when one has waited for so long, something is wrong."""
OUTCOMES: Final = ("success", "failure", "denied")


class Option(NamedTuple):
    """An action that one may ask for."""

    name: str
    label: str
    is_set: bool


@router.get(PERSONAL)
@router.get(ORGANIZATION)
def show(looker: Looker) -> Response:
    """A page of the log."""
    wanted = looker.wanted(path_of(looker))
    if not wanted.is_canonical and not wanted.faults and not is_partial(looker.request):
        return RedirectResponse(wanted.href, 303)
    entry = looker.admit(READING, filters=sorted({name for name, _ in wanted.given}))
    labels = labels_of(looker.log)
    found, fault = _found(looker, entry.owner, entry.viewer, wanted)
    context: dict[str, Any] = {
        "shell": looker.shell(entry),
        "wanted": wanted,
        "chips": wanted.chips(labels),
        "options": [Option(name, label, name in wanted.values("action")) for name, label in _by_label(labels)],
        "presets": wanted.presets(datetime.now(UTC).date()),
        "outcomes": OUTCOMES,
        "formats": FORMATS,
        "tail": _tail(wanted),
        "fault": fault,
        "rows": [row_of(event, wanted, labels) for event in found.events] if found else [],
        "older": wanted.at(before=found.next_cursor) if found and found.next_cursor else None,
        "newer": wanted.at(after=found.previous_cursor) if found and found.previous_cursor else None,
        "is_partial": found is not None and found.partial,
        "is_newest": found is not None and not wanted.place,
        "seal": _seal(looker.log.seal_state(entry.owner)),
    }
    response = page("log.html", context, 422 if fault else 200)
    if is_partial(looker.request):
        response.headers["HX-Push-Url"] = wanted.href
    return response


@router.get(f"{PERSONAL}/histogram")
@router.get(f"{ORGANIZATION}/histogram")
def show_histogram(looker: Looker) -> Response:
    """How much happened over time: a part of the page, fetched after it, or a page of its own."""
    wanted = looker.wanted(path_of(looker))
    entry = looker.admit(READING, filters=sorted({name for name, _ in wanted.given}))
    labels = labels_of(looker.log)
    counts = looker.log.activity(entry.owner, viewer=entry.viewer, **wanted.filters())
    picture = histogram(counts, wanted, labels, datetime.now(UTC).date())
    context = {"picture": picture, "width": WIDTH, "height": HEIGHT, "wanted": wanted}
    if is_partial(looker.request):
        return page("histogram_part.html", context)
    return page("histogram.html", {**context, "shell": looker.shell(entry)})


def _found(looker: Caller, owner: Owner, viewer: Any, wanted: Wanted) -> tuple[Page | None, tuple[str, str] | None]:  # noqa: ANN401
    """The page of events, or what is wrong with what was asked for."""
    try:
        filters = wanted.filters()
        return looker.log.list(owner, limit=ROWS, viewer=viewer, **wanted.cursors(), **filters), None
    except InvalidCursor:
        return None, ("page", "this address belongs to other filters: begin with the newest events")
    except InvalidQuery as error:
        return None, (error.field, error.reason)


def _by_label(labels: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(labels.items(), key=lambda one: one[1])


def _tail(wanted: Wanted) -> str | None:
    """Where events arrive as they are sealed; None where what is shown does not reach to the newest."""
    if wanted.place or wanted.value("end"):
        return None
    return f"/v1{wanted.path}/tail" + (f"?{wanted.query}" if wanted.query else "")


class _Seal(NamedTuple):
    """What the page says of the seal."""

    signed_size: int | None
    signed_at: str | None
    lags_since: str | None
    """Since when an event has waited for longer than it should."""


def _seal(state: SealState) -> _Seal:
    since = state.waiting_since
    lags = since is not None and datetime.now(UTC) - since > LAG
    return _Seal(
        state.signed_size,
        state.signed_at and state.signed_at.astimezone(UTC).isoformat(timespec="seconds"),
        since.astimezone(UTC).isoformat(timespec="seconds") if lags and since else None,
    )
