"""``permalog serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from permalog_server.accounts import Accounts
from permalog_server.commands.options import LOOPBACK, Host, Json, Port
from permalog_server.sealer import sealing
from permalog_server.serving import serve as run
from permalog_server.vouching import vouching
from permalog_server.wiring import open_database, open_log, operator_at_console, signing_key
from permalog_server.working import working

if TYPE_CHECKING:
    from permalog import Permalog


def serve(*, host: Host = LOOPBACK, port: Port = 8080, as_json: Json = False) -> None:
    """Serve the HTTP API and the pages, do the background work, and seal events where the login may.

    Ends at Ctrl-C or SIGTERM: running answers end, and everything recorded is stored. Migrates first when the database
    is the embedded one, and prints a link that signs you in to the pages.
    """
    with (
        open_database() as place,
        open_log(place) as log,
        sealing(log, place),
        vouching(log, place),
        working(log, place),
    ):
        run(
            log, keys=signing_key(place), host=host, port=port, as_json=as_json,
            visitor=None if place.data_dir is None else _operator(log),
        )  # fmt: skip


def _operator(log: Permalog) -> str:
    """Whoever starts Permalog with the embedded database: staff, as the command line reads."""
    user_id = str(operator_at_console().id)
    Accounts(log.database).ensure_person(user_id, staff=True)
    return user_id
