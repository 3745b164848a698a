"""As the reader role: which indexes pages take, and how many statements a call makes."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from asking import ask
from model import event_of
from permalog import Actor, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.reading.cursor import NEWEST, OLDEST
from permalog.reading.filters import Filters
from permalog.reading.query import get_event, list_events
from permalog.reading.searching import ROW
from permalog.reading.selection import select
from permalog.reading.summary import summary
from permalog.recording.store import Dated
from permalog.sql import query

LARGE = Owner.user("u_large")
NOW = datetime.now(UTC)
# The partition that most of the events below fall into: this month's, or the catch-all before the first month.
FILLED = f"event_{NOW:%Y%m}" if (NOW - timedelta(minutes=1_500)).month == NOW.month else "event_before"


@pytest.fixture
def filled(log: Permalog, database: str) -> Permalog:
    """One log of 3,000 events among 60 of 20, as PostgreSQL's statistics know them."""
    writer = log.writer()
    events = [
        Dated.of(
            event_of(
                owner,
                action="thing.changed" if n % 10 else "thing.made",
                actor=Actor.user(f"u_{n % 50}", email=f"u{n % 50}@acme.example")
                if n % 97
                else Actor.staff("s_1", email="sam@permalog.example"),
                resource=Resource("thing", f"t_{n // 3}"),
                outcome="failure" if n % 500 == 0 else "success",
                correlation_id=f"op_{n // 4}",
                source="api",
                occurred_at=NOW - timedelta(minutes=n),
                metadata={"note": f"number {n}", **({"by": Personal("login", "octocat")} if n == 0 else {})},
            ),
            NOW,
        )
        for owner, size in [(LARGE, 3_000), *((Owner.user(f"u_small_{k}"), 20) for k in range(60))]
        for n in range(size)
    ]
    for start in range(0, len(events), 1_000):
        assert {one.status for one in writer.store(events[start : start + 1_000])} == {"created"}
    writer.close()
    with psycopg.connect(database, autocommit=True) as connection:
        ask(connection, "VACUUM ANALYZE permalog.event, permalog.identity")
    return log


def plan_of(log: Permalog, filters: Filters, name: str) -> str:
    """The plan of a statement of read.sql, prepared as pages prepare it, for the large log."""
    with log.database.reading(LARGE.log_id, in_order=True) as connection:
        assert ask(connection, "SELECT current_user") == [("permalog_reader",)]
        selection = select(connection, LARGE.log_id, filters)
        statement = sql.SQL(query("read", name)).format(row=ROW, where=selection.where)
        if selection.is_uneven:
            connection.execute(query("read", "plan_anew"))
        parameters: dict[str, Any] = {
            **selection.parameters,
            "position": OLDEST if "newer" in name else NEWEST,
            "rows": 51,
        }
        return explained(connection, statement, parameters)


def explained(connection: Any, statement: sql.Composable, parameters: dict[str, Any]) -> str:
    """The plan that a connection makes, or has kept, of a statement that it prepares."""
    connection.execute(statement, parameters, prepare=True)
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.as_string(None))))
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement.as_string(None))
    ((prepared,),) = ask(connection, "SELECT name FROM pg_prepared_statements WHERE statement = %s", [text])
    explain = sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, BUFFERS OFF) EXECUTE {} ({})").format(
        sql.Identifier(prepared), sql.SQL(", ").join(sql.Literal(parameters[name]) for name in names)
    )
    return "\n".join(row[0] for row in connection.execute(explain))


SUFFIXES = ("action_id_idx", "actor_id_id_idx", "resource_id_id_idx", "correlation_id_id_idx", "outcome_id_idx")
INDEXES = [
    (Filters(), "pkey"),
    (Filters(start=NOW - timedelta(days=1), end=NOW - timedelta(hours=1)), "pkey"),
    (Filters(action="thing.made"), "action_id_idx"),
    (Filters(actor_id="u_3"), "actor_id_id_idx"),
    (Filters(actor_email="U3@acme.example"), "actor_id_id_idx"),
    (Filters(resource_id="t_7"), "resource_id_id_idx"),
    (Filters(correlation_id="op_7"), "correlation_id_id_idx"),
    (Filters(outcome="failure"), "outcome_id_idx"),
    # No index of their own: in the order of the ids, until a page is full.
    (Filters(outcome="success"), "pkey"),
    (Filters(source="api"), "pkey"),
    (Filters(resource_type="thing"), "pkey"),
    (Filters(action=["thing.made", "thing.changed"]), "pkey"),
    (Filters(search="number 1"), "pkey"),
]


