"""The event and the caller's change commit together or not at all, on every connection that a caller may have."""

import asyncio
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import django  # pyright: ignore[reportMissingTypeStubs]
import psycopg
import pytest
import sqlalchemy
from django import conf, db  # pyright: ignore[reportMissingTypeStubs]
from django.db.transaction import atomic as untyped_atomic  # pyright: ignore[reportMissingTypeStubs]
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from asking import ask, value
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.errors import ContentConflict, InvalidEvent, UnknownAction
from permalog.recording.record import Receipt

OWNER = Owner.user("u_1")


def event(**members: Any) -> Event:
    given: dict[str, Any] = {
        "owner": OWNER, "actor": Actor.user("u_1", email="a@example.org"), "action": "thing.made",
        "resource": Resource("thing", "100 % :of $1"), "metadata": {"by": Personal("login", "%s :x $1"), "a": "50%"},
    }  # fmt: skip
    return Event(**(given | members))


class Change(Exception):
    """The caller's own reason to roll back."""


@pytest.fixture
def address(database: str) -> str:
    """A database with a table of the application's own."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.thing (name text)")
    return database


def together(url: str) -> tuple[int, int]:
    """How many changes, and how many events there are."""
    with psycopg.connect(url) as connection:
        return value(connection, "SELECT count(*) FROM public.thing"), value(
            connection, "SELECT count(*) FROM permalog.event"
        )


# Django has no types.
connections: Any = db.connections
atomic: Any = untyped_atomic

# A connection's own transaction: commits, or rolls back when an error leaves it.
Opened = tuple[Any, Callable[[str], object]]


@contextmanager
def psycopg_connection(url: str) -> Generator[Opened]:
    with psycopg.connect(url) as connection, connection.transaction():
        yield connection, lambda statement: ask(connection, statement)


@contextmanager
def psycopg_in_autocommit(url: str) -> Generator[Opened]:
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        yield connection, lambda statement: ask(connection, statement)


@contextmanager
def psycopg_with_cursors_of_the_client(url: str) -> Generator[Opened]:
    with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection, connection.transaction():
        yield connection, lambda statement: ask(connection, statement)


@contextmanager
def psycopg_with_raw_cursors(url: str) -> Generator[Opened]:
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor) as connection, connection.transaction():
        yield connection, lambda statement: ask(connection, statement)


@contextmanager
def psycopg_in_a_pipeline(url: str) -> Generator[Opened]:
    with psycopg.connect(url) as connection, connection.pipeline(), connection.transaction():
        yield connection, lambda statement: ask(connection, statement)


def alchemy(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sqlalchemy.NullPool
    )


@contextmanager
def sqlalchemy_connection(url: str) -> Generator[Opened]:
    with alchemy(url).begin() as connection:
        yield connection, lambda statement: connection.execute(sqlalchemy.text(statement))


@contextmanager
def sqlalchemy_session(url: str) -> Generator[Opened]:
    with Session(alchemy(url)) as session, session.begin():
        yield session, lambda statement: session.execute(sqlalchemy.text(statement))


@contextmanager
def sqlalchemy_scoped_session(url: str) -> Generator[Opened]:
    sessions = scoped_session(sessionmaker(alchemy(url)))
    try:
        with sessions.begin():
            yield sessions, lambda statement: sessions.execute(sqlalchemy.text(statement))
    finally:
        sessions.remove()


@contextmanager
def django_connection(url: str) -> Generator[Opened]:
    parts = urlsplit(url)
    options = {name: found[0] for name, found in parse_qs(parts.query).items()}
    if not conf.settings.configured:
        conf.settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.dummy"}})
        django.setup()
    alias = f"db_{uuid.uuid4().hex}"
    connections.databases[alias] = connections.configure_settings(
        {
            "default": {},
            alias: {
                "ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], "USER": parts.username or "",
                "HOST": options["host"], "PORT": options["port"],
            },
        }
    )[alias]  # fmt: skip
    connection = connections[alias]
    try:
        with atomic(using=alias):
            yield connection, connection.cursor().execute
    finally:
        connection.close()


OPENED = {
    way.__name__: way
    for way in (
        psycopg_connection, psycopg_in_autocommit, psycopg_with_cursors_of_the_client, psycopg_with_raw_cursors,
        psycopg_in_a_pipeline, sqlalchemy_connection, sqlalchemy_session, sqlalchemy_scoped_session, django_connection,
    )
}  # fmt: skip
every_connection = pytest.mark.parametrize("opened", OPENED)
INSERT = "INSERT INTO public.thing VALUES ('a')"


def change_and_record(opening: AbstractContextManager[Opened], log: Permalog, recorded: Event) -> Receipt:
    with opening as (connection, execute):
        execute(INSERT)
        return log.record(recorded, connection=connection)


@every_connection
def test_the_event_and_the_change_commit_together(log: Permalog, address: str, opened: str) -> None:
    receipt = change_and_record(OPENED[opened](address), log, event())
    assert together(address) == (1, 1)
    (found,) = log.list(OWNER).events
    assert found.id == receipt.id
    assert found.resource_id == "100 % :of $1"
    assert found.metadata == {"by": {"$personal": {"kind": "login", "value": "%s :x $1"}}, "a": "50%"}


@every_connection
def test_the_event_and_the_change_roll_back_together(log: Permalog, address: str, opened: str) -> None:
    with suppress(Change), OPENED[opened](address) as (connection, execute):
        execute(INSERT)
        log.record(event(), connection=connection)
        raise Change
    assert together(address) == (0, 0)


@every_connection
def test_a_refusal_of_the_database_takes_the_change_with_it(log: Permalog, address: str, opened: str) -> None:
    first = event(event_key="k")
    with OPENED[opened](address) as (connection, _):
        log.record(first, connection=connection)
    other = first.model_copy(update={"outcome": "denied"})
    with pytest.raises(ContentConflict, match="event_key") as refusal:
        change_and_record(OPENED[opened](address), log, other)
    assert refusal.value.__cause__ is not None, "the driver's own error stays to be seen"
    assert together(address) == (0, 1)


@every_connection
def test_many_events_go_in_one_statement_in_their_order(log: Permalog, address: str, opened: str) -> None:
    wanted = [event(resource=Resource("thing", f"t{number}")) for number in range(30)]
    with OPENED[opened](address) as (connection, execute):
        execute(INSERT)
        receipts = log.record_all(wanted, connection)
    found = {one.id: one.resource_id for one in log.list(OWNER).events}
    assert [found[receipt.id] for receipt in receipts] == [one.resource.id for one in wanted]
    assert together(address) == (1, 30)


@every_connection
def test_of_many_events_all_are_stored_or_none(log: Permalog, address: str, opened: str) -> None:
    first = event(event_key="k")
    log.record(first)
    log.flush()
    other = first.model_copy(update={"outcome": "denied"})
    with pytest.raises(ContentConflict, match="event_key"):
        change_and_record_all(OPENED[opened](address), log, [event(), other, event()])
    assert together(address) == (0, 1)


def change_and_record_all(opening: AbstractContextManager[Opened], log: Permalog, recorded: list[Event]) -> None:
    with opening as (connection, execute):
        execute(INSERT)
        log.record_all(recorded, connection)


def test_no_events_ask_the_database_nothing(log: Permalog) -> None:
    assert log.record_all([], connection=None) == []


@every_connection
def test_a_duplicate_is_no_error_and_has_the_id_of_the_first(log: Permalog, address: str, opened: str) -> None:
    receipts = [change_and_record(OPENED[opened](address), log, event(event_key="k")) for _ in range(2)]
    assert receipts[0] == receipts[1]
    assert together(address) == (2, 1)


@every_connection
def test_what_the_library_refuses_leaves_the_transaction_usable(log: Permalog, address: str, opened: str) -> None:
    with OPENED[opened](address) as (connection, execute):
        with pytest.raises(UnknownAction):
            log.record(event(action="thing.unheard_of"), connection=connection)
        execute(INSERT)
    assert together(address) == (1, 0)


@every_connection
def test_an_error_that_is_not_the_events_stays_the_drivers(log: Permalog, address: str, opened: str) -> None:
    """The caller's code knows what to do with a serialisation failure or a cancelled statement."""
    log._opened.add(OWNER.log_id)
    with psycopg.connect(address) as other:
        other.execute("LOCK TABLE permalog.event IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Exception, match="statement timeout") as failure:
            record_within_a_millisecond(OPENED[opened](address), log)
    assert type(failure.value).__module__.split(".")[0] in {"psycopg", "sqlalchemy", "django"}


def record_within_a_millisecond(opening: AbstractContextManager[Opened], log: Permalog) -> None:
    with opening as (connection, execute):
        execute("SET LOCAL statement_timeout = 1")
        log.record(event(), connection=connection)


@pytest.mark.parametrize("rows", [dict_row, namedtuple_row, scalar_row, class_row(dict)])
def test_the_row_factory_is_the_callers_own_matter(log: Permalog, address: str, rows: Any) -> None:
    with psycopg.connect(address, row_factory=rows) as connection:
        receipt = log.record(event(), connection=connection)
        connection.commit()
    assert log.get(OWNER, receipt.id).id == receipt.id


def test_a_statement_that_the_server_has_prepared_goes_on_working(log: Permalog, address: str) -> None:
    with psycopg.connect(address, prepare_threshold=0) as connection:
        for _ in range(3):
            log.record(event(), connection=connection)
        connection.commit()
        for _ in range(7):
            connection.execute(*log.statement(event()), prepare=True)
        connection.commit()
    assert together(address)[1] == 10


def test_a_savepoint_takes_its_event_back(log: Permalog, address: str) -> None:
    with psycopg.connect(address) as connection:
        with suppress(Change), connection.transaction():
            log.record(event(), connection=connection)
            raise Change
        log.record(event(), connection=connection)
        connection.commit()
    assert together(address)[1] == 1
    with psycopg.connect(address) as connection:
        identities = "SELECT count(*) FROM permalog.identity WHERE kind = 'actor'"
        assert value(connection, identities) == 1


def test_the_statement_runs_as_it_is_with_asyncpg(log: Permalog, address: str) -> None:
    async def run() -> list[Any]:
        parts = urlsplit(address)
        options = {name: found[0] for name, found in parse_qs(parts.query).items()}
        connection = await asyncpg.connect(
            host=options["host"], port=int(options["port"]), user=parts.username, database=parts.path[1:]
        )
        try:
            sql, parameters = log.statement(event())
            rows = [await connection.fetchrow(sql, *parameters)]
            with suppress(Change):
                async with connection.transaction():
                    await connection.execute(INSERT)
                    await connection.fetchrow(sql, *parameters)
                    raise Change
            prepared = await connection.prepare(sql)
            rows += [await prepared.fetchrow(*log.statement(event()).parameters) for _ in range(2)]
            return rows
        finally:
            await connection.close()

    rows = asyncio.run(run())
    assert [row["status"] for row in rows] == ["created"] * 3
    assert {row["event_id"] for row in rows} == {found.id for found in log.list(OWNER).events}
    assert together(address) == (0, 3)


def test_the_statement_runs_as_it_is_with_psycopgs_asynchronous_connection(log: Permalog, address: str) -> None:
    async def run() -> Any:
        async with await psycopg.AsyncConnection.connect(address) as connection:
            with suppress(Change):
                async with connection.transaction():
                    await connection.execute(INSERT)
                    await connection.execute(*log.statement(event()))
                    raise Change
            cursor = await connection.execute(*log.statement(event()))
            return await cursor.fetchone()

    event_id, status = asyncio.run(run())
    assert status == "created"
    assert log.get(OWNER, event_id).id == event_id
    assert together(address) == (0, 1)


@pytest.mark.parametrize("style", ["any", "format", "numeric", "named"])
def test_each_style_of_statement_is_one_line_with_one_parameter(log: Permalog, style: Any) -> None:
    sql, parameters = log.statement(event(), style)
    assert "\n" not in sql
    assert [type(parameter) for parameter in parameters] == [str]


def test_an_asynchronous_connection_is_told_to_take_the_statement(log: Permalog, address: str) -> None:
    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(address) as connection:
            log.record(event(), connection=connection)

    with pytest.raises(TypeError, match=r"log\.statement"):
        asyncio.run(run())


def test_the_statement_refuses_what_the_library_refuses(log: Permalog) -> None:
    with pytest.raises(InvalidEvent):
        log.statement(event(occurred_at="2020-01-01T00:00:00Z"))
