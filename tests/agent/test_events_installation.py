"""What webhooks tell of installations, with GitHub's own payloads, and the whole of each event that they leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.hooks import ACME, ADA, Hooked, hooked, real
from proofs import proven_in, proves
from security_agent import configuration, installation
from security_agent.actions import CATALOGUE
from security_agent.github.webhook import ACTIONS

pytestmark = pytest.mark.data
PAYLOADS = {
    "created": "other/installation.created",
    "deleted": "other/installation.deleted",
    "suspend": "other/installation.suspend",
    "unsuspend": "other/installation.unsuspend",
    "new_permissions_accepted": "other/installation.new_permissions_accepted",
    "added": "other/installation_repositories.added",
    "removed": "other/installation_repositories.removed",
}
STATE = {
    "account": "northwind", "account_type": "Organization",
    "permissions": ["metadata:read", "vulnerability_alerts:write"], "repository_selection": "all",
    "suspended": False, "removed": False,
}  # fmt: skip


@pytest.fixture
def at(agent_database: str, tmp_path: Path) -> Iterator[Hooked]:
    with hooked(agent_database, tmp_path) as found:
        yield found


def told(at: Hooked, action: str, *, suspended: bool = False) -> dict[str, Any]:
    """GitHub's payload of an action, its installation connected for the organisation as it was before."""
    payload = real(PAYLOADS[action])
    number = payload["installation"]["id"]
    at.put_up("northwind", number, {"northwind/shop": 1, "northwind/till": 2})
    at.github.world.suspend(number, suspended=suspended)
    at.bind(number, ACME)
    return payload


def event(number: int, action: str, before: Any, after: Any, **metadata: Any) -> dict[str, Any]:
    """As it must be."""
    return {
        "action": f"security.installation.{action}", "outcome": "success", "source": "webhook",
        "actor": {"type": "system", "id": "github-webhook", "email": None, "name": None},
        "resource": {"type": "integration", "id": str(number)}, "before_state": before, "after_state": after,
        "metadata": {
            "installation_id": number, "repositories": 2, "trigger": "webhook", "permissions": after["permissions"],
            **metadata,
        },
        "correlation_id": None,
    }  # fmt: skip


@proves("security.installation.suspended")
def test_suspended(at: Hooked) -> None:
    payload = told(at, "suspend")
    number = payload["installation"]["id"]
    at.github.world.suspend(number)
    assert at.deliver("installation", payload) == "taken"
    assert at.events(ACME, "installation") == [event(number, "suspended", STATE, STATE | {"suspended": True})]


@proves("security.installation.connected")
def test_unsuspended(at: Hooked) -> None:
    payload = told(at, "unsuspend", suspended=True)
    number = payload["installation"]["id"]
    at.github.world.suspend(number, suspended=False)
    assert at.deliver("installation", payload) == "taken"
    assert at.events(ACME, "installation") == [event(number, "connected", STATE | {"suspended": True}, STATE)]


@proves("security.installation.connected")
def test_given_other_permissions(at: Hooked) -> None:
    payload = told(at, "new_permissions_accepted")
    number = payload["installation"]["id"]
    at.github.world.permit(number, vulnerability_alerts="read", metadata="read")
    assert at.deliver("installation", payload) == "taken"
    after = STATE | {"permissions": ["metadata:read", "vulnerability_alerts:read"]}
    assert at.events(ACME, "installation") == [event(number, "connected", STATE, after)]


@proves("security.installation.removed")
def test_removed(at: Hooked) -> None:
    payload = told(at, "deleted")
    number = payload["installation"]["id"]
    assert at.deliver("installation", payload) == "taken"
    assert at.events(ACME, "installation") == [event(number, "removed", STATE, STATE | {"removed": True})]


@proves("security.installation.connected")
def test_reaching_further_repositories(at: Hooked) -> None:
    payload = told(at, "added")
    number = payload["installation"]["id"]
    at.put_up("northwind", number, {"northwind/shop": 1, "northwind/till": 2, "northwind/depot": 3})
    assert at.deliver("installation_repositories", payload) == "taken"
    wanted = event(number, "connected", STATE, STATE, repositories=3, added=["northwind/depot"])
    assert at.events(ACME) == [wanted]


