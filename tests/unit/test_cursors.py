"""Cursors lead back to their place, in their log, with their filters, and nowhere else."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permalog import Owner
from permalog.errors import InvalidCursor
from permalog.reading.cursor import cursor_at, position_of
from permalog.reading.filters import Filters

LOG = Owner.user("u_1").log_id
PLACE = UUID("01a059d6-278c-7000-9355-e168d780e725")
CURSOR = cursor_at(PLACE, LOG, Filters())


@given(st.uuids(), st.uuids(), st.builds(Filters, actor_id=st.none() | st.text("ab", min_size=1)))
def test_a_cursor_leads_back(position: UUID, log_id: UUID, filters: Filters) -> None:
    cursor = cursor_at(position, log_id, filters)
    assert position_of(cursor, "before", log_id, filters) == position
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", CURSOR[:-1], CURSOR + "=", CURSOR + "A", f" {CURSOR[1:]}", CURSOR[:-1] + "\n"),
        *("é" * 40, "+/" * 20, "A" * 40, CURSOR.encode(), None, 7),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: object) -> None:
    with pytest.raises(InvalidCursor) as refused:
        position_of(cursor, "after", LOG, Filters())
    assert refused.value.field == "after"


@given(st.integers(0, 39), st.sampled_from("AQgw09-_"))
def test_a_changed_cursor_is_refused(at: int, letter: str) -> None:
    changed = CURSOR[:at] + letter + CURSOR[at + 1 :]
    if changed != CURSOR:
        with pytest.raises(InvalidCursor):
            position_of(changed, "before", LOG, Filters())


def test_a_cursor_of_another_log_or_of_other_filters_is_refused() -> None:
    for log_id, filters in [
        (Owner.user("u_2").log_id, Filters()),
        (LOG, Filters(action="a.a")),
        (LOG, Filters(search="x")),
        (LOG, Filters(start="2026-01-01")),
    ]:
        with pytest.raises(InvalidCursor):
            position_of(CURSOR, "before", log_id, filters)


def test_filters_that_only_look_alike_make_different_cursors() -> None:
    alike = [
        Filters(actor_id="a"),
        Filters(resource_id="a"),
        Filters(actor_id="a", resource_id="a"),
        Filters(search="a"),
    ]
    assert len({cursor_at(PLACE, LOG, filters) for filters in alike}) == len(alike)
