"""A search by the indexes of closed partitions finds what one without them finds, and nothing else."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from asking import ask, value
from model import event_of
from permalog import Actor, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.postgres.keeping import Keeper
from permalog.reading import partitions, query, searching
from permalog.reading.cursor import NEWEST
from permalog.reading.filters import Filters
from permalog.reading.partitions import Partition, Stretch, nearest, within
from permalog.reading.searching import Search, stretches
from permalog.reading.selection import select
from permalog.recording.store import Dated, Writer

MINE, OTHERS = Owner.user("u_1"), Owner.user("u_2")
LONG_AGO = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
# What lower-casing, JSON, LIKE and trigrams each make something of their own of.
CHARACTERS = (
    "aAbBeEiIsSzZ019 -_%'\".:/\\\n\t\x01\x1f\x7f\N{GREEK CAPITAL LETTER SIGMA}\N{GREEK SMALL LETTER SIGMA}"
    "\N{GREEK SMALL LETTER FINAL SIGMA}\N{GREEK CAPITAL LETTER OMICRON}\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"
    "\N{LATIN SMALL LETTER DOTLESS I}\N{COMBINING DOT ABOVE}\N{LATIN SMALL LETTER SHARP S}"
    "\N{LATIN CAPITAL LETTER SHARP S}"
    "\N{LATIN SMALL LIGATURE FI}\N{KELVIN SIGN}\N{LATIN CAPITAL LETTER E WITH ACUTE}\N{COMBINING ACUTE ACCENT}"
    "誤検知한글\N{ARABIC LETTER BEH}\N{DEVANAGARI LETTER KA}\N{DESERET CAPITAL LETTER LONG I}\N{GRINNING FACE}"
    "\N{ZERO WIDTH JOINER}aAbBeEsStT誤検知한글"
)


def text_of(dice: random.Random, most: int) -> str:
    return "".join(dice.choices(CHARACTERS, k=dice.randrange(1, most)))


def value_of(dice: random.Random) -> Any:
    kind = dice.randrange(6)
    if kind == 0:
        return dice.choice([dice.randrange(10**6), 1.5, 0.25, True, None])
    if kind == 1:
        return {"inner": [text_of(dice, 12), {"deeper": text_of(dice, 12)}], "Szabo": dice.randrange(100)}
    return text_of(dice, 20)


@pytest.fixture
def filled(log: Permalog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Permalog]:
    """Two logs of odd events, of long ago and of today; what is of long ago is indexed, and so is an index asked."""
    dice = random.Random(7)  # noqa: S311  samples
    writer = Writer(log.database, "permalog_importer")
    now = datetime.now(UTC)
    for owner in (MINE, OTHERS):
        events = [
            event_of(
                owner,
                occurred_at=(LONG_AGO if n < 200 else now - timedelta(hours=1)) + timedelta(milliseconds=n // 2),
                resource=Resource("thing", text_of(dice, 9)),
                correlation_id=text_of(dice, 9) if n % 3 else None,
                outcome="failure" if n % 7 == 0 else "success",
                actor=Actor.staff("s_1", email="sam@permalog.example") if n % 50 == 0 else Actor.user(f"u_{n % 5}"),
                metadata={
                    "a": value_of(dice),
                    "b": value_of(dice),
                    **({"by": Personal("login", "octocat")} if n % 20 == 0 else {}),
                },
            )
            for n in range(250)
        ]
        assert {one.status for one in writer.store([Dated.of(event, now) for event in events])} == {"created"}
    writer.close()
    keeper = Keeper(log.database)
    while keeper.stats.indexed == 0:
        keeper.look(at_once=True)
    monkeypatch.setattr(searching, "GLANCE", 3)
    monkeypatch.setattr(searching, "CANDIDATES", 5)
    yield log
    log.close()


def found(log: Permalog, limit: int = 7, **filters: Any) -> list[UUID]:
    """All pages, the newest first; each way back leads to the same."""
    pages = [log.list(MINE, limit=limit, **filters)]
    while pages[-1].next_cursor is not None:
        pages.append(log.list(MINE, before=pages[-1].next_cursor, limit=limit, **filters))
    assert not any(page.partial for page in pages) or len(filters["search"]) < 3
    ids = [event.id for page in pages for event in page.events]
    back = list(pages[-1].events)
    page = pages[-1]
    while page.previous_cursor is not None:
        page = log.list(MINE, after=page.previous_cursor, limit=limit, **filters)
        back = [*page.events, *back]
    assert [event.id for event in back] == ids
    return ids


def needles(connection: psycopg.Connection) -> list[str]:
    """Parts of what is there, in another case now and then, and what is not there."""
    dice = random.Random(11)  # noqa: S311  samples
    texts = [
        text
        for (text,) in ask(
            connection,
            "SELECT v #>> '{{}}' FROM permalog.event, jsonb_path_query(metadata, 'strict $.** ? (@.type() == \"string\""
            ' || @.type() == "number")\') AS v WHERE log_id = %s',
            [MINE.log_id],
        )
    ]
    parts: list[str] = []
    for text in dice.sample(texts, 90):
        start = dice.randrange(len(text))
        part = text[start : start + dice.randrange(1, 14)]
        parts.append(dice.choice([part, part.upper(), part.lower(), part.swapcase()]))
    return [
        *parts,
        *(text_of(dice, 6) for _ in range(20)),
        "octocat",
        "inner",
        "deeper",
        "szabo",
        "thing",
        "$identity",
        "null",
    ]


def test_what_is_found_is_what_each_event_mentions(filled: Permalog, database: str) -> None:
    """The law, with and without an index, for any text: no event is missed, and none is found that is not meant."""
    with psycopg.connect(database, autocommit=True) as connection:
        asked = [needle for needle in needles(connection) if "\0" not in needle and needle]
        by_index = 0
        for needle in asked:
            expected = ask(
                connection,
                "SELECT id FROM permalog.event WHERE log_id = %s AND"
                " permalog.mentions(metadata, resource_type, resource_id, correlation_id, lower(%s)) ORDER BY id DESC",
                [MINE.log_id, needle],
            )
            assert found(filled, search=needle) == [row[0] for row in expected], ascii(needle)
            by_index += value(connection, "SELECT permalog.search_pattern(lower(%s)) ~ '[[:alnum:]]{{3}}'", [needle])
    assert by_index > 30


def test_other_filters_hold_beside_a_search(filled: Permalog) -> None:
    everything = {event.id: event for event in filled.list(MINE, limit=100, search="thing").events}
    assert len(everything) == 100
    failures = found(filled, search="thing", outcome="failure")
    assert len(failures) == 36
    assert found(filled, search="thing", end="2025-01-01", outcome="failure") == failures[-29:]
    assert len(found(filled, search="THING", actor_id="u_1", start="2025-01-01")) == 10
    assert len(found(filled, search="thing", actor_email="sam@permalog.example")) == 5


def test_an_index_tells_nothing_of_another_log(filled: Permalog, database: str) -> None:
    del filled
    everywhere = ["event_before", "%thing%", UUID(int=0), UUID(int=2**128 - 1), True, 1_000]
    with psycopg.connect(database, autocommit=True) as connection:
        call = "SELECT permalog.search(%s, %s, %s, %s, %s, %s)"
        ask(connection, "SET ROLE permalog_reader")
        assert ask(connection, call, everywhere) == []
        ask(connection, "SELECT set_config('permalog.log_id', %s, false)", [str(MINE.log_id)])
        ids = {event_id for (event_id,) in ask(connection, call, everywhere)}
        assert len(ids) == 200
        ask(connection, "RESET ROLE")
        owners = ask(connection, "SELECT DISTINCT log_id FROM permalog.event WHERE id = ANY (%s)", [list(ids)])
        assert owners == [(MINE.log_id,)]


@pytest.mark.parametrize("partition", ["event_209912", "pg_class", "event_before_log_id_action_id_idx", "x'; --"])
def test_without_an_index_one_is_told_so(filled: Permalog, partition: str) -> None:
    with filled.database.reading(MINE.log_id) as connection:
        call = "SELECT permalog.search(%s, '%%a%%', %s, %s, true, 10)"
        assert ask(connection, call, [partition, UUID(int=0), UUID(int=2**128 - 1)]) == [(None,)]


@pytest.mark.parametrize("text", ["zzz-nowhere", "THING"])
def test_a_search_asks_the_index_once_a_glance_was_not_enough(filled: Permalog, text: str) -> None:
    """As the reader, in whose session the index's expression must be known in the form that a search has."""
    with filled.database.reading(MINE.log_id, in_order=True) as connection:
        search = Search(filled.database, connection, select(connection, MINE.log_id, Filters(search=text)))
        assert len(search.rows("older", NEWEST, 101)) == (0 if text.startswith("zzz") else 101)
        scans = "SELECT pg_stat_get_xact_numscans(to_regclass('permalog.event_before_search'))"
        assert value(connection, scans) >= 1
        # Nobody has read through the partition instead.
        assert value(connection, "SELECT pg_stat_get_xact_numscans(to_regclass('permalog.event_before'))") == 0


