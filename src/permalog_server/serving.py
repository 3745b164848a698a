"""The API as a process: listening, saying where, and ending in good order."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Final

import orjson
import uvicorn
from typing_extensions import override

from permalog_server.app import create_app
from permalog_server.wiring import journal

if TYPE_CHECKING:
    import socket

    from permalog import Permalog

GRACE_SECONDS: Final = 20
"""How long running answers may go on after the signal to stop; an export that is not done then is recorded as such."""
KEEP_ALIVE_SECONDS: Final = 15
BACKLOG: Final = 2048


def serve(log: Permalog, *, host: str, port: int, as_json: bool = False) -> None:
    """Serves the API over an open log until a signal ends it."""
    _allow_many_files()
    config = uvicorn.Config(
        create_app(log, journal=journal()),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    _Announcing(config, as_json=as_json).run()


class _Announcing(uvicorn.Server):
    """Says the address once it is listened on: only then is the port known, and does a request get through."""

    def __init__(self, config: uvicorn.Config, *, as_json: bool) -> None:
        super().__init__(config)
        self._as_json: Final = as_json

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            said = orjson.dumps({"address": address}).decode() if self._as_json else f"Permalog serves {address}"
            print(said)
            sys.stdout.flush()


def _allow_many_files() -> None:
    """A connection is an open file, and the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
