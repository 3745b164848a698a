"""One request and its answer: the only place that knows the HTTP client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import httpx
import orjson

from security_agent.github.errors import BadAnswer

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of an answer: a page of a hundred alerts has one or two millions. Bounds what a broken server can send."""
CONNECTIONS: Final = 16
"""At a time; GitHub's secondary limit is a hundred for an App."""


class Lost(Exception):
    """There was no answer, or it broke off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in small letters or any other."""
    body: bytes
    url: str
    """What was asked, absolute."""

    def json(self) -> Any:  # noqa: ANN401  whoever reads it checks it: `answers`
        """The body as JSON.

        Raises:
            BadAnswer: it is none.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise BadAnswer("an answer that is no JSON", status=self.status) from error


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long is waited, in seconds."""

    connect: float = 10.0
    read: float = 30.0
    """Between two pieces of an answer."""
    whole: float = 120.0
    """For one answer as a whole: a server that sends a byte a second does not hold us."""


@final
class Transport:
    """Sends requests to GitHub; follows nothing by itself. Safe for threads."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.whole),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            follow_redirects=False,
        )

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> Answer:
        """Sends one request, and takes the whole answer.

        Raises:
            Lost: no answer in time, or it broke off.
            BadAnswer: it is too large.
        """
        end = time.monotonic() + self._timeouts.whole
        try:
            with self._client.stream(method, url, headers=dict(headers), content=content) as response:
                body = self._body(response, end)
                return Answer(response.status_code, response.headers, body, url)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Lost(type(error).__name__) from error

    @staticmethod
    def _body(response: httpx.Response, end: float) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > LARGEST:
                raise BadAnswer("an answer that is too large", status=response.status_code)
            if time.monotonic() > end:
                raise Lost("not answered in time")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()
