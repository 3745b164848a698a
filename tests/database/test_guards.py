"""Append-only and complete, held by the database against its own superuser; and how the tables are laid out."""

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from asking import ask, composed, value
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog
from permalog.errors import DatabaseProblem
from permalog.ids import id_floor, microseconds
from permalog.recording.store import ids

OWNER = Owner.user("u_1")
GUARDED = ("event", "identity", "event_key", "log", "erased_actor", "catalogue")


def event(**members: Any) -> Event:
    given: dict[str, Any] = {
        "owner": OWNER, "actor": Actor.user("u_1", email="a@example.org"), "action": "thing.made",
        "resource": Resource("thing", "t_1"), "event_key": uuid.uuid4().hex,
    }  # fmt: skip
    return Event(**(given | members))


@pytest.fixture
def superuser(database: str, log: Permalog) -> Iterator[psycopg.Connection]:
    """As the superuser, after one event was recorded and one person erased."""
    with psycopg.connect(database, autocommit=True) as connection:
        log.record(event(), connection=connection)
        connection.execute("INSERT INTO permalog.erased_actor (actor_id) VALUES ('u_gone')")
        yield connection


def partitions(connection: psycopg.Connection) -> list[str]:
    return [
        name
        for (name,) in ask(
            connection,
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
            " WHERE inhparent = 'permalog.event'::regclass ORDER BY relname = 'event_before' DESC, relname",
        )
    ]


def insert(connection: psycopg.Connection, table: str = "event", /, **members: Any) -> uuid.UUID:
    moment = members.setdefault("occurred_at", datetime.now(UTC))
    row: dict[str, Any] = {
        "log_id": OWNER.log_id, "id": members.get("id") or ids.make(microseconds(moment)),
        "action": "thing.made", "actor_type": "system",
        "resource_type": "thing", "resource_id": "t_1",
    } | members  # fmt: skip
    connection.execute(
        sql.SQL("INSERT INTO permalog.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(map(sql.Literal, row.values())),
        )
    )
    return row["id"]


@pytest.mark.parametrize("replication_role", ["origin", "replica", "local"])
def test_not_even_the_superuser_changes_a_row_while_the_triggers_stand(
    superuser: psycopg.Connection, replication_role: str
) -> None:
    ask(superuser, f"SET session_replication_role = {replication_role}")
    now = datetime.now(UTC)
    this_month = f"event_{now:%Y%m}"
    for table in (*GUARDED, this_month):
        ((column,),) = ask(
            superuser,
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1",
            (f"permalog.{table}",),
        )
        statements = ["DELETE FROM permalog.{table}"]
        if table != "catalogue":  # whose labels may change
            statements.append("UPDATE permalog.{table} SET {column} = {column}")
        for statement in statements:
            refused(superuser, statement, table=table, column=column)
    for table in (*GUARDED, "unsealed", *partitions(superuser)):
        refused(superuser, "TRUNCATE permalog.{table}", table=table)
    refused(superuser, "TRUNCATE permalog.event, permalog.identity CASCADE")
    refused(superuser, "UPDATE permalog.catalogue SET action = 'thing.renamed' WHERE action = 'thing.made'")


def refused(connection: psycopg.Connection, statement: str, **names: str) -> None:
    with pytest.raises(
        psycopg.errors.InsufficientPrivilege, match=r"is append-only: (UPDATE|DELETE|TRUNCATE) is refused"
    ):
        ask(connection, statement, **names)


def test_a_row_does_not_move_to_another_partition(superuser: psycopg.Connection) -> None:
    refused(superuser, "UPDATE permalog.event SET id = gen_random_uuid()")


def test_a_new_partition_is_guarded_as_the_old_ones_are(superuser: psycopg.Connection) -> None:
    assert value(superuser, "SELECT permalog.make_partitions(ahead => 14)") == 2
    newest = partitions(superuser)[-1]
    ask(superuser, "SET session_replication_role = replica")
    moved = insert(superuser, occurred_at=datetime.strptime(newest[-6:], "%Y%m").replace(tzinfo=UTC))
    assert value(superuser, "SELECT count(*) FROM permalog.unsealed WHERE id = %s", (moved,)) == 1
    for statement in (
        "DELETE FROM permalog.{newest}",
        "UPDATE permalog.{newest} SET id = id",
        "TRUNCATE permalog.{newest}",
    ):
        refused(superuser, statement, newest=newest)


