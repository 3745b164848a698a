"""Pages made of templates: escaped throughout, and sent with a policy that lets nothing in from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from permalog_server.pages.assets import address_of
from permalog_server.sessions import csrf_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from permalog import Owner
    from permalog_server.accounts import Holder
    from permalog_server.sessions import Organization

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""No inline scripts or styles, no other origin, no frame around us."""


_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with none at all, browsers say of our own forms that they come from nowhere
    "Vary": "HX-Request, Cookie",
}


class Choice(NamedTuple):
    """A log that one may look into."""

    label: str
    href: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class Shell:
    """What stands around a page: who is signed in, and where else they may go."""

    who: str
    is_staff: bool
    log: str
    """What the log that is shown is called."""
    choices: list[Choice]
    csrf: str


_environment: Final = Environment(
    loader=PackageLoader("permalog_server.pages"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
cast("dict[str, object]", _environment.globals)["asset"] = address_of
_environment.filters["events"] = lambda number: "1 event" if number == 1 else f"{number:,} events"


def shell_of(session: str, holder: Holder, owner: Owner, organizations: list[Organization]) -> Shell:
    """What stands around the pages of an owner's log."""
    choices = [Choice("My own log", log_path(None), owner.organization_id is None)] + [
        Choice(one.label, log_path(str(one.id)), one.id == owner.organization_id) for one in organizations
    ]
    here = next((choice.label for choice in choices if choice.is_here), f"Organisation {owner.organization_id}")
    who = holder.name or holder.email or holder.user_id
    return Shell(who, holder.staff, here, choices, csrf_of(session))


def log_path(organization: str | None) -> str:
    """Where the page of a log is."""
    return "/audit-log" if organization is None else f"/organizations/{organization}/audit-log"


def page(template: str, context: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """A page, for whoever asked and nobody else."""
    text = _environment.get_template(template).render(context)
    return HTMLResponse(text, status, _HEADERS)


def is_partial(request: Request) -> bool:
    """Whether a script asks, for a part of the page that is shown already."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"
