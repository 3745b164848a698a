"""Analyses and dismissals, asked for over HTTP, called back or worked off by a job: the whole of each event."""

from typing import Any

import pytest

from agent.placing import SHOP, Place, bare, snapshot
from github import open_alert
from permalog_server.standin import Fault
from proofs import proves

pytestmark = pytest.mark.one_version

SYSTEM = {"type": "system", "email": None, "name": None}
RESULT = {"exploitable": "no", "reasoning": "Nothing imports it.", "suggested_action": "dismiss", "summary": "Unused."}


def finding_of(place: Place, number: int, *, severity: str = "critical", scope: str = "runtime") -> dict[str, Any]:
    """A finding that came from GitHub by a sync."""
    raw = open_alert(SHOP, number)
    facts: dict[str, Any] = {
        "dependency": {**raw["dependency"], "scope": scope},
        "security_advisory": {
            **raw["security_advisory"],
            "severity": severity,
            "cwes": [],
            "summary": "Slow",
            "description": "",
        },
        "security_vulnerability": {**raw["security_vulnerability"], "severity": severity},
    }
    place.github.world.put(SHOP, open_alert(SHOP, number, **facts))
    place.sync()
    (found,) = [one for one in place.ask("GET", "findings")["findings"] if one["source_id"] == str(number)]
    return found


def event_of(place: Place, action: str) -> dict[str, Any]:
    return place.event(f"security.finding.{action}")


def about(finding: dict[str, Any], action: str, **members: Any) -> dict[str, Any]:
    """What all events about a finding have in common, and what else there is."""
    return {
        "action": f"security.finding.{action}", "outcome": "success", "source": "api", "before_state": None,
        "after_state": None, "resource": {"type": "security_finding", "id": finding["id"]}, **members,
    }  # fmt: skip


@proves("security.finding.dismissed")
def test_a_dismissal_by_a_person(connected: Place) -> None:
    finding = finding_of(connected, 2)
    done = connected.ask(
        "POST", f"findings/{finding['id']}/dismiss", json={"reason": "inaccurate", "comment": "Not ours."}, who="admin"
    )
    assert event_of(connected, "dismissed") == about(
        finding, "dismissed", actor=connected.by("admin"), correlation_id=done["correlation_id"],
        before_state={"status": "open"},
        after_state={"status": "ignored", "reason": "inaccurate", "comment": "Not ours."},
        metadata={"finding": snapshot(finding), "source": "dependabot", "write_back": "completed"},
    )  # fmt: skip
    alert = connected.github.world.alert(SHOP, 2)
    assert (alert["state"], alert["dismissed_reason"], alert["dismissed_comment"]) == (
        "dismissed", "inaccurate", "Not ours.",
    )  # fmt: skip
    connected.sync()
    assert connected.events("security.finding.status_change") == [], "that GitHub says so, too, is no news"


def test_a_dismissal_that_github_refuses(connected: Place) -> None:
    finding = finding_of(connected, 2)
    connected.github.fail(Fault(status=422, method="PATCH"))
    connected.ask("POST", f"findings/{finding['id']}/dismiss", json={"reason": "not_used"}, expect=409)
    found = event_of(connected, "dismissed")
    assert found == about(
        finding, "dismissed", outcome="failure", actor=connected.by(), correlation_id=found["correlation_id"],
        before_state={"status": "open"}, after_state={"status": "open", "reason": "not_used", "comment": None},
        metadata={
            "finding": snapshot(finding), "source": "dependabot", "write_back": "failed", "error": "refused",
        },
    )  # fmt: skip