def test_a_page_follows_an_index_in_order(filled: Permalog) -> None:
    """One plan is made for every log, the small and the large: none may read more of a log than it shows."""
    for filters, index in INDEXES:
        for name in ("older", "newer", "is_older", "is_newer"):
            plan = plan_of(filled, filters, name)
            assert "log_id = $1" in plan, plan
            assert indexes_in(plan) == {index}, plan
            assert not [node for node in ("Seq Scan", "Bitmap", "Sort") if node in plan], plan


def test_the_few_events_of_staff_are_found_by_an_index(filled: Permalog) -> None:
    """Their order is not the index's: they are sorted, by a plan that knows how few of this log's they are."""
    for filters in (Filters(actor_email="sam@permalog.example"), Filters(actor_id="s_1")):
        plan = plan_of(filled, filters, "older")
        assert "log_id = $1" not in plan, plan
        assert indexes_in(plan) == {"actor_id_id_idx"}, plan


def indexes_in(plan: str) -> set[str]:
    """The ends of the names of the indexes by which the filled partition is read; a Seq Scan's is none."""
    lines = [line for line in plan.splitlines() if FILLED in line and "Scan" in line]
    assert lines, plan
    return {name for line in lines for name in ("pkey", *SUFFIXES) if f"_{name} " in f"{line} "}


def test_identities_are_looked_up_by_their_indexes(filled: Permalog, database: str) -> None:
    """Behind row-level security lower() would switch its index off: it is asked inside a function, as its owner."""
    del filled
    with psycopg.connect(database, autocommit=True) as connection:
        ((body,),) = ask(connection, "SELECT prosrc FROM pg_proc WHERE proname = 'people_of_email'")
        ask(connection, "SELECT set_config('permalog.log_id', %s, false)", [str(LARGE.log_id)])
        explained = ask(connection, "EXPLAIN " + body.replace("(address)", "('U3@acme.example')").replace("%", "%%"))
        plan = "\n".join(row[0] for row in explained)
        assert "identity_by_email" in plan, plan
        assert ask(connection, "SELECT actor_id FROM permalog.people_of_email('U3@acme.example')") == [("u_3",)]


@pytest.mark.parametrize("in_order", [True, False])
def test_people_are_looked_up_by_their_keys(filled: Permalog, *, in_order: bool) -> None:
    """By one plan for all logs, which reads no more identities than are wanted."""
    with filled.database.reading(LARGE.log_id, in_order=in_order) as connection:
        found = ask(connection, "SELECT commitment FROM permalog.identity LIMIT 60")
        parameters = {"log_id": LARGE.log_id, "commitments": [commitment for (commitment,) in found]}
        plan = explained(connection, sql.SQL(query("read", "identities")), parameters)
    assert "Index Cond: ((log_id = " in plan, plan
    assert "identity_pkey" in plan, plan
    assert not [name for name in ("Seq Scan", "identity_by", "Rows Removed") if name in plan], plan


@pytest.fixture
def statements(filled: Permalog, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are sent, from here on."""
    del filled
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def noting(self: Any, statement: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(statement if isinstance(statement, str) else statement.as_string(None))
        return execute(self, statement, *arguments, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(psycopg.Cursor, "execute", noting)
    return sent


@pytest.mark.parametrize(
    ("filters", "following", "count"),
    [
        # Begin, page, identities, leaves, commit.
        (Filters(), False, 5),
        # And whether there are newer ones.
        (Filters(), True, 6),
        # And whether the action is known.
        (Filters(action="thing.made"), False, 6),
        (Filters(actor_email="u3@acme.example"), False, 6),
        # And where the log begins and ends.
        (Filters(search="number"), False, 7),
        # Nobody has this address.
        (Filters(actor_email="nobody@acme.example"), False, 4),
    ],
)
def test_a_page_takes_few_statements(
    filled: Permalog, statements: list[str], filters: Filters, *, following: bool, count: int
) -> None:
    first = list_events(filled.database, LARGE, filters, limit=1)  # which asks for the partitions, too
    cursor = first.next_cursor if following else None
    statements.clear()
    list_events(filled.database, LARGE, filters, before=cursor, limit=100)
    assert len(statements) == count, statements


def test_an_event_and_a_summary_take_few_statements(filled: Permalog, statements: list[str]) -> None:
    event = list_events(filled.database, LARGE, limit=1).events[0]
    statements.clear()
    get_event(filled.database, LARGE, event.id)
    assert len(statements) == 5
    statements.clear()
    summary(filled.database, LARGE)
    assert len(statements) == 6, statements  # one of them only since events wait
    assert sum("count(*)" in statement for statement in statements) == 1
