"""What the agent does, asked over HTTP, and the whole of each event that it leaves."""

import uuid
from typing import Any

import pytest

from agent.placing import FREE, SECRET, SHOP, Place, bare, snapshot
from github import open_alert
from permalog_server.standin import Fault
from proofs import proves

pytestmark = pytest.mark.one_version

of_an_organization = pytest.mark.parametrize("place", ["organization"], indirect=True)
CONFIGURATION = {
    "revision": 0, "enabled": False, "sla_critical_days": 15, "sla_high_days": 30, "sla_medium_days": 45,
    "sla_low_days": 90, "automatic_sync": True, "repository_selection": "all", "selected_repository_ids": [],
    "model": None, "auto_dismiss": False, "auto_dismiss_confidence": "high",
}  # fmt: skip
INSTALLATION = {
    "account": "northwind", "account_type": "Organization",
    "permissions": ["metadata:read", "vulnerability_alerts:write"],
    "repository_selection": "all", "suspended": False, "removed": False,
}  # fmt: skip


def of_installation(place: Place, action: str, trigger: str, before: Any, after: Any) -> dict[str, Any]:
    (found,) = [one for one in place.events(action) if one["metadata"]["trigger"] == trigger]
    return {
        "action": action, "outcome": "success", "actor": place.by(), "source": "api",
        "resource": {"type": "integration", "id": str(FREE)}, "before_state": before, "after_state": after,
        "metadata": {
            "installation_id": FREE, "repositories": 2, "permissions": INSTALLATION["permissions"], "trigger": trigger,
        },
        "correlation_id": found["correlation_id"],
    }  # fmt: skip


@proves("security.installation.connected")
def test_connecting_an_installation(connected: Place) -> None:
    wanted = of_installation(connected, "security.installation.connected", "setup", None, INSTALLATION)
    assert connected.event("security.installation.connected") == wanted


@proves("security.installation.suspended")
def test_an_installation_that_turns_out_suspended(connected: Place) -> None:
    connected.github.world.suspend(FREE)
    assert connected.sync()["outcome"] == "failure"
    wanted = of_installation(
        connected, "security.installation.suspended", "sync", INSTALLATION, INSTALLATION | {"suspended": True}
    )
    assert connected.event("security.installation.suspended") == wanted


@proves("security.installation.removed")
def test_an_installation_that_turns_out_removed(connected: Place) -> None:
    connected.github.world.uninstall(FREE)
    assert connected.sync()["outcome"] == "failure"
    wanted = of_installation(
        connected, "security.installation.removed", "sync", INSTALLATION, INSTALLATION | {"removed": True}
    )
    assert connected.event("security.installation.removed") == wanted


@proves("security.config.enabled", "security.config.disabled")
@pytest.mark.parametrize("enabled", [True, False])
def test_enabling_and_disabling(place: Place, enabled: bool) -> None:  # noqa: FBT001
    if not enabled:
        place.ask("PUT", "enabled", json={"enabled": True})
    place.ask("PUT", "enabled", json={"enabled": enabled}, who="admin")
    action = f"security.config.{'enabled' if enabled else 'disabled'}"
    revision = 0 if enabled else 1
    assert place.event(action) == {
        "action": action, "outcome": "success", "actor": place.by("admin"), "source": "api",
        "resource": {"type": "agent_config", "id": place.owner_id},
        "before_state": CONFIGURATION | {"revision": revision, "enabled": not enabled},
        "after_state": CONFIGURATION | {"revision": revision + 1, "enabled": enabled},
        "metadata": {}, "correlation_id": None,
    }  # fmt: skip


@proves("security.config.updated")
def test_saving_a_part_tells_the_whole(place: Place) -> None:
    place.ask("PUT", "config", json={"revision": 0, "sla_high_days": 7})
    found = place.event("security.config.updated")
    assert found["before_state"] == CONFIGURATION
    assert found["after_state"] == CONFIGURATION | {"revision": 1, "sla_high_days": 7}
    assert found["actor"] == place.by()


def test_a_save_that_changes_nothing_is_no_event(place: Place) -> None:
    assert place.ask("PUT", "config", json={"revision": 0, "sla_high_days": 30})["revision"] == 0
    assert place.events("security.config.updated") == []


def test_of_two_who_save_the_same_revision_one_is_told(place: Place) -> None:
    place.ask("PUT", "config", json={"revision": 0, "sla_high_days": 7})
    place.ask("PUT", "config", json={"revision": 0, "sla_low_days": 7}, expect=409)
    assert len(place.events("security.config.updated")) == 1


