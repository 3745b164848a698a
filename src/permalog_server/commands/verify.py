"""``permalog verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permalog.errors import InvalidQuery
from permalog_server.bundles import Against, keys_of, policy_in, published_in, verify_file
from permalog_server.commands.options import Json, owner_of


def verify(
    *,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="OWNER", help="Whose log: org:<uuid> or user:<id>. Else all.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Verify an evidence bundle; needs no database.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VKEY", help="A key of the log; repeatable. Else this installation's own."),
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", metavar="VKEY", help="The key of a witness; repeatable.")
    ] = None,
    witness_policy: Annotated[
        Path | None,
        typer.Option("--witness-policy", metavar="FILE", help="How many of which witnesses must have cosigned."),
    ] = None,
    sealed: Annotated[
        Path | None,
        typer.Option("--sealed", metavar="DIR", help="What was signed last. Else this installation's own folder."),
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option("--anchors", metavar="DIR", help="The published anchors, all of them.")
    ] = None,
    witnessed: Annotated[
        list[Path] | None,
        typer.Option("--witnessed", metavar="FILE", help="A checkpoint that a witness cosigned; repeatable."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            "--since", metavar="FILE", help="Begin where the last run with this file ended, and note the end."
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Report all that is wrong, not only the first.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Prove that no sealed event was changed, removed, moved or put in, or say which.

    Exit code 0: proven; 1: broken, and where; 2: it could not be checked.
    """
    keys, witnesses = keys_of(key or ()), keys_of(witness or (), "witness")
    policy = None if witness_policy is None else policy_in(witness_policy)
    if bundle is not None:
        if others := [
            name
            for name, one in {"owner": owner, "sealed": sealed, "witnessed": witnessed, "since": since}.items()
            if one
        ]:
            raise InvalidQuery(others[0], "is for a live database: a bundle is verified by itself")
        published = None if anchors is None else published_in(anchors)
        return verify_file(bundle, Against(keys, witnesses, policy, published), keep_going=keep_going, as_json=as_json)
    if anchors is not None and owner is not None:
        raise InvalidQuery("anchors", "tell of all logs together: leave --owner out")
    from permalog_server.verifying import Sources, verify_live  # noqa: PLC0415  a bundle needs no database driver

    sources = Sources(keys, witnesses, sealed, anchors, witnessed or (), since, policy)
    log_id = None if owner is None else owner_of(owner).log_id
    return verify_live(log_id, sources, keep_going=keep_going, as_json=as_json)
