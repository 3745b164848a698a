"""The client of GitHub, over a real socket: what it asks, what it waits for, and what it gives up on."""

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from github import Hands, ask, open_alert, real_alerts
from permalog_server.standin import Fault, StandIn
from permalog_server.standin.running import new_key
from security_agent.github import (
    AlertsDisabled,
    BadAnswer,
    BadName,
    Forbidden,
    GitHub,
    GitHubError,
    NotConfigured,
    NotFound,
    RateLimited,
    Refused,
    Repository,
    Suspended,
    Unauthorized,
    Unreachable,
    Waiting,
)

SHOP = "northwind/shop"
START = 1_800_000_000.0


@pytest.fixture
def northwind(github: StandIn) -> int:
    installation = github.world.install("northwind", [SHOP, "northwind/api"])
    for number in (1, 2, 3):
        github.world.put(SHOP, open_alert(SHOP, number))
    return installation


@pytest.fixture
def client(github: StandIn) -> Iterator[GitHub]:
    with ask(github) as opened:
        yield opened


def everything(client: GitHub, installation: int, full_name: str = SHOP) -> list[dict[str, Any]]:
    return [alert for page in client.alerts(installation, full_name) for alert in page]


# What it asks


@pytest.mark.data
def test_all_alerts_come_in_pages_as_github_sent_them(octo: tuple[StandIn, dict[str, int]]) -> None:
    stand_in, installations = octo
    found = 0
    with ask(stand_in) as client:
        for owner, installation in installations.items():
            for repository in (one for page in client.repositories(installation) for one in page):
                pages = list(client.alerts(installation, repository.full_name))
                real = real_alerts(repository.full_name)
                assert [len(page) for page in pages[:-1]] == [100] * (len(pages) - 1)
                assert repository.full_name.startswith(f"{owner}/")
                got = {alert["number"]: alert for page in pages for alert in page}
                assert got == {alert["number"]: alert for alert in real}
                # 0, 99, 100 and 200 alerts: no page too many.
                assert len(pages) == max(1, -(-len(real) // 100)), repository.full_name
                found += len(got)
    assert found == 4000
    tokens = stand_in.world.requests("POST", "access_tokens")
    assert len(tokens) == len(installations), "one token for each installation"


def test_an_installation_is_described(github: StandIn, northwind: int, client: GitHub) -> None:
    found = client.installation(northwind)
    assert (found.id, found.account_login, found.account_type) == (northwind, "northwind", "Organization")
    assert found.permissions["vulnerability_alerts"] == "write"
    assert (found.repository_selection, found.suspended_at) == ("all", None)
    (page,) = client.repositories(northwind)
    assert [one.full_name for one in page] == [SHOP, "northwind/api"]
    github.world.suspend(northwind)
    assert client.installation(northwind).suspended_at is not None
    with pytest.raises(Suspended):
        list(client.repositories(northwind))
    github.world.uninstall(northwind)
    with pytest.raises(NotFound):
        client.installation(northwind)


def test_a_server_that_describes_no_installations_is_pieced_together(
    github: StandIn, northwind: int, client: GitHub
) -> None:
    github.fail(Fault(status=404, message="Not Found", path=r"installations/\d+$"))
    found = client.installation(northwind)
    assert (found.account_login, found.account_type, found.repository_selection) == (
        "northwind", "Organization", "all",
    )  # fmt: skip
    assert found.permissions["vulnerability_alerts"] == "write"


def test_hundreds_of_repositories_come_in_pages(github: StandIn, client: GitHub) -> None:
    names = [f"harbour/berth-{number}" for number in range(230)]
    installation = github.world.install("harbour", names, kind="User")
    github.world.archive(names[0])
    pages = list(client.repositories(installation))
    assert [len(page) for page in pages] == [100, 100, 30]
    rows = [one for page in pages for one in page]
    assert [one.full_name for one in rows] == names
    assert rows[0] == Repository(rows[0].id, names[0], archived=True, private=True)


def test_a_dismissal_reaches_github(github: StandIn, northwind: int, client: GitHub) -> None:
    after = client.dismiss(northwind, SHOP, 2, "not_used", "Nobody calls it. 誰も呼ばない")
    assert (after["state"], after["dismissed_reason"]) == ("dismissed", "not_used")
    assert github.world.alert(SHOP, 2)["dismissed_comment"] == "Nobody calls it. 誰も呼ばない"
    assert client.alert(northwind, SHOP, 2) == after
    assert client.dismiss(northwind, SHOP, 3, "inaccurate", None)["dismissed_comment"] is None


def test_a_renamed_repository_is_found_on_the_same_server(github: StandIn, northwind: int, client: GitHub) -> None:
    github.world.rename(SHOP, "northwind/store")
    assert len(everything(client, northwind)) == 3
    assert client.dismiss(northwind, SHOP, 1, "not_used", "")["state"] == "dismissed"
    github.fail(Fault(status=301, headers={"location": "https://evil.example/steal"}))
    with pytest.raises(BadAnswer):
        client.alert(northwind, "northwind/store", 1)
    here = f"{github.url}/repos/northwind/store/dependabot/alerts/1"
    github.fail(Fault(status=307, message="round and round", headers={"location": here}, times=9))
    with pytest.raises(BadAnswer):
        client.alert(northwind, "northwind/store", 1)


@pytest.mark.parametrize(
    "name",
    ["shop", "northwind/", "/shop", "northwind/shop/x", "northwind/..", "northwind/.", "north wind/shop", "",
     "northwind/shop?x", "northwind/shop#x", "northwind/shop\n", "../x/shop", "northwind/sho%2fp", "nörthwind/shop"],
)  # fmt: skip
def test_a_name_that_is_none_is_never_asked_for(name: str, github: StandIn, northwind: int, client: GitHub) -> None:
    with pytest.raises(BadName):
        everything(client, northwind, name)
    assert github.world.requests() == []


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "42junk", "4 2", "٤", "+1", "01", 10**18])
def test_a_number_that_is_none_is_never_asked_for(number: Any, github: StandIn, northwind: int, client: GitHub) -> None:
    with pytest.raises(BadName):
        client.alert(northwind, SHOP, number)
    with pytest.raises(BadName):
        client.dismiss(number, SHOP, 1, "not_used", None)
    assert github.world.requests() == []


