"""What each role must not do, tried by logins that are granted it, with the expected refusal."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from asking import ask, composed
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.ids import microseconds
from permalog.recording.store import ids

ROLES = [
    "permalog_writer",
    "permalog_importer",
    "permalog_reader",
    "permalog_auditor",
    "permalog_sealer",
    "permalog_verifier",
    "permalog_privacy",
    "permalog_service",
    "permalog_migrator",
]
# The migrator becomes the owner, who may do everything but write into the past: see the tests of triggers.
LEAST: Sequence[tuple[str, ...]] = [(role,) for role in ROLES if role != "permalog_migrator"] + [
    ("permalog_writer", "permalog_reader"),
    (),
]
# Whose rights a role has by membership.
SUMS = {
    "permalog_importer": {"permalog_writer"},
    "permalog_auditor": {"permalog_reader"},
    "permalog_service": {"permalog_writer", "permalog_reader", "permalog_privacy"},
}
MINE, OTHERS = Owner.user("u_1"), Owner.user("u_2")
THIS_MONTH = "event_" + datetime.now(UTC).strftime("%Y%m")

# Every table of the schema, and who may do what with it, to at least one column: the partitions nobody.
MAY: dict[str, dict[str, set[str]]] = {
    "event": {"permalog_writer": {"INSERT", "SELECT"}, "permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT"}},
    "identity": {"permalog_writer": {"INSERT"}, "permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT"}},
    "log": {"permalog_writer": {"INSERT", "SELECT"}, "permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT"}},
    "event_key": {"permalog_writer": {"INSERT", "SELECT"}},
    "unsealed": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "DELETE"}},
    "head": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "INSERT", "UPDATE"}},
    "tile": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "INSERT", "UPDATE"}},
    "activity": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "INSERT", "UPDATE"}},
    "checkpoint": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "INSERT"}},
    "cosignature": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "INSERT"}},
    "anchor": {"permalog_sealer": {"SELECT", "INSERT"}},
    "anchor_leaf": {"permalog_reader": {"SELECT"}, "permalog_sealer": {"SELECT", "INSERT"}},
    "anchor_publication": {"permalog_sealer": {"SELECT", "INSERT"}},
    "erased_actor": {},
    "catalogue": {
        role: {"SELECT"} for role in ("permalog_writer", "permalog_reader", "permalog_sealer", "permalog_privacy")
    },
    "migration": {
        role: {"SELECT"} for role in ("permalog_writer", "permalog_reader", "permalog_sealer", "permalog_privacy")
    },
}

# The verifier reads all of what it verifies, and nothing else.
for rights in (MAY[table] for table in MAY if table != "erased_actor"):
    rights["permalog_verifier"] = {"SELECT"}


def event(owner: Owner, **members: object) -> Event:
    given: dict[str, object] = {
        "owner": owner,
        "actor": Actor.user("u_1", email="a@example.org"),
        "action": "thing.made",
        "resource": Resource("thing", "t_1"),
        "metadata": {"by": Personal("github_login", "octocat")},
        "event_key": f"key of {owner}",
    }
    return Event(**(given | members))


@pytest.fixture
def filled(database: str, log: Permalog) -> str:
    """A database with an event in each of two logs."""
    with psycopg.connect(database) as connection:
        log.record(event(MINE), connection=connection)
        log.record(event(OTHERS, actor=Actor.staff("s_1", name="Sam")), connection=connection)
    return database


def tables(connection: psycopg.Connection) -> list[str]:
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'permalog'::regnamespace"
        " AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
    )
    return [name for (name,) in found]


def parent_of(table: str) -> str:
    return "partition" if table.startswith("event_") and table != "event_key" else table


def test_each_role_has_the_named_rights_on_each_table_and_no_other(database: str) -> None:
    """A table or partition that this list does not know fails, and so does a view or a sequence."""
    with psycopg.connect(database) as connection:
        found = tables(connection)
        assert {parent_of(table) for table in found} - {"partition"} == set(MAY)
        for table in found:
            for role in {*ROLES} - {"permalog_migrator"}:
                granted = {
                    right
                    for right in ("SELECT", "INSERT", "UPDATE", "REFERENCES")
                    if connection.execute(
                        "SELECT has_any_column_privilege(%s, %s, %s)", (role, f"permalog.{table}", right)
                    ).fetchone()
                    == (True,)
                } | {
                    right
                    for right in ("DELETE", "TRUNCATE", "TRIGGER")
                    if connection.execute(
                        "SELECT has_table_privilege(%s, %s, %s)", (role, f"permalog.{table}", right)
                    ).fetchone()
                    == (True,)
                }
                allowed = MAY.get(parent_of(table), {})
                assert granted == set().union(*(allowed.get(of, set()) for of in SUMS.get(role, {role}))), (table, role)


@pytest.mark.parametrize("roles", LEAST, ids=lambda roles: "+".join(roles) or "nobody")
def test_no_row_can_be_changed_deleted_or_truncated(
    roles: tuple[str, ...], filled: str, login: Callable[..., str]
) -> None:
    with psycopg.connect(filled) as connection:
        found = tables(connection)
        columns = dict(
            connection.execute(
                "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = 1"
                " WHERE relnamespace = 'permalog'::regnamespace"
            ).fetchall()
        )
    with psycopg.connect(login(*roles), autocommit=True) as connection:
        for table in found:
            statements: list[str] = ["TRUNCATE permalog.{table}", "TRUNCATE permalog.{table} CASCADE"]
            if roles != ("permalog_sealer",) or table not in {"head", "tile", "activity"}:  # these only grow
                statements.append("UPDATE permalog.{table} SET {column} = {column}")
            if (table, roles) != ("unsealed", ("permalog_sealer",)):
                statements += [
                    "DELETE FROM permalog.{table}",
                    "MERGE INTO permalog.{table} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
                ]
            for statement in statements:
                refused(connection, statement, table=table, column=columns[table])


def refused(
    connection: psycopg.Connection,
    statement: str,
    match: str = "permission denied for|must be owner of",
    **names: str,
) -> None:
    """The statement fails for want of a right, and for nothing else."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=match):
        ask(connection, statement, **names)


