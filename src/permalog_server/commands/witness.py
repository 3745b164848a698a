"""``permalog witness serve`` and ``key``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from permalog.errors import InvalidQuery, Malformed
from permalog.tlog.witness import State, TrustedLog, Witness
from permalog_server.commands.options import LOOPBACK, Host, Json, Port
from permalog_server.output import print_json
from permalog_server.witness_key import make_key, read_key

app: Final = typer.Typer(
    help="Witness the checkpoints of logs; needs no database.", no_args_is_help=True, rich_markup_mode=None
)
KeyFile: TypeAlias = Annotated[Path, typer.Option("--key", metavar="FILE", help="The witness's private key.")]


@app.command()
def serve(
    *,
    key: KeyFile,
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="Where it remembers what it has cosigned; made if need be.")
    ],
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            metavar="VKEY",
            help="A log's verifier key: its origins are the key's name, and those below. Or ORIGIN=VKEY for one"
            " origin. May be given several times.",
        ),
    ] = None,
    host: Host = LOOPBACK,
    port: Port = 8090,
    as_json: Json = False,
) -> None:
    """Serve a C2SP tlog-witness: cosign what only grows, and remember it."""
    from permalog_server.serving import run  # noqa: PLC0415  slow to load, and `key` does not need it
    from permalog_server.witnessing import create_app  # noqa: PLC0415  as above

    trusted = [_trusted(text) for text in log or ()]
    if not trusted:
        raise InvalidQuery("log", "name at least one log, by its verifier key")
    run(create_app(Witness(read_key(key), State(state), trusted)), host=host, port=port, as_json=as_json)


@app.command(name="key")
def show_key(
    *,
    key: KeyFile,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Make a new key of this name, such as witness.example/w1."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the verifier key, by which cosignatures are checked."""
    try:
        found = read_key(key) if name is None else make_key(key, name)
    except Malformed as error:
        raise InvalidQuery("name", str(error)) from None
    if as_json:
        print_json({"verifier_key": str(found.key)})
    else:
        print(found.key)


def _trusted(text: str) -> TrustedLog:
    try:
        return TrustedLog.parse(text)
    except Malformed as error:
        raise InvalidQuery("log", str(error)) from None
