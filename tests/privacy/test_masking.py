"""A customer cannot tell which member of staff acted: whatever they ask, two histories that differ in nothing else
give the same answers, byte by byte.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

import histories
from histories import Request, Step
from permalog import Actor, Owner
from services import Service

ORGANIZATION = UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f")
OWNERS = (Owner.organization(ORGANIZATION), Owner.user("customer"))
BASES = (f"/v1/organizations/{ORGANIZATION}/audit-log", "/v1/audit-log")


@dataclass(frozen=True)
class Member:
    """A member of staff."""

    actor: Actor
    login: str


STAFF = (
    Member(Actor.staff("5afe01", email="Sam@staff.example", name="Sam Field", ip_address="198.51.100.1"), "samf"),
    Member(Actor.staff("s_2", email="kim@staff.example", name="Kim O'Bead", user_agent="Mozilla/5.0 (Kim)"), "abcdef"),
    Member(Actor.staff("customer", email="customer@acme.example", name="Support"), "support"),
    Member(Actor.staff("t_1", name=None), "t_1"),
)
OTHERS = (
    Actor.user("customer", email="customer@acme.example", name="Cora"),
    Actor.user("5afe01", email="5afe01@acme.example", name="Sam Field"),
    Actor.api_key("s_2", name="Kim O'Bead"),
    Actor.system("s_2"),
)
OWN_WORDS = sorted(
    {text for one in STAFF for text in (one.actor.id, one.actor.email, one.actor.name, one.login) if text}
)
WORDS = sorted(
    {
        *OWN_WORDS,
        "sam", "field", "@staff", "staff.example", "O'Bead", "support", "5afe", "a", "ab", "f0", "0", "198.51.100.1",
        "Mozilla", "nobody@nowhere.example", "$identity", "$personal", "github_login", "null",
    }
)  # fmt: skip


@st.composite
def pairs_of_histories(draw: st.DrawFn) -> tuple[list[tuple[Step, Actor | None]], list[Member], list[Member]]:
    """Steps with who is no staff; and twice the members of staff who did the others."""
    steps = draw(st.lists(histories.steps(OWNERS), min_size=2, max_size=8))
    kept: list[tuple[Step, Actor | None]] = []
    for step in steps:
        other = draw(st.none() | st.none() | st.sampled_from(OTHERS))
        kept.append((step, other))
    number = sum(other is None for _, other in kept)
    members = st.lists(st.sampled_from(STAFF), min_size=number, max_size=number)
    return kept, draw(members), draw(members)


def everything_asked(ids: Sequence[UUID]) -> list[Request]:
    """Each filter with each word, alone: in pages, counts and exports."""
    asked = [Request("walk", {"limit": 2}), Request("summary"), Request("actions")]
    asked += [Request(f"events/{one}") for one in ids]
    for name, words in (("actor_id", OWN_WORDS), ("actor_email", OWN_WORDS), ("search", WORDS)):
        asked += [Request("walk", {name: word, "limit": 50}) for word in words]
        asked += [Request("summary", {name: word}) for word in words[::4]]
    return asked + [Request("export", {"format": form}) for form in ("json", "ndjson", "csv")]


class House:
    """A service with a customer, somebody of staff, and a writer."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.customer = service.member("customer", ORGANIZATION, email="customer@acme.example", name="Cora")
        self.writer = service.writer()
        histories.stop_the_clock(service.url)

    def tell(
        self, steps: Sequence[tuple[Step, Actor | None]], members: Sequence[Member], asked: Sequence[Request]
    ) -> list[bytes]:
        """What the customer learns of a history."""
        histories.forget_everything(self.service.url)
        left = iter(members)
        done = [(step, Member(actor, actor.id or "") if actor else next(left)) for step, actor in steps]
        events = [(step.way, step.event(member.actor, member.login)) for step, member in done]
        histories.write(self.service, self.writer, events)
        return [
            answer
            for owner, base in zip(OWNERS, BASES, strict=True)
            for answer in histories.all_answers(self.service, self.customer, base, owner, asked)
        ]


@pytest.fixture
def house(service: Service) -> House:
    return House(service)


def policies_down(url: str) -> None:
    """The wall inside the database: the policy on identities, and the condition of the function that reads past it."""
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE permalog.identity DISABLE ROW LEVEL SECURITY")
    condition = "AND (i.kind <> 'staff' OR current_setting('permalog.viewer', true) = 'staff')"
    histories.redefine(url, "permalog.people_of_email(text)", lambda was: was.replace(condition, ""))