DDL: list[str] = [
    "DROP TABLE permalog.event",
    "DROP TABLE permalog.{month}",
    "ALTER TABLE permalog.event DETACH PARTITION permalog.{month}",
    "ALTER TABLE permalog.event DISABLE TRIGGER refuse_change",
    "ALTER TABLE permalog.event DISABLE TRIGGER ALL",
    "ALTER TABLE permalog.event ENABLE REPLICA TRIGGER note_unsealed",
    "ALTER TABLE permalog.{month} DISABLE TRIGGER refuse_truncate",
    "ALTER TABLE permalog.identity DISABLE TRIGGER refuse_change",
    "DROP TRIGGER refuse_change ON permalog.event",
    "DROP TRIGGER refuse_truncate ON permalog.{month}",
    "DROP POLICY one_log ON permalog.event",
    "ALTER POLICY one_log ON permalog.event USING (true)",
    "CREATE POLICY mine ON permalog.event USING (true)",
    "ALTER TABLE permalog.event DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE permalog.event DROP CONSTRAINT event_action",
    "ALTER TABLE permalog.event ALTER recorded_at DROP DEFAULT",
    "ALTER TABLE permalog.event OWNER TO CURRENT_USER",
    "CREATE RULE quiet AS ON INSERT TO permalog.event DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON permalog.event EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX mine ON permalog.event (log_id)",
    "CREATE TABLE permalog.mine ()",
    "CREATE TABLE permalog.mine PARTITION OF permalog.event DEFAULT",
    "CREATE FUNCTION permalog.mine() RETURNS void LANGUAGE sql AS ''",
    "ALTER FUNCTION permalog.refuse_change() RENAME TO allow_change",
    "ALTER FUNCTION permalog.note_unsealed() SECURITY INVOKER",
    "CREATE OR REPLACE FUNCTION permalog.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION permalog.append",
    "ALTER SCHEMA permalog RENAME TO other",
    "DROP SCHEMA permalog CASCADE",
    "REASSIGN OWNED BY permalog_owner TO CURRENT_USER",
]
DDL_MESSAGE = "permission denied (for|to reassign)|must be owner of|must be able to SET ROLE"