def test_an_index_that_went_away_meanwhile_costs_time_and_no_event(filled: Permalog, database: str) -> None:
    """The list of partitions is kept for a while."""
    before = found(filled, search="thing")
    assert len(before) == 250
    with psycopg.connect(database, autocommit=True) as connection:
        ask(connection, "DROP INDEX permalog.event_before_search")
    assert found(filled, search="thing") == before


def test_stretches_follow_each_other_without_a_gap() -> None:
    a, b, c, d = (UUID(int=n * 1_000) for n in range(1, 5))
    parts = [
        Partition("four", d, UUID(int=5_000), is_searchable=False),
        Partition("three", c, d, is_searchable=False),
        Partition("two", b, c, is_searchable=True),
        Partition("one", a, b, is_searchable=True),
        Partition("before", None, a, is_searchable=False),
    ]
    position = UUID(int=3_500)
    assert list(stretches(parts, "older", Stretch(UUID(int=0), position, None))) == [
        Stretch(c, position, None),
        Stretch(b, c, "two"),
        Stretch(a, b, "one"),
        Stretch(UUID(int=0), a, None),
    ]
    assert list(stretches(parts, "newer", Stretch(UUID(int=2_500), UUID(int=4_700), None))) == [
        Stretch(UUID(int=2_500), c, "two"),
        Stretch(c, UUID(int=4_700), None),
    ]


