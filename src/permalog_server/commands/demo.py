"""``permalog demo``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from permalog.recording.store import Dated
from permalog.sealing.sealer import seal_now
from permalog_server.accounts import Accounts
from permalog_server.administration import Administration
from permalog_server.app import create_app
from permalog_server.commands.options import LOOPBACK, Host, Json, Port
from permalog_server.event_tables import print_events, print_summary
from permalog_server.output import print_json
from permalog_server.sample import DAYS, NORTHWIND, OWNERS, sample_events
from permalog_server.sample_agent import tour
from permalog_server.sample_github import sample_github
from permalog_server.sealer import sealing
from permalog_server.serving import serve
from permalog_server.sessions import Sessions
from permalog_server.vouching import vouching
from permalog_server.wiring import (
    Place,
    journal,
    open_database,
    open_log,
    operator_at_console,
    signing,
    signing_key,
)
from security_agent.agent import Agent

if TYPE_CHECKING:
    from permalog.client import Permalog
    from permalog.sealing.keys import Keys
    from permalog_server.sample_agent import Toured
    from permalog_server.standin import StandIn, World
    from security_agent.github import GitHub


def demo(
    *,
    host: Host = LOOPBACK,
    port: Port = 8080,
    once: Annotated[bool, typer.Option("--once", help="Show the sample and leave, without serving it.")] = False,
    as_json: Json = False,
) -> None:
    """Show a log with sample data, let the security agent work on it, and serve it over HTTP.

    The database is the embedded PostgreSQL or yours. Four weeks of events are imported; then the agent itself works
    for a sample organisation, with a stand-in for GitHub on this machine: it syncs, analyses and dismisses. All of
    this happens once; to run the command again adds nothing. Ctrl-C ends it.
    """
    with open_database() as place, open_log(place, importing=True) as log:
        last_day = _last_day(log)
        added, duplicate = _import_sample(log, last_day)
        with sample_github(last_day) as stand_in, _asking(stand_in) as github:
            toured = _tour(log, github, stand_in.world, last_day)
            seal_now(log.database, signing(place))
            if as_json:
                print_json({
                    "added": added, "duplicate": duplicate, "owners": [str(owner) for owner in OWNERS],
                    "data_dir": None if place.data_dir is None else str(place.data_dir),
                    "agent": toured._asdict(), "summary": log.summary(NORTHWIND).as_json(),
                })  # fmt: skip
            else:
                _show(log, place, (added, duplicate), toured)
            if not once:
                with sealing(log, place), vouching(log, place):
                    _serve(log, signing_key(place), github, host, port, as_json=as_json)


def _asking(stand_in: StandIn) -> GitHub:
    from security_agent.github import GitHub  # noqa: PLC0415  slow to load

    return GitHub(stand_in.app_id, stand_in.private_key, stand_in.url)


def _tour(log: Permalog, github: GitHub, world: World, last_day: date) -> Toured:
    app = create_app(log, journal=journal(), github=github)
    office = Administration(log, Accounts(log.database), operator_at_console())
    try:
        toured = tour(Agent(log, github), app, office, world, last_day)
    finally:
        app.state.desk.close()
    log.flush()
    return toured


def _show(log: Permalog, place: Place, sample: tuple[int, int], toured: Toured) -> None:
    added, duplicate = sample
    done = "has worked" if toured.is_new else "worked when this was first run"
    print(f"""Sample events: {added} added, {duplicate} there already.
The security agent {done}, with a stand-in for GitHub: {toured.open} findings are open, {toured.fixed} fixed, \
{toured.ignored} dismissed.
The log of {NORTHWIND}:
""")
    print_summary(log.summary(NORTHWIND).as_json())
    print("\nThe newest events:\n")
    print_events(log.list(NORTHWIND, limit=10).events)
    _say_where_and_what_next(place)


def _serve(log: Permalog, keys: Keys | None, github: GitHub, host: str, port: int, *, as_json: bool) -> None:
    """Serves the sample, with a token for its organisation that lasts a day."""
    accounts = Accounts(log.database)
    organization = NORTHWIND.organization_id
    if organization is not None:
        accounts.ensure_person("u_demo", name="Demo")
        office = Administration(log, accounts, operator_at_console())
        office.join("u_demo", organization, "owner")
        Sessions(log.database).name_organization(organization, "Northwind")
        token = office.issue("u_demo", expires_at=datetime.now(UTC) + timedelta(days=1)).token
        if not as_json:
            print(f"""
Over HTTP, with a token that lasts a day:
  curl -H 'Authorization: Bearer {token}' \\
    http://{host}:{port}/v1/organizations/{organization}/audit-log/events?limit=2
""")
    visitor = None if organization is None else "u_demo"
    serve(log, keys=keys, host=host, port=port, as_json=as_json, github=github, visitor=visitor)


def _import_sample(log: Permalog, last_day: date) -> tuple[int, int]:
    """Stores the sample in one transaction, so that it is there whole; returns how many were added, and were there."""
    events = list(sample_events(last_day))
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
  permalog agent findings --owner {NORTHWIND}
  permalog list --owner {NORTHWIND} --action security.finding.dismissed
  permalog list --owner {NORTHWIND} --outcome denied
  permalog list --owner {NORTHWIND} --search lodash
  permalog summary --owner {NORTHWIND} --start {datetime.now(UTC).date() - timedelta(days=7)}
  permalog export --owner {NORTHWIND} --format csv -o audit.csv
  permalog doctor""")