@proves("security.sync.triggered", "security.sync.completed", "security.finding.created")
def test_a_first_sync(connected: Place) -> None:
    state = connected.sync("member")
    (finding,) = connected.ask("GET", "findings")["findings"]
    same = {
        "outcome": "success", "actor": connected.by("member"), "source": "api", "correlation_id": state["id"],
    }  # fmt: skip
    about = {"type": "agent_config", "id": connected.owner_id}
    assert connected.event("security.sync.triggered") == same | {
        "action": "security.sync.triggered", "resource": about, "before_state": None, "after_state": None,
        "metadata": {"trigger": "manual", "scope": "all"},
    }  # fmt: skip
    assert connected.event("security.finding.created") == same | {
        "action": "security.finding.created", "resource": {"type": "security_finding", "id": finding["id"]},
        "before_state": None, "after_state": {"status": "open", "severity": "high"},
        "metadata": {
            "finding": snapshot(finding), "alert_number": 1, "deadline": "2026-03-02T09:00:00.000000Z",
            "source_state": "open",
        },
    }  # fmt: skip
    completed = connected.event("security.sync.completed")
    assert completed["metadata"].pop("duration_ms") >= 0
    assert completed == same | {
        "action": "security.sync.completed", "resource": about, "before_state": None, "after_state": None,
        "metadata": {
            "trigger": "manual", "scope": "all", "repositories": 2, "created": 1, "updated": 0, "unchanged": 0,
            "errors": 0, "stale": 0, "disabled": 0, "failures": [], "stale_repositories": [],
            "disabled_repositories": [],
        },
    }  # fmt: skip


@proves("security.finding.status_change")
def test_a_dismissal_on_github(connected: Place) -> None:
    connected.sync()
    connected.github.world.change(
        SHOP, 1, state="dismissed", dismissed_reason="tolerable_risk", dismissed_comment="We live with it",
        dismissed_by=user_document("octo-ada"),
    )  # fmt: skip
    alert = connected.github.world.alert(SHOP, 1)
    state = connected.sync()
    (finding,) = connected.ask("GET", "findings", params={"status": "closed"})["findings"]
    assert connected.event("security.finding.status_change") == {
        "action": "security.finding.status_change", "outcome": "success", "actor": connected.by(), "source": "api",
        "resource": {"type": "security_finding", "id": finding["id"]}, "correlation_id": state["id"],
        "before_state": {"status": "open"}, "after_state": {"status": "ignored", "reason": "tolerable_risk"},
        "metadata": {
            "finding": snapshot(finding), "source_state": "dismissed",
            "source_updated_at": alert["updated_at"].replace("Z", ".000000Z"),
            "github_login": {"$personal": {"kind": "github_login", "value": "octo-ada"}},
            "comment": {"$personal": {"kind": "comment", "value": "We live with it"}},
        },
    }  # fmt: skip


def user_document(login: str) -> dict[str, Any]:
    """Somebody on GitHub, as its schema wants them."""
    url = f"https://api.github.com/users/{login}"
    return {
        "login": login, "id": 7, "node_id": "MDQ6VXNlcjc=", "avatar_url": "https://github.com/images/a.gif",
        "gravatar_id": "", "url": url, "html_url": f"https://github.com/{login}", "followers_url": url,
        "following_url": url, "gists_url": url, "starred_url": url, "subscriptions_url": url,
        "organizations_url": url, "repos_url": url, "events_url": url, "received_events_url": url, "type": "User",
        "site_admin": False,
    }  # fmt: skip


@proves("security.finding.severity_changed")
def test_another_severity(connected: Place) -> None:
    connected.sync()
    advisory = connected.github.world.alert(SHOP, 1)["security_advisory"]
    alert = connected.github.world.change(SHOP, 1, security_advisory={**advisory, "severity": "critical"})
    state = connected.sync()
    (finding,) = connected.ask("GET", "findings")["findings"]
    assert finding["deadline"] == "2026-03-02T09:00:00.000000Z", "as it was given"
    assert connected.event("security.finding.severity_changed") == {
        "action": "security.finding.severity_changed", "outcome": "success", "actor": connected.by(), "source": "api",
        "resource": {"type": "security_finding", "id": finding["id"]}, "correlation_id": state["id"],
        "before_state": {"severity": "high"}, "after_state": {"severity": "critical"},
        "metadata": {
            "finding": snapshot(finding), "source_updated_at": alert["updated_at"].replace("Z", ".000000Z"),
        },
    }  # fmt: skip


