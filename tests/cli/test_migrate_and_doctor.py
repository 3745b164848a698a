"""``permalog migrate`` and ``permalog doctor``."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from calling import Command, LineMaker
from permalog.postgres import health
from permalog.postgres.health import examine
from permalog_server.wiring import ACTIONS
from tampering import unguarded


def wrong(url: str) -> dict[str, str]:
    """What the doctor finds wrong, by name."""
    return {check.name: check.found for check in examine(url, ACTIONS) if check.status == "wrong"}


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]  the test's own


def test_migrate_says_what_it_applied_and_then_has_nothing_to_do(
    empty_database: str, permalog: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERMALOG_DATABASE_URL", empty_database)
    assert permalog("migrate", "--check").code == 1
    script = permalog("migrate", "--sql").out
    assert script.startswith("BEGIN;")
    assert permalog("migrate", "--check", "--json").json["pending"], "--sql and --check change nothing"
    assert "migrations/0001_initial.sql" in permalog("migrate", "--json").json["applied"]
    assert permalog("migrate", "--check").code == 0
    assert permalog("migrate").out == "nothing to do: the database is up to date\n"


def test_a_dba_may_run_the_script_instead(
    empty_database: str, permalog: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERMALOG_DATABASE_URL", empty_database)
    execute(empty_database, permalog("migrate", "--sql").out)
    assert permalog("migrate", "--check").code == 0


def test_the_doctor_finds_nothing_wrong_with_a_fresh_database(permalog: Command) -> None:
    said = permalog("doctor", "--json")
    assert (said.code, said.json["healthy"]) == (0, True), said.out
    assert permalog("doctor").code == 0


SWAP_ACTIONS = """
    ALTER TABLE permalog.event DROP CONSTRAINT event_action;
    ALTER TABLE permalog.event ADD CONSTRAINT event_action CHECK (action = ANY ('{{security.x.y}}'::text[]))
"""
FAULTS = {
    "roles of others": ("ALTER TABLE permalog.event OWNER TO CURRENT_USER", "owner"),
    "trigger off": ("ALTER TABLE permalog.event DISABLE TRIGGER refuse_change", "triggers"),
    "trigger not always": ("ALTER TABLE permalog.identity ENABLE TRIGGER refuse_change", "triggers"),
    "partition's trigger gone": ("DROP TRIGGER refuse_truncate ON permalog.event_before", "triggers"),
    "row security off": ("ALTER TABLE permalog.event DISABLE ROW LEVEL SECURITY", "row-level security"),
    "no partitions": ("DROP TABLE permalog.event_{last}", "partitions"),
    "old routine": ("DELETE FROM permalog.migration WHERE name = 'guards.sql'", "migrations"),
    "no trigrams": ("DROP EXTENSION pg_trgm CASCADE", "pg_trgm"),
    "action not admitted": (SWAP_ACTIONS, "actions"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda name: name.replace(" ", "-"))
def test_the_doctor_finds_what_is_wrong(database: str, fault: str) -> None:
    statement, name = FAULTS[fault]
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT to_char((now() AT TIME ZONE 'UTC') + interval '12 months', 'YYYYMM')"
        ).fetchone()
    assert row is not None
    execute(database, statement.format(last=row[0]))
    # Grants are put in place again with the partitions, so that a migration is pending, too.
    assert set(wrong(database)) - {"migrations"} == {name} - {"migrations"}
    assert name in wrong(database)


def test_the_doctor_looks_at_sealing(
    permalog: Command, database: str, line: LineMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def checks() -> dict[str, dict[str, str]]:
        return {one["name"]: one for one in permalog("doctor", "--json").json["checks"]}

    found = checks()
    assert [found[name]["status"] for name in ("signing key", "origin", "sealed folder")] == ["less"] * 3
    assert [found[name]["status"] for name in ("sealing", "checkpoints")] == ["ok"] * 2
    monkeypatch.setenv("PERMALOG_ORIGIN", "audit.example.com")
    monkeypatch.setenv("PERMALOG_SIGNING_KEY", str(tmp_path / "signing.key"))
    monkeypatch.setenv("PERMALOG_SEALED_DIR", str(tmp_path / "sealed"))
    assert checks()["signing key"]["status"] == "wrong"
    assert permalog("key", "rotate").code == 0
    assert permalog("seal", "--once").code == 0
    found = checks()
    names = ("signing key", "origin", "sealed folder", "sealing", "checkpoints")
    assert [found[name]["status"] for name in names] == ["ok"] * 5
    (tmp_path / "signing.key").chmod(0o644)
    assert "may be read by others" in checks()["signing key"]["found"]
    (tmp_path / "signing.key").chmod(0o600)
    assert permalog("import", "-", stdin=line()).code == 0
    with psycopg.connect(database) as connection, unguarded(connection):
        connection.execute("UPDATE permalog.event SET recorded_at = recorded_at - interval '2 minutes'")
    assert "1 events wait, the oldest for 12" in checks()["sealing"]["found"]
    monkeypatch.setenv("PERMALOG_SEALED_DIR", str(tmp_path / "signing.key" / "sealed"))
    assert checks()["sealed folder"]["status"] == "wrong"
    assert permalog("seal", "--once").code == 1
    with psycopg.connect(database) as connection, unguarded(connection):
        connection.execute("DELETE FROM permalog.checkpoint")
        connection.execute("UPDATE permalog.head SET sealed_at = sealed_at - interval '3 minutes'")
    assert checks()["checkpoints"]["status"] == "wrong"


def test_the_doctor_says_that_a_login_does_not_seal(
    permalog: Command, login: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERMALOG_DATABASE_URL", login("permalog_service"))
    (found,) = [one for one in permalog("doctor", "--json").json["checks"] if one["name"] == "sealing"]
    assert (found["status"], "does not seal" in found["found"]) == ("ok", True)
    assert "GRANT permalog_sealer" in found["remedy"]


def test_the_doctor_says_what_a_database_without_schema_needs(empty_database: str) -> None:
    assert wrong(empty_database).keys() == {"migrations", "pg_trgm"}


def test_the_doctor_says_that_the_database_cannot_be_reached() -> None:
    assert wrong("postgresql://127.0.0.1:1/log").keys() == {"database"}


def test_the_doctor_compares_the_clocks(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SKEW", -health.SKEW)
    assert wrong(database).keys() == {"clock"}


def test_the_doctor_says_what_a_login_may_not(login: Callable[..., str]) -> None:
    assert wrong(login("permalog_writer"))["login"].endswith("is no member of permalog_reader")
