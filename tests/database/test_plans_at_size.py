"""Plans over many partitions, as the reader role: what pages and searches touch. In full at a million events.

``make prove`` runs it with a million events in 24 and in 400 partitions; the suite with a few thousand.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from actions import ACTIONS
from asking import ask, value
from permalog import Owner
from permalog.client import Permalog
from permalog.postgres.keeping import Keeper
from permalog.reading.cursor import NEWEST, OLDEST
from permalog.reading.filters import Filters
from permalog.reading.partitions import Direction, nearest, partitions_of, span_of, within
from permalog.reading.searching import ROW, Search
from permalog.reading.selection import select
from permalog.sql import query

LARGE = Owner.user("u_large")
START = datetime(2025, 8, 1, tzinfo=UTC)
DAYS = 400

FILL = """
INSERT INTO permalog.event (log_id, id, occurred_at, action, outcome, actor_type, actor_id, identity, resource_type,
                            resource_id, correlation_id, source, metadata)
SELECT CASE WHEN n %% 5 = 0 THEN %(large)s ELSE %(small)s END,
       permalog.new_id(t), t, CASE WHEN n %% 7 = 0 THEN 'thing.made' ELSE 'thing.changed' END,
       CASE WHEN n %% 490 = 0 THEN 'denied' ELSE 'success' END, 'user', 'u_' || n %% 40,
       decode(repeat('00', 32), 'hex'), 'thing', 't_' || n / 20, 'op_' || n / 10, 'api',
       jsonb_build_object('note', 'number ' || n, 'word', CASE WHEN n %% 10000 = 0 THEN 'seldom' ELSE 'often' END)