def test_every_trigger_stands_on_every_partition_and_is_always_on(superuser: psycopg.Connection) -> None:
    for table in ("event", *partitions(superuser)):
        found = ask(
            superuser,
            "SELECT tgname, tgenabled::text FROM pg_trigger WHERE tgrelid = %s::regclass ORDER BY 1",
            (f"permalog.{table}",),
        )
        assert found == [("note_unsealed", "A"), ("refuse_change", "A"), ("refuse_truncate", "A")], table
    enabled = value(
        superuser,
        "SELECT array_agg(DISTINCT tgenabled::text) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relnamespace = 'permalog'::regnamespace",
    )
    assert enabled == ["A"]


@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_an_insert_straight_into_a_partition_is_listed_for_sealing(
    superuser: psycopg.Connection, replication_role: str
) -> None:
    """A statement trigger on the parent would not see it."""
    ask(superuser, f"SET session_replication_role = {replication_role}")
    made = insert(superuser, f"event_{datetime.now(UTC):%Y%m}")
    assert value(superuser, "SELECT count(*) FROM permalog.unsealed WHERE id = %s", (made,)) == 1


def test_copy_is_listed_for_sealing(superuser: psycopg.Connection) -> None:
    made = ids.make(microseconds(moment := datetime.now(UTC)))
    columns = "log_id, id, occurred_at, action, actor_type, resource_type, resource_id"
    with superuser.cursor().copy(composed(f"COPY permalog.event ({columns}) FROM STDIN")) as copy:
        copy.write_row((OWNER.log_id, made, moment, "thing.made", "system", "thing", "t"))
    assert value(superuser, "SELECT count(*) FROM permalog.unsealed WHERE id = %s", (made,)) == 1


def test_a_detached_partition_sheds_its_triggers(superuser: psycopg.Connection) -> None:
    """A limit of triggers that an owner can reach, stated in the design: sealing is what shows it."""
    month = f"event_{datetime.now(UTC):%Y%m}"
    ask(superuser, "ALTER TABLE permalog.event DETACH PARTITION permalog.{month}", month=month)
    assert superuser.execute(composed("DELETE FROM permalog.{month}", month=month)).rowcount == 1
    refused(superuser, "TRUNCATE permalog.{month}", month=month)


def test_an_erased_persons_identity_arrives_blank(superuser: psycopg.Connection, log: Permalog) -> None:
    gone = event(actor=Actor.user("u_gone", email="gone@example.org", name="Gone"), owner=Owner.user("u_3"))
    log.record(gone, connection=superuser)
    log.record(gone.model_copy(update={"event_key": "another"}))
    assert log.flush()
    rows = ask(
        superuser,
        "SELECT num_nonnulls(actor_id, email, name, ip_address, user_agent, value, salt), erased_at IS NOT NULL"
        " FROM permalog.identity WHERE log_id = %s",
        (Owner.user("u_3").log_id,),
    )
    assert rows
    assert set(rows) == {(0, True)}


# Partitions.


def test_months_lie_side_by_side_from_a_catch_all_to_a_year_ahead_without_a_default(
    superuser: psycopg.Connection,
) -> None:
    bounds = ask(
        superuser,
        "SELECT relname, pg_get_expr(relpartbound, pg_class.oid) FROM pg_inherits JOIN pg_class ON oid = inhrelid"
        " WHERE inhparent = 'permalog.event'::regclass ORDER BY relname = 'event_before' DESC, relname",
    )
    now = datetime.now(UTC)
    months = [(now.year + (now.month - 1 + n) // 12, (now.month - 1 + n) % 12 + 1) for n in range(14)]
    floors = [str(id_floor(datetime(year, month, 1, tzinfo=UTC))) for year, month in months]
    assert bounds == [
        ("event_before", f"FOR VALUES FROM (MINVALUE) TO ('{floors[0]}')"),
        *(
            (f"event_{year}{month:02}", f"FOR VALUES FROM ('{floors[n]}') TO ('{floors[n + 1]}')")
            for n, (year, month) in enumerate(months[:13])
        ),
    ]


def test_making_partitions_again_makes_none_and_a_gap_is_filled(superuser: psycopg.Connection) -> None:
    assert value(superuser, "SELECT permalog.make_partitions()") == 0
    before = partitions(superuser)
    ask(superuser, "DROP TABLE permalog.{gap}", gap=before[5])
    assert value(superuser, "SELECT permalog.make_partitions()") == 1
    assert partitions(superuser) == before


def test_the_first_month_can_lie_in_the_past_and_is_settled_once(superuser: psycopg.Connection) -> None:
    for partition in partitions(superuser):
        ask(superuser, "DROP TABLE permalog.{partition}", partition=partition)
    first = datetime.now(UTC).replace(day=1) - timedelta(days=40)
    made = value(superuser, "SELECT permalog.make_partitions(%s)", (first.date(),))
    assert partitions(superuser)[1] == f"event_{first:%Y%m}"
    assert made == len(partitions(superuser)) == 1 + 2 + 13
    assert value(superuser, "SELECT permalog.make_partitions('2001-01-01')") == 0


def test_times_of_all_ages_have_a_partition(superuser: psycopg.Connection) -> None:
    for moment in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2001, 2, 3, tzinfo=UTC), datetime.now(UTC)):
        insert(superuser, occurred_at=moment)
    assert value(superuser, "SELECT count(*) FROM permalog.event_before") == 2