@pytest.mark.parametrize("roles", LEAST, ids=lambda roles: "+".join(roles) or "nobody")
def test_the_schema_cannot_be_changed(roles: tuple[str, ...], database: str, login: Callable[..., str]) -> None:
    with psycopg.connect(database) as connection:
        before = everything(connection)
    with psycopg.connect(login(*roles), autocommit=True) as connection:
        for statement in DDL:
            refused(connection, statement, DDL_MESSAGE, month=THIS_MONTH)
        refused(connection, "SET session_replication_role = replica", "permission denied to set parameter")
        for role in ("permalog_owner", "permalog_eraser", "permalog_migrator"):
            refused(connection, "SET ROLE {role}", "permission denied to set role", role=role)
            refused(
                connection,
                "SET SESSION AUTHORIZATION {role}",
                "permission denied to set session authorization",
                role=role,
            )
        for role in {*ROLES} - {*roles}:
            refused(
                connection, "GRANT {role} TO CURRENT_USER", "admin option|permission denied to grant role", role=role
            )
        # Where there is some right to give, the answer is a warning, and nothing is given.
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute("GRANT ALL ON permalog.event TO PUBLIC")
    with psycopg.connect(database) as connection:
        assert everything(connection) == before


def everything(connection: psycopg.Connection) -> Sequence[object]:
    return (
        connection.execute(
            "SELECT relname, relowner, relrowsecurity, relacl::text, relchecks FROM pg_class"
            " WHERE relnamespace = 'permalog'::regnamespace ORDER BY 1"
        ).fetchall()
        + connection.execute("SELECT tgrelid, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2").fetchall()
    )


NEW_EVENT: dict[str, object] = {
    "log_id": MINE.log_id,
    "action": "thing.made",
    "actor_type": "system",
    "resource_type": "thing",
    "resource_id": "t_1",
}


def insert(connection: psycopg.Connection, /, table: str = "event", **members: Any) -> None:
    """A plain INSERT of an event of now, with further columns."""
    row = NEW_EVENT | {"occurred_at": datetime.now(UTC)} | members
    row.setdefault("id", permalog_id(row["occurred_at"]))
    connection.execute(
        sql.SQL("INSERT INTO permalog.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(map(sql.Literal, row.values())),
        )
    )


def permalog_id(moment: object) -> uuid.UUID:
    assert isinstance(moment, datetime)
    return ids.make(microseconds(moment))


@pytest.mark.parametrize("role", ["permalog_writer", "permalog_importer"])
@pytest.mark.usefixtures("filled")
def test_a_writer_writes_events_to_the_parent_and_nothing_else(role: str, login: Callable[..., str]) -> None:
    now = datetime.now(UTC)
    with psycopg.connect(login(role), autocommit=True) as connection:
        insert(connection)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table event"):
            insert(connection, recorded_at=now)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table event"):
            insert(connection, recorded_by="somebody else")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"permission denied for table {THIS_MONTH}"):
            insert(connection, THIS_MONTH)
        refused(connection, "INSERT INTO permalog.unsealed VALUES (gen_random_uuid(), gen_random_uuid())")
        refused(connection, "SELECT FROM permalog.unsealed")
        refused(connection, "INSERT INTO permalog.erased_actor (actor_id) VALUES ('u_1')")
        refused(connection, "INSERT INTO permalog.catalogue VALUES ('a.b', 'c', 'd')")
        refused(connection, "INSERT INTO permalog.migration VALUES ('a', '')")
        refused(connection, "UPDATE permalog.log SET erased_at = now()")
        refused(
            connection, "INSERT INTO permalog.log (log_id, user_id, erased_at) VALUES (gen_random_uuid(), 'u', now())"
        )
        refused(
            connection,
            "INSERT INTO permalog.event (log_id, id) VALUES (gen_random_uuid(), gen_random_uuid())"
            " ON CONFLICT (log_id, id) DO UPDATE SET id = excluded.id",
        )