FROM generate_series(1, %(events)s) AS n CROSS JOIN LATERAL (SELECT %(start)s + n * %(step)s) AS at (t)
"""


@pytest.fixture(params=[24, 400], ids=["24 partitions", "400 partitions"])
def filled(request: pytest.FixtureRequest, database: str) -> tuple[str, int]:
    """A database of so many partitions, all but the last indexed for search, and how many events it has."""
    is_thorough: bool = request.config.option.thorough
    count, events = request.param, 1_000_000 if is_thorough else 20_000
    with psycopg.connect(database, autocommit=True) as connection:
        divide(connection, count)
        writer = Permalog.connect(database, catalogue=ACTIONS)
        opened = writer.writer()
        for owner in (LARGE, Owner.user("u_small")):
            ask(connection, "INSERT INTO permalog.log (log_id, user_id) VALUES (%s, %s)", [owner.log_id, owner.user_id])
        opened.close()
        parameters = {
            "large": LARGE.log_id, "small": Owner.user("u_small").log_id, "events": events, "start": START,
            "step": timedelta(days=DAYS) / (events + 1),
        }  # fmt: skip
        connection.execute(FILL, parameters)
        if not is_thorough:
            # The few that the tests below look at; to index 400 of them takes too long for the suite.
            for name, *_ in ask(
                connection, "SELECT name FROM permalog.partitions() ORDER BY next_id DESC OFFSET 14 LIMIT 6"
            ):
                ask(connection, "SELECT permalog.index_partition(%s)", [name])
        else:
            Keeper(writer.database).look(at_once=True)
        ask(connection, "VACUUM ANALYZE permalog.event, permalog.unsealed")
        writer.close()
    return database, events


def divide(connection: psycopg.Connection, count: int) -> None:
    """Partitions of one width over the time of the events, in place of those that migrations make."""
    ask(connection, "SET ROLE permalog_owner")
    for name, *_ in ask(connection, "SELECT * FROM permalog.partitions()"):
        ask(connection, "DROP TABLE permalog.{name}", name=name)
    bounds = [START + timedelta(days=DAYS) / count * n for n in range(count + 1)] + [datetime(2026, 10, 1, tzinfo=UTC)]
    create = "CREATE TABLE permalog.{name} PARTITION OF permalog.event FOR VALUES FROM ({low}) TO ({high})"
    names = ["event_before", *(f"event_202508_{n:04}" for n in range(1, count + 1)), "event_202609"]
    floors = [str(value(connection, "SELECT permalog.id_floor(%s)", [bound])) for bound in bounds]
    lows = [sql.SQL("MINVALUE"), *map(sql.Literal, floors)]
    for name, low, high in zip(names, lows, floors, strict=False):
        filled_in = {"name": sql.Identifier(name), "low": low, "high": sql.Literal(high)}
        connection.execute(sql.SQL(create).format(**filled_in))
        ask(connection, "SELECT permalog.guard_partition(%s)", [f"permalog.{name}"])
    ask(connection, "SELECT permalog.make_partitions()")
    ask(connection, "RESET ROLE")


def explained(connection: Any, statement: sql.Composed, parameters: dict[str, Any]) -> str:
    command = sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, BUFFERS OFF) ") + statement
    return "\n".join(row[0] for row in connection.execute(command, parameters))


DIRECTIONS: list[tuple[Direction, UUID]] = [("older", NEWEST), ("newer", OLDEST)]
READS = [
    (Filters(), "pkey"),
    (Filters(action="thing.made"), "action_id_idx"),
    (Filters(actor_id="u_5"), "actor_id_id_idx"),
    (Filters(outcome="denied"), "outcome_id_idx"),
    (Filters(source="api"), "pkey"),
    (Filters(resource_type="thing"), "pkey"),
    (Filters(action=["thing.made", "thing.changed"]), "pkey"),
    (Filters(start=START + timedelta(days=100), end=START + timedelta(days=101)), "pkey"),
]


@pytest.mark.slow
@pytest.mark.one_version
def test_a_page_reads_the_nearest_partitions_by_an_index_and_sorts_nothing(filled: tuple[str, int]) -> None:
    url, _ = filled
    with Permalog.connect(url, catalogue=ACTIONS) as log:
        for filters, index in READS:
            for direction, position in DIRECTIONS:
                with log.database.reading(LARGE.log_id, in_order=True) as connection:
                    selection = select(connection, LARGE.log_id, filters)
                    partitions = partitions_of(log.database, connection)
                    span = span_of(connection, LARGE.log_id)
                    assert span is not None
                    times = [selection.parameters.get(name) for name in ("start", "end")]
                    near = nearest(partitions, direction, within(direction, position, span, *times))
                    statement = sql.SQL(query("read", f"{direction}_between")).format(row=ROW, where=selection.where)
                    bounds = {"above": near.above, "below": near.below, "rows": 51}
                    connection.execute(query("read", "plan_for_values"))
                    plan = explained(connection, statement, {**selection.parameters, **bounds})
                assert not [node for node in ("Seq Scan", "Bitmap", "Sort") if node in plan], plan
                names = set(re.findall(r"(event_(?:before|\d{6})(?:_\d+)?)_log_id|(event_\w+)_pkey", plan))
                assert len({a or b for a, b in names}) <= 3, plan
                assert index in plan or "Result" in plan, plan


@pytest.mark.slow
@pytest.mark.one_version
def test_a_search_reads_one_partition_after_another_by_its_index(filled: tuple[str, int]) -> None:
    """And its only sort is that of the candidates of one partition, of which it keeps a thousand."""
    url, events = filled
    with Permalog.connect(url, catalogue=ACTIONS) as log:
        for text, found in (("seldom", 51), ("nowhere to be found", 0)):
            with log.database.reading(LARGE.log_id, in_order=True) as connection:
                selection = select(connection, LARGE.log_id, Filters(search=text))
                rows = Search(log.database, connection, selection).rows("older", NEWEST, 51)
                assert len(rows) == min(found, events // 10_000)
                scans = ask(
                    connection,
                    "SELECT name, pg_stat_get_xact_numscans(to_regclass('permalog.' || name)),"
                    " pg_stat_get_xact_numscans(to_regclass('permalog.' || name || '_search')), is_searchable"
                    " FROM permalog.partitions()",
                )
            assert {name for name, whole, _, _ in scans if whole} == set()
            if events > 100_000:
                assert sum(by_index or 0 for _, _, by_index, _ in scans) >= 1