@proves("security.finding.deleted")
def test_bulk_deletion_is_one_event_each_with_one_correlation_id(connected: Place) -> None:
    connected.github.world.put(SHOP, open_alert(SHOP, 2))
    connected.sync()
    findings = {one["id"]: one for one in connected.ask("GET", "findings")["findings"]}
    done = connected.ask("DELETE", "findings", params={"repository": SHOP})
    assert done["deleted"] == 2
    found = [bare(one) for one in connected.events("security.finding.deleted")]
    for one in found:
        finding = findings.pop(one["resource"]["id"])
        assert one == {
            "action": "security.finding.deleted", "outcome": "success", "actor": connected.by(), "source": "api",
            "resource": {"type": "security_finding", "id": finding["id"]}, "correlation_id": done["correlation_id"],
            "before_state": {"status": "open"}, "after_state": None,
            "metadata": {
                "finding": snapshot(finding), "fixed_at": None, "ignored_at": None, "reason": None,
                "analysis_status": "none",
            },
        }  # fmt: skip
    assert not findings
    assert connected.ask("GET", "findings")["total"] == 0


def test_a_scheduled_sync_is_the_systems_and_needs_the_internal_secret(connected: Place) -> None:
    connected.ask("PUT", "enabled", json={"enabled": True})
    with connected.site.client("not-the-secret") as client:
        assert client.post("/internal/sync").status_code == 401
    with connected.site.client(SECRET) as client:
        assert client.post("/internal/sync").json() == {"synced": 1, "failed": 0, "is_complete": True}
    completed = connected.event("security.sync.completed")
    assert (completed["actor"]["type"], completed["actor"]["id"]) == ("system", "sync-scheduler")
    assert (completed["source"], completed["metadata"]["trigger"]) == ("cron", "scheduled")


@of_an_organization
@pytest.mark.parametrize(
    ("method", "path", "body", "action", "resource"),
    [
        ("PUT", "config", {"revision": 0}, "security.config.updated", "agent_config"),
        ("PUT", "enabled", {"enabled": True}, "security.config.enabled", "agent_config"),
        ("DELETE", f"findings?repository={SHOP}", None, "security.finding.deleted", "agent_config"),
        ("GET", "installation?installation_id=1&state=x", None, "security.installation.connected", "agent_config"),
    ],
)
def test_a_denied_mutation_is_on_record(
    place: Place, method: str, path: str, body: Any, action: str, resource: str
) -> None:
    place.ask(method, path, json=body, who="member", expect=403)
    found = place.event(action)
    assert (found["outcome"], found["actor"], found["resource"]) == (
        "denied", place.by("member"), {"type": resource, "id": place.owner_id},
    )  # fmt: skip
    assert found["metadata"]["reason"] == "the role member may not do this"


@of_an_organization
def test_a_link_is_good_once_and_for_its_owner_only(place: Place) -> None:
    state = place.ask("GET", "permission-status?link=true")["state"]
    with place.site.client(place.people.token("outsider")) as client:
        stolen = client.get(
            f"/v1/organizations/{place.people.other}/security-agent/installation",
            params={"installation_id": FREE, "state": state},
        )
    assert stolen.status_code == 422
    place.ask("GET", "installation", params={"installation_id": FREE, "state": state})
    place.ask("GET", "installation", params={"installation_id": FREE, "state": state}, expect=422)
    theirs = f"/v1/organizations/{place.people.other}/security-agent"
    with place.site.client(place.people.token("outsider")) as client:
        state = client.get(f"{theirs}/permission-status", params={"link": True}).json()["state"]
        taken = client.get(f"{theirs}/installation", params={"installation_id": FREE, "state": state})
    assert taken.status_code == 409


def test_a_sync_of_which_nothing_came_says_so(connected: Place) -> None:
    connected.github.fail(Fault(status=422, path="dependabot", times=2))
    state = connected.sync()
    assert (state["outcome"], state["result"]["errors"]) == ("failure", 2)
    assert connected.event("security.sync.completed")["outcome"] == "failure"


@of_an_organization
def test_owners_do_not_see_each_others_findings(connected: Place) -> None:
    connected.sync()
    (finding,) = connected.ask("GET", "findings")["findings"]
    with connected.site.client(connected.people.token("owner")) as client:
        assert client.get(f"/v1/security-agent/findings/{finding['id']}").status_code == 404
        assert client.get("/v1/security-agent/findings").json() == {"findings": [], "total": 0}
    assert connected.ask("GET", f"findings/{uuid.uuid4()}", expect=404)["status"] == 404
