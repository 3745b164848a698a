"""``permalog token create``, ``list`` and ``revoke``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import typer

from permalog.errors import InvalidQuery
from permalog.reading.filters import rfc3339
from permalog_server.accounts import ROLES, SCOPES, Accounts, Role
from permalog_server.administration import Administration
from permalog_server.commands.options import Json
from permalog_server.output import print_json, print_table
from permalog_server.wiring import open_log, operator_at_console

app: Final = typer.Typer(help="Make, list and revoke tokens of the API.", no_args_is_help=True, rich_markup_mode=None)
_SPAN: Final = re.compile(r"([1-9]\d{0,3})([dhm])", re.ASCII)
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}


@app.command()
def create(
    *,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Whom it speaks for; made if there is none.")],
    email: Annotated[str | None, typer.Option("--email", metavar="EMAIL", help="The user's address.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The user's name.")] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", metavar="UUID", help="Make the user a member of it, with --role.")
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="owner, admin, billing_manager or member.")
    ] = None,
    staff: Annotated[bool, typer.Option("--staff", help="The user is one of the product's own people.")] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help="May be given several times; else what a person's role may do."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="A date, an RFC 3339 time, or a span: 90d, 12h."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token, and what it needs: the user, the organisation, the membership. Prints the token, once.

    A token with the scope events:write or events:record is a service's: it writes for the organisation that is given,
    or else for every owner.
    """
    where = None if organization is None else _uuid("organization", organization)
    chosen = _role(role, where)
    until = None if expires is None else _moment(expires)
    _check_scopes(scope or [])
    with open_log() as log:
        accounts = Accounts(log.database)
        accounts.ensure_person(user, email=email, name=name, staff=staff)
        office = Administration(log, accounts, operator_at_console())
        if where is not None and chosen is not None:
            office.join(user, where, chosen)
        issued = office.issue(user, staff=staff, organization=where, scopes=scope or (), expires_at=until)
    if as_json:
        print_json({"token": issued.token, "id": issued.id, "expires_at": until and rfc3339(until)})
    else:
        print(issued.token)


@app.command(name="list")
def list_tokens(
    *,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Only this user's.")] = None,
    as_json: Json = False,
) -> None:
    """List tokens, never their secrets."""
    with open_log() as log:
        tokens = Accounts(log.database).tokens(user)
    for token in tokens:
        token |= {k: v and rfc3339(v) for k, v in token.items() if k.endswith("_at")}
    if as_json:
        print_json({"tokens": tokens})
    else:
        columns = ("id", "user_id", "scopes", "expires_at", "last_used_at", "revoked_at")
        print_table(columns, [[" ".join(t[c]) if c == "scopes" else t[c] for c in columns] for t in tokens])


@app.command()
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> int:
    """End a token, at once. Exit code 1: there is none, or it was revoked before."""
    wanted = _uuid("id", token_id)
    with open_log() as log:
        accounts = Accounts(log.database)
        ended = Administration(log, accounts, operator_at_console()).revoke(wanted)
    if as_json:
        print_json({"id": wanted, "revoked": ended})
    else:
        print("revoked" if ended else "there is no such token, or it was revoked before")
    return 0 if ended else 1


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidQuery(field, "must be a UUID") from None


def _role(role: str | None, organization: UUID | None) -> Role | None:
    if (role is None) != (organization is None):
        raise InvalidQuery("role", "and --organization go together")
    if role is None:
        return None
    found: Role | None = next((known for known in ROLES if known == role), None)
    if found is None:
        raise InvalidQuery("role", f"must be one of {', '.join(ROLES)}")
    return found


def _check_scopes(scopes: list[str]) -> None:
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidQuery("scope", f"must be one of {', '.join(SCOPES)}")


def _moment(text: str) -> datetime:
    if span := _SPAN.fullmatch(text):
        return datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidQuery("expires", "must be a date, an RFC 3339 time, or a span such as 90d, 12h or 30m") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if moment <= datetime.now(UTC):
        raise InvalidQuery("expires", "has passed")
    return moment
