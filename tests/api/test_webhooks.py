"""POST /webhooks/github: who is let in, what is taken, once, and what is refused and how."""

import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog

from agent.hooks import REAL, SECRET, Hooked, hooked, real, signature
from github import open_alert
from permalog import Owner
from permalog_server.standin import Fault
from security_agent import configuration, dismissal, finding
from service import process, running

ALERTS = sorted(path.stem for path in REAL.rglob("dependabot_alert.*.json"))
PIKA = "wolfy1339/pika-pack"
NUMBER = 4711
SHOP = "northwind/shop"


@pytest.fixture(scope="module")
def hooks(make_database: Callable[[], str], folder: Path) -> Iterator[Hooked]:
    with hooked(make_database(), folder) as found:
        found.put_up("wolfy1339", 13986380, {PIKA: 512875663})
        found.put_up("northwind", NUMBER, {SHOP: 1})
        yield found


@pytest.fixture
def owner() -> Owner:
    return Owner.organization(uuid4())


@pytest.fixture
def at(hooks: Hooked) -> Iterator[Hooked]:
    """With nobody's installations."""
    yield hooks
    with hooks.agent.looking() as connection:
        connection.execute("DELETE FROM security_agent.integration")


def of(action: str = "created", **members: Any) -> dict[str, Any]:
    """A webhook about an alert of our own."""
    return {
        "action": action, "alert": open_alert(SHOP, 1) | members, "installation": {"id": NUMBER},
        "repository": {"id": 1, "full_name": SHOP, "private": True},
    }  # fmt: skip


# Who is let in.


