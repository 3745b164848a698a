"""The service as GitHub's webhooks reach it, with a stand-in that GitHub is asked by, and two owners."""

import hashlib
import hmac
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from github import ask, standing_in
from permalog import Actor, Owner
from permalog_server.standin import StandIn
from permalog_server.standin.documents import repository
from security_agent import configuration, installation
from security_agent.agent import Acting, Agent
from service import Site, running

REAL = Path(__file__).parents[3] / "shared" / "data" / "webhooks"
SECRET = "It's a Secret to Everybody"  # noqa: S105  of GitHub's documentation
PERSON = Acting(Actor.user("u_ada"), "api")
ACME, ADA = Owner.organization(UUID("0190b2a8-37c1-4d5e-8f60-7182930a1b2c")), Owner.user("u_ada")


def real(name: str) -> dict[str, Any]:
    """A payload of the data, by the name of its file: ``other/installation.suspend``."""
    payload: dict[str, Any] = json.loads((REAL / f"{name}.json").read_text())
    return payload


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Hooked:
    """The service, and GitHub."""

    site: Site
    github: StandIn

    @property
    def agent(self) -> Agent:
        agent: Agent = self.site.app.state.desk.agent
        return agent

    @property
    def acting(self) -> Acting:
        """Somebody at the API."""
        return PERSON

    def send(self, body: bytes, **headers: str | None) -> httpx.Response:
        """A body as GitHub sends it; headers by their short names, None: left out."""
        given = {
            "Content-Type": "application/json", "X-GitHub-Event": "ping", "X-GitHub-Delivery": str(uuid4()),
            "X-Hub-Signature-256": signature(body),
        }  # fmt: skip
        names = {"kind": "Content-Type", "event": "X-GitHub-Event", "id": "X-GitHub-Delivery"}
        given |= {names.get(name, "X-Hub-Signature-256"): value for name, value in headers.items()}  # pyright: ignore[reportAssignmentType]
        with self.site.client() as client:
            return client.post(
                "/webhooks/github", content=body, headers={k: v for k, v in given.items() if v is not None}
            )

    def deliver(self, event: str, payload: Any, delivery: str | None = None) -> str:
        """A payload, taken; what became of it."""
        body = json.dumps(payload).encode()
        answer = self.send(body, event=event, id=delivery or str(uuid4()))
        status = answer.json().get("status")
        assert answer.status_code == (202 if status == "ignored" else 200), answer.text
        return str(status)

    def bind(self, number: int, *owners: Owner) -> None:
        """Connects an installation of the stand-in for owners, and enables their agents."""
        for owner in owners:
            installation.connect(self.agent, owner, number, PERSON)
            configuration.set_enabled(self.agent, owner, PERSON, enabled=True)

    def put_up(self, login: str, number: int, repositories: dict[str, int]) -> None:
        """An installation in the stand-in, with repositories that have these numbers."""
        self.github.world.install(login, list(repositories), id=number)
        for name, given in repositories.items():
            self.github.world.hold({**repository(name), "id": given})

    def events(self, owner: Owner, action: str = "") -> list[dict[str, Any]]:
        """What webhooks have left in a log, oldest first; the actions that begin so, without what the log adds."""
        self.site.log.flush()
        page = json.loads(self.site.log.list(owner, source="webhook", limit=100).to_json())["events"]
        added = {"id", "occurred_at", "recorded_at", "recorded_by", "leaf_index"}
        return [
            {k: v for k, v in one.items() if k not in added}
            for one in reversed(page)
            if one["action"].startswith(f"security.{action}")
        ]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.agent.looking() as connection:
            return connection.execute(statement).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


@contextmanager
def hooked(database: str, folder: Path) -> Generator[Hooked]:
    """Both running."""
    with standing_in() as github, ask(github) as client, running(
        database, folder, github=client, webhook_secret=SECRET
    ) as site:  # fmt: skip
        yield Hooked(site, github)