# What goes wrong


def test_what_github_refuses_says_why(github: StandIn, northwind: int, client: GitHub) -> None:
    with pytest.raises(NotFound):
        everything(client, northwind, "northwind/nothing")
    with pytest.raises(NotFound):
        client.alert(northwind, SHOP, 99)
    with pytest.raises(Refused) as refused:
        client.dismiss(northwind, SHOP, 1, "because", None)
    assert refused.value.status == 422
    assert "dismissed_reason" in refused.value.said
    github.world.change(SHOP, 3, state="fixed")
    with pytest.raises(Refused):
        client.dismiss(northwind, SHOP, 3, "not_used", None)
    github.world.disable_alerts(SHOP)
    with pytest.raises(AlertsDisabled):
        everything(client, northwind)
    github.world.archive("northwind/api")
    with pytest.raises(AlertsDisabled):
        everything(client, northwind, "northwind/api")


def test_a_missing_permission_is_named(github: StandIn, northwind: int, client: GitHub) -> None:
    github.world.permit(northwind, metadata="read", vulnerability_alerts="read")
    assert everything(client, northwind)
    with pytest.raises(Forbidden) as forbidden:
        client.dismiss(northwind, SHOP, 1, "not_used", None)
    assert forbidden.value.permission == "vulnerability_alerts=write"
    github.world.permit(northwind, metadata="read")
    github.fail(Fault(status=403, message="Resource not accessible by integration"))
    with pytest.raises(Forbidden) as forbidden:
        everything(client, northwind)
    assert forbidden.value.permission == "vulnerability_alerts=read"