@proves("security.installation.connected", "security.config.updated")
def test_reaching_a_repository_no_more(at: Hooked) -> None:
    payload = told(at, "removed")
    number = payload["installation"]["id"]
    wish = {"repository_selection": "selected", "selected_repository_ids": [1, 2]}
    before = configuration.save(at.agent, ACME, None, wish, at.acting).state()
    at.put_up("northwind", number, {"northwind/shop": 1})
    assert at.deliver("installation_repositories", payload) == "taken"
    config, connected = at.events(ACME)
    assert connected == event(number, "connected", STATE, STATE, repositories=1, gone=["northwind/till"])
    assert config == {
        "action": "security.config.updated", "outcome": "success", "source": "webhook", "actor": connected["actor"],
        "resource": {"type": "agent_config", "id": str(ACME.organization_id)}, "before_state": before,
        "after_state": before | {"revision": before["revision"] + 1, "selected_repository_ids": [1]},
        "metadata": {"trigger": "webhook", "pruned_repository_ids": [2]}, "correlation_id": None,
    }  # fmt: skip


def test_every_action_of_an_installation_comes_by_webhook() -> None:
    wanted = {one.name for one in CATALOGUE if one.name.startswith("security.installation.") and not one.retired}
    assert wanted <= proven_in(Path(__file__)).keys()


def test_every_action_of_the_webhooks_is_sent() -> None:
    assert {*ACTIONS["installation"], *ACTIONS["installation_repositories"]} == PAYLOADS.keys()


def test_an_installation_that_was_made_is_nobodys_until_somebody_connects_it(at: Hooked) -> None:
    payload = real(PAYLOADS["created"])
    assert at.deliver("installation", payload) == "ignored"
    assert at.rows("SELECT FROM security_agent.integration") == []


@pytest.mark.parametrize("action", PAYLOADS)
def test_what_tells_nothing_new_is_no_event(at: Hooked, action: str) -> None:
    payload = told(at, action)
    if action == "deleted":
        installation.remove(at.agent, ACME, at.acting, "sync")
    kind = "installation_repositories" if action in {"added", "removed"} else "installation"
    assert at.deliver(kind, payload) == "taken"
    assert at.events(ACME) == []


@pytest.mark.parametrize("action", PAYLOADS)
def test_both_owners_of_an_installation_are_told(at: Hooked, action: str) -> None:
    payload = told(at, action, suspended=action == "unsuspend")
    number = payload["installation"]["id"]
    at.bind(number, ADA)
    at.github.world.suspend(number, suspended=action == "suspend")
    if action in {"created", "new_permissions_accepted", "added", "removed"}:
        at.github.world.permit(number, vulnerability_alerts="read")
    kind = "installation_repositories" if action in {"added", "removed"} else "installation"
    assert at.deliver(kind, payload, "one-delivery") == "taken"
    assert at.deliver(kind, payload, "one-delivery") == "duplicate"
    mine, theirs = (at.events(owner) for owner in (ADA, ACME))
    assert len(mine) == 1
    assert mine == theirs


def test_an_installation_that_is_gone_by_now_is_removed(at: Hooked) -> None:
    payload = told(at, "unsuspend", suspended=True)
    at.github.world.uninstall(payload["installation"]["id"])
    assert at.deliver("installation", payload) == "taken"
    (found,) = at.events(ACME)
    assert (found["action"], found["after_state"]["removed"]) == ("security.installation.removed", True)


def test_what_was_asked_for_before_a_removal_does_not_bring_it_back(at: Hooked) -> None:
    number = told(at, "unsuspend")["installation"]["id"]
    asked = installation.ask(at.agent, number)
    at.deliver("installation", {**real(PAYLOADS["deleted"]), "installation": {"id": number}})
    with at.agent.changing(ACME) as connection:
        found = installation.save(at.agent, connection, ACME, asked, at.acting, "webhook")
    assert found.removed_at is not None
    assert [one["action"] for one in at.events(ACME)] == ["security.installation.removed"]
