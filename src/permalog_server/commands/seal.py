"""``permalog seal``."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from permalog.postgres.database import Database
from permalog.postgres.keeping import Keeper, KeepingThread
from permalog.sealing.sealer import Sealer, seal_now
from permalog_server import logs
from permalog_server.commands.options import Json
from permalog_server.output import print_json
from permalog_server.wiring import open_database, signing

if TYPE_CHECKING:
    from permalog.sealing.sealer import SealingStats


def seal(
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what there is to do now, and leave.")] = False,
    as_json: Json = False,
) -> int:
    """Seal events and sign checkpoints, and look after the partitions, until Ctrl-C or SIGTERM.

    Any number of these may run: a log is one's at a time, and so are the partitions. Exit code 1 if a log could not be
    sealed or signed.
    """
    with open_database() as place:
        found = signing(place)
        if found is None:
            print("permalog: nothing is signed: PERMALOG_SIGNING_KEY is not set", file=sys.stderr)
        database = Database(place.url)
        try:
            if once:
                stats = seal_now(database, found)
                Keeper(database).look(at_once=True)
            else:
                logs.configure()
                sealer = Sealer(database, found)
                stop = threading.Event()

                def leave(_number: int, _frame: object) -> None:
                    stop.set()

                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, leave)
                keeper = KeepingThread(database)
                sealer.run(stop)
                keeper.close()
                stats = sealer.stats
        finally:
            database.close()
    _tell(stats, as_json=as_json)
    return 1 if stats.refused or stats.errors else 0


def _tell(stats: SealingStats, *, as_json: bool) -> None:
    if as_json:
        failed = [{"log_id": str(log_id), "error": reason} for log_id, reason in stats.refused.items()]
        print_json({
            "events": stats.events, "checkpoints": stats.checkpoints, "raw": stats.raw, "errors": stats.errors,
            "failed": failed,
        })  # fmt: skip
        return
    print(f"{stats.events} events sealed, {stats.checkpoints} checkpoints signed")
    for reason in stats.refused.values():
        print(f"permalog: {reason}", file=sys.stderr)
