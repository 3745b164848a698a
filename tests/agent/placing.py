"""The service with a stand-in for GitHub, and an owner whose agent it is: an organisation, or one person."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from permalog_server.standin import StandIn
from security_agent.agent import Agent
from security_agent.analysis import Means
from security_agent.jobs import Worker
from service import People, Site

SHOP, TILL = "northwind/shop", "northwind/till"
FREE = 4711
SECRET = "a-secret-of-tests"  # noqa: S105  none


@dataclass
class Place:
    """The service with a stand-in for GitHub, and an owner."""

    site: Site
    github: StandIn
    people: People
    is_personal: bool = False
    """One person's: whoever is to act, it is them."""

    @property
    def root(self) -> str:
        return "/v1" if self.is_personal else f"/v1/organizations/{self.people.organization}"

    @property
    def owner_id(self) -> str:
        return self.people.id("owner") if self.is_personal else str(self.people.organization)

    @property
    def agent(self) -> Agent:
        agent: Agent = self.site.app.state.desk.agent
        return agent

    def token(self, who: str) -> str:
        return self.people.token("owner" if self.is_personal else who)

    def ask(self, method: str, path: str, *, who: str = "owner", expect: int = 200, **more: Any) -> Any:
        with self.site.client(self.token(who)) as client:
            answer = client.request(method, f"{self.root}/security-agent/{path}", **more)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def sync(self, who: str = "owner", **body: Any) -> Any:
        """A sync to its end, however long it takes."""
        with self.site.client(self.token(who)) as client:
            answer = client.post(f"{self.root}/security-agent/sync", json=body)
            assert answer.status_code in {200, 202}, answer.text
            state = answer.json()
            while state["finished_at"] is None:
                state = client.get(f"{self.root}/security-agent/last-sync", params={"sync_id": state["id"]}).json()[
                    "sync"
                ]
        return state

    def events(self, action: str) -> list[Any]:
        """Of one action, oldest first."""
        self.site.log.flush()
        with self.site.client(self.token("owner")) as client:
            answer = client.get(f"{self.root}/audit-log/events", params={"action": action, "limit": 100})
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json()["events"]))

    def event(self, action: str) -> Any:
        """The only one of an action, without what the log itself adds."""
        (found,) = self.events(action)
        return bare(found)

    def work(self) -> None:
        """Does all jobs that are due."""
        Worker(self.site.database, self.agent, Means()).run(until_idle=True)

    def call_back(self, finding: UUID | str, said: dict[str, Any], bearer: str = SECRET, expect: int = 200) -> Any:
        """As an external runner does."""
        with self.site.client(bearer) as client:
            answer = client.post(f"/internal/analysis-callback/{finding}", json=said)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def connect(self) -> None:
        state = self.ask("GET", "permission-status?link=true")["state"]
        self.ask("GET", "installation", params={"installation_id": FREE, "state": state})

    def by(self, who: str = "owner") -> dict[str, Any]:
        """The actor that somebody is."""
        user = self.people.id("owner" if self.is_personal else who)
        return {"type": "user", "id": user, "email": f"{user}@tests.example", "name": f"Name of {user}"}


def bare(event: dict[str, Any]) -> dict[str, Any]:
    return {
        k: v for k, v in event.items() if k not in {"id", "occurred_at", "recorded_at", "recorded_by", "leaf_index"}
    }


def snapshot(finding: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What an event tells of a finding that the API shows."""
    shown = (
        "id", "repository", "source", "source_id", "ghsa_id", "cve_id", "title", "package", "ecosystem", "severity",
        "status", "deadline",
    )  # fmt: skip
    return {**{name: finding[name] for name in shown}, "first_detected": finding["first_detected_at"], **members}