@contextmanager
def heard() -> Generator[list[Any]]:
    """What the service's own log says meanwhile."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**before)


@pytest.mark.parametrize(
    "given", [None, "", "sha256=" + "0" * 64, signature(b"{} "), signature(b"{}", "another"), "sha1=" + "0" * 40]
)
def test_what_is_not_signed_is_refused_noted_and_changes_nothing(at: Hooked, owner: Owner, given: str | None) -> None:
    at.bind(NUMBER, owner)
    body = json.dumps(of()).encode()
    with heard() as lines:
        answer = at.send(body, event="dependabot_alert", signature=given)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "X-Hub-Signature-256"
    assert answer.json()["detail"].startswith(("the webhook is not signed", "X-Hub-Signature-256 is missing"))
    (noted,) = [one for one in lines if one["event"] == "webhook refused"]
    assert signature(body) not in str(noted)
    assert at.events(owner) == []


def test_who_does_not_sign_learns_nothing_of_the_rest(at: Hooked) -> None:
    for more in ({"kind": "text/plain"}, {"event": None}, {"id": None}):
        assert at.send(b"{", **{"signature": None, **more}).status_code == 401


def test_a_body_without_a_signature_is_not_read(at: Hooked) -> None:
    with at.site.connected() as raw:
        raw.sendall(
            b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9000000\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 401")


def test_without_a_secret_there_is_no_such_route(at: Hooked, tmp_path: Path) -> None:
    with running(at.site.database, tmp_path) as site:
        answer = Hooked(site, None).send(b"{}", signature=signature(b"{}", ""))  # pyright: ignore[reportArgumentType]
    assert answer.status_code == 404
    assert "PERMALOG_GITHUB_WEBHOOK_SECRET" in answer.json()["detail"]


def test_the_program_takes_webhooks_with_the_secret_of_its_settings(
    at: Hooked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERMALOG_GITHUB_WEBHOOK_SECRET", SECRET)
    with process(at.site.database, tmp_path / "process") as served:
        there = Hooked(replace(at.site, url=served.url), at.github)
        assert there.deliver("ping", {"zen": "Keep it logically awesome."}) == "ignored"
        forged = signature(b"{}", "another")
        assert there.send(b"{}", signature=forged).status_code == 401
    said = served.stderr.read_text()
    assert "webhook refused" in said
    assert forged not in said
    assert SECRET not in said


def test_a_body_that_is_too_large_is_refused(at: Hooked) -> None:
    body = b'{"zen": "' + b"x" * (16 * 1024 * 1024) + b'"}'
    assert at.send(body).status_code == 413


def test_a_form_is_no_webhook(at: Hooked) -> None:
    answer = at.send(b"payload=%7B%7D", kind="application/x-www-form-urlencoded")
    assert answer.status_code == 415


def fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError


# What is refused, and how.


def without(payload: dict[str, Any], *path: str) -> dict[str, Any]:
    copy = json.loads(json.dumps(payload))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return copy


INSTALLATION = {"action": "suspend", "installation": {"id": NUMBER}}
REPOSITORIES = {"action": "added", "installation": {"id": NUMBER}, "repositories_added": [], "repositories_removed": []}


@pytest.mark.parametrize(
    ("event", "payload", "field"),
    [
        ("dependabot_alert", [], "body"),
        ("dependabot_alert", None, "body"),
        ("dependabot_alert", {}, "action"),
        ("dependabot_alert", of() | {"action": 1}, "action"),
        ("dependabot_alert", without(of(), "alert"), "alert"),
        ("dependabot_alert", without(of(), "repository"), "repository"),
        ("dependabot_alert", of() | {"repository": {"id": 1, "full_name": "a/b/c"}}, "repository.full_name"),
        ("dependabot_alert", of() | {"repository": {"id": 0, "full_name": SHOP}}, "repository.id"),
        ("dependabot_alert", of() | {"installation": {"id": 2**63}}, "installation.id"),
        ("dependabot_alert", of() | {"installation": {}}, "installation.id"),
        ("dependabot_alert", of(number="42junk"), "alert.number"),
        ("dependabot_alert", without(of(), "alert", "state"), "alert.state"),
        ("dependabot_alert", without(of(), "alert", "dependency", "package"), "alert.dependency.package"),
        ("dependabot_alert", of(html_url="\0"), "alert"),
        ("installation", without(INSTALLATION, "installation"), "installation"),
        ("installation", INSTALLATION | {"installation": {"id": "4711"}}, "installation.id"),
        ("installation", without(INSTALLATION, "action"), "action"),
        ("installation_repositories", without(REPOSITORIES, "installation"), "installation"),
        (
            "installation_repositories", REPOSITORIES | {"repositories_removed": [{"id": 1, "full_name": "shop"}]},
            "repositories_removed.full_name",
        ),
    ],
)  # fmt: skip
def test_a_payload_that_lacks_something_is_refused_by_name(
    at: Hooked, owner: Owner, event: str, payload: Any, field: str
) -> None:
    at.bind(NUMBER, owner)
    answer = at.send(json.dumps(payload).encode(), event=event)
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert answer.json()["detail"].startswith(f"{field}: ")
    assert at.events(owner) == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"action": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(at: Hooked, body: bytes) -> None:
    answer = at.send(body, event="installation")
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "body", "reason": "is no JSON"}])


@pytest.mark.parametrize(("header", "field"), [("event", "X-GitHub-Event"), ("id", "X-GitHub-Delivery")])
def test_a_header_that_is_missing_is_named(at: Hooked, header: str, field: str) -> None:
    answer = at.send(b"{}", **{header: None})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


# What is let pass.


@pytest.mark.data
def test_githubs_other_events_are_let_pass(at: Hooked) -> None:
    paths = [path for path in (REAL / "other").iterdir() if not path.name.startswith("installation")]
    assert len(paths) == 8
    for path in paths:
        assert at.deliver(path.name.partition(".")[0], json.loads(path.read_bytes())) == "ignored"


@pytest.mark.parametrize(
    "event", ["dependabot_alert", "installation", "installation_repositories", "installation_target"]
)
def test_an_action_that_is_new_to_us_is_let_pass_whatever_it_holds(at: Hooked, owner: Owner, event: str) -> None:
    at.bind(NUMBER, owner)
    assert at.deliver(event, {"action": "archived", "installation": "whatever"}) == "ignored"
    assert at.events(owner) == []


def test_an_installation_that_nobody_has_connected_is_let_pass(at: Hooked) -> None:
    assert at.deliver("dependabot_alert", of()) == "ignored"
    for action in ("created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"):
        assert at.deliver("installation", INSTALLATION | {"action": action}) == "ignored"
    assert at.deliver("installation_repositories", REPOSITORIES) == "ignored"
    assert at.rows("SELECT FROM security_agent.delivery AS d WHERE NOT EXISTS (SELECT FROM security_agent.owner)") == []


def test_a_repositorys_own_webhook_names_no_installation(at: Hooked) -> None:
    assert at.deliver("dependabot_alert", without(of(), "installation")) == "ignored"


def test_who_has_not_enabled_the_agent_or_not_selected_the_repository_hears_nothing(at: Hooked, owner: Owner) -> None:
    at.bind(NUMBER, owner)
    wish = {"repository_selection": "selected", "selected_repository_ids": []}
    configuration.save(at.agent, owner, None, wish, at.acting)
    assert at.deliver("dependabot_alert", of()) == "ignored"
    configuration.save(at.agent, owner, None, {"repository_selection": "all", "enabled": False}, at.acting)
    assert at.deliver("dependabot_alert", of(), "kept") == "ignored"
    configuration.save(at.agent, owner, None, {"enabled": True}, at.acting)
    assert at.deliver("dependabot_alert", of(), "kept") == "taken"


# What is taken, and once.


@pytest.mark.data
@pytest.mark.parametrize("name", ALERTS)
def test_githubs_own_alerts_come_in(at: Hooked, owner: Owner, name: str) -> None:
    at.bind(13986380, owner)
    action = name.split(".")[1]
    payload = real(name if action in {"created", "fixed"} else f"derived/{name}")
    # Two of GitHub's examples come from a repository's own webhook.
    payload.setdefault("installation", {"id": 13986380})
    state = payload["alert"]["state"]
    assert at.deliver("dependabot_alert", payload) == "taken"
    (created,) = at.events(owner, "finding")
    assert created["action"] == "security.finding.created"
    assert created["actor"]["id"] == "github-webhook"
    status = {"open": "open", "fixed": "fixed"}.get(state, "ignored")
    assert created["after_state"]["status"] == status
    assert created["metadata"]["source_state"] == state
    assert created["metadata"]["alert_number"] == payload["alert"]["number"]


@pytest.mark.parametrize(
    ("action", "before", "state", "change"),
    [
        ("fixed", "open", "fixed", ("open", "fixed")),
        ("dismissed", "open", "dismissed", ("open", "ignored")),
        ("auto_dismissed", "open", "auto_dismissed", ("open", "ignored")),
        ("reopened", "dismissed", "open", ("ignored", "open")),
        ("auto_reopened", "auto_dismissed", "open", ("ignored", "open")),
        ("reintroduced", "fixed", "open", ("fixed", "open")),
        ("assignees_changed", "open", "open", None),
        ("created", "open", "open", None),
    ],
)
def test_every_action_of_an_alert(
    at: Hooked, owner: Owner, action: str, before: str, state: str, change: tuple[str, str] | None
) -> None:
    at.bind(NUMBER, owner)
    world = at.github.world
    world.put(SHOP, open_alert(SHOP, 1))
    first = {**world.change(SHOP, 1, state=before), "updated_at": "2026-02-01T00:00:00Z"}
    then = {**world.change(SHOP, 1, state=state), "updated_at": "2026-02-02T00:00:00Z"}
    assert at.deliver("dependabot_alert", of() | {"alert": first}) == "taken"
    assert at.deliver("dependabot_alert", of(action) | {"alert": then}) == "taken"
    _, *changes = at.events(owner, "finding")
    assert [(one["before_state"]["status"], one["after_state"]["status"]) for one in changes] == [change] * bool(change)
    assert all(one["metadata"]["source_updated_at"] == "2026-02-02T00:00:00.000000Z" for one in changes)
    # The older one once more, late and as another delivery: nothing goes back.
    assert at.deliver("dependabot_alert", of() | {"alert": first}) == "taken"
    assert len(at.events(owner, "finding")) == 1 + bool(change)


def test_the_same_delivery_is_taken_once_however_many_come_at_the_same_moment(at: Hooked, owner: Owner) -> None:
    at.bind(NUMBER, owner)
    body = json.dumps(of()).encode()
    with ThreadPoolExecutor(12) as pool:
        sent = [pool.submit(at.send, body, event="dependabot_alert", id="one-and-the-same") for _ in range(24)]
        answers = [one.result() for one in sent]
    assert sorted(answer.json()["status"] for answer in answers) == ["duplicate"] * 23 + ["taken"]
    assert [one["action"] for one in at.events(owner)] == ["security.finding.created"]


def test_news_of_an_installation_are_taken_once_however_many_come_at_the_same_moment(at: Hooked, owner: Owner) -> None:
    at.bind(NUMBER, owner)
    at.github.world.suspend(NUMBER)
    body = json.dumps(INSTALLATION).encode()
    try:
        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(at.send, body, event="installation", id="suspended-once") for _ in range(16)]
            answers = [one.result() for one in sent]
    finally:
        at.github.world.suspend(NUMBER, suspended=False)
    assert sorted(answer.json()["status"] for answer in answers) == ["duplicate"] * 15 + ["taken"]
    assert [one["action"] for one in at.events(owner)] == ["security.installation.suspended"]


def test_the_echo_of_a_dismissal_of_ours_changes_nothing(at: Hooked, owner: Owner) -> None:
    at.bind(NUMBER, owner)
    at.github.world.put(SHOP, open_alert(SHOP, 1))
    assert at.deliver("dependabot_alert", of()) == "taken"
    (found,) = finding.page(at.agent, owner).findings
    dismissal.dismiss(at.agent, owner, found["id"], at.acting, "tolerable_risk", "Ours to say")
    echo = at.github.world.alert(SHOP, 1)
    assert echo["state"] == "dismissed"
    assert at.deliver("dependabot_alert", of("dismissed") | {"alert": echo}) == "taken"
    assert [one["action"] for one in at.events(owner)] == ["security.finding.created"]
    kept = finding.one(at.agent, owner, found["id"])
    assert (kept["status"], kept["ignored_by"], kept["ignored_comment"]) == ("ignored", "u_ada", "Ours to say")


def test_what_fails_may_be_sent_again(at: Hooked, owner: Owner) -> None:
    at.bind(NUMBER, owner)
    at.github.fail(Fault(status=422, path=f"installations/{NUMBER}", times=1, message="Not now"))
    body = json.dumps(INSTALLATION).encode()
    first = at.send(body, event="installation", id="again")
    assert first.status_code == 409, first.text
    assert at.deliver("installation", INSTALLATION, "again") == "taken"
    assert at.deliver("installation", INSTALLATION, "again") == "duplicate"


def test_a_delivery_that_breaks_on_its_way_leaves_neither_change_nor_event_nor_note(
    at: Hooked, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.bind(NUMBER, owner)
    with monkeypatch.context() as broken:
        broken.setattr(type(at.agent.log), "record_all", fail)
        assert at.send(json.dumps(of()).encode(), event="dependabot_alert", id="broken").status_code == 500
    counts = at.rows(
        "SELECT (SELECT count(*) FROM security_agent.delivery WHERE delivery_id = 'broken'),"
        f" (SELECT count(*) FROM security_agent.finding WHERE log_id = '{owner.log_id}')"
    )
    assert counts == [(0, 0)]
    assert at.deliver("dependabot_alert", of(), "broken") == "taken"
    assert [one["action"] for one in at.events(owner)] == ["security.finding.created"]


def test_deliveries_are_forgotten_after_a_month(at: Hooked, owner: Owner) -> None:
    at.bind(NUMBER, owner)
    assert at.deliver("dependabot_alert", of(), "old") == "taken"
    with at.agent.looking() as connection:
        connection.execute("UPDATE security_agent.delivery SET received_at = %s", (datetime(2026, 1, 1, tzinfo=UTC),))
    assert at.deliver("dependabot_alert", of(), "new") == "taken"
    assert at.rows(f"SELECT delivery_id FROM security_agent.delivery WHERE log_id = '{owner.log_id}'") == [("new",)]