@pytest.mark.usefixtures("filled")
def test_copy_into_the_events_is_refused_to_a_writer(login: Callable[..., str]) -> None:
    """COPY and row-level security exclude each other: the drain stages what it copies."""
    with psycopg.connect(login("permalog_writer"), autocommit=True) as connection:
        for statement, error in (
            ("COPY permalog.event (log_id, id) FROM STDIN", psycopg.errors.FeatureNotSupported),
            ("COPY permalog.event FROM STDIN", psycopg.errors.InsufficientPrivilege),
            ("COPY permalog.{month} (log_id, id) FROM STDIN", psycopg.errors.InsufficientPrivilege),
            ("COPY permalog.event TO STDOUT", psycopg.errors.InsufficientPrivilege),
        ):
            with pytest.raises(error), connection.cursor().copy(composed(statement, month=THIS_MONTH)):
                pass


@pytest.mark.usefixtures("filled")
def test_a_writer_reads_no_contents(login: Callable[..., str]) -> None:
    with psycopg.connect(login("permalog_writer"), autocommit=True) as connection:
        refused(connection, "SELECT * FROM permalog.event")
        for column in ("actor_id", "resource_id", "metadata", "action", "recorded_by"):
            refused(connection, "SELECT {column} FROM permalog.event", column=column)
        for column in ("email", "name", "actor_id", "value", "salt", "commitment"):
            refused(connection, "SELECT {column} FROM permalog.identity", column=column)
        refused(connection, "SELECT user_id FROM permalog.log")
        refused(connection, "SELECT FROM permalog.{month}", month=THIS_MONTH)
        refused(connection, "INSERT INTO permalog.identity (log_id) VALUES (gen_random_uuid()) RETURNING email")


def visible(connection: psycopg.Connection) -> dict[str, int]:
    """How many rows of each table are seen, with no WHERE at all."""
    counts: dict[str, int] = {}
    for table in ("event", "identity", "log"):
        row = connection.execute(
            sql.SQL("SELECT count(log_id) FROM permalog.{}").format(sql.Identifier(table))
        ).fetchone()
        counts[table] = row[0] if row else -1
    return counts


def look_into(connection: psycopg.Connection, log_id: uuid.UUID) -> None:
    connection.execute("SELECT set_config('permalog.log_id', %s, false)", (str(log_id),))


NOTHING = {"event": 0, "identity": 0, "log": 0}
ONE_LOG = {"event": 1, "identity": 2, "log": 1}


@pytest.mark.usefixtures("filled")
def test_a_reader_without_a_where_sees_one_log_and_outside_of_one_nothing(login: Callable[..., str]) -> None:
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        assert visible(connection) == NOTHING
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL permalog.log_id = {}").format(str(MINE.log_id)))
            assert visible(connection) == ONE_LOG
            assert connection.execute("SELECT user_id FROM permalog.log").fetchall() == [("u_1",)]
            assert connection.execute("SELECT log_id FROM permalog.event").fetchall() == [(MINE.log_id,)]
            assert connection.execute(
                "SELECT count(*) FROM permalog.event WHERE log_id = %s", (OTHERS.log_id,)
            ).fetchone() == (0,)
        # The session of a pool goes on with an empty string in the setting.
        assert connection.execute("SELECT current_setting('permalog.log_id', true)").fetchone() == ("",)
        assert visible(connection) == NOTHING


@pytest.mark.usefixtures("filled")
def test_a_readers_setting_that_is_no_log_shows_nothing(login: Callable[..., str]) -> None:
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        look_into(connection, uuid.uuid4())
        assert visible(connection) == NOTHING
        connection.execute("SET permalog.log_id = 'true OR true'")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            visible(connection)