def test_an_expired_token_is_replaced_once(github: StandIn, northwind: int, client: GitHub) -> None:
    assert everything(client, northwind)
    github.world.revoke()
    assert client.alert(northwind, SHOP, 1)["number"] == 1
    assert len(github.world.requests("POST", "access_tokens")) == 2
    github.fail(Fault(status=401, message="Bad credentials", path="alerts", times=9))
    with pytest.raises(Unauthorized):
        client.alert(northwind, SHOP, 1)
    assert len(github.world.requests("GET", "alerts/1")) == 4, "with the token at hand, and with a new one"


def test_a_token_is_replaced_before_it_expires(github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    with ask(github, clock=hands.clock()) as client:
        for minutes in (0, 30, 24, 2, 30):
            hands.now += minutes * 60
            assert client.alert(northwind, SHOP, 1)
    assert len(github.world.requests("POST", "access_tokens")) == 2
    assert all(one.status != 401 for one in github.world.seen)


def test_a_clock_that_is_a_minute_ahead_is_no_trouble(github: StandIn, northwind: int) -> None:
    github.world.clock = lambda: START
    for ahead in (59, -59):
        with ask(github, clock=Hands(START + ahead).clock()) as client:
            assert everything(client, northwind)


def test_another_apps_key_is_not_taken(github: StandIn, northwind: int) -> None:
    with StandIn(key=new_key()) as another, ask(github, private_key=another.private_key) as client:
        with pytest.raises(Unauthorized):
            everything(client, northwind)
        with pytest.raises(Unauthorized):
            client.installation(northwind)


def test_many_threads_ask_for_one_token(github: StandIn, northwind: int, client: GitHub) -> None:
    github.fail(Fault(delay=0.2, path="access_tokens"))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(client.alert, [northwind] * 24, [SHOP] * 24, [1, 2, 3] * 8))
    assert len(github.world.requests("POST", "access_tokens")) == 1
    github.world.revoke()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(client.alert, [northwind] * 24, [SHOP] * 24, [1, 2, 3] * 8))
    assert len(github.world.requests("POST", "access_tokens")) == 2


# Rate limits


