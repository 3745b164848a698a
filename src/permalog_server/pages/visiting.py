"""Who looks at a page: a browser's session, admitted by the same rules as the API's tokens; and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import UUID

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from permalog_server import problem
from permalog_server.accounts import UnknownToken
from permalog_server.entry import Entry, Need, Visit
from permalog_server.pages.rendering import Shell, is_partial, log_path, page, shell_of
from permalog_server.pages.wanted import Wanted
from permalog_server.problem import Problem
from permalog_server.sessions import clear_session, proves_its_origin, session_of

if TYPE_CHECKING:
    from permalog import Permalog

SIGN_IN: Final = "/sign-in"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 200
_LONGEST_NEXT: Final = 2000
"""Fits into a cookie."""
_HELP: Final = {
    403: "Somebody who may grant you a role in this organisation can open it to you.",
    404: "The address may be wrong, or it may be about something that you may not see.",
    422: "Take the filter away, or correct it.",
    429: "Wait a minute, and try again.",
    503: "Nothing is lost: what was recorded meanwhile will be there. Try again in a while.",
}


class PageRoute(APIRoute):
    """A route whose errors are pages, and that asks whoever is not signed in to do so."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except UnknownToken:
                return _to_sign_in(request)
            except Exception as error:  # whatever has a meaning for the client becomes a page
                found = problem.of(error)
                if found is None:
                    raise
                return problem_page(request, found)

        return answer


class Caller:
    """A browser at the desk, not yet admitted."""

    def __init__(self, request: Request, organization: UUID | None) -> None:
        self.request: Final = request
        self.session: Final = session_of(request) or ""
        self.visit: Final = Visit(request, None, organization, session=self.session, source="web")

    @property
    def log(self) -> Permalog:
        """The log of the application."""
        return self.visit.log

    def admit(self, need: Need, **details: Any) -> Entry:  # noqa: ANN401  as `Visit.admit`
        """Lets somebody in, as `Visit.admit` does.

        Raises:
            UnknownToken: nobody is signed in.
            Problem: who is may not.
        """
        return self.visit.admit(need, **details)

    def wanted(self, path: str) -> Wanted:
        """What the address asks for."""
        return Wanted.read(path, self.request.query_params.multi_items())

    def shell(self, entry: Entry) -> Shell:
        """What stands around the page."""
        offered = self.visit.desk.sessions.organizations(entry.holder.user_id, staff=entry.holder.staff)
        return shell_of(self.session, entry.holder, entry.owner, offered)

    async def form(self) -> list[tuple[str, str]]:
        """The fields of a form that a page of ours has sent; its token is checked, and left out.

        Raises:
            Problem: it is no such form.
        """
        fields = await form_of(self.request)
        token = next((value for name, value in fields if name == "csrf"), None)
        if not proves_its_origin(self.request, self.session, token):
            raise Problem(403, "this form is too old, or does not come from a page of ours: go back, and load it again")
        return [pair for pair in fields if pair[0] != "csrf"]


def path_of(looker: Caller) -> str:
    """Where the page of the log is that was asked for."""
    organization = looker.visit.organization
    return log_path(None if organization is None else str(organization))


def labels_of(log: Permalog) -> dict[str, str]:
    """What the catalogue's actions are called, by name."""
    return {str(action["name"]): str(action["label"]) for action in log.actions()}


async def form_of(request: Request) -> list[tuple[str, str]]:
    """The fields of a form.

    Raises:
        Problem: the body is none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Problem(415, f"send the form as {_FORM}")
    try:
        text = (await request.body()).decode()
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem(422, "the form cannot be read") from None


def problem_page(request: Request, found: Problem) -> Response:
    """An error, as a page that says what to do."""
    context = {
        "title": problem.title_of(found.status), "detail": found.detail, "help": _HELP.get(found.status, ""),
        "request_id": request.state.request_id,
    }  # fmt: skip
    response = page("problem.html", context, found.status)
    response.headers.update(found.headers or {})
    return response


def safe_next(given: str | None) -> str:
    """Where to go after signing in: a page of ours, whatever an address says."""
    parts = urlsplit(given or "")
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/") and not parts.path.startswith("//")
    if given and len(given) <= _LONGEST_NEXT and is_ours and not any(c in "\\\r\n\t" or ord(c) < 0x20 for c in given):  # noqa: PLR2004  controls
        return given
    return "/audit-log"


def _to_sign_in(request: Request) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = SIGN_IN if request.method != "GET" else f"{SIGN_IN}?next={quote(path, safe='/')}"
    if is_partial(request):  # a part of the page would otherwise hold the page for signing in
        return Response(status_code=204, headers={"HX-Redirect": target})
    response = RedirectResponse(target, 303)
    if session_of(request):
        clear_session(request, response)
    return response


async def _caller(request: Request) -> Caller:
    organization = request.path_params.get("organization_id")
    try:
        return Caller(request, None if organization is None else UUID(organization))
    except ValueError:
        raise Problem(404, "there is no such organisation, or you are not a member of it") from None


Looker: TypeAlias = Annotated[Caller, Depends(_caller)]
"""What every page takes: whoever looks, not yet admitted."""
