"""``permalog serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from permalog_server.commands.options import Json
from permalog_server.serving import serve as run
from permalog_server.wiring import open_log


def serve(
    *,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0: any free one.")] = 8080,
    as_json: Json = False,
) -> None:
    """Serve the HTTP API.

    Ends at Ctrl-C or SIGTERM: running answers end, and everything recorded is stored. Migrates first when the database
    is the embedded one.
    """
    with open_log() as log:
        run(log, host=host, port=port, as_json=as_json)