@pytest.mark.parametrize("status", [403, 429])
def test_retry_after_is_obeyed(status: int, github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    github.fail(Fault(status=status, message="slow down", headers={"retry-after": "7"}, path="alerts"))
    with ask(github, clock=hands.clock()) as client:
        assert everything(client, northwind)
    assert hands.slept == [7.0]


def test_a_wait_longer_than_patience_says_until_when(github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    github.fail(Fault.secondary_limit(600, "alerts"))
    with ask(github, clock=hands.clock()) as client:
        with pytest.raises(RateLimited) as limited:
            everything(client, northwind)
        assert limited.value.retry_at == datetime.fromtimestamp(START + 600, UTC)
        asked = len(github.world.seen)
        hands.now += 300
        with pytest.raises(RateLimited) as limited:
            client.alert(northwind, SHOP, 1)
        assert limited.value.retry_at == datetime.fromtimestamp(START + 600, UTC)
        assert len(github.world.seen) == asked, "GitHub is left alone until then"
        hands.now += 301
        assert client.alert(northwind, SHOP, 1)


def test_a_secondary_limit_without_a_time_is_a_minute(github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    github.fail(Fault.secondary_limit(None, "alerts"))
    with ask(github, Waiting(patience=90), hands.clock()) as client:
        assert everything(client, northwind)
    assert hands.slept == [60.0]


def test_the_primary_limit_is_waited_for_before_it_is_broken(github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    with ask(github, Waiting(patience=7200), hands.clock()) as client:
        assert everything(client, northwind)
        github.world.installations[northwind].quota = 1
        assert client.alert(northwind, SHOP, 1)
        assert client.alert(northwind, SHOP, 2)
    assert all(one.status in {200, 201} for one in github.world.seen)
    assert len(hands.slept) == 1
    assert 3500 < hands.slept[0] <= 3602


def test_a_date_and_nonsense_in_retry_after_are_understood(github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    in_ten_seconds = datetime.fromtimestamp(START + 10, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    with ask(github, Waiting(patience=90), hands.clock()) as client:
        for given, waited in ((in_ten_seconds, 10.0), ("soon", 60.0), ("9" * 30, None)):
            hands.slept.clear()
            github.fail(Fault(status=429, headers={"retry-after": given}, path="alerts/1"))
            if waited is None:
                with pytest.raises(RateLimited) as limited:
                    client.alert(northwind, SHOP, 1)
                assert limited.value.retry_at.timestamp() <= hands.now + 3600, "no answer stops us for years"
            else:
                assert client.alert(northwind, SHOP, 1)
                assert hands.slept == [pytest.approx(waited, abs=70)]
                assert hands.slept[0] >= 0


# Broken answers


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(status=502, body=b"<html>Bad gateway"), Fault(status=503, headers={"retry-after": "1"}),
     Fault(cut=True), Fault(drop=True)],
    ids=["500", "502", "503", "cut", "drop"],
)  # fmt: skip
def test_what_passes_is_tried_again(fault: Fault, github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    github.fail(fault, fault)
    with ask(github, clock=hands.clock(lambda: 1.0)) as client:
        assert len(everything(client, northwind)) == 3
        github.fail(fault)
        assert client.dismiss(northwind, SHOP, 1, "not_used", "once")["state"] == "dismissed"
    assert len(hands.slept) == 3
    assert hands.slept[1] >= hands.slept[0]


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}, {"cut": True}], ids=str)
def test_what_does_not_pass_is_given_up(fault: dict[str, Any], github: StandIn, northwind: int) -> None:
    hands = Hands(START)
    github.world.clock = lambda: hands.now
    github.fail(Fault(path="alerts", times=99, **fault))
    with ask(github, Waiting(attempts=4), hands.clock(lambda: 1.0)) as client, pytest.raises(Unreachable):
        everything(client, northwind)
    assert len(github.world.requests("GET", "alerts")) == 4
    assert hands.slept == [0.5, 1.0, 2.0]


def test_a_server_that_trickles_does_not_hold_us(github: StandIn, northwind: int) -> None:
    waiting = Waiting(timeout=0.5, whole=0.5, attempts=1)
    with ask(github, waiting) as client:
        list(client.repositories(northwind))
        github.fail(Fault(drip=0.1))
        with pytest.raises(Unreachable):
            everything(client, northwind)
        github.fail(Fault(delay=2))
        with pytest.raises(Unreachable):
            everything(client, northwind)
    assert threading.active_count() < 20


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"{}", b'{"message": 1}', b"[1]", b'[{"number": "1", "state": "open"}]', b"[[]]", b"\xff",
     b'[{"number": 1}]', b"[" * 100_000],
)  # fmt: skip
def test_an_answer_that_is_none_is_not_taken(body: bytes, github: StandIn, northwind: int, client: GitHub) -> None:
    github.fail(*(Fault(body=body, path=path) for path in ("alerts$", "alerts/1", "/repositories")))
    with pytest.raises(BadAnswer):
        everything(client, northwind)
    with pytest.raises(BadAnswer):
        client.alert(northwind, SHOP, 1)
    with pytest.raises(BadAnswer):
        list(client.repositories(northwind))


def test_pages_in_a_circle_end(github: StandIn, northwind: int, client: GitHub) -> None:
    link = f'<{github.url}/repos/{SHOP}/dependabot/alerts?per_page=100&sort=created&direction=asc>; rel="next"'
    github.fail(Fault(status=200, body=b"[]", headers={"link": link}, path="alerts", times=9))
    with pytest.raises(BadAnswer):
        everything(client, northwind)
    assert len(github.world.requests("GET", "alerts")) == 1


def test_a_page_that_leads_elsewhere_is_not_followed(github: StandIn, northwind: int, client: GitHub) -> None:
    link = '<http://169.254.169.254/latest/meta-data>; rel="next"'
    github.fail(Fault(status=200, body=b"[]", headers={"link": link}, path="alerts"))
    with pytest.raises(BadAnswer):
        everything(client, northwind)


