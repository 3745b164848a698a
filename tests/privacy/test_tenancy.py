"""Nothing that one tenant is told depends on what another's log holds, or on what happens there: whatever they ask, two
histories of the others give the same answers, byte by byte.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

import histories
from histories import Request, Step
from permalog import Actor, Owner
from permalog.reading.cursor import cursor_at
from permalog.reading.filters import Filters
from services import Service

MINE = UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f")
THEIRS = UUID("0b8e3b50-93a1-4d0c-8a53-3f6c53b6a7aa")
NOBODYS = UUID("c0ffee00-93a1-4d0c-8a53-3f6c53b6a7aa")
A, B, B_USER = Owner.organization(MINE), Owner.organization(THEIRS), Owner.user("neighbour")
BASE = f"/v1/organizations/{MINE}/audit-log"

PEOPLE = (
    Actor.user("ada", email="ada@acme.example", name="Ada Lovelace", ip_address="203.0.113.1"),
    Actor.user("both", email="both@acme.example", name="Both"),
    Actor.staff("s_1", email="sam@staff.example", name="Sam"),
    Actor.system("sync"),
)
NEIGHBOURS = (
    *PEOPLE,
    Actor.user("both", email="both@other.example", name="Both Elsewhere", user_agent="Other"),
    Actor.user("neighbour", email="ada@acme.example", name="Ada Lovelace"),
    Actor.api_key("ada", name="Key of another"),
)
WORDS = ("ada", "both", "neighbour", "s_1", "ada@acme.example", "both@other.example", "t_1", "abc", "op_1", "o", "rout")


@dataclass(frozen=True)
class Elsewhere:
    """What happens with the others: events, and erasures that concern only them."""

    events: list[tuple[Step, Actor]]
    erases: str


@st.composite
def elsewheres(draw: st.DrawFn, ids: Sequence[UUID]) -> Elsewhere:
    """Events of other tenants; some have the ids, times and keys of ours."""
    steps = draw(st.lists(histories.steps((B, B_USER)), max_size=5))
    given_ids = draw(st.lists(st.sampled_from(ids), unique=True, max_size=2))
    alike = [histories.alike(step, one) for step, one in zip(steps, given_ids, strict=False)]
    steps = [*alike, *steps[len(alike) :]]
    return Elsewhere(
        [(step, draw(st.sampled_from(NEIGHBOURS))) for step in steps],
        draw(st.sampled_from(["nothing", "nothing", "somebody", "an organisation"])),
    )


class House:
    """A service with two tenants; erasing takes what it needs with it, so that each history has people of its own."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ada = service.member("ada", MINE, email="ada@acme.example", name="Ada Lovelace")
        service.member("both", MINE, "admin", email="both@acme.example", name="Both")
        service.member("both", THEIRS, "admin")
        self.writer = service.writer()
        self.erased = 0
        histories.stop_the_clock(service.url)

    def tell(self, mine: Sequence[tuple[Step, Actor]], elsewhere: Elsewhere, asked: Sequence[Request]) -> list[bytes]:
        """What the first tenant learns."""
        histories.forget_everything(self.service.url)
        told = [(step, actor) for pair in zip(mine, elsewhere.events, strict=False) for step, actor in pair]
        shorter = min(len(mine), len(elsewhere.events))
        told += [*mine[shorter:], *elsewhere.events[shorter:]]
        histories.write(
            self.service, self.writer, [(step.way, step.event(actor, actor.id or "")) for step, actor in told]
        )
        self._erase(elsewhere.erases)
        return histories.all_answers(self.service, self.ada, BASE, A, asked)

    def _erase(self, what: str) -> None:
        self.erased += 1
        if what == "somebody":
            whom = f"gone-{self.erased}"
            actor = Actor.user(whom, email="gone@other.example", name="Gone")
            step = histories.plain_step(B)
            histories.write(self.service, self.writer, [("statement", step.event(actor, "gone"))])
            assert self.service.office.forget_user(whom, Actor.system("test"))
        elif what == "an organisation":
            organization = UUID(int=MINE.int + self.erased)
            self.service.accounts.ensure_membership("both", organization, "owner")
            step = histories.plain_step(Owner.organization(organization))
            histories.write(self.service, self.writer, [("statement", step.event(PEOPLE[0], "ada"))])
            assert self.service.office.forget_organization(organization, Actor.system("test"))


@pytest.fixture
def house(service: Service) -> House:
    return House(service)


