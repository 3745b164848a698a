"""Webhooks: whose they are, and what they tell."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from github import open_alert
from security_agent.github import BadSignature, BadWebhook, Repository
from security_agent.github.webhook import (
    AlertNotice,
    InstallationNotice,
    RepositoriesNotice,
    check_signature,
    delivery_id,
    read_notice,
)

REAL = Path(__file__).parents[3] / "shared" / "data" / "webhooks"
SECRET = "It's a Secret to Everybody"  # noqa: S105  of GitHub's documentation


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_a_body_signed_with_the_secret_passes() -> None:
    # The example of GitHub's documentation.
    published = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    check_signature(SECRET, b"Hello, World!", published)
    check_signature(SECRET, b"\x00\xff", signature(b"\x00\xff"))


@pytest.mark.parametrize(
    "given",
    [
        None, "", "sha256=", signature(b"{} "), signature(b"{}", "another"), signature(b"{}").upper(),
        signature(b"{}").removeprefix("sha256="), "sha1=" + "0" * 40, signature(b"{}") + "0", signature(b"{}") + "\n",
        "sha256=" + "0" * 64, "sha256=" + "ä" * 64,
    ],
)  # fmt: skip
def test_anything_else_does_not(given: str | None) -> None:
    with pytest.raises(BadSignature) as refused:
        check_signature(SECRET, b"{}", given)
    assert SECRET not in str(refused.value)
    assert signature(b"{}").removeprefix("sha256=") not in str(refused.value)


def test_without_a_secret_nothing_is_signed() -> None:
    with pytest.raises(BadSignature):
        check_signature("", b"{}", signature(b"{}", ""))


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "ä", "1\n2"])
def test_a_delivery_has_an_id(given: str | None) -> None:
    assert delivery_id("72d3162e-cc78-11e3-81ab-4c9367dc0958") == "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    with pytest.raises(BadWebhook):
        delivery_id(given)


def notice(path: Path) -> Any:
    return read_notice(path.name.partition(".")[0], path.read_bytes())


@pytest.mark.data
def test_githubs_own_alerts_are_read() -> None:
    paths = sorted(REAL.rglob("dependabot_alert.*.json"))
    assert len(paths) == 9
    for path in paths:
        told, payload = notice(path), json.loads(path.read_text())
        if "installation" not in payload:
            assert told is None, "a repository's own webhook"
            continue
        assert isinstance(told, AlertNotice)
        assert (told.action, told.installation_id) == (payload["action"], 13986380)
        assert told.repository == Repository(512875663, "wolfy1339/pika-pack", archived=False, private=False)
        assert told.alert == payload["alert"]


@pytest.mark.data
def test_githubs_own_installations_are_read() -> None:
    told = {path.name: notice(path) for path in REAL.rglob("installation.*.json")}
    assert all(isinstance(one, InstallationNotice) for one in told.values())
    assert {one.action for one in told.values()} == {
        "created", "deleted", "suspend", "unsuspend", "new_permissions_accepted",
    }  # fmt: skip
    suspended = told["installation.suspend.json"].installation
    assert str(suspended.suspended_at) == "2021-04-29 02:32:50+00:00"
    assert suspended.permissions["vulnerability_alerts"] == "read"
    assert told["installation.created.json"].installation.account_login == "Codertocat"
    added = notice(REAL / "other" / "installation_repositories.added.json")
    space = Repository(186853007, "Codertocat/Space", archived=False, private=False)
    assert added == RepositoriesNotice("added", 957387, "selected", (space,), ())


@pytest.mark.data
def test_what_does_not_concern_the_agent_is_nothing() -> None:
    for path in (*REAL.rglob("ping.*.json"), *REAL.rglob("repository_vulnerability_alert.*.json")):
        assert notice(path) is None
    assert read_notice("star", b"not even JSON") is None
    body = json.dumps({"action": "renamed", "installation": {"id": 1}}).encode()
    assert read_notice("installation", body) is None


@pytest.mark.parametrize(
    ("event", "document"),
    [
        ("dependabot_alert", {}),
        ("dependabot_alert", []),
        ("installation", {"action": "created", "installation": {"id": "1"}}),
        ("installation", {"action": "created", "installation": {"id": 0}}),
        ("installation_repositories", {"installation": {"id": 1}, "repositories_added": [{"id": 1}]}),
    ],
)
def test_a_payload_of_another_shape_is_refused_without_its_values(event: str, document: Any) -> None:
    with pytest.raises(BadWebhook):
        read_notice(event, json.dumps(document).encode())


@pytest.mark.parametrize("number", ["1", 0, -1, 1.5, True, None])
def test_the_number_of_an_alert_is_taken_strictly(number: Any) -> None:
    payload = {
        "action": "created", "alert": open_alert("northwind/shop", 1) | {"number": number}, "installation": {"id": 1},
        "repository": {"id": 1, "full_name": "northwind/shop"},
    }  # fmt: skip
    with pytest.raises(BadWebhook) as refused:
        read_notice("dependabot_alert", json.dumps(payload).encode())
    assert "number" in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"{", b'{"action": NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadWebhook):
        read_notice("installation", body)