def test_an_answer_without_end_is_left(northwind: int, client: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("security_agent.github.transport.LARGEST", 1000)
    with pytest.raises(BadAnswer):
        everything(client, northwind)


# Quota


def test_what_has_not_changed_costs_nothing(github: StandIn, northwind: int, client: GitHub) -> None:
    first = everything(client, northwind)
    assert everything(client, northwind) == first
    assert [one.status for one in github.world.requests("GET", "alerts")] == [200, 304]
    github.world.change(SHOP, 1, state="fixed")
    assert everything(client, northwind) != first
    github.world.permit(northwind, vulnerability_alerts="read")
    assert [one.status for one in github.world.requests("GET", "alerts")] == [200, 304, 200]


def test_pages_that_have_not_changed_lead_on(github: StandIn, northwind: int, client: GitHub) -> None:
    for number in range(4, 251):
        github.world.put(SHOP, open_alert(SHOP, number))
    assert everything(client, northwind) == everything(client, northwind)
    assert [one.status for one in github.world.requests("GET", "alerts")] == [200] * 3 + [304] * 3


def test_what_one_installation_saw_is_not_shown_to_another(github: StandIn, northwind: int, client: GitHub) -> None:
    everything(client, northwind)
    harbour = github.world.install("harbour", ["harbour/berths"])
    with pytest.raises(NotFound):
        everything(client, harbour)


# Secrets


@pytest.mark.parametrize(
    "url",
    ["", "github.com", "ftp://github.example", "http://github.example", "https://a:b@github.example", "https://[",
     "https://github.example?x=1", "https://github.example#x", "https://:443", "https://github.example:port"],
)  # fmt: skip
def test_an_address_that_cannot_be_githubs_is_refused(url: str, github: StandIn) -> None:
    with pytest.raises(NotConfigured):
        ask(github, api_url=url)


def test_a_key_that_is_none_is_refused_and_not_shown(github: StandIn) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in ("", "hunter2", curve.decode(), github.private_key[:400]):
        with pytest.raises(NotConfigured) as refused:
            ask(github, private_key=key)
        shown = "".join(traceback.format_exception(refused.value))
        assert "hunter2" not in shown
        assert github.private_key[40:80] not in shown
    with pytest.raises(NotConfigured):
        ask(github, app_id=" ")


def secrets_of(github: StandIn) -> list[str]:
    body = "".join(github.private_key.splitlines()[1:-1])
    return [body[100:140], "eyJ", *github.world.tokens]


def test_no_secret_is_in_any_error_log_or_repr(
    github: StandIn, northwind: int, caplog: pytest.LogCaptureFixture, client: GitHub
) -> None:
    caplog.set_level(logging.DEBUG)
    calls: list[Callable[[], object]] = [
        lambda: everything(client, northwind),
        lambda: client.dismiss(northwind, SHOP, 1, "not_used", None),
        lambda: client.installation(northwind),
    ]
    list(client.repositories(northwind))
    token = next(iter(github.world.tokens))
    told: list[str] = []
    faults = [
        Fault(status=401, message=f"Bad credentials {token}", times=2), Fault(status=403, message=token),
        Fault(status=422, message=f"with {token} and eyJhbGciOi.eyJpc3Mi.c2ln"), Fault(status=500, message=token),
        Fault(drop=True), Fault(cut=True), Fault(body=json.dumps({"token": token}).encode()),
        Fault(status=404, message=f"a\x00b\x1b[31m {token}"), Fault.secondary_limit(900),
    ]  # fmt: skip
    hurried = ask(github, Waiting(attempts=1))
    for fault in faults:
        for call in (*calls, lambda: everything(hurried, northwind)):
            github.faults.clear()
            github.fail(fault)
            try:
                call()
            except GitHubError as error:
                told += [repr(error), str(error), "".join(traceback.format_exception(error))]
    hurried.close()
    assert len(told) > 30
    assert [text for text in told if {"\x00", "\x1b"} & set(text)] == []
    told += [repr(client), repr(vars(client)), caplog.text]
    for secret in secrets_of(github):
        assert [text for text in told if secret in text] == []
