"""``permalog worker``."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from permalog_server import logs
from permalog_server.commands.options import Json
from permalog_server.output import print_json
from permalog_server.wiring import open_database, open_log
from permalog_server.working import open_agent, worker_of


def worker(
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and leave.")] = False,
    as_json: Json = False,
) -> None:
    """Do the security agent's background work, until Ctrl-C or SIGTERM.

    Scheduled syncs, analyses, write-backs to GitHub, and tidying up. Any number of these may run.
    """
    logs.configure()
    with open_database() as place, open_log(place) as log, open_agent(log) as agent:
        work = worker_of(agent, place)

        def leave(_number: int, _frame: object) -> None:
            work.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, leave)
        work.run(until_idle=once)
    if as_json:
        print_json({"done": True})
