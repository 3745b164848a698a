"""No secret stands where anybody reads: the whole life of an owner, good and bad, and then a search of everything."""

import importlib.util
import json
import logging
import subprocess
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import structlog

from agent.hooks import signature
from agent.mutations import facts
from agent.placing import FREE, SHOP, TILL, Place
from github import ask
from llm import KEY, Endpoint, endpoint
from permalog import Owner, PermalogError
from permalog_server import logs
from permalog_server.standin import Fault, StandIn
from permalog_server.standin.running import Exchange
from security_agent import dismissal, sync
from security_agent.agent import Acting
from security_agent.analysis import Means
from security_agent.case import Case
from security_agent.github import Waiting
from security_agent.github.webhook import check_signature
from security_agent.jobs import Worker, jobs
from service import running, settle

pytestmark = pytest.mark.one_version
INTERNAL = "internal-secret-7d1f0c"
HOOKS = "webhook-secret-93ab2e"
GRAVE, HARMLESS = {"severity": "critical", "scope": "runtime"}, {"severity": "low", "scope": "development"}
LOOK = {"needs_sandbox": True, "suggestion": "analyze_codebase", "confidence": "low", "reason": "who knows"}
DISMISS = {"needs_sandbox": False, "suggestion": "dismiss", "confidence": "high", "reason": "in development only"}
RESULT = {"exploitable": "no", "reasoning": "r", "suggested_action": "dismiss", "summary": "s"}


@dataclass
class Orders:
    """An external runner that keeps the tokens that it was given."""

    tokens: dict[UUID, str] = field(default_factory=dict[UUID, str], repr=False)

    def order(self, case: Case, analysis_id: UUID, token: str) -> None:
        assert analysis_id
        self.tokens[case.finding_id] = token


