"""``permalog demo``."""

import os
import re
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from calling import Command
from permalog_server.sample import DAYS, NORTHWIND, OWNERS, sample_events
from permalog_server.wiring import ACTIONS

AGENTS = {
    "installation.connected", "config.enabled", "config.updated", "sync.triggered", "sync.completed", "finding.created",
    "finding.status_change", "finding.analysis_started", "finding.analysis_completed", "finding.dismissed",
    "finding.auto_dismissed", "finding.write_back_completed",
}  # fmt: skip
"""What the agent does in the demo."""


def events(command: Command, **filters: str) -> list[dict[str, Any]]:
    """The newest events of the sample organisation."""
    given = [word for name, value in filters.items() for word in (f"--{name}", value)]
    found: list[dict[str, Any]] = command(
        "list", "--owner", str(NORTHWIND), "--limit", "100", *given, "--json"
    ).json["events"]  # fmt: skip
    return found


def test_the_demo_shows_a_log_and_adds_nothing_the_second_time(permalog: Command) -> None:
    first = permalog("demo", "--once", "--json").json
    assert first["added"] > 300
    assert first["agent"] == {"is_new": True, "open": 4, "fixed": 1, "ignored": 5}
    again = permalog("demo", "--once")
    assert again.code == 0, again.err
    assert f"0 added, {first['added']} there already" in again.out
    for words in ("security.finding.dismissed", "The newest events", "The data lie in", "permalog export --owner"):
        assert words in again.out
    assert "4 findings are open, 1 fixed, 5 dismissed" in again.out
    assert f"\n{first['summary']['total']} events, from" in again.out
    assert permalog("list", "--owner", str(OWNERS[0]), "--search", "lodash", "--json").json["events"]


def test_the_agent_itself_works_in_the_demo(permalog: Command) -> None:
    permalog("demo", "--once")
    today = events(permalog)
    done = {one["action"].removeprefix("security.") for one in today if one["occurred_at"] >= since(today)}
    assert done >= AGENTS
    (denied,) = events(permalog, outcome="denied")
    assert (denied["action"], denied["actor"]["name"]) == ("security.config.updated", "Developer")
    assert denied["metadata"]["reason"] == "the role member may not do this"
    findings = permalog("agent", "findings", "--owner", str(NORTHWIND), "--json").json
    assert findings["total"] == 10
    assert permalog("agent", "jobs", "--owner", str(NORTHWIND), "--json").json["jobs"] == []


def since(found: list[dict[str, Any]]) -> str:
    """When the agent's own work began: with the installation."""
    (connected,) = [one for one in found if one["action"] == "security.installation.connected"]
    when: str = connected["occurred_at"]
    return when


def test_while_it_is_served_the_stand_in_answers(database: str, tmp_path: Path) -> None:
    environment = os.environ | {"PERMALOG_DATABASE_URL": database, "PERMALOG_DATA_DIR": str(tmp_path)}
    demo = subprocess.Popen(
        [sys.executable, "-m", "permalog_server", "demo", "--port", "0"],
        stdout=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    try:
        assert demo.stdout is not None
        said = ""
        while not (address := re.search(r"Permalog serves (http://\S+)", said)):
            line = demo.stdout.readline()
            assert line, said
            said += line
        token = re.findall(r"Bearer (\S+?)'", said)[0]
        path = f"/v1/organizations/{NORTHWIND.organization_id}/security-agent/sync"
        answer = httpx.post(address[1] + path, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert answer.status_code in {200, 202}, answer.text
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=60)
    assert demo.returncode in {0, 143}


def test_the_sample_is_the_same_for_the_same_day() -> None:
    day = date(2026, 1, 31)
    events = list(sample_events(day))
    assert events == list(sample_events(day))
    assert len({(event.owner, event.event_key) for event in events}) == len(events)
    assert {event.owner for event in events} == set(OWNERS)
    days = {event.occurred_at.date() for event in events if event.occurred_at is not None}
    assert (max(days), (max(days) - min(days)).days) == (day, DAYS - 1)


def test_every_event_of_the_sample_is_one_that_the_agent_could_have_recorded() -> None:
    catalogue = {action.name: action for action in ACTIONS}
    for event in sample_events(date(2026, 1, 31)):
        catalogue[event.action].check(event.before_state, event.after_state, event.metadata)
        assert event.resource.type == catalogue[event.action].resource_type


def test_the_sample_writes_to_nobody() -> None:
    addresses = {event.actor.email for event in sample_events(date(2026, 1, 31)) if event.actor.email}
    assert addresses
    assert all(address.endswith(".example") for address in addresses)
