"""Signing in and out: by a link that is printed where Permalog starts, or by the organisation's OpenID provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from permalog import Actor, Event, Owner, Resource
from permalog_server.pages.provider import CALLBACK, Provider, new_attempt
from permalog_server.pages.rendering import log_path, page
from permalog_server.pages.visiting import SIGN_IN, Looker, PageRoute, form_of, safe_next
from permalog_server.problem import Problem
from permalog_server.sessions import (
    NoSignIn,
    clear_session,
    is_own_origin,
    is_secure,
    session_of,
    set_session,
)

if TYPE_CHECKING:
    from permalog_server.entry import Desk

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

_ATTEMPT: Final = "permalog_sign_in"
_ATTEMPT_SECONDS: Final = 10 * 60
_SIGNED_IN: Final = "security.access.signed_in"


@router.get(SIGN_IN)
def choose(request: Request, next: str | None = None) -> Response:
    """How one may sign in here."""
    return _choose(request, safe_next(next))


@router.get("/sign-in/link/{secret}")
def ask(request: Request, secret: str) -> Response:
    """Asks before the link is used up: programs that look at links, such as those of a chat, sign nobody in."""
    return page("link.html", {"secret": secret[:100], "is_signed_in": session_of(request) is not None})


@router.post("/sign-in/link")
async def use_link(request: Request) -> Response:
    """Signs in by a link, once."""
    if not is_own_origin(request):
        raise Problem(403, "this form does not come from a page of ours")
    secret = next((value for name, value in await form_of(request) if name == "secret"), "")

    def signed_in() -> Response:
        user = _desk(request).sessions.use_link(secret)
        return _begin(request, user, "link", None)

    return await run_in_threadpool(_told, request, signed_in)


@router.get("/sign-in/provider")
def begin(request: Request, next: str | None = None) -> Response:
    """Sends the browser to the OpenID provider."""
    attempt = new_attempt()

    def sent() -> Response:
        response = RedirectResponse(_provider(request).address(attempt), 303)
        _remember(request, response, f"{attempt} {safe_next(next)}")
        return response

    return _told(request, sent)


@router.get(CALLBACK)
def come_back(
    request: Request, state: Annotated[str, Query(max_length=200)] = "", code: Annotated[str | None, Query()] = None
) -> Response:
    """Where the provider sends the browser back to."""
    attempt, _, wanted = request.cookies.get(_ATTEMPT, "").partition(" ")

    def signed_in() -> Response:
        if code is None:
            raise NoSignIn("the sign-in service let nobody in")
        person = _provider(request).person(attempt, str(request.url), state)
        try:
            _desk(request).accounts.ensure_person(person.id, email=person.email, name=person.name)
        except ValueError as error:
            raise NoSignIn("this account was deleted") from error
        return _begin(request, person.id, "openid", safe_next(wanted))

    response = _told(request, signed_in)
    response.delete_cookie(_ATTEMPT, path=SIGN_IN, secure=is_secure(request), httponly=True, samesite="lax")
    return response


@router.post("/sign-out")
async def sign_out(looker: Looker) -> Response:
    """Ends the session, here and at once."""
    await looker.form()
    await run_in_threadpool(looker.visit.desk.sessions.end, looker.session)
    response = RedirectResponse(SIGN_IN, 303)
    clear_session(looker.request, response)
    return response


def _begin(request: Request, user_id: str, method: str, target: str | None) -> Response:
    """A new session in the place of the old one, on record."""
    desk = _desk(request)
    begun = desk.sessions.begin(user_id)
    desk.sessions.end(session_of(request))
    _record(request, desk, user_id, method)
    response = RedirectResponse(target or _home(desk, user_id), 303)
    set_session(request, response, begun)
    return response


def _home(desk: Desk, user_id: str) -> str:
    """The log that somebody most likely wants to see: that of their first organisation, else their own."""
    offered = desk.sessions.organizations(user_id, staff=False)
    return log_path(str(offered[0].id) if offered else None)


def _record(request: Request, desk: Desk, user_id: str, method: str) -> None:
    """In the person's own log; that of the operator for staff."""
    standing = desk.accounts.standing(user_id, None)
    if standing is None:
        raise NoSignIn("this account was deleted")
    make = Actor.staff if standing.staff else Actor.user
    agent = request.headers.get("user-agent", "").replace("\0", "")[:2048] or None
    address = request.client.host[:45] if request.client else None
    owner = Owner.organization(desk.accounts.operator()) if standing.staff else Owner.user(user_id)
    desk.log.record(
        Event(
            owner=owner, action=_SIGNED_IN, source="web", resource=Resource("user", user_id),
            actor=make(user_id, email=standing.email, name=standing.name, ip_address=address, user_agent=agent),
            metadata={"method": method},
        )
    )  # fmt: skip


def _told(request: Request, sign_in: Callable[[], Response]) -> Response:
    """What comes of an attempt; a failure is told on the page where one may try again."""
    try:
        return sign_in()
    except NoSignIn as error:
        return _choose(request, "/audit-log", str(error), 403)


def _choose(request: Request, target: str, fault: str | None = None, status: int = 200) -> Response:
    context = {"has_provider": request.app.state.openid is not None, "next": target, "fault": fault}
    return page("sign_in.html", context, status)


def _provider(request: Request) -> Provider:
    openid, base_url = request.app.state.openid, request.app.state.base_url
    if openid is None or base_url is None:
        raise Problem(404, "no sign-in service is set up here")
    kept: Provider | None = request.app.state.provider
    if kept is None:
        kept = request.app.state.provider = Provider(openid, base_url)
    return kept


def _remember(request: Request, response: Response, attempt: str) -> None:
    response.set_cookie(
        _ATTEMPT, attempt, max_age=_ATTEMPT_SECONDS, path=SIGN_IN, secure=is_secure(request), httponly=True,
        samesite="lax",
    )  # fmt: skip


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
