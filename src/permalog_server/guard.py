"""What stands before every request: limits of size, time and number, request ids, security headers, the access log.

Plain ASGI, so that it sees the body before anything reads it and the answer as it leaves.
"""

from __future__ import annotations

import asyncio
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from permalog_server.metrics import DURATION, IN_FLIGHT, REQUESTS
from permalog_server.problem import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log: Final = structlog.get_logger("permalog.http")

MOST_BODY: Final = 16 * 1024 * 1024
"""1,000 events of 16 KiB; bounds what one request can make the process hold."""
MOST_QUERY: Final = 16 * 1024
MOST_AT_ONCE: Final = 256
"""Requests in work; further ones are told to come back, which costs next to nothing."""
BODY_SECONDS: Final = 30.0
"""For a whole body to arrive: a trickle does not hold a place for ever."""
SEND_SECONDS: Final = 60.0
"""For one piece of an answer to be taken: who stops reading an export loses it."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def template_of(scope: Scope) -> str:
    """The path of a request with the names of its parameters in their places; ``none`` where no route matched."""
    if "endpoint" not in scope:
        return "none"
    names = {str(value): f"{{{name}}}" for name, value in scope["path_params"].items()}
    return "/".join(names.get(part, part) for part in str(scope["path"]).split("/"))


class _ReaderLeft(Exception):
    """The client has gone, or has stopped reading."""


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app: Final = app
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send)
        self._in_work += 1
        IN_FLIGHT.set(self._in_work)
        try:
            request.refuse_unfit(busy=self._in_work > MOST_AT_ONCE)
            await self._app(scope, request.receive, request.send)
        except Problem as problem:
            await request.answer(problem)
        except (_ReaderLeft, OSError):
            request.note("reader left")
        except Exception:  # noqa: BLE001  whatever it is, the client gets a problem document
            _log.exception("fault", request_id=request.id, route=request.route)
            await request.answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of ours; it has been noted"))
        finally:
            self._in_work -= 1
            request.finish()


class _Request:
    """One request, watched."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope: Final = scope
        self._receive: Final = receive
        self._send: Final = send
        self._headers: Final = {name.lower(): value for name, value in scope["headers"]}
        given = self._headers.get(b"x-request-id", b"").decode("latin-1")
        self.id: Final = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.id
        self._started: Final = time.perf_counter()
        self._body_until: Final = time.monotonic() + BODY_SECONDS
        self._body = 0
        self._status = 0
        self._end = "answered"

    @property
    def route(self) -> str:
        """The route's template, never the path: ids stay out of logs and metrics."""
        return template_of(self._scope)

    def refuse_unfit(self, *, busy: bool) -> None:
        """Raises what needs no look at the body."""
        if busy:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at once", headers={"Retry-After": "1"})
        if len(self._scope["query_string"]) > MOST_QUERY:
            raise Problem(HTTPStatus.REQUEST_URI_TOO_LONG, f"the query is longer than {MOST_QUERY} bytes")
        if b"content-encoding" in self._headers:
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as it is, without Content-Encoding")
        length = self._headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > MOST_BODY:
            raise _too_large()

    async def receive(self) -> Message:
        """A piece of the body, within the limits of size and time."""
        left = self._body_until - time.monotonic()
        if self._body < 0:  # the body is whole: what comes now is the end of the connection
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {BODY_SECONDS:.0f} seconds") from None
        if message["type"] == "http.request":
            self._body += len(message.get("body", b""))
            if self._body > MOST_BODY:
                raise _too_large()
            if not message.get("more_body"):
                self._body = -1
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer, with our headers on the first."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS if name not in present]
            message["headers"] = [*message["headers"], *added, (b"x-request-id", self.id.encode())]
        try:
            await asyncio.wait_for(self._send(message), SEND_SECONDS)
        except TimeoutError:
            self._end = "reader stopped"
            raise _ReaderLeft from None

    async def answer(self, problem: Problem) -> None:
        """Answers with a problem, unless an answer has begun."""
        if not self._status:
            await problem.response()(self._scope, self._receive, self.send)

    def note(self, end: str) -> None:
        """Says how the request ended, for the log."""
        self._end = end if self._end == "answered" else self._end

    def finish(self) -> None:
        """Counts and logs: the route, never the path, the query or anything personal."""
        seconds = time.perf_counter() - self._started
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        REQUESTS.labels(method, self.route, str(self._status)).inc()
        DURATION.labels(self.route).observe(seconds)
        _log.info(
            "request", request_id=self.id, method=method, route=self.route, status=self._status,
            milliseconds=round(seconds * 1000, 1), end=self._end,
        )  # fmt: skip


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


def _too_large() -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MOST_BODY} bytes")
