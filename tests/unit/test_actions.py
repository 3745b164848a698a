"""The catalogue: names stay for ever, in the code, in the database and in the documents."""

import re
from pathlib import Path

import psycopg

from asking import value
from permalog.postgres.migrate import migrate
from permalog_server.wiring import ACTIONS

HERE = Path(__file__).parent
KNOWN = (HERE / "actions.txt").read_text().splitlines()
DOCUMENTED = (HERE.parents[1] / "docs" / "actions.md").read_text()


def test_no_action_is_ever_removed_or_added_in_passing() -> None:
    """A new action gets its line in actions.txt; a line of that file is never taken out: retire the action instead."""
    assert [action.name for action in ACTIONS] == KNOWN


def test_the_database_admits_exactly_these(empty_database: str) -> None:
    migrate(empty_database, ACTIONS)
    with psycopg.connect(empty_database) as connection:
        definition = value(
            connection,
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'permalog.event'::regclass AND conname = 'event_action'",
        )
    assert sorted(re.findall(r"security[.\w]+", definition)) == KNOWN


def test_every_action_is_documented_as_it_is_declared() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([a-z_]+)` \| (.+) \|$", DOCUMENTED, re.MULTILINE)
    assert sorted(rows) == [(action.name, action.resource_type, action.label) for action in ACTIONS]