def test_a_month_without_a_partition_is_no_fault_of_the_event(superuser: psycopg.Connection, log: Permalog) -> None:
    """Nobody ran migrate for a year: events must wait, and not be dropped one by one."""
    log.record(event(), connection=superuser)
    month = f"event_{datetime.now(UTC):%Y%m}"
    ask(superuser, "DROP TABLE permalog.{month}", month=month)
    with pytest.raises(DatabaseProblem, match=r"partition.*permalog migrate"):
        log.record(event(), connection=superuser)
    log.record(event())
    assert not log.flush(0.5)
    assert log.stats.failed == 0
    ask(superuser, "SELECT permalog.make_partitions()")
    assert log.flush()
    assert log.stats.stored == 1


# The vocabulary, and what the table itself refuses.


def test_a_new_action_is_admitted_at_once_and_no_row_is_scanned(superuser: psycopg.Connection) -> None:
    """NOT VALID: neither scan nor rewrite. An enum's new value could not be used in the same transaction."""
    filenodes = "SELECT array_agg(relfilenode ORDER BY relname) FROM pg_class WHERE relname ~ '^event_'"
    before = value(superuser, filenodes)
    with superuser.transaction():
        ask(superuser, "INSERT INTO permalog.catalogue VALUES ('thing.painted', 'thing', 'Thing painted')")
        assert value(superuser, "SELECT permalog.admit_actions()")
        insert(superuser, action="thing.painted")
    validated = ask(
        superuser, "SELECT DISTINCT convalidated FROM pg_constraint WHERE conname = 'event_action' AND contype = 'c'"
    )
    assert validated == [(False,)]
    assert value(superuser, filenodes) == before
    assert value(superuser, "SELECT permalog.admit_actions()") is False, "nothing to do"


def test_a_retired_name_stays_readable_and_the_set_never_shrinks(superuser: psycopg.Connection, log: Permalog) -> None:
    log.record(event(action="thing.lost"), connection=superuser)
    assert value(superuser, "SELECT retired FROM permalog.catalogue WHERE action = 'thing.lost'") is True
    refused(superuser, "DELETE FROM permalog.catalogue WHERE action = 'thing.lost'")
    assert [found.action for found in log.list(OWNER, action=["thing.lost"]).events] == ["thing.lost"]


FAULTS: dict[str, dict[str, Any]] = {
    "event_action": {"action": "thing.unheard_of"},
    "event_outcome": {"outcome": "perhaps"},
    "event_actor": {"actor_type": "robot"},
    "event_source": {"source": "somewhere"},
    "event_id": {"id": id_floor(datetime.now(UTC))},
    "event_time": {"occurred_at": datetime(1969, 12, 31, tzinfo=UTC), "id": id_floor(datetime(1970, 1, 1, tzinfo=UTC))},
    "event_sizes": {"resource_id": "x" * 513},
    "event_payloads": {"metadata": "[]"},
}


