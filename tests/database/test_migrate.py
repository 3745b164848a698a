"""Migrations: equal to the schema, all or nothing, one at a time, by whichever login and however they are applied."""

import importlib.util
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

import postgres15
from actions import ACTIONS
from asking import ask, value
from permalog import Action, Actor, Catalogue, Event, Owner, Resource
from permalog.catalogue import BUILT_IN
from permalog.client import Permalog
from permalog.errors import DatabaseProblem, MigrationFailed, UnsuitableDatabase
from permalog.postgres import embedded, migrate
from permalog.postgres.migrate import Step, check_suitable, pending, plan, script
from permalog.sql import HERE
from servers import Server, as_user, on_database, run_on

ALL = BUILT_IN | ACTIONS
NEW = Catalogue([Action("thing.painted", "thing", "Thing painted")])


def program(server: Server, name: str) -> str:
    """Such as psql or pg_dump, of the server's own version."""
    if server.version == "15":
        folder = postgres15.programs()
        assert folder is not None
    else:
        # Not imported: that starts what the embedded server needs, with warnings.
        wheel = importlib.util.find_spec("pgserver")
        assert wheel is not None
        assert wheel.origin is not None
        folder = Path(wheel.origin).parent / "pginstall" / "bin"
    return str(folder / name)


def dump(server: Server, url: str) -> str:
    """The schema as pg_dump writes it, without what is of the moment."""
    written = subprocess.run(
        [program(server, "pg_dump"), "--schema-only", "--schema=permalog", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", written, flags=re.MULTILINE)


def by_the_schema_file(url: str) -> None:
    """Everything as a migration does it, but for schema.sql in the place of the migrations."""
    with psycopg.connect(url, autocommit=True) as connection:
        steps = plan(connection, ALL)
        first = next(step for step in steps if step.name.startswith("migrations/"))
        whole = [
            Step("schema.sql", HERE.joinpath("schema.sql").read_text()) if step is first else step for step in steps
        ]
        with connection.transaction():
            for step in whole:
                if not step.name.startswith("migrations/"):
                    ask(connection, step.text.replace("{", "{{").replace("}", "}}"))


def test_the_migrations_lead_to_the_schema(server: Server, database: str, empty_database: str) -> None:
    by_the_schema_file(empty_database)
    assert dump(server, database) == dump(server, empty_database)
    assert "CREATE TABLE permalog.event (" in dump(server, database)


def test_the_migrations_lead_to_the_schema_fails_when_a_column_differs(
    server: Server, database: str, empty_database: str
) -> None:
    by_the_schema_file(empty_database)
    run_on(empty_database, "ALTER TABLE permalog.log ALTER hold DROP DEFAULT")
    assert dump(server, database) != dump(server, empty_database)


def test_a_second_migration_applies_nothing_and_takes_no_lock(database: str) -> None:
    with psycopg.connect(database) as reader:
        reader.execute("LOCK TABLE permalog.event, permalog.catalogue IN ACCESS SHARE MODE")
        assert migrate.migrate(database, ALL, patience=0.1) == []
    assert pending(database, ALL) == []


def test_pending_names_what_is_missing_and_changes_nothing(empty_database: str, database: str) -> None:
    names = [step.name for step in pending(empty_database, ALL)]
    assert names == [
        "settings", "roles.sql", "extension and schema", "owner", "keys.sql", "guards.sql",
        "migrations/0001_initial.sql", "migrations/0002_sealing.sql", "migrations/0003_anchors.sql",
        "routines/append.sql", "routines/content.sql", "routines/erasure.sql",
        "routines/identity.sql", "routines/partitions.sql", "routines/search.sql", "partitions",
        "catalogue", "access.sql", "record",
    ]  # fmt: skip
    assert [step.name for step in pending(empty_database, ALL)] == names
    missing = [step.name for step in pending(database, ALL | NEW)]
    assert missing == ["settings", "owner", "catalogue", "access.sql", "record"]


def test_an_edited_migration_is_refused(database: str) -> None:
    run_on(database, "UPDATE permalog.migration SET digest = '' WHERE name LIKE 'migrations/%'")
    for attempt in (pending, migrate.migrate):
        with pytest.raises(MigrationFailed, match=r"migrations/0001_initial.sql .* must never be edited"):
            attempt(database, ALL)


def test_changed_functions_are_replaced(database: str) -> None:
    run_on(database, "UPDATE permalog.migration SET digest = '' WHERE name IN ('keys.sql', 'routines/append.sql')")
    assert migrate.migrate(database, ALL) == [
        "settings", "owner", "keys.sql", "routines/append.sql", "access.sql", "record",
    ]  # fmt: skip
    assert pending(database, ALL) == []


def test_a_step_that_fails_leaves_the_database_as_it_was(
    empty_database: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_with_a_fault(*arguments: Any, **named: Any) -> list[Step]:
        return [*plan(*arguments, **named), Step("fault", "SELECT 1 / 0")]

    monkeypatch.setattr(migrate, "plan", plan_with_a_fault)
    for url in (empty_database, database):
        with pytest.raises(MigrationFailed, match="division by zero"):
            migrate.migrate(url, ALL | NEW)
    monkeypatch.undo()
    with psycopg.connect(empty_database) as connection:
        assert value(connection, "SELECT count(*) FROM pg_namespace WHERE nspname = 'permalog'") == 0
    assert [step.name for step in pending(database, ALL | NEW)][2] == "catalogue"


def test_two_migrations_at_once_on_one_database_apply_it_once(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = [pool.submit(migrate.migrate, empty_database, ALL) for _ in range(4)]
    assert sorted(bool(one.result()) for one in applied) == [False, False, False, True]


def test_a_migration_waits_for_one_under_way(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (migrate._LOCK,))
        waiting = threading.Thread(target=migrate.migrate, args=(database, ALL | NEW))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        other.execute("SELECT pg_advisory_unlock(%s)", (migrate._LOCK,))
        waiting.join(20)
    assert pending(database, ALL | NEW) == []


def test_a_lock_of_another_session_ends_a_migration_with_advice(database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM permalog.event LIMIT 1")  # as a long report would hold it
        with pytest.raises(MigrationFailed, match=r"another session .* for 0\.2 seconds; nothing was changed"):
            migrate.migrate(database, ALL | NEW, patience=0.2)
    assert "thing.painted" not in str(admitted(database))
    migrate.migrate(database, ALL | NEW)
    assert "thing.painted" in str(admitted(database))


def admitted(url: str) -> object:
    with psycopg.connect(url) as connection:
        return value(
            connection, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'event_action' LIMIT 1"
        )


def test_an_application_without_actions_can_migrate_and_admits_none(empty_database: str) -> None:
    migrate.migrate(empty_database, Catalogue())
    with (
        psycopg.connect(empty_database) as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="event_action"),
    ):
        connection.execute(
            "INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, resource_type, resource_id)"
            " SELECT gen_random_uuid(), permalog.new_id(now()), now(), 'a.b', 'system', 'r', 'r'"
        )


@pytest.mark.parametrize(
    "kind",
    [
        "ENCODING 'UTF8' LOCALE 'C'",
        "ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'POSIX'",
        "ENCODING 'SQL_ASCII' LOCALE 'C'",
    ],
)
def test_a_database_that_would_search_wrongly_is_refused(server: Server, kind: str) -> None:
    name = "unsuitable_" + str(abs(hash(kind)))
    with psycopg.connect(server.url, autocommit=True) as connection:
        ask(connection, "CREATE DATABASE {name} TEMPLATE template0 " + kind, name=name)
        try:
            message = "encoding is SQL_ASCII" if "SQL_ASCII" in kind else "character type is (C|POSIX): .*C.UTF-8"
            for attempt in (migrate.migrate, pending):
                with pytest.raises(UnsuitableDatabase, match=message):
                    attempt(on_database(server.url, name), ALL)
        finally:
            ask(connection, "DROP DATABASE {name} WITH (FORCE)", name=name)


def test_the_builtin_provider_of_ascii_is_refused_too(server: Server) -> None:
    """From PostgreSQL 17 on, lower() may know ASCII only in a database whose character type is another."""
    if server.version == "15":
        return
    with psycopg.connect(server.url, autocommit=True) as connection:
        ask(
            connection,
            "CREATE DATABASE builtin_c TEMPLATE template0 LOCALE 'C.UTF-8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C'",
        )
        try:
            with pytest.raises(UnsuitableDatabase, match="character type is C"):
                migrate.migrate(on_database(server.url, "builtin_c"), ALL)
        finally:
            ask(connection, "DROP DATABASE builtin_c WITH (FORCE)")


def test_an_old_server_is_refused() -> None:
    connection = cast("Any", SimpleNamespace(info=SimpleNamespace(server_version=140_012)))
    with pytest.raises(UnsuitableDatabase, match="PostgreSQL 14; Permalog needs 15 to 18"):
        check_suitable(connection)


def test_a_server_that_is_not_there_is_a_problem_of_the_database() -> None:
    with pytest.raises(DatabaseProblem, match="cannot connect"):
        migrate.migrate("postgresql://127.0.0.1:9/nothing", ALL)


def test_the_script_applied_by_psql_gives_the_same(server: Server, database: str, empty_database: str) -> None:
    printed = script(pending(empty_database, ALL))
    subprocess.run(
        [program(server, "psql"), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "--quiet", empty_database],
        check=True, input=printed, capture_output=True, text=True,
    )  # fmt: skip
    assert pending(empty_database, ALL) == []
    assert dump(server, database) == dump(server, empty_database)
    assert script([]) == ""


def test_a_login_that_may_migrate_brings_a_database_up_to_date(
    server: Server, database: str, login: Callable[..., str]
) -> None:
    """What it makes belongs to permalog_owner, and what others may do with it stays the same."""
    before = dump(server, database)
    run_on(database, "UPDATE permalog.migration SET digest = '' WHERE name NOT LIKE 'migrations/%'")
    with psycopg.connect(database) as connection:
        last = value(connection, "SELECT max(relname) FROM pg_class WHERE relname ~ '^event_[0-9]{{6}}$'")
    run_on(database, "DROP TABLE permalog.{last}", last=last)
    url = login("permalog_migrator")
    assert {"partitions", "catalogue", "roles.sql", "guards.sql"} < set(migrate.migrate(url, ALL | NEW))
    assert pending(url, ALL | NEW) == []
    assert dump(server, database).replace(",thing.painted", "") == before
    with Permalog.connect(database, catalogue=NEW) as log:
        record_and_read(log, "thing.painted")


def record_and_read(log: Permalog, action: str = "thing.made") -> None:
    owner = Owner.user("u_1")
    event = Event(owner=owner, actor=Actor.user("u_1", name="Ann"), action=action, resource=Resource("thing", "t_1"))
    log.record(event)
    with psycopg.connect(log.database.url) as connection:
        log.record(event, connection=connection)
    assert log.flush()
    assert log.stats.failed == 0
    assert [found.actor_name for found in log.list(owner, search="T_1").events] == ["Ann", "Ann"]


@pytest.fixture(scope="module")
def own_server(server: Server) -> Iterator[Server]:
    """A server on which no role of Permalog exists."""
    if server.version == "18":
        with tempfile.TemporaryDirectory(dir=postgres15.quick_folder()) as folder:
            Path(folder).chmod(0o755)  # the embedded server's account must come through
            started = embedded.start(Path(folder) / "18")
            yield Server("18", started.url)
            started.stop()
    else:
        programs = postgres15.programs()
        assert programs is not None
        installed = postgres15.start(programs)
        yield Server("15", installed.url)
        installed.stop()


@pytest.fixture
def bare(own_server: Server) -> Iterator[Callable[[str], str]]:
    """Makes databases there, each owned by a new login of the same name; after the test the server is as before."""
    made: list[str] = []

    def make(name: str, attributes: str = "") -> str:
        with psycopg.connect(own_server.url, autocommit=True) as connection:
            ask(connection, "CREATE ROLE {name} LOGIN " + attributes, name=name)
            ask(connection, "CREATE DATABASE {name} TEMPLATE template0 OWNER {name}", name=name)
        made.append(name)
        return as_user(on_database(own_server.url, name), name)

    yield make
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        for name in made:
            ask(connection, "DROP DATABASE {name} WITH (FORCE)", name=name)
        roles = [name for (name,) in ask(connection, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'permalog%'")]
        # Who was granted or made a role stays its grantor until the membership is gone.
        for role in [*roles, *made]:
            ask(connection, "DROP OWNED BY {role} CASCADE", role=role)
        for role in [*roles, *made]:
            ask(connection, "DROP ROLE {role}", role=role)


def test_a_login_that_may_make_roles_installs_everything(bare: Callable[..., str]) -> None:
    """From PostgreSQL 16 on, it is not by itself a member of what it makes."""
    url = bare("installer", "CREATEROLE")
    assert "roles.sql" in migrate.migrate(url, ALL)
    assert pending(url, ALL) == []
    with psycopg.connect(url, autocommit=True) as connection:
        assert (
            value(connection, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'event'")
            == "permalog_owner"
        )
        connection.execute("GRANT permalog_writer, permalog_reader TO installer")
    with Permalog.connect(url, catalogue=ACTIONS) as log:
        record_and_read(log)


def test_a_login_that_may_not_make_roles_is_refused_and_installs_as_a_single_role(bare: Callable[..., str]) -> None:
    url = bare("plain")
    with pytest.raises(MigrationFailed, match="permission denied to create role"):
        migrate.migrate(url, ALL)
    migrate.migrate(url, ALL, single_role=True)
    assert pending(url, ALL) == [], "that there are no roles is remembered"
    with Permalog.connect(url, catalogue=ACTIONS) as log, psycopg.connect(url, autocommit=True) as connection:
        record_and_read(log)
        assert value(connection, "SELECT count(*) FROM permalog.unsealed") == 2
        for statement in (
            "DELETE FROM permalog.event",
            "UPDATE permalog.identity SET salt = NULL",
            "TRUNCATE permalog.event",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                ask(connection, statement)


def test_a_single_role_works_beside_databases_with_roles(bare: Callable[..., str]) -> None:
    """The roles belong to the whole server; what they may do belongs to a database."""
    migrate.migrate(bare("installer", "CREATEROLE"), ALL)
    url = bare("plain")
    migrate.migrate(url, ALL, single_role=True)
    old = Event(
        owner=Owner.user("u_2"), actor=Actor.system(), action="thing.made", resource=Resource("thing", "t"),
        occurred_at="2020-01-01T00:00:00Z",
    )  # fmt: skip
    with (
        Permalog.connect(url, catalogue=ACTIONS, importing=True) as log,
        psycopg.connect(url) as connection,
    ):
        record_and_read(log)
        log.record(old, connection=connection)


def test_two_databases_of_a_server_can_be_migrated_at_once(own_server: Server, bare: Callable[..., str]) -> None:
    """Roles belong to the whole server: both make them."""
    names = [f"one_of_{n}" for n in range(4)]
    urls = [on_database(own_server.url, name) for name in names if bare(name)]
    together = threading.Barrier(len(urls))

    def at_once(url: str) -> list[str]:
        together.wait()
        return migrate.migrate(url, ALL)

    with ThreadPoolExecutor(len(urls)) as pool:
        assert all(pool.map(at_once, urls))
    assert [pending(url, ALL) for url in urls] == [[], [], [], []]
