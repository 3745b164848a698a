"""``permalog demo``."""

from datetime import date

from calling import Command
from permalog_server.sample import DAYS, OWNERS, sample_events


def test_the_demo_shows_a_log_and_adds_nothing_the_second_time(permalog: Command) -> None:
    first = permalog("demo", "--once", "--json").json
    assert first["added"] > 300
    again = permalog("demo", "--once")
    assert again.code == 0, again.err
    assert f"0 added, {first['added']} there already" in again.out
    for words in ("security.finding.dismissed", "The newest events", "The data lie in", "permalog export --owner"):
        assert words in again.out
    assert permalog("list", "--owner", str(OWNERS[0]), "--search", "lodash", "--json").json["events"]


def test_the_sample_is_the_same_for_the_same_day() -> None:
    day = date(2026, 1, 31)
    events = list(sample_events(day))
    assert events == list(sample_events(day))
    assert len({(event.owner, event.event_key) for event in events}) == len(events)
    assert {event.owner for event in events} == set(OWNERS)
    days = {event.occurred_at.date() for event in events if event.occurred_at is not None}
    assert (max(days), (max(days) - min(days)).days) == (day, DAYS - 1)


def test_the_sample_writes_to_nobody() -> None:
    addresses = {event.actor.email for event in sample_events(date(2026, 1, 31)) if event.actor.email}
    assert addresses
    assert all(address.endswith(".example") for address in addresses)
