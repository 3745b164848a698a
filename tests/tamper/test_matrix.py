"""The tamper matrix: each attack by whoever may do everything in the database, and what finds it.

The table in docs/threat-model.md is made here. `UPDATE_DOCUMENTS=1` in the environment writes it anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from asking import ask
from attacks import COLUMNS, Attack, filled
from matrix import ALL, BY, Known, attack, codes, failures, prepared
from tampering import BETA, Connection, unguarded

DOCUMENT = Path(__file__).parents[2] / "docs" / "threat-model.md"
MARKS = ("<!-- tamper matrix: made by tests/tamper/test_matrix.py -->", "<!-- end of the tamper matrix -->")


@pytest.fixture
def tampered(sealed: str) -> Iterator[tuple[Connection, Known]]:
    with prepared(sealed) as found:
        yield found


def test_what_nobody_has_tampered_with_is_proven_whatever_is_known(tampered: tuple[Connection, Known]) -> None:
    connection, known = tampered
    with unguarded(connection):
        pass
    for by in ("verify", *BY):
        assert failures(connection, known.given(by)) == []


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_an_attack_is_found_by_what_the_table_says(one: Attack, tampered: tuple[Connection, Known]) -> None:
    connection, known = tampered
    before = ask(connection, filled("SELECT count(*) FROM permalog.event WHERE log_id = {A}"))
    assert before == [(310,)]
    attack(connection, one)
    known.spoil(one.spoils)
    if one.outside_too:
        known.outside = known.state(connection)
    found = codes(connection, known.given("verify"))
    if "verify" in one.found:
        assert one.found["verify"] in found
        return
    assert found == set()
    for by in BY:
        found = codes(connection, known.given(by))
        assert found >= {one.found[by]} if by in one.found else found == set(), by


def test_every_column_has_an_attack_or_a_reason(database: str) -> None:
    """A new column without a row in the matrix fails here."""
    with psycopg.connect(database) as connection:
        columns = ask(
            connection,
            "SELECT c.relname || '.' || a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'permalog'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND a.attnum > 0 AND NOT a.attisdropped",
        )
    assert {name for (name,) in columns} == set(COLUMNS)


def table() -> str:
    """The matrix as it stands in the document."""
    lines = [
        "| attack | `verify` alone | state outside | anchor | witness | code |",
        "|---|---|---|---|---|---|",
    ]
    for one in ALL:
        if "verify" in one.found:
            cells = ["found"] + ["" for _ in BY]
        else:
            cells = ["—", *("found" if by in one.found else "—" for by in BY)]
        told = ", ".join(f"`{code}`" for code in dict.fromkeys(one.found.values())) or f"**not found** {one.window}"
        lines.append(f"| {one.name.strip()} | {' | '.join(cells)} | {told} |")
    lines += ["", "Columns that no row above changes:", ""]
    reasons: dict[str, list[str]] = {}
    for name, column in COLUMNS.items():
        if isinstance(column, str):
            reasons.setdefault(column, []).append(f"`{name}`")
    lines += [f"- {', '.join(names)}: {reason}." for reason, names in reasons.items()]
    return "\n".join(lines)


def test_the_document_has_the_table() -> None:
    text = DOCUMENT.read_text()
    pattern = re.compile(f"{re.escape(MARKS[0])}\n(.*?)\n{re.escape(MARKS[1])}", re.DOTALL)
    if os.environ.get("UPDATE_DOCUMENTS"):
        text = pattern.sub(lambda _: f"{MARKS[0]}\n{table()}\n{MARKS[1]}", text)
        DOCUMENT.write_text(text)
    found = pattern.search(text)
    assert found is not None
    assert found[1] == table()


def test_both_logs_are_looked_at(tampered: tuple[Connection, Known]) -> None:
    connection, known = tampered
    with unguarded(connection):
        connection.execute("UPDATE permalog.event SET outcome = 'denied' WHERE log_id = %s", (BETA.log_id,))
    assert {one.log_id for one in failures(connection, known.given("verify"))} == {BETA.log_id}