def queries_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall before it: the conditions of the queries."""
    viewer = r"current_setting\('permalog\.viewer', true\) = 'staff'"
    histories.without(monkeypatch, viewer, "permalog.viewer")


WALLS: dict[str, Callable[[str, pytest.MonkeyPatch], None]] = {
    "both walls": lambda _url, _monkeypatch: None,
    "without the policies": lambda url, _monkeypatch: policies_down(url),
    "without the queries' conditions": lambda _url, monkeypatch: queries_down(monkeypatch),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("walls", WALLS)
def test_no_answer_depends_on_which_member_of_staff_acted(
    walls: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    WALLS[walls](house.service.url, monkeypatch)

    @histories.a_few
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        steps, some, others = data.draw(pairs_of_histories())
        ids = [step.id for step, _ in steps]
        asked = data.draw(st.lists(histories.requests(WORDS, ids), min_size=3, max_size=8))
        asked = [Request("walk", {"limit": 2}), Request("summary"), *asked]
        assert house.tell(steps, some, asked) == house.tell(steps, others, asked)

    tried()


def history_of_each_way() -> list[tuple[Step, Actor | None]]:
    """Two staff events by each way into each log, and one by everybody else."""
    made: list[tuple[Step, Actor | None]] = []
    for place, way in enumerate((*histories.WAYS, *histories.WAYS)):
        for owner in OWNERS:
            tells = ("login", "address", "name", "nothing")[place % 4]
            made.append((histories.plain_step(owner, way=way, tells=tells, resource_id=f"t_{place % 2}"), None))
            if place < len(OTHERS):
                made.append((histories.plain_step(owner, way=way, tells=tells), OTHERS[place]))
    return made


def one_or_several() -> tuple[list[tuple[Step, Actor | None]], list[Member], list[Member]]:
    """The same history by one member of staff alone, and by all in turn."""
    steps = history_of_each_way()
    number = sum(other is None for _, other in steps)
    return steps, [STAFF[0]] * number, [STAFF[1 + n % 3] for n in range(number)]


@pytest.mark.slow
@pytest.mark.parametrize("walls", WALLS)
def test_every_filter_with_every_word_tells_nothing_of_staff(
    walls: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    WALLS[walls](house.service.url, monkeypatch)
    steps, some, others = one_or_several()
    asked = everything_asked([step.id for step, _ in steps])
    first, second = house.tell(steps, some, asked), house.tell(steps, others, asked)
    assert first == second
    assert {answer[:4] for answer in first if answer[:1].isdigit()} == {b"200 ", b"404 "}  # 404: of the other log


def test_without_both_walls_it_would_show(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail."""
    policies_down(house.service.url)
    queries_down(monkeypatch)
    steps, some, others = one_or_several()
    member = STAFF[0].actor
    for name, word in (("actor_id", member.id), ("actor_email", member.email)):
        asked = [Request("walk", {name: word, "limit": 50})]
        assert house.tell(steps, some, asked) != house.tell(steps, others, asked)


def test_staff_see_who_it_was(house: House) -> None:
    steps, some, _ = one_or_several()
    house.tell(steps, some, [Request("summary")])
    looker = house.service.staff("looker", email="looker@staff.example", name="Lou")
    member = STAFF[0].actor
    for asked in ({"actor_id": member.id}, {"actor_email": "SAM@STAFF.example"}):
        answer = house.service.client.get(f"{BASES[0]}/events", params={**asked, "outcome": "success"}, headers=looker)
        by_staff = [one for one in answer.json()["events"] if one["actor"]["type"] == "staff"]
        assert len(by_staff) == len(histories.WAYS) * 2
        assert {tuple(one["actor"].values()) for one in by_staff} == {("staff", member.id, member.email, member.name)}
        assert "samf" in json.dumps([one["metadata"] for one in by_staff])


def test_a_customer_sees_support_and_finds_nobody_by_the_id_of_staff(house: House) -> None:
    steps, some, _ = one_or_several()
    (page, *_), found = (house.tell(steps, some, [asked]) for asked in (
        Request("walk", {"limit": 100}), Request("walk", {"actor_id": "s_9"}),
    ))  # fmt: skip
    events = json.loads(page[4:])["events"]
    staff = [one for one in events if one["actor"]["type"] == "staff"]
    assert {json.dumps(one["actor"]) for one in staff} == {
        '{"type": "staff", "id": null, "email": null, "name": "Support"}'
    }
    assert {json.dumps(one["metadata"].get("by")) for one in staff} == {
        "null", '{"$personal": {"kind": "github_login", "value": null}}'
    }  # fmt: skip
    assert json.loads(found[0][4:])["events"] == []


def test_a_token_of_staff_does_not_tell_whose_it_is(house: House) -> None:
    """Who recorded an event is shown to customers."""
    told: list[str] = []
    for user in ("s_1", "s_2"):
        house.service.accounts.ensure_person(user, staff=True)
        token = house.service.token(user, "events:write")
        event = {"action": "thing.made", "actor": {"type": "staff", "id": user}, "resource": {"type": "a", "id": "b"}}
        answer = house.service.client.post(f"{BASES[0]}/events", json={"events": [event]}, headers=token)
        assert answer.json()["results"][0]["status"] == "created"
        page = house.service.client.get(f"{BASES[0]}/events", headers=house.customer)
        told.append(page.json()["events"][0]["recorded_by"])
    assert told == ["token:staff"] * 2


def test_erasing_a_member_of_staff_changes_nothing_that_customers_see(house: House) -> None:
    """A record where they acted, and none where they did not, would say where they had acted."""
    member = Member(Actor.staff("s_77", email="lee@staff.example", name="Lee Stone"), "leest")
    steps, _, others = one_or_several()
    asked = [Request("walk", {"limit": 100}), Request("summary"), Request("walk", {"search": "s_77"})]
    before = house.tell(steps, [member, *others[1:]], asked)
    erased = house.service.office.forget_user("s_77", Actor.staff("boss"))
    assert erased is not None
    assert sum(log["identities"] for log in erased.logs) > 0
    after = [
        answer
        for owner, base in zip(OWNERS, BASES, strict=True)
        for answer in histories.all_answers(house.service, house.customer, base, owner, asked)
    ]
    assert after == before


def test_the_reader_of_another_log_is_told_nothing(house: House) -> None:
    answer = house.service.client.get(
        f"/v1/organizations/{uuid4()}/audit-log/events", params={"actor_id": "5afe01"}, headers=house.customer
    )
    assert answer.status_code == 404
