"""What verifying compares a database's guards with is what migrations make, on every PostgreSQL there is."""

import psycopg
import pytest

import as_migrated
from asking import composed
from permalog.catalogue import BUILT_IN
from permalog.postgres.migrate import migrate
from permalog.tlog.findings import Finding, VerifyCode
from permalog.verifying.schema import EXPECTED, check_schema


def findings(url: str, *, has_roles: bool = True) -> list[Finding]:
    found: list[Finding] = []
    with psycopg.connect(url) as connection:
        check_schema(connection, found.append, has_roles=has_roles)
    return found


def test_the_file_is_what_migrations_make(database: str) -> None:
    """`PYTHONPATH=src:tests python tests/as_migrated.py` writes it anew, after a change of the schema."""
    with psycopg.connect(database) as connection:
        assert as_migrated.text(as_migrated.guards(connection)).splitlines() == EXPECTED.read_text().splitlines()


def test_a_migrated_database_has_all_guards(database: str) -> None:
    assert findings(database) == []


def test_one_without_roles_has_those_that_need_none(empty_database: str) -> None:
    migrate(empty_database, BUILT_IN, single_role=True)
    assert findings(empty_database, has_roles=False) == []


ATTACKS = {
    "DROP TRIGGER refuse_change ON permalog.event": VerifyCode.SCHEMA_TRIGGER,
    "ALTER TABLE permalog.event DISABLE TRIGGER refuse_change": VerifyCode.SCHEMA_TRIGGER,
    "ALTER TABLE {partition} DISABLE TRIGGER refuse_truncate": VerifyCode.SCHEMA_TRIGGER,
    "ALTER TABLE {partition} ENABLE TRIGGER note_unsealed": VerifyCode.SCHEMA_TRIGGER,
    "CREATE TRIGGER mine BEFORE INSERT ON permalog.event_key FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change()":
        VerifyCode.SCHEMA_TRIGGER,
    "CREATE OR REPLACE FUNCTION permalog.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'":
        VerifyCode.SCHEMA_CHANGED,
    "ALTER FUNCTION permalog.refuse_change() OWNER TO permalog_writer": VerifyCode.SCHEMA_OWNER,
    "ALTER FUNCTION permalog.note_unsealed() RESET ALL": VerifyCode.SCHEMA_CHANGED,
    "ALTER FUNCTION permalog.note_unsealed() STRICT": VerifyCode.SCHEMA_CHANGED,
    "ALTER FUNCTION permalog.commitment LEAKPROOF": VerifyCode.SCHEMA_CHANGED,
    "CREATE TABLE permalog.mine () INHERITS (permalog.tile)": VerifyCode.SCHEMA_CHANGED,
    "CREATE TABLE public.mine () INHERITS (permalog.identity)": VerifyCode.SCHEMA_CHANGED,
    "CREATE TABLE public.mine PARTITION OF permalog.event DEFAULT": VerifyCode.SCHEMA_PARTITION,
    "ALTER TABLE permalog.event ALTER recorded_at DROP DEFAULT": VerifyCode.SCHEMA_CHANGED,
    "ALTER TABLE permalog.event DROP CONSTRAINT event_id": VerifyCode.SCHEMA_CHANGED,
    "ALTER TABLE permalog.log DROP CONSTRAINT log_id_is_the_owners": VerifyCode.SCHEMA_CHANGED,
    "ALTER TABLE permalog.event_key DROP CONSTRAINT event_key_pkey": VerifyCode.SCHEMA_CHANGED,
    "CREATE RULE mine AS ON DELETE TO permalog.event_key DO INSTEAD NOTHING": VerifyCode.SCHEMA_CHANGED,
    "CREATE VIEW permalog.mine AS SELECT * FROM permalog.identity": VerifyCode.SCHEMA_CHANGED,
    "GRANT UPDATE ON permalog.event TO permalog_writer": VerifyCode.SCHEMA_GRANT,
    "GRANT UPDATE (recorded_at) ON permalog.event TO permalog_writer": VerifyCode.SCHEMA_GRANT,
    "GRANT SELECT ON {partition} TO permalog_reader": VerifyCode.SCHEMA_GRANT,
    "REVOKE SELECT ON permalog.event FROM permalog_sealer": VerifyCode.SCHEMA_GRANT,
    "GRANT EXECUTE ON FUNCTION permalog.remove_log TO PUBLIC": VerifyCode.SCHEMA_GRANT,
    "ALTER DEFAULT PRIVILEGES IN SCHEMA permalog GRANT SELECT ON TABLES TO PUBLIC": VerifyCode.SCHEMA_GRANT,
    "GRANT CREATE ON SCHEMA permalog TO permalog_writer": VerifyCode.SCHEMA_GRANT,
    "ALTER TABLE permalog.identity DISABLE ROW LEVEL SECURITY": VerifyCode.SCHEMA_POLICY,
    "DROP POLICY one_log ON permalog.event": VerifyCode.SCHEMA_POLICY,
    "CREATE POLICY mine ON permalog.identity FOR SELECT TO PUBLIC USING (true)": VerifyCode.SCHEMA_POLICY,
    "ALTER TABLE permalog.event OWNER TO postgres": VerifyCode.SCHEMA_OWNER,
    "ALTER TABLE permalog.event DETACH PARTITION {partition}": VerifyCode.SCHEMA_PARTITION,
    "DROP TABLE {partition}": VerifyCode.SCHEMA_PARTITION,
    "CREATE TABLE permalog.mine PARTITION OF permalog.event DEFAULT": VerifyCode.SCHEMA_PARTITION,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_guard_that_was_changed_is_found(attack: str, database: str) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^event_[0-9]{6}$' ORDER BY 1 OFFSET 1 LIMIT 1"
        ).fetchone()
        assert row is not None
        connection.execute(composed(attack.replace("{partition}", f"permalog.{row[0]}")))
    assert ATTACKS[attack] in {finding.code for finding in findings(database)}


def test_the_partition_of_this_month_must_be_there(database: str) -> None:
    with psycopg.connect(database) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relname >= to_char(now() AT TIME ZONE 'UTC', '\"event_\"YYYYMM')"
            " AND relname ~ '^event_[0-9]{6}$'"
        ).fetchall()
        for (name,) in names:
            connection.execute(composed(f"DROP TABLE permalog.{name}"))
    assert [finding.code for finding in findings(database)] == [VerifyCode.SCHEMA_PARTITION]


@pytest.mark.parametrize(
    "attack",
    [
        "GRANT permalog_eraser TO permalog_reader",
        "ALTER ROLE permalog_owner LOGIN",
        "ALTER ROLE permalog_reader BYPASSRLS",
    ],
)
def test_a_right_of_a_role_is_found(attack: str, database: str) -> None:
    """Roles are the whole server's: what is done to them here is never committed."""
    found: list[Finding] = []
    with psycopg.connect(database) as connection:
        connection.execute(composed(attack))
        check_schema(connection, found.append, has_roles=True)
        connection.rollback()
    assert {finding.code for finding in found} == {VerifyCode.SCHEMA_GRANT}
