"""Two syncs, a webhook and a dismissal on one finding: whoever is first, they make one history that makes sense."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any
from uuid import uuid4

import orjson
import pytest

from alerts import EARLY, alert, fixed
from github import ask, open_alert
from permalog import Actor, Owner
from permalog_server.standin import StandIn
from security_agent import configuration, dismissal, finding, installation, sync, webhooks
from security_agent.agent import Acting, Agent
from security_agent.alert import read_alert
from security_agent.errors import Conflict
from security_agent.github.webhook import AlertNotice
from security_agent.intake import Intake

OWNER = Owner.organization("00000000-0000-4000-8000-00000000000c")
BY = Acting(Actor.user("u_1"), "api")
WEBHOOK = Acting.alone("github-webhook", "webhook")
SHOP = "northwind/shop"
ROUNDS = 100


def at_once(*actions: Callable[[], object]) -> None:
    """Lets all begin at the same moment, and waits for their ends; what one raises is raised."""
    barrier = Barrier(len(actions))

    def begin(action: Callable[[], object]) -> None:
        barrier.wait(30)
        action()

    with ThreadPoolExecutor(len(actions)) as pool:
        for done in [pool.submit(begin, action) for action in actions]:
            done.result(60)


def history(agent: Agent, finding_id: Any) -> list[dict[str, Any]]:
    found = orjson.loads(agent.log.list(OWNER, resource_id=str(finding_id), limit=100).to_json())["events"]
    return list(reversed(found))


def check_history(agent: Agent, shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Each event begins where the one before it ended, and the last one ends where the finding is."""
    events = history(agent, shown["id"])
    assert [e["action"] for e in events].count("security.finding.created") == 1
    assert events[0]["action"] == "security.finding.created"
    state = dict(events[0]["after_state"])
    for event in events[1:]:
        for name in event["before_state"].keys() & state.keys():
            assert event["before_state"][name] == state[name], [e["action"] for e in events]
        state |= event["after_state"]
    assert (state["status"], state["severity"]) == (shown["status"], shown["severity"])
    return events


@pytest.mark.slow
@pytest.mark.one_version
@pytest.mark.timeout(300)
def test_webhook_and_cron_racing_on_one_finding(agent: Agent, github: StandIn) -> None:
    number = github.world.install("northwind", [SHOP])
    with ask(github) as client:
        made = replace(agent, github=client)
        installation.connect(made, OWNER, number, BY)
        configuration.set_enabled(made, OWNER, BY, enabled=True)
        (repository,) = next(client.repositories(number))

        def told_by_webhook() -> None:
            changed = github.world.change(SHOP, one, security_advisory=graver(github, one))
            webhooks.take(made, str(uuid4()), AlertNotice("reopened", number, repository, changed))

        def dismissed_by_somebody() -> None:
            for shown in finding.page(made, OWNER, status="open").findings:
                with suppress(Conflict):
                    dismissal.dismiss(made, OWNER, shown["id"], BY, "tolerable_risk", None)

        for one in range(1, ROUNDS + 1):
            github.world.put(SHOP, open_alert(SHOP, one))
            if one % 2:
                sync.sync(made, OWNER, BY)
            at_once(
                lambda: sync.sync(made, OWNER, BY), lambda: sync.sync(made, OWNER, BY), told_by_webhook,
                dismissed_by_somebody,
            )  # fmt: skip
        sync.sync(made, OWNER, BY)
        findings = [f for offset in (0, 100) for f in finding.page(made, OWNER, limit=100, offset=offset).findings]
        assert len(findings) == ROUNDS
        for shown in findings:
            there = github.world.alert(SHOP, int(shown["source_id"]))
            assert shown["severity"] == there["security_advisory"]["severity"] == "critical"
            assert shown["status"] == ("ignored" if there["state"] == "dismissed" else "open")
            check_history(made, shown)


def graver(github: StandIn, number: int) -> dict[str, Any]:
    return {**github.world.alert(SHOP, number)["security_advisory"], "severity": "critical"}


def test_many_states_of_one_alert_in_any_order_end_with_the_newest(agent: Agent) -> None:
    states = [
        alert(1),
        fixed(1, EARLY + timedelta(days=1)),
        alert(1, EARLY + timedelta(days=2)),
        fixed(1, EARLY + timedelta(days=3), severity="critical"),
    ]

    def take(raw: dict[str, Any]) -> None:
        with agent.changing(OWNER) as connection:
            Intake(agent, OWNER, 7, SHOP, WEBHOOK).take(connection, [read_alert(raw)])

    at_once(*(partial(take, raw) for raw in states * 2))
    (shown,) = finding.page(agent, OWNER).findings
    assert (shown["status"], shown["severity"]) == ("fixed", "critical")
    check_history(agent, shown)


def test_of_two_states_within_a_second_the_one_asked_for_later_holds(agent: Agent) -> None:
    def take(raw: dict[str, Any], asked_at: Any) -> None:
        with agent.changing(OWNER) as connection:
            Intake(agent, OWNER, 7, SHOP, BY).take(connection, [read_alert(raw)], asked_at)

    before = agent.clock()
    take(alert(1), before)
    take(fixed(1, EARLY), before)
    (shown,) = finding.page(agent, OWNER).findings
    assert shown["status"] == "open", "it was asked for before the finding was written"
    take(fixed(1, EARLY), agent.clock())
    (shown,) = finding.page(agent, OWNER).findings
    assert shown["status"] == "fixed"


def test_one_row_for_two_owners_syncing_one_repository_is_two(agent: Agent) -> None:
    others = [OWNER, Owner.user("u_2")]

    def take(owner: Owner) -> None:
        with agent.changing(owner) as connection:
            Intake(agent, owner, 7, SHOP, BY).take(connection, [read_alert(alert(1))])

    at_once(*(partial(take, owner) for owner in others))
    assert [finding.page(agent, owner).total for owner in others] == [1, 1]
