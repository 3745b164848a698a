"""``permalog demo``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from permalog.store import Dated
from permalog_server.commands.options import Json
from permalog_server.event_tables import print_events, print_summary
from permalog_server.output import print_json
from permalog_server.sample import DAYS, NORTHWIND, OWNERS, sample_events
from permalog_server.wiring import Place, open_database, open_log

if TYPE_CHECKING:
    from permalog.client import Permalog


def demo(*, as_json: Json = False) -> None:
    """Show a log with sample data, in the embedded PostgreSQL or yours.

    The sample is imported once; to run the command again adds nothing.
    """
    with open_database() as place, open_log(place, importing=True) as log:
        added, duplicate = _import_sample(log)
        total = log.summary(NORTHWIND)
        page = log.list(NORTHWIND, limit=10)
        if as_json:
            print_json({
                "added": added, "duplicate": duplicate, "owners": [str(owner) for owner in OWNERS],
                "data_dir": None if place.data_dir is None else str(place.data_dir),
                "summary": total.as_json(),
            })  # fmt: skip
            return
        print(f"Sample events: {added} added, {duplicate} there already. The log of {NORTHWIND}:\n")
        print_summary(total.as_json())
        print("\nThe newest events:\n")
        print_events(page.events)
        _say_where_and_what_next(place)


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
