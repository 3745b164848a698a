"""The traps of docs/traps.md: each test here is named after one, and shows that nobody falls into it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from agent.mutations import facts
from agent.placing import FREE, SHOP, Place
from everywhere import everything_in
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog.errors import InvalidEvent
from security_agent import finding, installation, sync, webhooks
from security_agent.agent import Acting
from security_agent.alert import UnreadableAlert, read_alert
from security_agent.github.webhook import AlertNotice
from security_agent.intake import Intake
from security_agent.jobs import clean

pytestmark = [pytest.mark.one_version, pytest.mark.parametrize("place", ["organization"], indirect=True)]
BY = Acting(Actor.user("u_ada"), "api")


def owner_of(place: Place) -> Owner:
    return Owner.organization(place.people.organization)


def listed(place: Place, **query: Any) -> Any:
    place.site.log.flush()
    with place.site.client(place.token("owner")) as client:
        return client.get(f"{place.root}/audit-log/events", params=query).json()


def made(place: Place, number: int, **given: Any) -> Any:
    """A finding that came by a sync."""
    place.github.world.put(SHOP, facts(SHOP, number, **given))
    place.sync()
    return next(f for f in place.ask("GET", "findings")["findings"] if f["source_id"] == str(number))


def test_events_written_after_the_commit_errors_swallowed(connected: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InvalidEvent("event", "refused")

    with monkeypatch.context() as patch:
        patch.setattr(Permalog, "record", refuse)
        connected.ask("PUT", "config", json={"revision": 0, "sla_high_days": 7}, expect=422)
    assert connected.ask("GET", "config")["revision"] == 0
    connected.ask("PUT", "config", json={"revision": 0, "sla_high_days": 7})
    assert len(connected.events("security.config.updated")) == 1


def test_actions_in_the_enum_but_never_written(connected: Place) -> None:
    one = made(connected, 2)
    connected.github.world.change(SHOP, 2, state="fixed")
    connected.sync()
    told = listed(connected, resource_id=one["id"])["events"]
    assert [e["action"].rpartition(".")[2] for e in told] == ["status_change", "created"]


def test_bulk_operations_as_one_row_with_id_bulk(connected: Place) -> None:
    ids = {made(connected, number)["id"] for number in (2, 3)} | {
        f["id"] for f in connected.ask("GET", "findings")["findings"]
    }
    done = connected.ask("DELETE", "findings", params={"repository": SHOP})
    told = connected.events("security.finding.deleted")
    assert {e["resource"]["id"] for e in told} == ids
    assert len(told) == len(ids) == 3
    assert {e["correlation_id"] for e in told} == {done["correlation_id"]}


def test_completion_logged_before_the_work_had_finished_failures_not_at_all(connected: Place) -> None:
    one = made(connected, 2)
    begun = connected.ask("POST", f"findings/{one['id']}/analysis", expect=202)
    ends = ("security.finding.analysis_completed", "security.finding.analysis_failed")
    assert [connected.events(action) for action in ends] == [[], []]
    connected.call_back(one["id"], {"attempt_id": begun["id"], "status": "failed"})
    assert [len(connected.events(action)) for action in ends] == [0, 1]


def staff(place: Place) -> Place:
    """The same, for a member of staff of whom only the id is known."""
    accounts, who = place.site.accounts, place.people.id("bare")
    accounts.ensure_person(who, staff=True)
    place.people.tokens["bare"] = accounts.issue(who).token
    return place


def test_system_rows_without_identity_escaped_masking_by_e_mail_suffix(connected: Place) -> None:
    staff(connected).ask("PUT", "config", json={"revision": 0, "sla_high_days": 7}, who="bare")
    (told,) = listed(connected, action="security.config.updated")["events"]
    assert connected.people.id("bare") not in json.dumps(told)
    assert (told["actor"]["name"], told["actor"]["email"]) == ("Support", None)


def test_filters_ran_before_masking(connected: Place) -> None:
    staff(connected).ask("PUT", "config", json={"revision": 0, "sla_high_days": 7}, who="bare")
    who = connected.people.id("bare")
    asked = [listed(connected, **{name: word}) for name in ("actor_id", "search") for word in (who, "nobody-at-all")]
    assert [page["events"] for page in asked] == [[], [], [], []]
    assert [e["actor"]["name"] for e in listed(connected, action="security.config.updated")["events"]] == ["Support"]


def test_cursors_in_milliseconds_over_microseconds_no_tie_break(connected: Place) -> None:
    moment = datetime.now(UTC).replace(microsecond=123456)
    for n in range(23):
        connected.site.log.record(
            Event(
                owner=owner_of(connected), action="security.access.denied", actor=Actor.system("tests"),
                resource=Resource("thing", str(n)), occurred_at=moment,
            )
        )  # fmt: skip
    seen: list[str] = []
    page = listed(connected, resource_type="thing", limit=5)
    pages = [page]
    while page["has_next"]:
        page = listed(connected, resource_type="thing", limit=5, before=page["next_cursor"])
        pages.append(page)
    seen = [e["resource"]["id"] for one in pages for e in one["events"]]
    assert sorted(seen, key=int) == [str(n) for n in range(23)]
    back = listed(connected, resource_type="thing", limit=5, after=pages[-1]["previous_cursor"])
    assert back["events"] == pages[-2]["events"]
    assert (back["has_next"], back["has_previous"]) == (True, True)


def test_export_cut_at_10_000_rows_with_poorer_filters_and_a_lossy_record(connected: Place) -> None:
    many, owner = 10_007, owner_of(connected)
    for n in range(many):
        connected.site.log.record(
            Event(
                owner=owner,
                action="security.access.denied",
                actor=Actor.system("tests"),
                resource=Resource("thing", str(n % 2)),
            )
        )
    connected.site.log.flush()
    wanted = {"format": "ndjson", "resource_type": "thing", "search": "thin", "actor_id": "tests"}
    with connected.site.client(connected.token("owner")) as client:
        answer = client.post(f"{connected.root}/audit-log/export", json=wanted)
    lines = answer.text.splitlines()
    assert len(lines) == many
    finished, started = listed(connected, action="security.audit_log.exported")["events"]
    assert (started["metadata"]["phase"], finished["metadata"]["phase"]) == ("started", "finished")
    assert finished["metadata"]["rows"] == many
    assert {json.loads(lines[0])["id"], json.loads(lines[-1])["id"]} <= set(finished["metadata"].values())
    assert set(wanted) - {"format"} <= set(started["metadata"]["filters"])


def test_erasure_relied_on_a_cascade_e_mails_stayed_in_columns_and_json(connected: Place) -> None:
    who = connected.people.id("admin")
    address = f"{who}@tests.example"
    one = made(connected, 2)
    body = {"reason": "not_used", "comment": f"Ask {address}"}
    connected.ask("POST", f"findings/{one['id']}/dismiss", json=body, who="admin")
    connected.github.world.change(SHOP, 1, state="dismissed", dismissed_comment=f"So says {address}")
    connected.sync()
    connected.site.log.flush()
    assert everything_in(connected.site.database).count(address) > 3
    with connected.site.client(connected.token("staff")) as client:
        assert client.delete(f"/v1/users/{who}").status_code == 200
    assert address not in everything_in(connected.site.database)
    assert who in everything_in(connected.site.database), "the row of the user stays, and their id with it"
    assert len(connected.events("security.finding.dismissed")) == 1


def test_deadlines_recomputed_at_each_sync(connected: Place) -> None:
    before = made(connected, 2, severity="low")
    connected.ask("PUT", "config", json={"revision": 0, "sla_low_days": 1, "sla_critical_days": 1})
    advisory = {**connected.github.world.alert(SHOP, 2)["security_advisory"], "severity": "critical"}
    connected.github.world.change(SHOP, 2, security_advisory=advisory)
    connected.sync()
    after = connected.ask("GET", f"findings/{before['id']}")
    assert (after["severity"], after["deadline"]) == ("critical", before["deadline"])


def test_config_updated_with_the_submitted_fields_only(connected: Place) -> None:
    connected.ask("PUT", "config", json={"revision": 0, "sla_high_days": 7})
    told = connected.event("security.config.updated")
    whole = set(connected.ask("GET", "config")) - {"updated_at"}
    assert set(told["before_state"]) == set(told["after_state"]) == whole
    assert {k for k in whole if told["before_state"][k] != told["after_state"][k]} == {"revision", "sla_high_days"}


def test_idempotency_key_falling_back_to_a_constant(connected: Place) -> None:
    path = f"{connected.root}/audit-log/events"
    event = {
        "action": "security.access.denied", "actor": {"type": "system", "id": "tests"},
        "resource": {"type": "thing", "id": "t"},
    }  # fmt: skip
    with connected.site.client(connected.people.token("service")) as client:
        for key in ("", "a b"):
            answer = client.post(path, json={"events": [event]}, headers=[(b"Idempotency-Key", key.encode())])
            assert answer.status_code == 422, key
        for n in ("first", "second"):
            other = {**event, "metadata": {"n": n}}
            answer = client.post(path, json={"events": [other]})
            assert answer.json()["results"][0]["status"] == "created"
    told = listed(connected, resource_type="thing")["events"]
    assert [e["metadata"]["n"] for e in told] == ["second", "first"]


def test_alert_numbers_and_repository_names_parsed_leniently(connected: Place) -> None:
    for number in ("42junk", "42", 42.0, True, 0, -1):
        with pytest.raises(UnreadableAlert):
            read_alert({**facts(SHOP, 2), "number": number})
    for name in (f"{SHOP}/extra", "northwind", "northwind/shop ", "/northwind/shop", "northwind//shop", "a/../b"):
        connected.ask("POST", "sync", json={"repository": name}, expect=422)
        connected.ask("DELETE", "findings", params={"repository": name}, expect=422)


def test_one_row_for_two_owners_syncing_one_repository(connected: Place) -> None:
    connected.sync()
    other = Owner.user(connected.people.id("stranger"))
    installation.connect(connected.agent, other, FREE, BY)
    sync.sync(connected.agent, other, BY)
    (mine,) = connected.ask("GET", "findings")["findings"]
    (theirs,) = finding.page(connected.agent, other).findings
    assert (mine["source_id"], mine["repository"]) == (theirs["source_id"], theirs["repository"])
    assert mine["id"] != str(theirs["id"])
    connected.ask("DELETE", "findings", params={"repository": SHOP})
    assert finding.page(connected.agent, other).total == 1


def test_concurrency_check_then_act(connected: Place) -> None:
    ids = [made(connected, number)["id"] for number in range(2, 10)]
    gate = Barrier(len(ids))

    def begin(one: str) -> int:
        with connected.site.client(connected.token("member")) as client:
            gate.wait(30)
            return client.post(f"{connected.root}/security-agent/findings/{one}/analysis").status_code

    with ThreadPoolExecutor(len(ids)) as pool:
        answers = sorted(pool.map(begin, ids))
    assert answers == [202] * 3 + [429] * 5
    assert len(connected.events("security.finding.analysis_started")) == 3


def test_pending_rows_never_cleaned_slots_used_up_for_good(connected: Place) -> None:
    ids = [made(connected, number)["id"] for number in range(2, 6)]
    for one in ids[:3]:
        connected.ask("POST", f"findings/{one}/analysis", expect=202)
    connected.ask("POST", f"findings/{ids[3]}/analysis", expect=429)
    with connected.agent.looking() as connection:
        connection.execute(
            "UPDATE security_agent.analysis SET requested_at = requested_at - interval '31 minutes',"
            " status = CASE slot WHEN 1 THEN 'pending' ELSE status END WHERE slot < 3"
        )
    assert clean(connected.agent) == 2
    assert {e["metadata"]["failure_code"] for e in connected.events("security.finding.analysis_failed")} == {"stale"}
    connected.ask("POST", f"findings/{ids[3]}/analysis", expect=202)


def test_webhook_and_cron_racing_on_one_finding(connected: Place) -> None:
    """A page that a sync has asked for, and a newer state that a webhook brings: whoever is written last."""
    agent, owner, world = connected.agent, owner_of(connected), connected.github.world
    connected.ask("PUT", "enabled", json={"enabled": True})
    (repository, *_) = next(agent.asking().repositories(FREE))
    for number in range(2, 6):
        made(connected, number)
        asked_at, page = agent.clock(), [read_alert(world.alert(SHOP, number))]
        fixed = world.change(SHOP, number, state="fixed")
        gate = Barrier(2)

        def by_sync(page: Any = page, asked_at: Any = asked_at, gate: Barrier = gate) -> None:
            gate.wait(30)
            with agent.changing(owner) as connection:
                Intake(agent, owner, repository.id, SHOP, BY).take(connection, page, asked_at)

        def by_webhook(fixed: Any = fixed, gate: Barrier = gate) -> None:
            gate.wait(30)
            webhooks.take(agent, str(uuid4()), AlertNotice("fixed", FREE, repository, fixed))

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(by_sync), pool.submit(by_webhook)]:
                done.result(60)
    told = [UUID(e["resource"]["id"]) for e in connected.events("security.finding.status_change")]
    fixed_now = [f["id"] for f in connected.ask("GET", "findings", params={"status": "fixed"})["findings"]]
    assert sorted(map(str, told)) == sorted(fixed_now)
    assert len(told) == 4
