"""The API as a process: listening, saying where, and ending in good order."""

from __future__ import annotations

import resource
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import orjson
import uvicorn
from typing_extensions import override

from permalog_server import logs
from permalog_server.app import create_app
from permalog_server.sessions import LINK_SECONDS
from permalog_server.wiring import journal, open_github, settings
from permalog_server.working import means

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from permalog import Permalog
    from permalog.sealing.keys import Keys
    from security_agent.github import GitHub

GRACE_SECONDS: Final = 20
"""How long running answers may go on after the signal to stop; an export that is not done then is recorded as such."""
KEEP_ALIVE_SECONDS: Final = 15
BACKLOG: Final = 2048
HEAD: Final = 128 * 1024
"""Bytes of a request's line and headers; enough to tell who sends a query of 100 kB that it is too long."""


def serve(  # noqa: PLR0913  what is served, and where
    log: Permalog,
    *,
    keys: Keys | None,
    host: str,
    port: int,
    as_json: bool = False,
    github: GitHub | None = None,
    visitor: str | None = None,
) -> None:
    """Serves API and pages over an open log until a signal ends it.

    ``github`` stands in for the App of the settings; a link is printed that signs in the ``visitor``.
    """
    chosen = settings()
    with open_github() if github is None else nullcontext(github) as asked:
        app = create_app(
            log, journal=journal(), keys=keys, github=asked, means=means(), internal_secret=chosen.internal_secret,
            webhook_secret=chosen.github_webhook_secret, public_logs=chosen.are_logs_public,
            base_url=chosen.base_url, openid=chosen.openid,
        )  # fmt: skip
        link = None if visitor is None else f"/sign-in/link/{app.state.desk.sessions.make_link(visitor)}"
        run(app, host=host, port=port, as_json=as_json, link=link)


def run(app: FastAPI, *, host: str, port: int, as_json: bool = False, link: str | None = None) -> None:
    """Serves an application until a signal ends it, and says where once it listens, and where to sign in."""
    _allow_many_files()
    logs.configure()
    _Announcing(app, listening(app, host, port), as_json=as_json, link=link).run()


def listening(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How the API is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
        http="h11",  # bounds the size of a request's head; httptools does not
        h11_max_incomplete_event_size=HEAD,
        ws="none",
    )


class _Announcing(uvicorn.Server):
    """Says the address once it is listened on: only then is the port known, and does a request get through."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, *, as_json: bool, link: str | None) -> None:
        super().__init__(config)
        self._link: Final = link
        self._app: Final = app
        self._as_json: Final = as_json

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tails go on until somebody ends them: told so now, their readers know where to go on."""
        for end in getattr(getattr(self._app, "state", None), "at_end", ()):
            await anyio.to_thread.run_sync(end)
        await super().shutdown(sockets)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            print(self._said(address))
            sys.stdout.flush()

    def _said(self, address: str) -> str:
        link = None if self._link is None else address + self._link
        if self._as_json:
            return orjson.dumps({"address": address, **({"sign_in": link} if link else {})}).decode()
        said = f"Permalog serves {address}"
        return f"{said}\nSign in, once, within {LINK_SECONDS // 60} minutes: {link}" if link else said


def _allow_many_files() -> None:
    """A connection is an open file, and the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
