"""Ids are times, increase within each time, and are never made twice."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from permalog.ids import EPOCH, IdMaker, id_floor, id_time, is_event_id, log_id_of, microseconds

LATEST = microseconds(datetime.max.replace(tzinfo=UTC))
micros = st.integers(0, LATEST)


@given(st.lists(micros, min_size=1, max_size=50), st.integers(1, 5))
def test_an_id_carries_its_time_and_increases_within_it(times: list[int], repeats: int) -> None:
    maker = IdMaker()
    last: dict[int, UUID] = {}
    for moment in times * repeats:
        made = maker.make(moment)
        assert is_event_id(made)
        assert id_time(made) == EPOCH + timedelta(microseconds=moment)
        assert moment not in last or last[moment] < made
        last[moment] = made


@given(micros, micros)
def test_ids_are_ordered_as_their_times_are(one: int, other: int) -> None:
    maker = IdMaker()
    if one != other:
        assert (maker.make(one) < maker.make(other)) == (one < other)


@given(micros)
def test_the_floor_is_below_every_id_of_its_time_and_above_those_before(moment: int) -> None:
    floor = id_floor(EPOCH + timedelta(microseconds=moment))
    assert floor < IdMaker().make(moment)
    assert moment == 0 or IdMaker().make(moment - 1) < floor


def test_a_million_ids_of_a_hundred_times_increase_strictly_within_each() -> None:
    maker = IdMaker()
    now = microseconds(datetime.now(UTC))
    last = [UUID(int=0)] * 100
    for n in range(1_000_000):
        place = n * 37 % 100
        made = maker.make(now + place * 977)
        assert made > last[place]
        last[place] = made
    assert all(is_event_id(made) for made in last)


def test_a_million_ids_of_one_time_still_fit() -> None:
    maker = IdMaker()
    last = maker.make(0)
    for _ in range(1_000_000):
        made = maker.make(0)
        assert made > last
        last = made
    assert id_time(last) == EPOCH
    assert is_event_id(last)


def test_threads_make_no_id_twice_and_each_sees_its_own_increase() -> None:
    maker = IdMaker()

    def work(_: int) -> list[UUID]:
        return [maker.make(n % 3) for n in range(20_000)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(work, range(8)))
    assert len({one for ids in made for one in ids}) == 160_000
    for ids in made:
        for moment in range(3):
            assert ids[moment::3] == sorted(ids[moment::3])


def test_processes_make_different_ids() -> None:
    """Their tails are random: none is the other's, and none follows from the other's."""
    tails = [IdMaker().make(0).int & ((1 << 62) - 1) for _ in range(1_000)]
    assert len(set(tails)) == 1_000
    assert abs(sum(tail.bit_count() for tail in tails) / 1_000 - 30.5) < 1, "half of 61 bits are ones"


FORK = """
import os, sys
from permalog.ids import IdMaker
maker = IdMaker()
maker.make(0)
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, "".join(f"{maker.make(0)} " for _ in range(100)).encode())
    os._exit(0)
os.wait()
theirs = set(os.read(read, 65_536).decode().split())
mine = {str(maker.make(0)) for _ in range(100)}
sys.exit(len(theirs) != 100 or bool(theirs & mine))
"""


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    """In a process of its own: pytest's has threads, with which forking is a warning."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", FORK], check=True, env=environment)


@given(st.uuids(), st.text(min_size=1, max_size=255))
def test_an_owner_has_one_log_and_no_two_have_the_same(organization: UUID, user: str) -> None:
    for log_id in (log_id_of(organization, None), log_id_of(None, user.encode("utf-8", "ignore").decode() or "u")):
        assert log_id.version == 8
        assert log_id.variant == "specified in RFC 4122"
    assert log_id_of(organization, None) != log_id_of(None, str(organization))
