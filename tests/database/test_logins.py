"""What the library does, and says, for logins that are granted a part of the rights."""

from collections.abc import Callable

import psycopg
import pytest

from actions import ACTIONS
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog
from permalog.errors import DatabaseProblem, NotAllowed, NotMigrated

OWNER = Owner.user("u_1")


def event(**members: object) -> Event:
    given: dict[str, object] = {
        "owner": OWNER, "actor": Actor.user("u_1", email="a@example.org"), "action": "thing.made",
        "resource": Resource("thing", "t_1"),
    }  # fmt: skip
    return Event(**(given | members))


def test_a_login_that_may_only_write_records_both_ways(login: Callable[..., str], log: Permalog) -> None:
    address = login("permalog_writer")
    with Permalog.connect(address, catalogue=ACTIONS) as writer, psycopg.connect(address) as connection:
        writer.record(event())
        writer.record(event(), connection=connection)
        connection.commit()
        assert writer.flush()
        assert writer.stats.stored == 1
        with pytest.raises(DatabaseProblem, match="GRANT permalog_reader"):
            writer.list(OWNER)
    assert len(log.list(OWNER).events) == 2
    name = address.split("//")[1].split("@")[0]
    assert {found.recorded_by for found in log.list(OWNER).events} == {name}


def test_a_login_that_may_only_read_reads_one_log_and_is_told_what_it_lacks(
    login: Callable[..., str], log: Permalog
) -> None:
    log.record(event())
    assert log.flush()
    address = login("permalog_reader")
    with Permalog.connect(address, catalogue=ACTIONS) as reader, psycopg.connect(address) as connection:
        assert len(reader.list(OWNER).events) == 1
        with pytest.raises(DatabaseProblem, match="GRANT permalog_writer"):
            reader.record(event(), connection=connection)
        with pytest.raises(DatabaseProblem, match="GRANT permalog_writer"):
            reader.writer()


def test_a_login_without_any_role_is_told_what_it_needs(login: Callable[..., str]) -> None:
    with pytest.raises(DatabaseProblem, match="GRANT permalog_writer, permalog_reader"):
        Permalog.connect(login(), catalogue=ACTIONS)


def test_a_database_without_a_schema_is_named(empty_database: str) -> None:
    with pytest.raises(NotMigrated, match="permalog migrate"):
        Permalog.connect(empty_database)


def test_old_events_need_the_right_to_import(login: Callable[..., str], log: Permalog) -> None:
    """The library asks first; the database has the last word, also of a login that pretends to import."""
    old = event(occurred_at="2020-01-01T00:00:00Z")
    writer, importer = login("permalog_writer"), login("permalog_importer")
    with Permalog.connect(importer, catalogue=ACTIONS, importing=True) as importing:
        importing.record(old)
        assert importing.flush()
        assert importing.stats.stored == 1
    with (
        Permalog.connect(writer, catalogue=ACTIONS, importing=True) as pretending,
        psycopg.connect(writer) as connection,
        pytest.raises(NotAllowed, match=r"occurred_at: .*7 days"),
    ):
        pretending.record(old, connection=connection)
    with (
        Permalog.connect(writer, catalogue=ACTIONS) as plain,
        psycopg.connect(writer) as connection,
        pytest.raises(NotAllowed, match=r"occurred_at: .*7 days"),
    ):
        plain.record(old, connection=connection)
    assert len(log.list(OWNER).events) == 1


def test_the_application_never_reads_as_the_owner_of_the_tables(login: Callable[..., str], log: Permalog) -> None:
    """Row-level security does not bind a table's owner: who may become it still reads as permalog_reader, or not."""
    log.record(event())
    assert log.flush()
    with (
        Permalog.connect(login("permalog_migrator"), catalogue=ACTIONS) as migrator,
        pytest.raises(DatabaseProblem, match="GRANT permalog_reader"),
    ):
        migrator.list(OWNER)
