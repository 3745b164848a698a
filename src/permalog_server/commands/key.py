"""``permalog key show`` and ``rotate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from permalog import Event, Owner, Resource
from permalog.errors import KeyUnusable
from permalog_server.accounts import Accounts
from permalog_server.commands.options import Json
from permalog_server.output import print_json
from permalog_server.wiring import open_database, open_log, operator_at_console, signing_key

if TYPE_CHECKING:
    from permalog.sealing.keys import KeyFile
    from permalog_server.wiring import Place

app: Final = typer.Typer(
    help="Show the key that signs checkpoints, or replace it.", no_args_is_help=True, rich_markup_mode=None
)
ROTATED: Final = "security.log.key_rotated"


@app.command()
def show(*, as_json: Json = False) -> None:
    """Print the verifier key, which auditors and witnesses take; nothing secret."""
    with open_database(migrated=False) as place:
        keys = _keys(place)
        if place.data_dir is not None and not keys.path.exists():
            keys.make()
        present = keys.signer().key
        if as_json:
            print_json({"key": str(present), "keyring": [str(key) for key in keys.known()]})
        else:
            print(present)


@app.command()
def rotate(*, as_json: Json = False) -> None:
    """Put a new key in the place of the signing key, or make the first; what was signed stays valid.

    On record in the operator's log. Running sealers take the new key with their next signature.
    """
    with open_database() as place, open_log(place) as log:
        keys = _keys(place)
        operator = Owner.organization(Accounts(log.database).operator())
        old = keys.known()
        new = keys.rotate()
        with log.database.connect() as connection:
            log.record(
                Event(
                    owner=operator,
                    actor=operator_at_console(),
                    action=ROTATED,
                    resource=Resource("audit_log", str(operator.log_id)),
                    metadata={"key": str(new), "old_key": str(old[-1]) if old else None},
                    source="cli",
                ),
                connection=connection,
            )
        if as_json:
            print_json({"key": str(new), "keyring": [str(key) for key in keys.known()]})
        else:
            print(new)


def _keys(place: Place) -> KeyFile:
    keys = signing_key(place)
    if keys is None:
        raise KeyUnusable("PERMALOG_SIGNING_KEY names no file")
    return keys