@pytest.mark.parametrize("constraint", FAULTS)
def test_the_table_refuses_what_no_library_would_send(superuser: psycopg.Connection, constraint: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        insert(superuser, **FAULTS[constraint])
    # An id or a time before 1970 breaks the other's rule too.
    assert refusal.value.diag.constraint_name in {constraint, "event_id" if constraint == "event_time" else constraint}


@pytest.mark.parametrize(
    ("actor_type", "actor_id", "identity"),
    [
        ("user", None, b"x" * 32), ("user", "u", None), ("api_key", None, b"x" * 32), ("api_key", "k", None),
        ("staff", "s", b"x" * 32), ("staff", None, None), ("system", None, b"x" * 32), ("user", "u", b"x" * 31),
    ],
)  # fmt: skip
def test_an_actor_has_what_its_type_has(
    superuser: psycopg.Connection, actor_type: str, actor_id: str | None, identity: bytes | None
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(superuser, actor_type=actor_type, actor_id=actor_id, identity=identity)


@pytest.mark.parametrize("shift", [timedelta(microseconds=1), timedelta(microseconds=-1), timedelta(days=1)])
def test_an_ids_time_is_the_events_time(superuser: psycopg.Connection, shift: timedelta) -> None:
    moment = datetime.now(UTC) - timedelta(days=2)
    with pytest.raises(psycopg.errors.CheckViolation, match="event_id"):
        insert(superuser, occurred_at=moment, id=ids.make(microseconds(moment + shift)))


def test_a_logs_id_is_its_owners(superuser: psycopg.Connection) -> None:
    for members in ("gen_random_uuid(), NULL, 'u_9'", "gen_random_uuid(), gen_random_uuid(), NULL"):
        with pytest.raises(psycopg.errors.CheckViolation, match="log_id_is_the_owners"):
            ask(superuser, f"INSERT INTO permalog.log (log_id, organization_id, user_id) VALUES ({members})")
    for members in ("gen_random_uuid(), NULL, NULL", "gen_random_uuid(), gen_random_uuid(), 'u_9'"):
        with pytest.raises(psycopg.errors.CheckViolation, match="log_"):
            ask(superuser, f"INSERT INTO permalog.log (log_id, organization_id, user_id) VALUES ({members})")


@pytest.mark.parametrize(
    ("role", "ago", "refused"),
    [
        ("permalog_writer", timedelta(days=6, hours=23), False),
        ("permalog_writer", timedelta(days=7, minutes=1), True),
        ("permalog_writer", timedelta(minutes=-4), False),
        ("permalog_writer", timedelta(minutes=-6), True),
        ("permalog_importer", timedelta(days=9000), False),
        ("permalog_importer", timedelta(minutes=-6), True),
    ],
)
def test_late_events_need_the_right_to_import_and_nobody_writes_ahead(
    superuser: psycopg.Connection, role: str, ago: timedelta, *, refused: bool
) -> None:
    ask(superuser, "SET ROLE {role}", role=role)
    moment = datetime.now(UTC) - ago
    if refused:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            insert(superuser, occurred_at=moment)
    else:
        insert(superuser, occurred_at=moment)


def test_the_database_says_when_and_by_whom_it_was_recorded(superuser: psycopg.Connection, log: Permalog) -> None:
    log.record(event(occurred_at=datetime.now(UTC) - timedelta(days=3)), connection=superuser)
    before = value(superuser, "SELECT clock_timestamp()")
    ask(superuser, "SET ROLE permalog_writer")
    made = insert(superuser, occurred_at=before - timedelta(days=3))
    ask(superuser, "RESET ROLE")
    ((recorded_at, recorded_by),) = ask(
        superuser, "SELECT recorded_at, recorded_by FROM permalog.event WHERE id = %s", (made,)
    )
    assert before <= recorded_at <= value(superuser, "SELECT clock_timestamp()")
    assert recorded_by == value(superuser, "SELECT session_user::text")


# What the schema is made of, by its catalogue.


def test_no_allowed_values_are_enums(superuser: psycopg.Connection) -> None:
    """Under row-level security an enum's = is not leakproof, and switches the index off."""
    assert (
        value(superuser, "SELECT count(*) FROM pg_type WHERE typtype = 'e' AND typnamespace = 'permalog'::regnamespace")
        == 0
    )


def test_log_id_leads_every_key_and_index_but_the_listed_ones(superuser: psycopg.Connection) -> None:
    """What lets the tables be distributed."""
    indexes = ask(
        superuser,
        "SELECT i.indexrelid::regclass::text, array_agg(a.attname ORDER BY k.n)"
        " FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid"
        " CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, n)"
        " LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum"
        " WHERE c.relnamespace = 'permalog'::regnamespace GROUP BY 1",
    )
    exceptions = {
        "permalog.migration_pkey", "permalog.catalogue_pkey", "permalog.erased_actor_pkey",  # small, shared
        "permalog.anchor_pkey", "permalog.anchor_publication_pkey",  # one anchor log for all
        "permalog.identity_by_person", "permalog.identity_by_words",  # one person in all logs
    }  # fmt: skip
    assert len(indexes) > len(exceptions) + 14
    assert {name for name, columns in indexes if columns[0] != "log_id"} == exceptions
    assert {name for name, columns in indexes if "log_id" not in columns} == exceptions - {
        "permalog.identity_by_person"
    }


def test_nothing_refers_to_anything_by_a_foreign_key(superuser: psycopg.Connection) -> None:
    """They cost 22 to 32 % of the throughput; verifying checks the references instead."""
    foreign = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'permalog'::regnamespace"
    assert value(superuser, foreign) == 0


def test_no_number_comes_from_a_sequence(superuser: psycopg.Connection) -> None:
    assert value(superuser, "SELECT count(*) FROM pg_sequences WHERE schemaname = 'permalog'") == 0


def test_a_function_with_its_owners_rights_has_a_path_of_its_own(superuser: psycopg.Connection) -> None:
    found = dict(
        ask(
            superuser,
            "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'permalog'::regnamespace AND prosecdef",
        )
    )
    assert {"note_unsealed", "stored_digest", "known_identity", "blank_erased"} <= found.keys()
    assert {(config or ["none"])[0] for config in found.values()} == {"search_path=pg_catalog, pg_temp"}


def test_what_the_tables_call_does_not_depend_on_the_writers_path(superuser: psycopg.Connection) -> None:
    """Functions of CHECKs, defaults, policies and triggers are parsed beforehand, or have a path of their own."""
    called = ask(
        superuser,
        "SELECT DISTINCT proname FROM pg_depend JOIN pg_proc ON pg_proc.oid = refobjid"
        " WHERE refclassid = 'pg_proc'::regclass AND pronamespace = 'permalog'::regnamespace"
        " AND classid = ANY ('{{pg_constraint,pg_attrdef,pg_policy,pg_trigger}}'::regclass[])"
        " ORDER BY 1",
    )
    assert {"id_prefix", "log_id_of", "recorder", "refuse_change"} <= {name for (name,) in called}
    exposed = ask(
        superuser,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'permalog'::regnamespace AND proname = ANY (%s)"
        " AND prosqlbody IS NULL AND coalesce(proconfig[1], '') !~ '^search_path='",
        ([name for (name,) in called],),
    )
    assert exposed == []


TRAP = """
    CREATE SCHEMA trap;
    CREATE FUNCTION trap.yes(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
    CREATE OPERATOR trap.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = trap.yes);
    CREATE FUNCTION trap.pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE FUNCTION trap.pg_has_role(name, regrole, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE FUNCTION trap.sha256(bytea) RETURNS bytea LANGUAGE sql
        AS $$ SELECT '\\x00112233445566778899aabbccddeeff'::bytea $$;
    CREATE FUNCTION trap.int8send(bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x0197b3f000007000'::bytea $$;
    GRANT USAGE ON SCHEMA trap TO PUBLIC;
"""


def test_traps_in_the_writers_path_are_not_stepped_on(
    database: str, superuser: psycopg.Connection, login: Callable[..., str]
) -> None:
    ask(superuser, TRAP)
    address = login("permalog_writer")
    with psycopg.connect(address, autocommit=True) as writer:
        ask(writer, "SET search_path = trap, pg_catalog; SET permalog.recorded_by = 'tok_of_somebody_else'")
        made = insert(writer)
        ask(writer, "SELECT permalog.known_identity(%s, 'actor', 'u_1', NULL, NULL, NULL, NULL)", (OWNER.log_id,))
        ask(writer, "SELECT permalog.stored_digest(%s, %s)", (OWNER.log_id, made))
        with pytest.raises(psycopg.errors.CheckViolation, match="event_id"):
            insert(writer, id=uuid.UUID("0197b3f0-0000-7000-8000-000000000000"))
        with pytest.raises(psycopg.errors.CheckViolation, match="log_id_is_the_owners"):
            ask(
                writer,
                "INSERT INTO permalog.log (log_id, user_id) VALUES ('00112233-4455-8677-8899-aabbccddeeff', 'u_9')",
            )
    assert value(superuser, "SELECT count(*) FROM permalog.unsealed WHERE id = %s", (made,)) == 1
    recorded_by = value(superuser, "SELECT recorded_by FROM permalog.event WHERE id = %s", (made,))
    assert f"//{recorded_by}@" in address
    assert database


# Writers beside each other.


def known(connection: psycopg.Connection, kind: str, *content: str | None) -> bytes | None:
    return value(
        connection, "SELECT permalog.known_identity(%s, %s, %s, %s, %s, %s, %s)", (OWNER.log_id, kind, *content)
    )


def test_only_committed_visible_identities_of_the_same_content_are_used_again(
    database: str, superuser: psycopg.Connection, log: Permalog
) -> None:
    ann = ("u_2", "ann@example.org", None, None, None)
    with psycopg.connect(database) as other:
        log.record(event(actor=Actor.user("u_2", email="ann@example.org")), connection=other)
        assert known(superuser, "actor", *ann) is None, "not committed"
        other.commit()
    assert known(superuser, "actor", *ann) is not None
    assert known(superuser, "actor", "u_2", "ann@example.org", "Ann", None, None) is None, "other content"
    assert known(superuser, "actor", "u_2", None, None, None, None) is None, "less content"
    log.record(event(actor=Actor.staff("s_1", name="Sam")), connection=superuser)
    assert known(superuser, "staff", "s_1", None, "Sam", None, None) is None, "two events of staff must not be linked"


def test_identities_of_staff_are_never_shared(superuser: psycopg.Connection, log: Permalog) -> None:
    for _ in range(3):
        log.record(event(actor=Actor.staff("s_1", name="Sam")), connection=superuser)
        log.record(event(actor=Actor.staff("s_1", name="Sam")))
    assert log.flush()
    distinct = "SELECT count(DISTINCT identity) FROM permalog.event WHERE actor_type = 'staff'"
    assert (
        value(superuser, distinct)
        == value(superuser, "SELECT count(*) FROM permalog.identity WHERE kind = 'staff'")
        == 6
    )


def test_an_identity_is_used_again_by_the_next_event(superuser: psycopg.Connection, log: Permalog) -> None:
    for _ in range(3):
        log.record(event(), connection=superuser)
    assert value(superuser, "SELECT count(*) FROM permalog.identity") == 1


def test_two_open_transactions_write_the_same_identity_without_waiting(database: str, log: Permalog) -> None:
    """A uniqueness over content would make the second wait for the first, and deadlock with another pair."""
    ann, bob = (
        event(actor=Actor.user(name, email="same@example.org"), owner=Owner.user(name)) for name in ("ann", "bob")
    )
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        for connection in (one, two):
            connection.execute("SET lock_timeout = '2s'")
        fresh = {"event_key": None}
        log.record(ann.model_copy(update=fresh), connection=one)
        log.record(bob.model_copy(update=fresh), connection=two)
        log.record(bob.model_copy(update=fresh), connection=one)
        log.record(ann.model_copy(update=fresh), connection=two)
        two.commit()
        one.commit()
    assert len(log.list(Owner.user("ann")).events) == len(log.list(Owner.user("bob")).events) == 2


def test_a_log_that_one_open_transaction_opens_does_not_block_another(database: str, log: Permalog) -> None:
    """The library opens it beforehand, in a transaction of its own."""
    owner = Owner.user("new one")
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        two.execute("SET lock_timeout = '2s'")
        log.record(event(owner=owner), connection=one)
        with Permalog.connect(database) as another:
            another.record(event(owner=owner), connection=two)
            another.record(event(owner=owner))
            assert another.flush()
        two.commit()
        one.rollback()
    assert len(log.list(owner).events) == 2


def test_a_log_opened_by_sql_in_the_same_transaction_does_not_lock_the_library_out(
    database: str, log: Permalog
) -> None:
    owner = Owner.user("opened by SQL")
    with psycopg.connect(database) as connection:
        connection.execute(*log.statement(event(owner=owner)))
        log.record(event(owner=owner), connection=connection)
        connection.commit()
    assert len(log.list(owner).events) == 2


def test_the_same_key_in_two_open_transactions_is_stored_once(database: str, log: Permalog) -> None:
    twice = event(event_key="the key")
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        first = log.record(twice, connection=one)
        receipts: list[uuid.UUID] = []
        waiting = threading.Thread(target=lambda: receipts.append(log.record(twice, connection=two).id))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "which of the two is stored is not known before the first has ended"
        one.commit()
        waiting.join(10)
        two.commit()
    assert receipts == [first.id]
    assert len(log.list(OWNER).events) == 1
