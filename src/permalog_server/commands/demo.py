"""``permalog demo``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from permalog.sealing import seal_now
from permalog.store import Dated
from permalog_server.accounts import Accounts
from permalog_server.administration import Administration
from permalog_server.commands.options import LOOPBACK, Host, Json, Port
from permalog_server.event_tables import print_events, print_summary
from permalog_server.output import print_json
from permalog_server.sample import DAYS, NORTHWIND, OWNERS, sample_events
from permalog_server.sealer import sealing
from permalog_server.serving import serve
from permalog_server.vouching import vouching
from permalog_server.wiring import Place, open_database, open_log, operator_at_console, signing, signing_key

if TYPE_CHECKING:
    from permalog.client import Permalog
    from permalog.keys import Keys


def demo(
    *,
    host: Host = LOOPBACK,
    port: Port = 8080,
    once: Annotated[bool, typer.Option("--once", help="Show the sample and leave, without serving it.")] = False,
    as_json: Json = False,
) -> None:
    """Show a log with sample data, in the embedded PostgreSQL or yours, and serve it over HTTP.

    The sample is imported once; to run the command again adds nothing. Ctrl-C ends it.
    """
    with open_database() as place, open_log(place, importing=True) as log:
        added, duplicate = _import_sample(log)
        seal_now(log.database, signing(place))
        if as_json:
            print_json({
                "added": added, "duplicate": duplicate, "owners": [str(owner) for owner in OWNERS],
                "data_dir": None if place.data_dir is None else str(place.data_dir),
                "summary": log.summary(NORTHWIND).as_json(),
            })  # fmt: skip
        else:
            _show(log, place, added, duplicate)
        if not once:
            with sealing(log, place), vouching(log, place):
                _serve(log, signing_key(place), host, port, as_json=as_json)


def _show(log: Permalog, place: Place, added: int, duplicate: int) -> None:
    print(f"Sample events: {added} added, {duplicate} there already. The log of {NORTHWIND}:\n")
    print_summary(log.summary(NORTHWIND).as_json())
    print("\nThe newest events:\n")
    print_events(log.list(NORTHWIND, limit=10).events)
    _say_where_and_what_next(place)


def _serve(log: Permalog, keys: Keys | None, host: str, port: int, *, as_json: bool) -> None:
    """Serves the sample, with a token for its organisation that lasts a day."""
    accounts = Accounts(log.database)
    organization = NORTHWIND.organization_id
    if organization is not None:
        accounts.ensure_person("u_demo", name="Demo")
        office = Administration(log, accounts, operator_at_console())
        office.join("u_demo", organization, "owner")
        token = office.issue("u_demo", expires_at=datetime.now(UTC) + timedelta(days=1)).token
        if not as_json:
            print(f"""
Over HTTP, with a token that lasts a day:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/v1/organizations/{organization}/audit-log/events?limit=2
""")
    serve(log, keys=keys, host=host, port=port, as_json=as_json)


def _import_sample(log: Permalog) -> tuple[int, int]:
    """Stores the sample in one transaction, so that it is there whole; returns how many were added, and were there."""
    events = list(sample_events(_last_day(log)))
    writer = log.writer()
    try:
        outcomes = writer.store([Dated.of(event, datetime.now(UTC)) for event in events])
    finally:
        writer.close()
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    statuses = [outcome.status for outcome in outcomes]
    return statuses.count("created"), statuses.count("duplicate")


def _last_day(log: Permalog) -> date:
    """Yesterday; where the sample is there already, the day for which it was made, so that the events are the same."""
    first = log.summary(NORTHWIND).first
    if first is None:
        return datetime.now(UTC).date() - timedelta(days=1)
    return first.date() + timedelta(days=DAYS - 1)


def _say_where_and_what_next(place: Place) -> None:
    where = (
        f"The data lie in {place.data_dir}, in a PostgreSQL that stops when nobody uses it."
        if place.data_dir is not None
        else "The data lie in the database of PERMALOG_DATABASE_URL."
    )
    print(f"""
{where}

Try next:
  permalog list --owner {NORTHWIND} --action security.finding.dismissed
  permalog list --owner {NORTHWIND} --search lodash
  permalog summary --owner {NORTHWIND} --start {datetime.now(UTC).date() - timedelta(days=7)}
  permalog export --owner {NORTHWIND} --format csv -o audit.csv
  permalog doctor""")
