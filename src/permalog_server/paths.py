"""Paths, as the service speaks of them: with the names of their parameters in the places of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Scope

PERSONAL: Final = "/v1"
ORGANIZATION: Final = "/v1/organizations/{organization_id}"
"""What stands before the routes of a person's own log, and of an organisation's."""


def template_of(scope: Scope) -> str:
    """The path of a request with the names of its parameters in their places; ``none`` where no route matched.

    Made of what the route says of itself, never of the path: an id in it must not get into logs and metrics.
    """
    route = getattr(scope.get("route"), "path_format", None)
    if route is None:
        return "none"
    # A route of an included router does not know the prefix it was included under.
    if not scope["path"].startswith(PERSONAL + "/"):
        return str(route)
    return (ORGANIZATION if "organization_id" in scope["path_params"] else PERSONAL) + route