def policies_down(url: str) -> None:
    """The wall inside the database: the policies, and the condition of the function that reads past them."""
    with psycopg.connect(url) as connection:
        guarded = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'permalog'::regnamespace AND relrowsecurity"
        )
        for (table,) in guarded.fetchall():
            connection.execute(f"ALTER TABLE permalog.{table} DISABLE ROW LEVEL SECURITY")  # pyright: ignore[reportArgumentType, reportCallIssue]
    condition = "i.log_id = nullif(current_setting('permalog.log_id', true), '')::uuid AND "
    histories.redefine(url, "permalog.people_of_email(text)", lambda was: was.replace(condition, ""))


def queries_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall before it: the log in the WHERE of every query."""
    histories.without(monkeypatch, r"(?:\b[a-z]\.)?log_id = %\(log_id\)s", "%(log_id)s")


WALLS: dict[str, Callable[[str, pytest.MonkeyPatch], None]] = {
    "both walls": lambda _url, _monkeypatch: None,
    "without the policies": lambda url, _monkeypatch: policies_down(url),
    "without the queries' conditions": lambda _url, monkeypatch: queries_down(monkeypatch),
}


def foreign(ids: Sequence[UUID]) -> list[Request]:
    """Another tenant's ids in path, query and cursor."""
    cursor = cursor_at(ids[0], B.log_id, Filters())
    elsewhere = [f"../../{whose}/audit-log" for whose in (THEIRS, NOBODYS)]
    return [
        *(Request(f"{base}/events") for base in elsewhere),
        *(Request(f"{base}/summary") for base in elsewhere),
        *(Request(f"{base}/events/{ids[0]}") for base in elsewhere),
        *(Request(f"events/{one}") for one in ids),
        *(Request("events", {name: cursor}) for name in ("before", "after")),
        Request("events", {"resource_id": str(B.log_id)}),
        Request("events", {"search": str(THEIRS)}),
        Request("actions"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("walls", WALLS)
def test_no_answer_depends_on_another_tenant(walls: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    WALLS[walls](house.service.url, monkeypatch)

    @histories.a_few
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        mine = [
            (step, data.draw(st.sampled_from(PEOPLE)))
            for step in data.draw(st.lists(histories.steps((A,)), min_size=1, max_size=5))
        ]
        ids = [step.id for step, _ in mine]
        one, other = data.draw(elsewheres(ids)), data.draw(elsewheres(ids))
        theirs = [step.id for step, _ in (*one.events, *other.events)]
        asked = data.draw(st.lists(histories.requests(WORDS, [*ids, *theirs]), min_size=3, max_size=8))
        asked = [Request("walk", {"limit": 2}), Request("summary"), *foreign([*ids, *theirs]), *asked]
        assert house.tell(mine, one, asked) == house.tell(mine, other, asked)

    tried()


def test_without_both_walls_it_would_show(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    policies_down(house.service.url)
    queries_down(monkeypatch)
    mine = [(histories.plain_step(A), PEOPLE[0])]
    quiet, busy = Elsewhere([], "nothing"), Elsewhere([(histories.plain_step(B), PEOPLE[0])], "nothing")
    for asked in (Request("walk", {"limit": 2}), Request("summary"), Request("export", {"format": "csv"})):
        assert house.tell(mine, quiet, [asked]) != house.tell(mine, busy, [asked])


def test_who_forgets_themselves_is_not_told_what_other_tenants_hold_of_them(house: House) -> None:
    """That somebody elsewhere searched for their address is not theirs to learn; it is erased there, too."""
    mine, elsewhere = (histories.plain_step(A), PEOPLE[0]), (histories.plain_step(B, tells="address"), NEIGHBOURS[5])
    told: list[bytes] = []
    for events in ([mine], [mine, elsewhere]):
        histories.forget_everything(house.service.url, "true")
        histories.write(house.service, house.writer, [(s.way, s.event(actor, "login")) for s, actor in events])
        answer = house.service.client.delete("/v1/users/ada", params={"dry_run": True}, headers=house.ada)
        told.append(answer.content)
    answer = house.service.client.delete("/v1/users/ada", headers=house.ada)
    assert [told[0], told[0].replace(b"true", b"false", 1)] == [told[1], answer.content]
    assert [log["log_id"] for log in answer.json()["logs"]] == [str(A.log_id)]
    with psycopg.connect(house.service.url) as connection:
        found = connection.execute(
            "SELECT value FROM permalog.identity WHERE log_id = %s AND kind = 'email'", (B.log_id,)
        ).fetchall()
    assert found == [(None,)]
