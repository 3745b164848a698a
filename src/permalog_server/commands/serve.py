"""``permalog serve``."""

from __future__ import annotations

from permalog_server.commands.options import LOOPBACK, Host, Json, Port
from permalog_server.sealer import sealing
from permalog_server.serving import serve as run
from permalog_server.vouching import vouching
from permalog_server.wiring import open_database, open_log, signing_key
from permalog_server.working import working


def serve(*, host: Host = LOOPBACK, port: Port = 8080, as_json: Json = False) -> None:
    """Serve the HTTP API, do the background work, and seal events where the login may.

    Ends at Ctrl-C or SIGTERM: running answers end, and everything recorded is stored. Migrates first when the database
    is the embedded one.
    """
    with (
        open_database() as place,
        open_log(place) as log,
        sealing(log, place),
        vouching(log, place),
        working(log, place),
    ):
        run(log, keys=signing_key(place), host=host, port=port, as_json=as_json)