def test_a_reader_comes_to_no_row_by_a_partition(filled: str, login: Callable[..., str]) -> None:
    """A grant on a partition would bypass the policies, which stand on the parent."""
    with psycopg.connect(filled) as connection:
        partitions = [table for table in tables(connection) if parent_of(table) == "partition"]
    assert len(partitions) >= 14
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        look_into(connection, MINE.log_id)
        for partition in partitions:
            refused(connection, "SELECT FROM permalog.{partition}", partition=partition)


@pytest.mark.usefixtures("filled")
def test_a_reader_cannot_switch_the_policies_off(login: Callable[..., str]) -> None:
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        connection.execute("SET row_security = off")
        for table in ("event", "identity", "log"):
            refused(connection, "SELECT log_id FROM permalog.{table}", "would be affected by row-level", table=table)


@pytest.mark.usefixtures("filled")
def test_a_reader_reads_no_salts_no_keys_and_no_lists(login: Callable[..., str]) -> None:
    """Without its salt a commitment tells nothing, after erasure, of whom it was."""
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        look_into(connection, MINE.log_id)
        refused(connection, "SELECT salt FROM permalog.identity")
        refused(connection, "SELECT * FROM permalog.identity")
        for table in ("event_key", "erased_actor"):
            refused(connection, "SELECT FROM permalog.{table}", table=table)
        refused(connection, "INSERT INTO permalog.event (log_id) VALUES (gen_random_uuid())")


