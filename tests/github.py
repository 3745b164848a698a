"""GitHub as the tests have it: a stand-in on a real socket, whose every exchange is held to GitHub's own document.

    github      the stand-in: `url`, `app_id`, `private_key` (PEM), `world` (what there is, and hooks to change it),
                `fail(Fault(…), …)` (what is to go wrong), `requests` in `world`
    octo        the stand-in with the 4,000 alerts of ../shared/data, one installation for each of its three owners

    def test_…(github: StandIn) -> None:
        installation = github.world.install("northwind", ["northwind/shop"])
        github.world.put("northwind/shop", open_alert("northwind/shop", 1))
        github.world.change("northwind/shop", 1, state="fixed")
        github.fail(Fault(status=502, path="alerts", times=2))
        client = ask(github)

A test in which an exchange breaks GitHub's rules fails at its end, and says where.
"""

import json
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from permalog_server.standin import StandIn, World
from permalog_server.standin.documents import Advisory, alert
from security_agent.github import Clock, GitHub, Waiting

ALERTS = Path(__file__).parents[2] / "shared" / "data" / "alerts.zip"

ADVISORY = Advisory(
    ghsa_id="GHSA-35jh-r3h4-6jhm", cve_id="CVE-2021-23337", ecosystem="npm", package="lodash", severity="high",
    title="Commands can be injected through templates", description="Templates of lodash run what they are given.",
    vulnerable="< 4.17.21", patched="4.17.21", cwes=(("CWE-94", "Code Injection"),), score=7.2,
    vector="CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H",
)  # fmt: skip


def open_alert(full_name: str, number: int, **members: Any) -> dict[str, Any]:
    """An alert about lodash; members of it as they are given."""
    return {**alert(full_name, number, ADVISORY, "2026-01-31T09:00:00Z"), **members}


@contextmanager
def standing_in(world: World | None = None) -> Generator[StandIn]:
    """A stand-in whose exchanges are checked at the end."""
    # Read here, and not above: a run that asks no GitHub loads none of it.
    from github_schema import document  # noqa: PLC0415

    github = document()
    # Without ../shared/data the tests still run, and nothing but themselves holds the stand-in to what GitHub does.
    with StandIn(world, observe=None if github is None else github.check) as stand_in:
        yield stand_in
    if stand_in.errors:
        raise ExceptionGroup("the stand-in for GitHub", stand_in.errors)


def ask(stand_in: StandIn, waiting: Waiting | None = None, clock: Clock | None = None, **members: Any) -> GitHub:
    """A client of the stand-in."""
    given: dict[str, Any] = {"app_id": stand_in.app_id, "private_key": stand_in.private_key, "api_url": stand_in.url}
    return GitHub(**(given | members), waiting=waiting, clock=clock)


@pytest.fixture
def github() -> Iterator[StandIn]:
    """The stand-in, empty."""
    with standing_in() as stand_in:
        yield stand_in


@cache
def real_repositories() -> list[dict[str, Any]]:
    """The twelve repositories of the data, as GitHub describes them."""
    with zipfile.ZipFile(ALERTS) as archive:
        repositories: list[dict[str, Any]] = json.loads(archive.read("alerts/repositories.json"))["repositories"]
        return repositories


@cache
def real_alerts(full_name: str) -> list[dict[str, Any]]:
    """The alerts of one of them."""
    with zipfile.ZipFile(ALERTS) as archive:
        lines = archive.read(f"alerts/{full_name.replace('/', '__')}.ndjson").splitlines()
    return [json.loads(line) for line in lines]


def load_real(world: World) -> dict[str, int]:
    """Puts the 4,000 alerts into a world; returns the installation of each owner."""
    by_owner: dict[str, list[str]] = {}
    for repository in real_repositories():
        full_name = repository["full_name"]
        world.hold(dict(repository), (dict(one) for one in real_alerts(full_name)))
        by_owner.setdefault(repository["owner"]["login"], []).append(full_name)
    return {owner: world.install(owner, names) for owner, names in by_owner.items()}


@pytest.fixture
def octo() -> Iterator[tuple[StandIn, dict[str, int]]]:
    """The stand-in with the 4,000 alerts, and the installation of each owner. Mark the test `data`."""
    world = World()
    installations = load_real(world)
    with standing_in(world) as stand_in:
        yield stand_in, installations


class Hands:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.slept: list[float] = []

    def clock(self, chance: Callable[[], float] = lambda: 0.0) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep, chance=chance)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
