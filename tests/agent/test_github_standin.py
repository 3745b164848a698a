"""The stand-in for GitHub is held to what GitHub does: by its own document, and by a client that nobody here wrote."""

from typing import Any

import githubkit
import httpx
import pytest

from github import ADVISORY, ask, open_alert, real_alerts, real_repositories, standing_in
from permalog_server.standin import Fault, StandIn, World
from permalog_server.standin.documents import alert


@pytest.fixture
def northwind(github: StandIn) -> int:
    installation = github.world.install("northwind", ["northwind/shop", "northwind/api"])
    for number in range(1, 251):
        github.world.put("northwind/shop", open_alert("northwind/shop", number))
    return installation


def kit(github: StandIn, installation: int) -> Any:
    auth = githubkit.AppInstallationAuthStrategy(github.app_id, github.private_key, installation)
    return githubkit.GitHub(auth, base_url=github.url, auto_retry=False)


def test_a_client_that_nobody_here_wrote_can_use_it(github: StandIn, northwind: int) -> None:
    client = kit(github, northwind)
    page = client.rest.dependabot.list_alerts_for_repo("northwind", "shop", per_page=100)
    assert len(page.parsed_data) == 100
    assert 'rel="next"' in page.headers["link"]
    change = {"state": "dismissed", "dismissed_reason": "not_used", "dismissed_comment": "Only in tests."}
    dismissed = client.rest.dependabot.update_alert("northwind", "shop", 7, data=change)
    assert dismissed.parsed_data.state == "dismissed"
    assert github.world.alert("northwind/shop", 7)["dismissed_comment"] == "Only in tests."
    reached = client.rest.apps.list_repos_accessible_to_installation().parsed_data
    assert [repository.full_name for repository in reached.repositories] == ["northwind/shop", "northwind/api"]


@pytest.mark.data
def test_what_is_not_in_githubs_document_fails_the_test() -> None:
    def give_an_alert_a_member_too_many() -> None:
        world = World()
        installation = world.install("northwind", ["northwind/shop"])
        world.put("northwind/shop", open_alert("northwind/shop", 1, severity="high"))
        with standing_in(world) as github, ask(github) as client:
            list(client.alerts(installation, "northwind/shop"))

    def ask_for_what_there_is_not() -> None:
        world = World()
        token, _ = world.issue(world.install("northwind", ["northwind/shop"]))
        with standing_in(world) as github:
            url = f"{github.url}/repos/northwind/shop/dependabot/alerts?status=open"
            httpx.get(url, headers={"Authorization": f"Bearer {token}"})

    with pytest.raises(ExceptionGroup) as broken:
        give_an_alert_a_member_too_many()
    assert broken.group_contains(AssertionError, match="severity")
    with pytest.raises(ExceptionGroup) as broken:
        ask_for_what_there_is_not()
    assert broken.group_contains(AssertionError, match="does not know")


@pytest.mark.data
def test_the_real_alerts_are_valid_in_githubs_document() -> None:
    from github_schema import document  # noqa: PLC0415

    names = [repository["full_name"] for repository in real_repositories()]
    found = document()
    assert found is not None
    place = ("paths", "/repos/{owner}/{repo}/dependabot/alerts", "get", "responses", "200", "content")
    for name in names:
        found.valid(name, real_alerts(name), *place, "application/json", "schema")
    assert sum(len(real_alerts(name)) for name in names) == 4000


def test_a_cursor_stays_where_it_is_when_alerts_come_and_change(github: StandIn, northwind: int) -> None:
    with ask(github) as client:
        pages = client.alerts(northwind, "northwind/shop")
        seen = [row["number"] for row in next(pages)]
        late = alert("northwind/shop", 251, ADVISORY, "2026-02-01T09:00:00Z")
        github.world.put("northwind/shop", late)
        github.world.change("northwind/shop", 5, state="fixed")
        for page in pages:
            seen += [row["number"] for row in page]
    assert seen == list(range(1, 252))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/repos/northwind/nothing/dependabot/alerts", 404),
        ("/repos/northwind/shop/dependabot/alerts/999", 404),
        ("/repos/northwind/shop/dependabot/alerts?state=closed", 422),
        ("/repos/northwind/shop/dependabot/alerts?page=2", 400),
        ("/repos/northwind/shop/dependabot/alerts?after=nonsense", 422),
        ("/somewhere/else", 404),
    ],
)
def test_it_refuses_as_github_does(path: str, status: int, northwind: int, github: StandIn) -> None:
    token, _ = github.world.issue(northwind)
    answer = httpx.get(github.url + path, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status


def test_it_lets_nobody_in_without_a_token(github: StandIn, northwind: int) -> None:
    token, _ = github.world.issue(northwind)
    url = f"{github.url}/repos/northwind/shop/dependabot/alerts/1"
    headers: list[dict[str, str]] = [
        {}, {"Authorization": "Bearer ghs_wrong"}, {"Authorization": f"Basic {token}"}, {"Authorization": token},
    ]  # fmt: skip
    assert [httpx.get(url, headers=given).status_code for given in headers] == [401] * 4
    github.world.revoke(northwind)
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_fault_hits_the_requests_that_it_is_about(github: StandIn, northwind: int) -> None:
    token, _ = github.world.issue(northwind)
    github.fail(Fault(status=502, path="alerts/1$", after=1, times=2))
    with httpx.Client(base_url=github.url, headers={"Authorization": f"Bearer {token}"}) as client:
        said = [client.get("/repos/northwind/shop/dependabot/alerts/1").status_code for _ in range(4)]
        assert client.get("/repos/northwind/shop/dependabot/alerts/2").status_code == 200
    assert said == [200, 502, 502, 200]
