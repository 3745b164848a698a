"""Alerts that come in become findings and events, once each; the same again is silent."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest

from alerts import EARLY, alert, dismissed, fixed, stamp
from permalog import Actor, Owner
from permalog.errors import InvalidEvent
from security_agent import configuration
from security_agent.agent import Acting, Agent
from security_agent.alert import UnreadableAlert, read_alert
from security_agent.intake import Intake, Taken

ORGANIZATION = UUID("00000000-0000-4000-8000-00000000000a")
OWNER = Owner.organization(ORGANIZATION)
BY = Acting(Actor.user("u_1"), "api")
DAY = timedelta(days=1)


def take(agent: Agent, *raw: dict[str, Any], owner: Owner = OWNER) -> Taken:
    intake = Intake(agent, owner, 7, "acme/web", BY, "op_1")
    with agent.changing(owner) as connection:
        return intake.take(connection, [read_alert(one) for one in raw])


def events(agent: Agent, owner: Owner = OWNER) -> list[Any]:
    """Oldest first."""
    return list(reversed(orjson.loads(agent.log.list(owner).to_json())["events"]))


def finding(agent: Agent, number: int = 1) -> dict[str, Any]:
    with agent.looking() as connection:
        cursor = connection.execute("SELECT * FROM security_agent.finding WHERE source_id = %s", (str(number),))
        names = [column.name for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone() or (), strict=True))


def test_a_new_alert_is_a_finding_with_its_event(agent: Agent) -> None:
    assert take(agent, alert(1)) == Taken(1, 0, 0)
    (event,) = events(agent)
    made = finding(agent)
    assert (event["action"], event["resource"]["id"]) == ("security.finding.created", str(made["id"]))
    assert event["after_state"] == {"status": "open", "severity": "high"}
    assert event["metadata"]["finding"]["id"] == str(made["id"])
    assert event["metadata"]["deadline"] == "2026-03-31T12:30:15.000000Z"
    assert made["deadline"] == EARLY + 30 * DAY


def test_the_same_alert_again_writes_nothing(agent: Agent) -> None:
    take(agent, alert(1), alert(2))
    before = finding(agent, 1), finding(agent, 2), events(agent)
    assert take(agent, alert(1), alert(2)) == Taken(0, 0, 2)
    assert before == (finding(agent, 1), finding(agent, 2), events(agent))


def test_fixed_reopened_and_dismissed_are_one_event_each(agent: Agent) -> None:
    take(agent, alert(1))
    take(agent, fixed(1, EARLY + DAY))
    assert finding(agent)["fixed_at"] == EARLY + DAY
    take(agent, alert(1, EARLY + 2 * DAY))
    assert finding(agent)["fixed_at"] is None
    take(agent, dismissed(1, EARLY + 3 * DAY))
    take(agent, alert(1, EARLY + 4 * DAY, state="auto_dismissed", auto_dismissed_at=stamp(EARLY + 4 * DAY)))
    _, *changes = events(agent)
    assert [(one["before_state"], one["after_state"]) for one in changes] == [
        ({"status": "open"}, {"status": "fixed"}),
        ({"status": "fixed"}, {"status": "open"}),
        ({"status": "open"}, {"status": "ignored", "reason": "tolerable_risk"}),
    ]
    assert changes[2]["metadata"]["github_login"] == {"$personal": {"kind": "github_login", "value": "octo-ada"}}


def test_another_severity_is_an_event_and_keeps_the_deadline(agent: Agent) -> None:
    take(agent, alert(1))
    take(agent, alert(1, EARLY + DAY, severity="critical"))
    change = events(agent)[1]
    assert (change["action"], change["before_state"], change["after_state"]) == (
        "security.finding.severity_changed", {"severity": "high"}, {"severity": "critical"},
    )  # fmt: skip
    assert finding(agent)["deadline"] == EARLY + 30 * DAY


def test_what_is_older_than_what_is_known_changes_nothing(agent: Agent) -> None:
    take(agent, fixed(1, EARLY + DAY))
    assert take(agent, alert(1)) == Taken(0, 0, 1)
    assert finding(agent)["status"] == "fixed"
    assert len(events(agent)) == 1


def test_a_deadline_is_that_of_the_policy_in_force_when_the_finding_came(agent: Agent) -> None:
    take(agent, alert(1))
    configuration.save(agent, OWNER, 0, {"sla_high_days": 7}, BY)
    take(agent, alert(1, EARLY + DAY), alert(2))
    assert finding(agent, 1)["deadline"] == EARLY + 30 * DAY
    assert finding(agent, 2)["deadline"] == EARLY + 7 * DAY


def test_two_owners_have_a_finding_each(agent: Agent) -> None:
    other = Owner.user("u_2")
    assert take(agent, alert(1)) == take(agent, alert(1), owner=other) == Taken(1, 0, 0)
    assert len(events(agent)) == len(events(agent, other)) == 1


def test_a_change_whose_event_is_refused_is_undone(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InvalidEvent("event", "refused")

    monkeypatch.setattr(type(agent.log), "record_all", refuse)
    with pytest.raises(InvalidEvent):
        take(agent, alert(1))
    with agent.looking() as connection:
        assert connection.execute("SELECT count(*) FROM security_agent.finding").fetchone() == (0,)


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_sync_does_not_undo_a_dismissal_that_github_was_not_told_of(agent: Agent, state: str) -> None:
    take(agent, alert(1))
    dismiss_here(agent, state)
    assert take(agent, alert(1, EARLY + DAY)) == Taken(0, 1, 0)
    made = finding(agent)
    assert (made["status"], made["ignored_by"], made["ignored_reason"]) == ("ignored", "u_1", "not_used")
    assert len(events(agent)) == 1
    take(agent, fixed(1, EARLY + 2 * DAY))
    assert events(agent)[1]["before_state"] == {"status": "ignored", "reason": "not_used"}


def test_a_dismissal_that_github_knows_of_is_undone_by_reopening_there(agent: Agent) -> None:
    take(agent, alert(1))
    dismiss_here(agent, "completed")
    take(agent, alert(1, EARLY + DAY))
    assert events(agent)[1]["after_state"] == {"status": "open"}


def dismiss_here(agent: Agent, state: str) -> None:
    with agent.looking() as connection:
        connection.execute(
            "WITH f AS (UPDATE security_agent.finding SET status = 'ignored', ignored_at = now(), ignored_by = 'u_1',"
            " ignored_by_type = 'user', ignored_reason = 'not_used' RETURNING log_id, id)"
            " INSERT INTO security_agent.write_back (log_id, finding_id, reason, state)"
            " SELECT log_id, id, 'not_used', %s FROM f",
            (state,),
        )


def test_a_text_that_reads_as_an_address_does_not_stop_an_alert(agent: Agent) -> None:
    raw = alert(1)
    raw["security_advisory"]["summary"] = "lodash@4.17.20 leaks ada@acme.example"
    take(agent, raw)
    assert events(agent)[0]["metadata"]["finding"]["title"] == "lodash[at]4.17.20 leaks ada[at]acme.example"
    assert finding(agent)["title"] == "lodash@4.17.20 leaks ada@acme.example"


def test_the_raw_alert_is_kept_and_what_it_tells_of_people_stands_apart(agent: Agent) -> None:
    raw = dismissed(1, EARLY, unknown={"to": ["us", 1.5, None]})
    take(agent, raw)
    made = finding(agent)
    assert made["raw"] | made["raw_people"] == raw
    assert "octo-ada" not in orjson.dumps(made["raw"]).decode()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("number", "42junk"), ("number", "42"), ("number", 0), ("number", True), ("number", 1.5), ("state", "closed"),
        ("created_at", "2026-03-01T12:30:15"), ("created_at", 1), ("created_at", "yesterday"), ("updated_at", None),
        ("html_url", "javascript:alert(1)"), ("dependency", {}), ("security_advisory", None),
        ("dismissed_comment", "a\0b"),
    ],
)  # fmt: skip
def test_an_alert_that_is_not_of_githubs_form_is_refused(member: str, value: object) -> None:
    with pytest.raises(UnreadableAlert):
        read_alert(alert(1) | {member: value})


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert read_alert(dismissed(1, EARLY, dismissed_comment="\\u0000"))["ignored_comment"] == "\\u0000"


def test_many_alerts_take_few_statements(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, *args: Any, **more: Any) -> Any:
        statements.append(str(args[0])[:60])
        return execute(self, *args, **more)

    take(agent, alert(1))
    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    take(agent, *(alert(number) for number in range(2, 102)))
    assert len(statements) <= 8, statements
    statements.clear()
    take(agent, *(alert(number) for number in range(2, 102)))
    assert len(statements) <= 4, statements


def test_times_of_other_zones_are_utc() -> None:
    facts = read_alert(alert(1, created_at="2026-03-01T14:30:15+02:00"))
    assert facts["first_detected_at"] == datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