def test_the_nearest_partitions_end_where_the_next_begins() -> None:
    parts = [
        Partition(str(n), UUID(int=n * 10) if n else None, UUID(int=n * 10 + 10), is_searchable=False)
        for n in reversed(range(9))
    ]
    span = UUID(int=5), UUID(int=74)
    assert within("older", NEWEST, span) == Stretch(UUID(int=4), UUID(int=75), None)
    assert within("newer", UUID(int=33), span) == Stretch(UUID(int=33), UUID(int=75), None)
    assert nearest(parts, "older", within("older", NEWEST, span)) == Stretch(UUID(int=50), UUID(int=75), None)
    assert nearest(parts, "newer", within("newer", UUID(int=33), span)) == Stretch(UUID(int=33), UUID(int=60), None)
    assert nearest(parts, "older", within("older", UUID(int=25), span)) == Stretch(UUID(int=4), UUID(int=25), None)


@pytest.mark.parametrize("limit", [7, 50])
def test_pages_over_many_partitions_are_the_same(filled: Permalog, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """With more than so many, the nearest few are asked first."""
    chosen: list[dict[str, Any]] = [
        {}, {"outcome": "failure"}, {"actor_id": "u_1"}, {"actor_email": "sam@permalog.example"},
        {"start": "2025-01-01"}, {"resource_id": "nowhere"}, {"search": "thing"}, {"search": "a"},
    ]  # fmt: skip
    expected = [found(filled, limit, **filters) for filters in chosen]
    monkeypatch.setattr(query, "MANY", 0)
    monkeypatch.setattr(searching, "MANY", 0)
    monkeypatch.setattr(partitions, "NEAREST", 1)
    assert [found(filled, limit, **filters) for filters in chosen] == expected
    assert [event.id for event in filled.list(OTHERS, limit=100).events] != expected[0]
    assert filled.list(Owner.user("u_3")).events == ()