@pytest.mark.usefixtures("filled")
def test_a_function_of_a_readers_own_sees_no_hidden_row(login: Callable[..., str]) -> None:
    """A cheap function that is not leakproof runs after the policy, not before it."""
    with psycopg.connect(login("permalog_reader"), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION pg_temp.tell(text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE NOTICE 'seen %', $1; RETURN true; END $$"
        )
        notices: list[str | None] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        look_into(connection, MINE.log_id)
        connection.execute("SELECT FROM permalog.log WHERE pg_temp.tell(user_id)")
        assert notices == ["seen u_1"]


@pytest.mark.usefixtures("filled")
def test_who_may_read_and_write_still_sees_one_log_only(login: Callable[..., str]) -> None:
    """The policies of two roles add up: the writer's view of all logs is tied to its name, not to membership."""
    with psycopg.connect(login("permalog_reader", "permalog_writer"), autocommit=True) as connection:
        assert visible(connection)["event"] == 0
        assert visible(connection)["identity"] == 0
        look_into(connection, MINE.log_id)
        assert visible(connection) == ONE_LOG
        assert connection.execute("SELECT DISTINCT log_id FROM permalog.event").fetchall() == [(MINE.log_id,)]
        insert(connection)


@pytest.mark.usefixtures("filled")
def test_the_sealer_sees_all_logs_and_takes_events_off_the_list(login: Callable[..., str]) -> None:
    with psycopg.connect(login("permalog_sealer"), autocommit=True) as connection:
        assert set(visible(connection).values()) == {0}  # by name: to be a member is not enough
        connection.execute("SET ROLE permalog_sealer")
        assert visible(connection) == {"event": 2, "identity": 4, "log": 2}
        assert connection.execute("DELETE FROM permalog.unsealed").rowcount == 2
        refused(connection, "INSERT INTO permalog.unsealed VALUES (gen_random_uuid(), gen_random_uuid())")
        refused(connection, "SELECT FROM permalog.event_key")


@pytest.mark.parametrize("roles", [("permalog_privacy",), ()], ids=["privacy", "nobody"])
@pytest.mark.usefixtures("filled")
def test_who_needs_no_row_sees_none(roles: tuple[str, ...], login: Callable[..., str]) -> None:
    with psycopg.connect(login(*roles), autocommit=True) as connection:
        for table in ("event", "identity", "log", "event_key", "unsealed", "erased_actor", THIS_MONTH):
            refused(connection, "SELECT FROM permalog.{table}", table=table)


CALLS: dict[str, str] = {
    "append": "SELECT permalog.append('[]')",
    "stored_digest": "SELECT permalog.stored_digest(gen_random_uuid(), gen_random_uuid())",
    "known_identity": "SELECT permalog.known_identity(gen_random_uuid(), 'a', 'b', 'c', 'd', 'e', 'f')",
    "new_identity": "SELECT permalog.new_identity(gen_random_uuid(), 'a', 'b', 'c', 'd', 'e', 'f', 'g')",
    "take_personal": "SELECT permalog.take_personal(gen_random_uuid(), '[]', 'a')",
    "make_partitions": "SELECT permalog.make_partitions()",
    "add_partitions": "SELECT permalog.add_partitions()",
    "cut_partition": "SELECT permalog.cut_partition()",
    "index_partition": "SELECT permalog.index_partition('event_before')",
    "guard_partition": "SELECT permalog.guard_partition('pg_class')",
    "admit_actions": "SELECT permalog.admit_actions()",
    "erase_user": "SELECT permalog.erase_user('nobody', '[]')",
    "erase_organization": "SELECT permalog.erase_organization(gen_random_uuid())",
    "identities_of": "SELECT permalog.identities_of('nobody', NULL)",
    "remove_log": "SELECT permalog.remove_log(gen_random_uuid())",
}
PRIVACYS_CALLS = {"erase_user", "erase_organization"}
SEALERS_CALLS = {"add_partitions", "cut_partition", "index_partition"}
WRITERS_CALLS = {"append", "stored_digest", "known_identity", "new_identity", "take_personal"}


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("roles", LEAST, ids=lambda roles: "+".join(roles) or "nobody")
def test_only_writers_call_what_writes_only_privacy_what_forgets_and_nobody_what_defines(
    roles: tuple[str, ...], login: Callable[..., str]
) -> None:
    writes = bool({"permalog_writer", "permalog_importer", "permalog_service"} & set(roles))
    forgets = bool({"permalog_privacy", "permalog_service"} & set(roles))
    allowed = (WRITERS_CALLS if writes else set[str]()) | (PRIVACYS_CALLS if forgets else set[str]())
    allowed |= SEALERS_CALLS if "permalog_sealer" in roles else set()
    with psycopg.connect(login(*roles), autocommit=True) as connection:
        for name in CALLS.keys() - allowed:
            refused(connection, CALLS[name], "permission denied for (function|schema)")
        for name in (PRIVACYS_CALLS | SEALERS_CALLS) & allowed:
            ask(connection, CALLS[name])


def test_no_function_is_public(database: str) -> None:
    with psycopg.connect(database) as connection:
        public = connection.execute(
            "SELECT proname FROM pg_proc, LATERAL aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a"
            " WHERE pronamespace = 'permalog'::regnamespace AND a.grantee = 0"
        ).fetchall()
        assert public == []


def test_nobody_logs_in_as_one_of_the_roles(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication"
            " FROM pg_roles WHERE rolname LIKE 'permalog%%'",
            (),
        ).fetchall()
    assert {row[0] for row in found} == {*ROLES, "permalog_owner", "permalog_eraser", "permalog_service"}
    assert {value for row in found for value in row[1:]} == {False}


def test_everything_in_the_schema_belongs_to_the_owner_role_but_what_forgets(database: str) -> None:
    with psycopg.connect(database) as connection:
        owners = ask(
            connection,
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'permalog'::regnamespace"
            " UNION SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'permalog'::regnamespace"
            " UNION SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'permalog'",
        )
        erasing = ask(
            connection, "SELECT proname::text FROM pg_proc WHERE proowner = 'permalog_eraser'::regrole ORDER BY 1"
        )
    assert sorted(owners) == [("permalog_eraser",), ("permalog_owner",)]
    assert [name for (name,) in erasing] == [
        "bar_organization",
        "bar_user",
        "erase_alone",
        "erase_organization",
        "erase_user",
        "identities_of",
        "remove_log",
        "size_of",
    ]
