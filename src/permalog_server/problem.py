"""Errors as the API answers them: RFC 9457 problem documents that name the field."""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from psycopg import InterfaceError, OperationalError
from psycopg.errors import ReadOnlySqlTransaction
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from permalog.errors import (
    ContentConflict,
    DatabaseProblem,
    EventNotFound,
    InvalidEvent,
    InvalidQuery,
    NoEvidence,
    NotAllowed,
    NotProven,
    NotSealed,
)
from permalog_server.accounts import UnknownToken
from permalog_server.paths import template_of
from security_agent import errors as agent
from security_agent import github
from security_agent.analysis import TooMany
from security_agent.errors import AgentError
from security_agent.llm import OutOfCredit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastapi import FastAPI

_log: Final = structlog.get_logger("permalog.http")

MEDIA_TYPE: Final = "application/problem+json"
_TITLES: Final = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
"""As RFC 9110 has them; what Python calls these three depends on its version."""


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="The member or parameter, such as `limit` or `events[3].actor.id`.")
    reason: str = Field(description="What is wrong with it, without its value.")


class ProblemDocument(BaseModel):
    """RFC 9457: what went wrong, for programs and people."""

    type: str = Field(default="about:blank", description="Nothing beyond what the status says.")
    title: str = Field(description="The status in words.", examples=["Unprocessable Content"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What is the matter, in a sentence.", examples=["limit: must be 1 to 100"])
    errors: list[Fault] = Field(default=[], description="Which fields are wrong, where it is about fields.")


class Problem(Exception):
    """An error that a client is told."""

    def __init__(
        self, status: int, detail: str, faults: Sequence[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status: Final = int(status)
        self.detail: Final = detail
        self.faults: Final = faults
        self.headers: Final = headers

    def document(self) -> bytes:
        """The problem document as JSON."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": title_of(self.status),
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            body["errors"] = [{"field": field, "reason": reason} for field, reason in self.faults]
        return orjson.dumps(body)

    def response(self) -> Response:
        """The answer."""
        return Response(self.document(), self.status, self.headers, MEDIA_TYPE)


_OF_THE_GUARD: Final = (400, 413, 414, 415, 429)


def title_of(status: int) -> str:
    """A status in words."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def invalid(field: str, reason: str) -> Problem:
    """A request that breaks a rule."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {reason}", [(field, reason)])


def unauthorized(detail: str) -> Problem:
    """No token, or none that is valid."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's errors, those included that every route has from the guard."""
    return {
        status: {
            "description": title_of(status),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDocument"},
                    "example": orjson.loads(_EXAMPLES[status].document()),
                }
            },
        }
        for status in sorted({*statuses, *_OF_THE_GUARD})
    }


def of(error: Exception) -> Problem | None:  # noqa: C901, PLR0911  one return a kind of error
    """The problem that an error of the library means to a client; None: it is a fault of ours."""
    match error:
        case Problem():
            return error
        case UnknownToken():
            return unauthorized(str(error))
        case NotAllowed():
            return Problem(HTTPStatus.FORBIDDEN, str(error), [(error.field, error.reason)])
        case InvalidQuery() | InvalidEvent():
            return invalid(error.field, error.reason)
        case EventNotFound():
            return Problem(HTTPStatus.NOT_FOUND, "there is no such event in this log")
        case NotSealed():
            return Problem(HTTPStatus.CONFLICT, str(error), headers={"Retry-After": "2"})
        case ContentConflict() | NoEvidence() | NotProven():
            return _conflict(error)
        case AgentError():
            return _of_the_agent(error)
        case DatabaseProblem() | OperationalError() | InterfaceError() | PoolTimeout() | ReadOnlySqlTransaction():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be reached", headers={"Retry-After": "5"}
            )
        case RequestValidationError():
            return of_faults(error.errors())
        case HTTPException():
            return Problem(
                error.status_code, _SENTENCES.get(error.status_code, str(error.detail)), headers=error.headers
            )
        case _:
            return None


def _conflict(error: ContentConflict | NoEvidence | NotProven) -> Problem:
    match error:
        case ContentConflict():
            return Problem(HTTPStatus.CONFLICT, str(error), [(error.field, "was used before with other content")])
        case NoEvidence():
            return Problem(HTTPStatus.CONFLICT, str(error))
        case NotProven():
            return Problem(HTTPStatus.CONFLICT, "the log is not as it was sealed: its operator can see where")


def _of_the_agent(error: AgentError) -> Problem | None:
    """What an error of the security agent, or of GitHub behind it, means to a client."""
    if isinstance(error, agent.Invalid):
        return invalid(error.field, error.reason)
    status = next((status for kind, status in _OF_THE_AGENT if isinstance(error, kind)), None)
    if status is None:
        return None
    return Problem(
        status,
        str(error),
        headers={"Retry-After": "60"} if status in {_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS} else None,
    )


_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
_OF_THE_AGENT: Final[tuple[tuple[type[AgentError], HTTPStatus], ...]] = (
    (OutOfCredit, HTTPStatus.PAYMENT_REQUIRED), (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (agent.NotFound, HTTPStatus.NOT_FOUND), (agent.Conflict, HTTPStatus.CONFLICT),
    (github.BadName, HTTPStatus.UNPROCESSABLE_ENTITY), (github.NotFound, HTTPStatus.NOT_FOUND),
    (github.Suspended, HTTPStatus.CONFLICT), (github.Unauthorized, HTTPStatus.CONFLICT),
    (github.Forbidden, HTTPStatus.CONFLICT), (github.Refused, HTTPStatus.CONFLICT),
    (github.RateLimited, _UNAVAILABLE), (github.Unreachable, _UNAVAILABLE),
    (github.GitHubError, HTTPStatus.BAD_GATEWAY),
)  # fmt: skip
"""The first that fits. What GitHub forbids or refuses is for the owner to put right there: the state conflicts."""


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = of(error)
        if problem is None:
            raise error
        if isinstance(error, NotProven):
            _log.error("not proven", request_id=request.state.request_id, code=error.code.value)
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            _log.error("no database", request_id=request.state.request_id, exc_info=error)
        response = problem.response()
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = _methods(app, template_of(request.scope)) or response.headers["Allow"]
        return response

    for kind in (Problem, UnknownToken, InvalidQuery, InvalidEvent, EventNotFound, ContentConflict, NotSealed):
        app.add_exception_handler(kind, answer)
    for kind in (NoEvidence, NotProven):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(AgentError, answer)
    for kind in (DatabaseProblem, OperationalError, InterfaceError, ReadOnlySqlTransaction, PoolTimeout):
        app.add_exception_handler(kind, answer)
    for kind in (RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def of_faults(found: Iterable[Mapping[str, Any]]) -> Problem:
    """What pydantic found wrong with a request: the fields and the reasons, without values."""
    faults: list[tuple[str, str]] = []
    for fault in islice(found, _MOST_FAULTS):
        where = fault["loc"]
        if where and where[0] in {"query", "path", "body", "header"}:
            where = where[1:] or where
        unknown = "unknown parameter" if fault["loc"][:1] == ("query",) else "unknown member"
        reason = unknown if fault["type"] == "extra_forbidden" else str(fault["msg"])
        faults.append((".".join(str(part) for part in where)[:200] or "body", reason))
    field, reason = faults[0]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {reason}", faults)


_MOST_FAULTS: Final = 20
"""Thousands of wrong parameters do not make a long answer."""
_SENTENCES: Final = {
    404: "there is nothing here; GET / says what there is",
    405: "this route has other methods; see /openapi.json",
}


def _methods(app: FastAPI, template: str) -> str | None:
    """All methods of a path: the router knows only those of the first route that has it."""
    return ", ".join(method.upper() for method in app.openapi()["paths"].get(template, ())) or None


_EXAMPLES: Final = {
    example.status: example
    for example in (
        Problem(400, "the path or the query is not valid UTF-8"),
        Problem(401, "this token is not valid, or no longer"),
        Problem(402, "the model's endpoint is out of credit: top it up, or set another one"),
        Problem(403, "the role member may not do this"),
        Problem(404, "there is no such organisation, or you are not a member of it"),
        Problem(408, "the body took longer than 30 seconds"),
        Problem(409, "the configuration was changed meanwhile: its revision is 3; read it, and save again"),
        Problem(413, "the body is larger than 16777216 bytes"),
        Problem(414, "the query is longer than 16384 bytes"),
        Problem(415, "send the body as Content-Type: application/json"),
        invalid("end", "is before start"),
        Problem(429, "more than 120000 requests in a minute"),
        Problem(502, "GitHub gave an answer that is none of its kind"),
        Problem(503, "the database cannot be reached"),
    )
}
"""One of each status, for the OpenAPI document."""
