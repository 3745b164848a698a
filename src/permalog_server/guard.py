"""What stands before every request: limits of size, time and number, request ids, security headers, the access log.

Plain ASGI, so that it sees the body before anything reads it and the answer as it leaves.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect

from permalog_server.metrics import DURATION, IN_FLIGHT, REQUESTS
from permalog_server.paths import template_of
from permalog_server.problem import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log: Final = structlog.get_logger("permalog.http")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one token, and all requests together may take."""

    body: int = 16 * 1024 * 1024
    """Bytes of one body: 1,000 events of 16 KiB."""
    bodies: int = 256 * 1024 * 1024
    """Bytes of all bodies in work together: bounds what they make the process hold."""
    query: int = 16 * 1024
    at_once: int = 256
    """Requests in work; further ones are told to come back, which costs next to nothing."""
    at_once_each: int = 64
    """The same for one token: nobody takes all the places."""
    body_seconds: float = 30.0
    """For a whole body to arrive: a trickle does not hold a place for ever."""
    send_seconds: float = 60.0
    """For one piece of an answer to be taken: who stops reading an export loses it."""
    linger_seconds: float = 5.0
    """For the rest of a body that nobody wants: closing at once would take the answer away from who still sends."""


_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
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


class _ReaderLeft(Exception):
    """The client has stopped reading."""


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app: Final = app
        self.limits: Final = limits
        self._in_work = 0
        self._each: Final[Counter[bytes]] = Counter()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(self, scope, receive, send)
        try:
            request.refuse_unfit()
            await self._app(scope, request.receive, request.send)
        except Problem as problem:
            await request.answer(problem)
        except (_ReaderLeft, ClientDisconnect):
            request.note("reader left")
        except asyncio.CancelledError:
            request.note("stopped")
            raise
        except Exception:  # noqa: BLE001  whatever it is, the client gets a problem document
            _log.exception("fault", request_id=request.id, route=request.route)
            await request.answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of ours; it has been noted"))
        finally:
            request.leave()
            request.finish()

    def enter(self, token: bytes) -> None:
        """Takes a place.

        Raises:
            Problem: there is none; nothing was taken.
        """
        if self._in_work >= self.limits.at_once:
            raise _busy("too many requests at once")
        if token and self._each[token] >= self.limits.at_once_each:
            raise _busy(f"more than {self.limits.at_once_each} requests of this token at once")
        self._in_work += 1
        self._each[token] += 1
        IN_FLIGHT.set(self._in_work)

    def leave(self, token: bytes, size: int) -> None:
        """Gives a place back, and what the body took."""
        self._in_work -= 1
        self._bytes -= size
        self._each[token] -= 1
        if not self._each[token]:
            del self._each[token]
        IN_FLIGHT.set(self._in_work)

    def hold(self, size: int) -> None:
        """Makes room for a piece of a body.

        Raises:
            Problem: all bodies together are too large.
        """
        if self._bytes + size > self.limits.bodies:
            raise _busy("the bodies of all requests in work are too large together")
        self._bytes += size


class _Request:
    """One request, watched."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard: Final = guard
        self._limits: Final = guard.limits
        self._scope: Final = scope
        self._receive: Final = receive
        self._send: Final = send
        self._headers: Final = {name.lower(): value for name, value in scope["headers"]}
        self._token: Final = self._headers.get(b"authorization") or self._headers.get(b"cookie", b"")
        given = self._headers.get(b"x-request-id", b"").decode("latin-1")
        self.id: Final = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.id
        self._started: Final = time.perf_counter()
        self._body = 0
        self._is_whole = (
            self._headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in self._headers
        )
        self._is_inside = False
        self._status = 0
        self._end = "answered"

    @property
    def route(self) -> str:
        """The route's template, never the path: ids stay out of logs and metrics."""
        return template_of(self._scope)

    def refuse_unfit(self) -> None:
        """Takes a place, and raises what needs no look at the body."""
        self._guard.enter(self._token)
        self._is_inside = True
        query: bytes = self._scope["query_string"]
        if len(query) > self._limits.query:
            raise Problem(HTTPStatus.REQUEST_URI_TOO_LONG, f"the query is longer than {self._limits.query} bytes")
        if not _is_text(query) or not _is_text(self._scope.get("raw_path", b"")):
            raise Problem(HTTPStatus.BAD_REQUEST, "the path or the query is not valid UTF-8")
        if b"content-encoding" in self._headers:
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as it is, without Content-Encoding")
        length = self._headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self._limits.body:
            raise self._too_large()

    async def receive(self) -> Message:
        """A piece of the body, within the limits of size and time."""
        if self._is_whole:  # what comes now is the end of the connection
            return await self._receive()
        left = self._limits.body_seconds - (time.perf_counter() - self._started)
        try:
            async with asyncio.timeout(max(left, 0.001)):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {self._limits.body_seconds:.0f} seconds"
            ) from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._is_whole = not message.get("more_body")
            if self._body + size > self._limits.body:
                raise self._too_large()
            self._guard.hold(size)
            self._body += size
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer, with our headers on the first."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS if name not in present]
            if not self._is_whole:
                added.append((b"connection", b"close"))
            message["headers"] = [*message["headers"], *added, (b"x-request-id", self.id.encode())]
        elif not message.get("more_body") and not self._is_whole:
            await self._passed_on({**message, "more_body": True})
            self.leave()
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._passed_on(message)

    async def answer(self, problem: Problem) -> None:
        """Answers with a problem, unless an answer has begun."""
        if self._status:
            self.note("broken off")
            return
        try:
            await problem.response()(self._scope, self._receive, self.send)
        except _ReaderLeft:
            self.note("reader left")

    def note(self, end: str) -> None:
        """Says how the request ended, for the log."""
        self._end = end if self._end == "answered" else self._end

    def leave(self) -> None:
        """Gives the place back, once."""
        if self._is_inside:
            self._is_inside = False
            self._guard.leave(self._token, self._body)

    def finish(self) -> None:
        """Counts and logs: the route, never the path, the query or anything personal."""
        seconds = time.perf_counter() - self._started
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        route = self.route
        REQUESTS.labels(method, route, str(self._status)).inc()
        DURATION.labels(route).observe(seconds)
        _log.info(
            "request", request_id=self.id, method=method, route=route, status=self._status,
            milliseconds=round(seconds * 1000, 1), end=self._end,
        )  # fmt: skip

    async def _passed_on(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._limits.send_seconds):
                await self._send(message)
        except TimeoutError:
            self._end = "reader stopped"
            raise _ReaderLeft from None

    async def _linger(self) -> None:
        """Lets who still sends a body that nobody wants come to its end, for a while."""
        try:
            async with asyncio.timeout(self._limits.linger_seconds):
                message: Message = {"type": "http.request", "more_body": True}
                while message["type"] == "http.request" and message.get("more_body"):
                    message = await self._receive()
        except TimeoutError:
            self.note("closed before the end of the body")

    def _too_large(self) -> Problem:
        return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {self._limits.body} bytes")


def _busy(detail: str) -> Problem:
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": "1"})


def _is_text(encoded: bytes) -> bool:
    try:
        unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        return False
    return True
