"""Sync: all alerts of an owner's repositories become findings; what changed becomes events, and nothing else does."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from github import ask, open_alert
from permalog import Actor, Owner
from permalog_server.standin import Fault, StandIn
from security_agent import configuration, installation, repository, schedule, sync
from security_agent.agent import Acting, Agent
from security_agent.errors import Invalid, NotConnected, NotFound, SyncFailed

OWNER = Owner.organization("00000000-0000-4000-8000-00000000000b")
BY = Acting(Actor.user("u_1"), "api")
SHOP, TILL = "northwind/shop", "northwind/till"


@pytest.fixture
def connected(agent: Agent, github: StandIn) -> Iterator[Agent]:
    """An owner with two repositories: one has two alerts, the other has one."""
    number = github.world.install("northwind", [SHOP, TILL])
    for name, alert in ((SHOP, 1), (SHOP, 2), (TILL, 1)):
        github.world.put(name, open_alert(name, alert))
    with ask(github) as client:
        made = replace(agent, github=client)
        installation.connect(made, OWNER, number, BY)
        configuration.set_enabled(made, OWNER, BY, enabled=True)
        yield made


def events(agent: Agent, owner: Owner = OWNER, **filters: Any) -> list[Any]:
    """Oldest first."""
    found = orjson.loads(agent.log.list(owner, limit=100, **filters).to_json())["events"]
    return list(reversed(found))


def test_a_sync_takes_in_all_and_the_second_is_silent(connected: Agent) -> None:
    first = sync.sync(connected, OWNER, BY)
    assert first.taken == (3, 0, 0)
    before = events(connected)
    second = sync.sync(connected, OWNER, BY)
    assert second.taken == (0, 0, 3)
    assert [e["action"] for e in events(connected)[len(before) :]] == [
        "security.sync.triggered", "security.sync.completed",
    ]  # fmt: skip


def test_all_events_of_a_sync_have_its_id_and_whoever_started_it(connected: Agent) -> None:
    begun = sync.begin(connected, OWNER, BY)
    sync.run(connected, begun)
    made = events(connected, correlation_id=str(begun.id))
    assert [e["action"].removeprefix("security.") for e in made] == [
        "sync.triggered", "finding.created", "finding.created", "finding.created", "sync.completed",
    ]  # fmt: skip
    assert {e["actor"]["id"] for e in made} == {"u_1"}
    assert made[0]["metadata"] == {"trigger": "manual", "scope": "all"}
    duration = made[-1]["metadata"].pop("duration_ms")
    assert duration >= 0
    assert made[-1]["metadata"] == {
        "trigger": "manual", "scope": "all", "repositories": 2, "created": 3, "updated": 0, "unchanged": 0,
        "errors": 0, "stale": 0, "disabled": 0, "failures": [], "stale_repositories": [], "disabled_repositories": [],
    }  # fmt: skip


def test_a_repository_that_vanished_is_stale_and_leaves_the_selection(connected: Agent, github: StandIn) -> None:
    places = {one.full_name: one.repository_id for one in repository.every(connected, OWNER)}
    chosen = sorted(places.values())
    wanted = {"repository_selection": "selected", "selected_repository_ids": chosen}
    configuration.save(connected, OWNER, None, wanted, BY)
    github.world.remove(TILL)
    begun = sync.begin(connected, OWNER, BY)
    report = sync.run(connected, begun)
    assert (report.stale, report.taken.created) == ([TILL], 2)
    states = {one.full_name: one.state for one in repository.every(connected, OWNER)}
    assert states == {SHOP: "active", TILL: "stale"}
    (pruned,) = events(connected, action=["security.config.updated"], correlation_id=str(begun.id))
    assert pruned["before_state"]["selected_repository_ids"] == chosen
    assert pruned["after_state"]["selected_repository_ids"] == [places[SHOP]]
    assert pruned["metadata"] == {"trigger": "sync", "pruned_repository_ids": [places[TILL]]}


def test_alerts_switched_off_are_skipped_and_said(connected: Agent, github: StandIn) -> None:
    github.world.disable_alerts(TILL)
    report = sync.sync(connected, OWNER, BY)
    assert (report.disabled, report.taken.created, report.has_failed) == ([TILL], 2, False)
    assert {one.full_name: one.state for one in repository.every(connected, OWNER)}[TILL] == "alerts_disabled"


def test_one_repositorys_failure_does_not_stop_the_others(connected: Agent, github: StandIn) -> None:
    github.fail(Fault(status=422, path="till/dependabot", times=1))
    report = sync.sync(connected, OWNER, BY)
    assert (report.taken.created, report.failures) == (2, [(TILL, "refused")])
    last = events(connected)[-1]
    assert (last["outcome"], last["metadata"]["errors"]) == ("success", 1)


def test_a_sync_fails_where_all_repositories_do(connected: Agent, github: StandIn) -> None:
    github.fail(Fault(status=422, path="dependabot", times=2))
    with pytest.raises(SyncFailed):
        sync.sync(connected, OWNER, BY)
    last = events(connected)[-1]
    assert (last["action"], last["outcome"], last["metadata"]["errors"]) == ("security.sync.completed", "failure", 2)
    state = sync.latest(connected, OWNER)
    assert state is not None
    assert state["outcome"] == "failure"


def test_a_401_marks_the_installation_and_the_schedule_leaves_it_alone(connected: Agent, github: StandIn) -> None:
    github.fail(Fault(status=401, times=1_000))
    with pytest.raises(SyncFailed):
        sync.sync(connected, OWNER, BY)
    marked = installation.read(connected, OWNER)
    assert marked is not None
    assert marked.unauthorized_at is not None
    asked = len(github.world.seen)
    assert schedule.sync_all(connected).synced == 0
    assert len(github.world.seen) == asked
    github.faults.clear()
    sync.sync(connected, OWNER, BY)
    healed = installation.read(connected, OWNER)
    assert healed is not None
    assert healed.unauthorized_at is None


def test_a_suspended_installation_is_marked_with_its_event(connected: Agent, github: StandIn) -> None:
    found = installation.read(connected, OWNER)
    assert found is not None
    github.world.suspend(found.installation_id)
    with pytest.raises(SyncFailed):
        sync.sync(connected, OWNER, BY)
    assert [e["action"] for e in events(connected)[-2:]] == [
        "security.installation.suspended", "security.sync.completed",
    ]  # fmt: skip
    with pytest.raises(NotConnected, match="suspended"):
        sync.sync(connected, OWNER, BY)


def test_an_alert_that_cannot_be_read_is_left_out_and_counted(connected: Agent, github: StandIn) -> None:
    github.world.put(TILL, open_alert(TILL, 2, html_url="javascript:alert(1)"))
    github.errors.clear()
    report = sync.sync(connected, OWNER, BY)
    assert (report.taken.created, report.failures, report.has_failed) == (3, [(TILL, "unreadable_alerts")], False)
    github.errors.clear()  # such an alert breaks GitHub's own schema


def test_one_repository_is_synced_by_its_name(connected: Agent) -> None:
    report = sync.sync(connected, OWNER, BY, name="NorthWind/TILL")
    assert report.taken == (1, 0, 0)
    assert events(connected)[-1]["metadata"]["repository"] == TILL


@pytest.mark.parametrize("name", ["till", "northwind/till/extra", "northwind/", "../till", "northwind/..", ""])
def test_a_repositorys_name_is_read_strictly(connected: Agent, name: str) -> None:
    with pytest.raises(Invalid, match="repository"):
        sync.begin(connected, OWNER, BY, name=name)


def test_a_repository_that_is_not_reached_is_not_found(connected: Agent) -> None:
    with pytest.raises(NotFound):
        sync.begin(connected, OWNER, BY, name="northwind/unheard-of")


def test_without_an_installation_nothing_is_synced(agent: Agent, github: StandIn) -> None:
    with ask(github) as client, pytest.raises(NotConnected):
        sync.begin(replace(agent, github=client), OWNER, BY)
    with pytest.raises(NotConnected, match="no GitHub App"):
        sync.begin(agent, OWNER, BY)


def test_the_schedule_syncs_everybody_once_in_six_hours(connected: Agent) -> None:
    assert schedule.sync_all(connected) == (1, 0, True)
    assert schedule.sync_all(connected) == (0, 0, True)
    later = replace(connected, clock=lambda: datetime.now(UTC) + timedelta(hours=6))
    assert schedule.sync_all(later) == (1, 0, True)
    made = events(connected, action=["security.sync.completed"])
    assert [(e["actor"]["type"], e["metadata"]["trigger"], e["source"]) for e in made] == [
        ("system", "scheduled", "cron")
    ] * 2


def test_a_schedule_that_runs_out_of_time_says_so_and_the_next_goes_on(connected: Agent) -> None:
    assert schedule.sync_all(connected, patience=timedelta()) == (0, 0, False)
    assert schedule.sync_all(connected) == (1, 0, True)


def test_a_sync_whose_process_died_is_on_record_as_interrupted(connected: Agent) -> None:
    sync.begin(connected, OWNER, BY)
    sync.end_lost(connected)
    assert events(connected)[-1]["action"] == "security.sync.triggered"
    sync.end_lost(replace(connected, clock=lambda: datetime.now(UTC) + timedelta(minutes=31)))
    last = events(connected)[-1]
    assert (last["action"], last["outcome"], last["metadata"]["error"]) == (
        "security.sync.completed", "failure", "interrupted",
    )  # fmt: skip


def test_a_process_that_is_to_end_ends_a_sync_at_its_next_page(connected: Agent) -> None:
    begun = sync.begin(connected, OWNER, BY)
    connected.stopping.set()
    with pytest.raises(SyncFailed):
        sync.run(connected, begun)
    assert events(connected)[-1]["metadata"]["failures"][0]["error"] == "interrupted"


def test_a_renamed_repository_keeps_its_findings(connected: Agent, github: StandIn) -> None:
    sync.sync(connected, OWNER, BY)
    github.world.rename(TILL, "northwind/register")
    assert sync.sync(connected, OWNER, BY).taken == (0, 0, 3)
    assert {one.full_name for one in repository.every(connected, OWNER)} == {SHOP, "northwind/register"}