def analysed(finding: dict[str, Any], analysis: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The metadata of an event about an analysis by the rules that a person has started."""
    return {
        "finding": snapshot(finding), "analysis_id": analysis["id"], "triggered_by": "user", "forced": False,
        "engine": "rules", "model": None, "fallback": None, **members,
    }  # fmt: skip


@proves("security.finding.analysis_started", "security.finding.analysis_completed")
def test_an_analysis_for_which_triage_is_enough(connected: Place) -> None:
    finding = finding_of(connected, 2, severity="low", scope="development")
    one = connected.ask("POST", f"findings/{finding['id']}/analysis", who="member")
    common = {"actor": connected.by("member"), "correlation_id": one["correlation_id"]}
    assert event_of(connected, "analysis_started") == about(
        finding, "analysis_started", before_state={"analysis_status": "none"},
        after_state={"analysis_status": "pending"}, metadata=analysed(finding, one, engine=None), **common,
    )  # fmt: skip
    assert event_of(connected, "analysis_completed") == about(
        finding, "analysis_completed", before_state={"analysis_status": "pending"},
        after_state={"analysis_status": "completed"}, **common,
        metadata=analysed(
            finding, one, tiers=["triage"], suggested_action="dismiss", confidence="high", exploitable=None,
            extractor=None,
        ),
    )  # fmt: skip


@proves("security.finding.analysis_failed")
def test_an_analysis_whose_runner_fails(connected: Place) -> None:
    finding = finding_of(connected, 2)
    one = connected.ask("POST", f"findings/{finding['id']}/analysis", expect=202)
    connected.call_back(finding["id"], {"status": "failed", "attempt_id": one["id"], "error": "no disk"})
    found = event_of(connected, "analysis_failed")
    by = connected.by()
    assert (found["actor"]["type"], found["actor"]["id"]) == ("user", by["id"]), "whoever started it"
    assert found == about(
        finding, "analysis_failed", outcome="failure", source="callback", actor=found["actor"],
        correlation_id=one["correlation_id"], before_state={"analysis_status": "running"},
        after_state={"analysis_status": "failed"},
        metadata=analysed(finding, one, tiers=["triage", "sandbox"], failure_code="runner_failed"),
    )  # fmt: skip


def decided(finding: dict[str, Any], analysis_id: str, **members: Any) -> dict[str, Any]:
    return {
        "finding": snapshot(finding), "analysis_id": analysis_id, "source": "dependabot", "write_back": "pending",
        **members,
    }  # fmt: skip


def switch_on(place: Place) -> None:
    place.ask("PUT", "enabled", json={"enabled": True})
    place.ask("PUT", "config", json={"revision": 1, "auto_dismiss": True})


@proves("security.finding.auto_dismissed")
def test_dismissed_by_triage(connected: Place) -> None:
    switch_on(connected)
    finding = finding_of(connected, 2, severity="low", scope="development")
    one = connected.ask("POST", f"findings/{finding['id']}/analysis")
    assert event_of(connected, "auto_dismissed") == about(
        finding, "auto_dismissed", actor={**SYSTEM, "id": "auto-dismiss"}, source="worker",
        correlation_id=one["correlation_id"], before_state={"status": "open"},
        after_state={"status": "ignored", "reason": "tolerable_risk"},
        metadata=decided(finding, one["id"], trigger="triage", ground="triage", confidence="high"),
    )  # fmt: skip


@proves("security.finding.auto_dismissed")
def test_dismissed_by_what_a_runner_calls_back(connected: Place) -> None:
    switch_on(connected)
    finding = finding_of(connected, 2)
    one = connected.ask("POST", f"findings/{finding['id']}/analysis", expect=202)
    connected.call_back(finding["id"], {"attempt_id": one["id"], "result": RESULT})
    completed = event_of(connected, "analysis_completed")
    assert completed["metadata"]["exploitable"] == "no"
    assert completed["source"] == "callback"
    assert event_of(connected, "auto_dismissed") == about(
        finding, "auto_dismissed", actor={**SYSTEM, "id": "auto-dismiss"}, source="worker",
        correlation_id=one["correlation_id"], before_state={"status": "open"},
        after_state={"status": "ignored", "reason": "not_used"},
        metadata=decided(finding, one["id"], trigger="sandbox", ground="sandbox", confidence=None),
    )  # fmt: skip


@proves("security.finding.auto_dismissed")
def test_dismissed_in_bulk_by_a_person(connected: Place) -> None:
    findings = [finding_of(connected, number, severity="low", scope="development") for number in (2, 3)]
    analyses = [connected.ask("POST", f"findings/{one['id']}/analysis") for one in findings]
    assert connected.ask("GET", "auto-dismiss")["enabled"] is False
    switch_on(connected)
    assert connected.ask("GET", "auto-dismiss")["total"] == 2
    done = connected.ask("POST", "auto-dismiss", who="billing_manager")
    made = {one["resource"]["id"]: bare(one) for one in connected.events("security.finding.auto_dismissed")}
    assert made == {
        finding["id"]: about(
            finding, "auto_dismissed", actor=connected.by("billing_manager"), correlation_id=done["correlation_id"],
            before_state={"status": "open"}, after_state={"status": "ignored", "reason": "tolerable_risk"},
            metadata=decided(finding, analysis["id"], trigger="bulk", ground="triage", confidence="high"),
        )
        for finding, analysis in zip(findings, analyses, strict=True)
    }  # fmt: skip


@proves("security.finding.write_back_completed")
@pytest.mark.parametrize("refused", [False, True])
def test_github_is_told_by_a_job(connected: Place, refused: bool) -> None:  # noqa: FBT001
    switch_on(connected)
    finding = finding_of(connected, 2, severity="low", scope="development")
    one = connected.ask("POST", f"findings/{finding['id']}/analysis")
    if refused:
        connected.github.fail(Fault(status=422, method="PATCH"))
    connected.work()
    assert event_of(connected, "write_back_completed") == about(
        finding, "write_back_completed", outcome="failure" if refused else "success", source="worker",
        actor={**SYSTEM, "id": "write-back"}, correlation_id=one["correlation_id"],
        metadata={
            "finding": snapshot(finding, status="ignored"), "source": "dependabot", "reason": "tolerable_risk",
            "source_state": None if refused else "dismissed", "attempts": 1, "error": "refused" if refused else None,
        },
    )  # fmt: skip
    if refused:
        connected.sync()
        (left,) = connected.ask("GET", "findings", params={"status": "ignored"})["findings"]
        assert left["id"] == finding["id"], "a write-back that failed is not undone by a sync"