@dataclass
class Life:
    """The service, its neighbours, and all that was said."""

    place: Place
    model: Endpoint
    orders: Orders
    bearers: set[str]
    """What GitHub was shown: JWTs of the App and tokens of the installation."""
    signatures: list[str] = field(default_factory=list[str])
    said: list[str] = field(default_factory=list[str])
    """Answers that were errors, and texts of errors."""

    def ask(self, method: str, path: str, token: str | None, **more: Any) -> httpx.Response:
        with self.place.site.client(token) as client:
            answer = client.request(method, path, **more)
        if answer.status_code >= 400:
            self.said.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer

    def agent(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.ask(method, f"{self.place.root}/security-agent/{path}", self.place.token("owner"), **more)

    def finding(self, number: int, **given: Any) -> UUID:
        self.place.github.world.put(SHOP, facts(SHOP, number, **given))
        self.place.sync()
        found = self.place.ask("GET", "findings", params={"limit": 100})["findings"]
        return next(UUID(one["id"]) for one in found if one["source_id"] == str(number))

    def hook(self, body: bytes, secret: str = HOOKS) -> httpx.Response:
        signed = signature(body, secret)
        self.signatures.append(signed.partition("=")[2])
        headers = {
            "X-GitHub-Event": "dependabot_alert", "X-GitHub-Delivery": str(uuid4()), "X-Hub-Signature-256": signed,
            "Content-Type": "application/json",
        }  # fmt: skip
        return self.ask("POST", "/webhooks/github", None, content=body, headers=headers)

    def call_back(self, finding: UUID, bearer: str, said: Any) -> httpx.Response:
        return self.ask("POST", f"/internal/analysis-callback/{finding}", bearer, json=said)

    def work(self, **means: Any) -> None:
        Worker(self.place.site.database, self.place.agent, Means(self.model.model(1), **means)).run(until_idle=True)

    def attempt(self, what: Callable[[], object]) -> None:
        """Notes the whole text of the error, if there is one."""
        try:
            what()
        except PermalogError as error:
            self.said += ["".join(traceback.format_exception(error)), repr(error)]

    @property
    def token(self) -> str:
        """Of the installation, as GitHub might say it in an error."""
        return next(iter(self.place.github.world.tokens), "")

    def faults(self) -> list[Fault]:
        """Of each kind, with what GitHub was shown in their messages."""
        told = f"bad credentials: token {self.token} and JWT {max(self.bearers)}"
        found = [Fault(status=status, message=told) for status in (401, 403, 404, 422, 500, 502, 503)]
        found += [Fault(status=429, message=told, headers={"retry-after": "0"}), Fault(drop=True), Fault(cut=True)]
        found += [Fault(delay=2), Fault(body=json.dumps({"token": self.token}).encode())]
        # Of alerts only: an installation that GitHub does not know is taken for removed.
        return [replace(one, path="dependabot", times=9) for one in found]


@dataclass
class Logged:
    """Logs as `serve` has them, with all that libraries tell when they are asked for everything; and these raw."""

    file: Path
    caught: pytest.LogCaptureFixture

    @property
    def text(self) -> str:
        return self.file.read_text() + self.caught.text


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with (tmp_path / "stderr").open("w", buffering=1) as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        logs.configure(logging.DEBUG)
        # The loggers outlive this test.
        structlog.configure(cache_logger_on_first_use=False)
        root.addHandler(caplog.handler)
        yield Logged(tmp_path / "stderr", caplog)
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture
def life(agent_database: str, tmp_path: Path) -> Iterator[Life]:
    bearers: set[str] = set()

    def overhear(exchange: Exchange) -> None:
        bearers.add(exchange.asked.headers["authorization"].partition(" ")[2])

    with endpoint() as model, StandIn(observe=overhear) as github:
        orders = Orders()
        means = Means(model.model(1), clone_from="/nowhere/{repository}", runner=orders)
        github.world.install("northwind", [SHOP, TILL], id=FREE)
        with (
            ask(github, Waiting(timeout=1, whole=1, attempts=1, patience=0)) as client,
            running(
                agent_database, tmp_path, github=client, internal_secret=INTERNAL, webhook_secret=HOOKS, means=means
            ) as site,
        ):
            yield Life(Place(site, github, settle(site.accounts)), model, orders, bearers)


def syncs(life: Life) -> None:
    """Connecting, and a sync of every fate."""
    life.place.connect()
    life.place.ask("PUT", "enabled", json={"enabled": True})
    life.finding(1, **GRAVE)
    life.finding(2, **HARMLESS)
    owner = Owner.organization(life.place.people.organization)
    for fault in life.faults():
        life.place.github.fail(fault)
        life.agent("POST", "sync", json={"repository": SHOP})
        life.place.github.faults.clear()
    for fault in life.faults()[:8]:
        life.place.github.fail(fault)
        life.attempt(lambda: sync.sync(life.place.agent, owner, Acting.alone("tests", "cron")))
        life.place.github.faults.clear()
    life.place.sync()
    life.ask("POST", "/internal/sync", INTERNAL + "x")
    assert life.ask("POST", "/internal/sync", INTERNAL).status_code in {200, 202}
    life.agent("GET", "installation", params={"installation_id": FREE, "state": "never-given"})


def hooks(life: Life) -> None:
    """Webhooks: good, forged, unreadable."""
    world = life.place.github.world
    with world.lock:
        repository = dict(world.repositories[SHOP].document)
    payload: dict[str, Any] = {
        "action": "fixed", "alert": world.change(SHOP, 1, state="fixed"), "repository": repository,
        "installation": {"id": FREE}, "sender": {"login": "octo"},
    }  # fmt: skip
    assert life.hook(json.dumps(payload).encode()).status_code == 200
    assert life.hook(json.dumps(payload).encode(), "not-it").status_code == 401
    assert life.hook(json.dumps({**payload, "alert": {"number": "42junk"}}).encode()).status_code == 422
    assert life.hook(b"{").status_code == 422
    life.attempt(lambda: check_signature(HOOKS, b"x", "sha256=" + "0" * 64))


def analyses(life: Life) -> None:
    """Every tier, with a model of every mood and runners of every kind."""
    first, second = (life.finding(number, **GRAVE) for number in (3, 4))
    life.model.says = LOOK
    assert life.agent("POST", f"findings/{first}/analysis").status_code == 202
    life.work(runner=life.orders)
    token = life.orders.tokens[first]
    life.call_back(first, token[:-1] + ("A" if token[-1] != "A" else "B"), {"result": RESULT})
    life.call_back(first, token, {"attempt_id": token, "result": RESULT})
    life.call_back(first, token, {"status": "failed", "error": f"the token {token} and the key {KEY} did not do"})
    assert life.call_back(first, token, {"result": RESULT}).json()["status"] == "ignored"
    assert life.agent("POST", f"findings/{first}/analysis").status_code == 202
    life.work(runner=life.orders)
    for manner, status in (("status", 402), ("status", 401), ("status", 500), ("not_chat", 0), ("slow", 0)):
        life.model.manner, life.model.status = manner, status  # pyright: ignore[reportAttributeAccessIssue]
        wanted = life.agent("POST", f"findings/{second}/analysis")
        assert wanted.status_code == (402 if status == 402 else 202)
        if status != 402:
            life.work(clone_from="/nowhere/{repository}")
    life.call_back(first, life.orders.tokens[first], {"markdown": "# Nobody reads this"})
    life.model.manner = "answer"


def dismissals(life: Life) -> None:
    """By a person and by the product, GitHub in every mood."""
    third = life.finding(5, **GRAVE)
    for fault in life.faults():
        life.place.github.fail(fault)
        life.agent("POST", f"findings/{third}/dismiss", json={"reason": "not_used", "comment": "Unused"})
        life.place.github.faults.clear()
    owner = Owner.organization(life.place.people.organization)
    fourth = life.finding(6, **GRAVE)
    life.place.github.fail(Fault(status=422, message=life.token, times=9))
    life.attempt(
        lambda: dismissal.dismiss(
            life.place.agent, owner, fourth, Acting.alone("tests", "cron"), "not_used", None
        )
    )  # fmt: skip
    life.place.github.faults.clear()
    assert life.agent("POST", f"findings/{fourth}/dismiss", json={"reason": "not_used"}).status_code == 200
    revision = life.place.ask("GET", "config")["revision"]
    life.place.ask("PUT", "config", json={"revision": revision, "auto_dismiss": True})
    life.model.says = DISMISS
    for number, fault in enumerate(life.faults()[1:9], 10):
        assert life.agent("POST", f"findings/{life.finding(number, **HARMLESS)}/analysis").status_code == 200
        life.place.github.fail(fault)
        life.work()
        life.place.github.faults.clear()
    life.agent("POST", "auto-dismiss")
    life.agent("DELETE", "findings", params={"repository": TILL})


def strangers(life: Life) -> None:
    """Tokens where they do not belong."""
    for token in (INTERNAL, HOOKS, KEY, life.token, life.orders.tokens[next(iter(life.orders.tokens))]):
        for path in ("/v1/security-agent/config", "/v1/audit-log/events", "/internal/sync"):
            life.ask("POST" if "internal" in path else "GET", path, token + "-")
        life.agent("PUT", "config", json={"revision": token, "model": f"{token} "})
        life.agent("POST", "sync", json={"repository": token})


def dumped(url: str) -> str:
    """The database as pg_dump writes it."""
    wheel = importlib.util.find_spec("pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    program = Path(wheel.origin).parent / "pginstall" / "bin" / "pg_dump"
    return subprocess.run([program, url], check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_no_secret_stands_anywhere(logged: Logged, life: Life) -> None:
    for part in (syncs, hooks, analyses, dismissals, strangers):
        part(life)
    site, people = life.place.site, life.place.people
    site.log.flush()
    owners = [Owner.organization(people.organization), Owner.user(people.id("owner"))]
    events = "".join(site.log.list(owner, limit=100).to_json().decode() for owner in owners)
    with site.client(people.token("owner")) as client:
        first = client.get(f"{life.place.root}/audit-log/events", params={"action": "security.sync.completed"})
        openapi = client.get("/openapi.json").text
        metrics = client.get("/metrics").text
    desk = site.app.state.desk
    places = {
        "log": logged.text, "events": events + first.text, "openapi": openapi,
        "metrics": metrics, "errors": "\n".join(life.said), "jobs": repr(jobs(life.place.agent)),
        "dump": dumped(site.database), "repr": repr([desk, desk.agent, desk.means, desk.agent.github]),
    }  # fmt: skip
    # The search would find what is there.
    for place, known in {
        "log": "rate", "events": SHOP, "openapi": "/webhooks/github", "errors": "402 ", "jobs": "agent.analyze",
        "dump": SHOP, "repr": "tests-model",
    }.items():  # fmt: skip
        assert known in places[place], place
    statuses = {text[:3] for text in life.said}
    assert statuses >= {"401", "402", "404", "409", "422", "502", "503"}
    key = "".join(life.place.github.private_key.splitlines()[1:-1])
    assert any(one.startswith("eyJ") for one in life.bearers)
    assert any(one.startswith("ghs_") for one in life.bearers)
    secrets = {
        "App key": [key[100:140]], "shown to GitHub": sorted(life.bearers), "model's key": [KEY],
        "webhook secret": [HOOKS], "signature": life.signatures, "internal secret": [INTERNAL],
        "callback token": list(life.orders.tokens.values()),
        "tokens of people": [one for one in people.tokens.values() if one],
    }  # fmt: skip
    assert all(secrets.values())
    found = [
        (kind, place, text[max(text.index(one) - 80, 0) :][:160])
        for kind, ones in secrets.items()
        for one in ones
        for place, text in places.items()
        if one in text
    ]
    assert not found, "\n".join(map(str, found))
