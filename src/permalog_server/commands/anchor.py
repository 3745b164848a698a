"""``permalog anchor``."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from permalog.errors import KeyUnusable, PermalogError
from permalog.postgres.database import Database
from permalog_server import logs
from permalog_server.commands.options import Json
from permalog_server.output import print_json
from permalog_server.vouching import EVERY_SECONDS, Vouching, tell
from permalog_server.wiring import open_database, signing

if TYPE_CHECKING:
    from permalog_server.vouching import Vouched


def anchor(
    *,
    once: Annotated[bool, typer.Option("--once", help="Anchor what has changed by now, and leave.")] = False,
    new_epoch: Annotated[
        bool,
        typer.Option("--new-epoch", help="Begin a new anchor log, after the database was restored. Implies --once."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Anchor what was signed, publish it, and ask the witnesses.

    Every minute, until Ctrl-C or SIGTERM; `permalog serve` does the same. Any number of these may run. Exit code 1
    if a place or a witness failed.
    """
    with open_database() as place:
        found = signing(place)
        if found is None:
            raise KeyUnusable("there is no key to sign anchors with: set PERMALOG_SIGNING_KEY")
        database = Database(place.url)
        try:
            vouching = Vouching(database, found)
            if once or new_epoch:
                last = vouching.round(new_epoch=new_epoch)
                _say(last, as_json=as_json)
                return 0 if last.is_well else 1
            return _go_on(vouching)
        finally:
            database.close()


def _go_on(vouching: Vouching) -> int:
    logs.configure()
    stop = threading.Event()

    def leave(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    while True:
        try:
            tell(vouching.round())
        except PermalogError as error:
            print(f"permalog: {error}", file=sys.stderr, flush=True)
        if stop.wait(EVERY_SECONDS):
            return 0


def _say(found: Vouched, *, as_json: bool) -> None:
    if as_json:
        print_json({
            "epoch": found.anchored.epoch, "size": found.anchored.size, "anchored": found.anchored.added,
            "failures": [one._asdict() for one in found.failures],
            "witnesses": [one._asdict() for one in found.rounds],
            "unwitnessed": None if found.standing is None else found.standing.unwitnessed,
        })  # fmt: skip
        return
    print(f"{found.anchored.added} checkpoints anchored; the anchor log has {found.anchored.size}")
    for one in found.rounds:
        print(f"{one.witness}: {one.cosigned} cosigned")
    reasons = [f"{place}: {reason}" for place, reason in found.failures]
    for reason in reasons + [reason for one in found.rounds for reason in one.failures]:
        print(f"permalog: {reason}", file=sys.stderr)
