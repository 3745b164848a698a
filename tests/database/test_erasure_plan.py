"""How the identities of a person are found: by indexes, however many there are."""

import re
import uuid
from typing import Any

import psycopg
import pytest

from asking import ask, value
from permalog import Owner
from permalog.client import Permalog

LOGS = [Owner.organization(uuid.UUID(int=n)) for n in range(1, 21)]


@pytest.fixture
def filled(log: Permalog, database: str) -> str:
    """Forty thousand identities in twenty logs, half of them personal values, as statistics know them."""
    assert log
    with psycopg.connect(database, autocommit=True) as connection:
        for owner in LOGS:
            ask(
                connection,
                "INSERT INTO permalog.identity (log_id, commitment, kind, actor_id, email, name, value, salt)"
                " SELECT %s, sha256(uuid_send(gen_random_uuid())),"
                " CASE n %% 2 WHEN 0 THEN 'actor' ELSE 'github_login' END,"
                " CASE n %% 2 WHEN 0 THEN 'u_' || n END, CASE n %% 2 WHEN 0 THEN 'u_' || n || '@acme.example' END,"
                " CASE n %% 2 WHEN 0 THEN 'User ' || n END, CASE n %% 2 WHEN 1 THEN 'login-' || n END,"
                " substr(sha256(uuid_send(gen_random_uuid())), 1, 16) FROM generate_series(1, 2000) AS n",
                [owner.log_id],
            )
        ask(connection, "VACUUM ANALYZE permalog.identity")
    return database


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(inside for one in plan.get("Plans", ()) for inside in nodes(one))]


def test_a_persons_identities_are_found_without_a_scan_of_all(filled: str) -> None:
    with psycopg.connect(filled, autocommit=True) as connection:
        body: str = value(connection, "SELECT prosrc FROM pg_proc WHERE proname = 'identities_of'")
        body = re.sub(r"\bperson\b", "$1", re.sub(r"\balso\b", "$2", body))
        ask(connection, "SET ROLE permalog_eraser")
        ask(connection, "SET search_path = pg_catalog, pg_temp")
        connection.execute(b"PREPARE found (text, text[]) AS " + body.encode())
        for person, also in (("u_4", "'{}'"), ("u_4", "'{Ada Byron, login-77}'"), ("nobody", "'{a@acme.example}'")):
            explain = f"EXPLAIN (FORMAT json) EXECUTE found ('{person}', {also})"
            (((plan,),),) = connection.execute(explain.encode()).fetchall()
            scans = [one for one in nodes(plan["Plan"]) if one.get("Relation Name") == "identity"]
            assert scans
            assert not [one for one in scans if one["Node Type"] == "Seq Scan"]
            used = {one["Index Name"] for one in nodes(plan["Plan"]) if "Index Name" in one}
            assert used == {"identity_by_person", "identity_by_words"}
