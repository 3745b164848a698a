"""``permalog settings``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from permalog.postgres import embedded_keeper
from permalog_server import wiring
from permalog_server.commands.options import Json
from permalog_server.output import print_json, print_table
from permalog_server.settings import hide_password


def settings(
    *,
    release: Annotated[
        bool,
        typer.Option("--release", help="Let the embedded server stop that `settings --json` keeps running."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the settings, where each comes from and what it means.

    With --json, `database_url` is the address of the database: with none set, that of the embedded server, which is
    started for it and keeps running until nobody has been connected for an hour (or until --release).
    """
    rows = wiring.settings().described(os.environ)
    if not as_json and not release:
        print_table(("setting", "value", "source", "meaning"), rows)
        return
    with wiring.open_database() as place:
        if place.data_dir is not None:
            (embedded_keeper.release if release else embedded_keeper.keep)(place.data_dir)
        if as_json:
            print_json({"database_url": hide_password(place.url), "settings": [row._asdict() for row in rows]})
