"""Capturing from an application that has a database leaves the database alone."""

import psycopg
import pytest

from asking import value
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.errors import UnknownAction
from permalog.testing import capture


def test_nothing_is_stored_while_events_are_captured(log: Permalog, database: str) -> None:
    event = Event(
        owner=Owner.user("u_1"), actor=Actor.user("u_1"), action="thing.made", resource=Resource("thing", "t_1")
    )
    with psycopg.connect(database) as connection:
        with capture() as events:
            log.record(event)
            log.record(event, connection=connection)
            with pytest.raises(UnknownAction):
                log.record(event.model_copy(update={"action": "thing.unheard_of"}))
        assert log.flush()
        assert len(events) == 2
        assert value(connection, "SELECT count(*) FROM permalog.event") == 0
        log.record(event, connection=connection)
        assert value(connection, "SELECT count(*) FROM permalog.event") == 1
