"""``permalog agent connect``, ``enable``, ``disable`` and ``config``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from permalog.errors import InvalidQuery
from permalog_server.commands.agent.parts import ActorText, acting_as, open_agent, show_json
from permalog_server.commands.options import Json, OwnerText, owner_of
from permalog_server.output import print_table
from security_agent import configuration, installation, repository

if TYPE_CHECKING:
    from permalog import Owner
    from security_agent.agent import Agent
    from security_agent.configuration import Configuration

_ALL: Final = "all"


def connect(
    *,
    owner: OwnerText,
    installation_id: Annotated[
        int, typer.Option("--installation", metavar="ID", min=1, help="The installation's id on GitHub.")
    ],
    actor: ActorText = None,
    as_json: Json = False,
) -> None:
    """Connect a GitHub App installation; permissions and repositories are read from GitHub. Again: reads them anew."""
    whose = owner_of(owner)
    with open_agent() as agent:
        bound = installation.connect(agent, whose, installation_id, acting_as(agent, actor))
        reached = [one for one in repository.every(agent, whose) if one.state != "stale"]
    if as_json:
        show_json(
            {
                "installation_id": bound.installation_id, "account": bound.account, "permissions": bound.permissions,
                "repositories": [one.full_name for one in reached], "can_write": bound.can_write,
            }
        )  # fmt: skip
        return
    print(f"connected installation {bound.installation_id} with {len(reached)} repositories")
    if not bound.can_read:
        print("it may not read alerts: grant it vulnerability_alerts=read on GitHub")
    elif not bound.can_write:
        print("it may not tell GitHub of dismissals: that takes vulnerability_alerts=write")


def enable(
    *,
    owner: OwnerText,
    repositories: Annotated[
        str | None,
        typer.Option("--repositories", metavar="NAMES", help="all, or names with commas in between; else as before."),
    ] = None,
    actor: ActorText = None,
    as_json: Json = False,
) -> None:
    """Enable the agent: scheduled syncs begin."""
    _switch(owner, actor, enabled=True, repositories=repositories, as_json=as_json)


def disable(*, owner: OwnerText, actor: ActorText = None, as_json: Json = False) -> None:
    """Disable the agent: it does nothing by itself any more."""
    _switch(owner, actor, enabled=False, repositories=None, as_json=as_json)


def config(
    *,
    owner: OwnerText,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Save this member; may be given several times."),
    ] = None,
    revision: Annotated[
        int | None, typer.Option("--revision", metavar="N", min=0, help="Save only if this is the revision still.")
    ] = None,
    actor: ActorText = None,
    as_json: Json = False,
) -> None:
    """Show the configuration, or save members of it."""
    whose = owner_of(owner)
    wanted = dict(_pair(text) for text in changes or ())
    with open_agent() as agent:
        if wanted:
            found = configuration.save(agent, whose, revision, wanted, acting_as(agent, actor))
        else:
            found = configuration.read(agent, whose)
    _show(found, as_json=as_json)


def _switch(owner: str, actor: str | None, *, enabled: bool, repositories: str | None, as_json: bool) -> None:
    whose = owner_of(owner)
    with open_agent() as agent:
        changes = {} if repositories is None else _selection(agent, whose, repositories)
        found = configuration.set_enabled(agent, whose, acting_as(agent, actor), enabled=enabled, changes=changes)
    _show(found, as_json=as_json)


def _selection(agent: Agent, owner: Owner, text: str) -> dict[str, Any]:
    if text == _ALL:
        return {"repository_selection": "all"}
    names = [name.strip() for name in text.split(",") if name.strip()]
    found = {name: repository.by_name(agent, owner, name) for name in names}
    unknown = sorted(name for name, place in found.items() if place is None)
    if unknown or not names:
        raise InvalidQuery(
            "repositories",
            f"the installation does not reach {unknown[0]}"
            if names
            else "must be all, or names with commas in between",
        )
    ids = sorted({place.repository_id for place in found.values() if place is not None})
    return {"repository_selection": "selected", "selected_repository_ids": ids}


def _pair(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``; the value is JSON, or else a word as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidQuery("set", "must be NAME=VALUE, such as sla_high_days=21")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show(found: Configuration, *, as_json: bool) -> None:
    if as_json:
        show_json(found.as_json())
    else:
        print_table(("member", "value"), [(name, value) for name, value in found.as_json().items()])
