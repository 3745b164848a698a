"""The stand-in as a server on a loopback socket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self, final

import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from permalog_server.standin.answering import Answer, Asked, GitHubRules, problem
from permalog_server.standin.faults import Fault, Faults
from permalog_server.standin.world import Seen, World

PIECE: Final = 64
"""Bytes of an answer that drips."""
APP_ID: Final = "1"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, for whoever checks them."""

    asked: Asked
    status: int
    headers: dict[str, str]
    body: bytes


@final
class StandIn:
    """A GitHub on this machine, with one App, whose key is made anew for each process.

    Args:
        world: what there is at the beginning.
        observe: is told every request with its answer, but for those that a fault breaks.
        key: the App's key, when it is to be another.
    """

    def __init__(
        self,
        world: World | None = None,
        observe: Callable[[Exchange], None] | None = None,
        key: rsa.RSAPrivateKey | None = None,
    ) -> None:
        key = key or _key_of_process()
        self.app_id = APP_ID
        self.private_key = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        self.world = world or World()
        self.faults = Faults()
        self.url = ""
        self.errors: list[Exception] = []
        """What went wrong in the stand-in itself, or was found by whoever observes it."""
        self._observe = observe
        self._rules = GitHubRules(self.world, self.app_id, key.public_key(), lambda: self.url)
        self._server = uvicorn.Server(uvicorn.Config(
            self._application, host="127.0.0.1", port=0, log_config=None, log_level="critical", access_log=False,
            lifespan="off", interface="asgi3", timeout_graceful_shutdown=1,
        ))  # fmt: skip
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        """Runs until the end of the block."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the stand-in for GitHub did not start")
            time.sleep(0.002)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self._server.should_exit = True
        self._thread.join(10)

    def fail(self, *faults: Fault) -> None:
        """Adds faults."""
        for fault in faults:
            self.faults.add(fault)

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._exchange(scope, receive, send)
        except Exception as error:
            self.errors.append(error)
            raise

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = await _asked(scope, receive)
        fault = self.faults.next(asked.method, asked.path) or _NO_FAULT
        await asyncio.sleep(fault.delay)
        if fault.drop:
            self._note(asked, 0)
            # Nothing was sent: the server closes the connection.
            return
        answer = self._answer(asked, fault)
        body = fault.body if fault.body is not None else answer.body
        self._note(asked, answer.status)
        if fault.body is None:
            self._show(Exchange(asked, answer.status, answer.headers, body))
        await _send(send, answer, body, fault)

    def _answer(self, asked: Asked, fault: Fault) -> Answer:
        if fault.body is not None or fault.cut or fault.drip:
            # To have something to spoil: nobody is told that nothing has changed.
            asked = asked._replace(headers={k: v for k, v in asked.headers.items() if k != "if-none-match"})
        if fault.status is not None:
            return Answer(fault.status, problem(fault.status, fault.message), dict(fault.headers))
        return self._rules.answer(asked)

    def _show(self, exchange: Exchange) -> None:
        if self._observe is not None:
            try:
                self._observe(exchange)
            except Exception as error:  # noqa: BLE001  whatever it finds is told at the end, and disturbs nobody now
                self.errors.append(error)

    def _note(self, asked: Asked, status: int) -> None:
        with self.world.lock:
            self.world.seen.append(Seen(asked.method, asked.path, asked.query, status))


_NO_FAULT: Final = Fault()


@cache
def _key_of_process() -> rsa.RSAPrivateKey:
    return new_key()


def new_key() -> rsa.RSAPrivateKey:
    """A key for an App."""
    return rsa.generate_private_key(65537, 2048)


async def _asked(scope: Scope, receive: Receive) -> Asked:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Asked(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, body)


async def _send(send: Send, answer: Answer, body: bytes, fault: Fault) -> None:
    headers = {"content-type": "application/json; charset=utf-8", "content-length": str(len(body)), **answer.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if fault.cut:
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return
    if fault.drip:
        for start in range(0, len(body), PIECE):
            await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
            await asyncio.sleep(fault.drip)
        body = b""
    await send({"type": "http.response.body", "body": body})
