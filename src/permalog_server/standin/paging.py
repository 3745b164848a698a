"""Lists with cursors, as GitHub gives them: opaque, and led to by ``Link`` alone."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import orjson

from permalog_server.standin.documents import Document

DEFAULT: Final = 30
MOST: Final = 100
STATES: Final = frozenset({"auto_dismissed", "dismissed", "fixed", "open"})
_SORTS: Final = {"created": "created_at", "updated": "updated_at"}
_DIRECTIONS: Final = frozenset({"asc", "desc"})


class BadParameter(Exception):
    """A parameter that GitHub refuses, with the status it does so with."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class Page(NamedTuple):
    """A part of a list."""

    rows: list[Document]
    links: dict[str, dict[str, str]]
    """``next`` and ``prev``, with the parameters that lead there."""


def alerts_page(alerts: list[Document], query: Mapping[str, str]) -> Page:
    """The alerts that a query asks for.

    Raises:
        BadParameter: as GitHub refuses it.
    """
    if "page" in query:
        raise BadParameter("Pagination using the `page` parameter is not supported.", 400)
    size = page_size(query)
    sort, direction = _SORTS.get(query.get("sort", "created")), query.get("direction", "desc")
    if sort is None or direction not in _DIRECTIONS:
        raise BadParameter("Invalid request: sort or direction")
    states = {state.strip() for state in query["state"].split(",")} if query.get("state") else STATES
    if not states <= STATES:
        raise BadParameter("Invalid request: state")

    def place(alert: Document) -> tuple[str, int]:
        return alert[sort], alert["number"]

    down = direction == "desc"
    rows = sorted((alert for alert in alerts if alert["state"] in states), key=place, reverse=down)
    ahead, behind = query.get("after"), query.get("before")
    if ahead:
        limit = _opened(ahead)
        rows = [row for row in rows if (place(row) < limit if down else place(row) > limit)]
        page = rows[:size]
    elif behind:
        limit = _opened(behind)
        rows = [row for row in rows if (place(row) > limit if down else place(row) < limit)]
        page = rows[-size:]
    else:
        page = rows[:size]
    kept = {name: value for name, value in query.items() if name not in {"after", "before"}}
    links: dict[str, dict[str, str]] = {}
    if page and (behind or page[-1] is not rows[-1]):
        links["next"] = kept | {"after": _cursor(place(page[-1]))}
    if page and (ahead or page[0] is not rows[0]):
        links["prev"] = kept | {"before": _cursor(place(page[0]))}
    return Page(page, links)


def numbered_page(rows: list[Document], query: Mapping[str, str]) -> Page:
    """The part of a list with page numbers."""
    size, page = page_size(query), int(query.get("page", "1"))
    links: dict[str, dict[str, str]] = {}
    last = max(1, -(-len(rows) // size))
    if page < last:
        links["next"] = {"per_page": str(size), "page": str(page + 1)}
        links["last"] = {"per_page": str(size), "page": str(last)}
    if page > 1:
        links["first"] = {"per_page": str(size), "page": "1"}
        links["prev"] = {"per_page": str(size), "page": str(page - 1)}
    return Page(rows[(page - 1) * size : page * size], links)


def link_header(url: str, links: Mapping[str, Mapping[str, str]]) -> str:
    """The value of ``Link``."""
    return ", ".join(f'<{url}?{urlencode(parameters)}>; rel="{name}"' for name, parameters in links.items())


def page_size(query: Mapping[str, str]) -> int:
    """What ``per_page`` asks for, within GitHub's bounds."""
    text = query.get("per_page", str(DEFAULT))
    if not text.isdigit():
        return DEFAULT
    return min(max(int(text), 1), MOST)


def _cursor(place: tuple[str, int]) -> str:
    return base64.urlsafe_b64encode(b"v1:" + orjson.dumps(place)).decode()


def _opened(cursor: str) -> tuple[str, int]:
    try:
        place: Any = orjson.loads(base64.urlsafe_b64decode(cursor.encode()).removeprefix(b"v1:"))
        return str(place[0]), int(place[1])
    except (binascii.Error, ValueError, LookupError, TypeError) as error:
        raise BadParameter("Invalid cursor") from error
