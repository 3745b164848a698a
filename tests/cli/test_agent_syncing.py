"""``permalog agent connect``, ``enable``, ``disable``, ``config``, ``sync`` and ``findings``."""

from pathlib import Path

import pytest

from calling import Command
from github import open_alert
from permalog_server.standin import Fault, StandIn

OWNER = ("--owner", "org:5a3c1e00-0000-4000-8000-00000000000a")
SHOP, TILL = "northwind/shop", "northwind/till"


@pytest.fixture
def connected(permalog: Command, github: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, with an App; two repositories with an alert each are connected."""
    key = tmp_path / "key.pem"
    key.write_text(github.private_key)
    monkeypatch.setenv("PERMALOG_GITHUB_APP_ID", github.app_id)
    monkeypatch.setenv("PERMALOG_GITHUB_PRIVATE_KEY", str(key))
    monkeypatch.setenv("PERMALOG_GITHUB_API_URL", github.url)
    github.world.install("northwind", [SHOP, TILL], id=4711)
    for name in (SHOP, TILL):
        github.world.put(name, open_alert(name, 1))
    assert permalog("agent", "connect", *OWNER, "--installation", "4711").code == 0
    return permalog


def actions(command: Command) -> list[tuple[str, str | None]]:
    events = command("list", *OWNER, "--json").json["events"]
    return [(event["action"].removeprefix("security."), event["actor"]["id"]) for event in reversed(events)]


def test_from_connecting_to_findings(connected: Command) -> None:
    assert connected("agent", "enable", *OWNER, "--repositories", SHOP, "--actor", "user:u_1", "--json").json["enabled"]
    done = connected("agent", "sync", *OWNER, "--actor", "user:u_1", "--json")
    assert (done.code, done.json["created"], done.json["repositories"]) == (0, 1, 1)
    listed = connected("agent", "findings", *OWNER, "--severity", "high", "--json").json
    assert [one["repository"] for one in listed["findings"]] == [SHOP]
    assert actions(connected) == [
        ("installation.connected", "command-line"), ("config.enabled", "u_1"), ("sync.triggered", "u_1"),
        ("finding.created", "u_1"), ("sync.completed", "u_1"),
    ]  # fmt: skip
    assert "left" not in connected("agent", "findings", *OWNER).err
    assert "lodash" in connected("agent", "findings", *OWNER).out


def test_a_sync_of_which_a_part_failed_is_done_and_says_so(connected: Command, github: StandIn) -> None:
    github.fail(Fault(status=422, path="till/dependabot"))
    said = connected("agent", "sync", *OWNER)
    assert said.code == 0
    assert f"{TILL}: failed (refused)" in said.out


def test_a_sync_of_which_all_failed_is_an_error_of_one_line(connected: Command, github: StandIn) -> None:
    github.fail(Fault(status=422, path="dependabot", times=2))
    said = connected("agent", "sync", *OWNER)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert actions(connected)[-1][0] == "sync.completed"


def test_all_owners_have_their_turn_once(connected: Command) -> None:
    connected("agent", "enable", *OWNER)
    assert connected("agent", "sync", "--all", "--json").json == {"synced": 1, "failed": 0, "is_complete": True}
    assert connected("agent", "sync", "--all", "--json").json["synced"] == 1


def test_configuration_is_saved_by_members(connected: Command) -> None:
    saved = connected("agent", "config", *OWNER, "--set", "sla_high_days=21", "--set", "model=m-1", "--json").json
    assert (saved["sla_high_days"], saved["model"], saved["revision"]) == (21, "m-1", 1)
    late = connected("agent", "config", *OWNER, "--set", "sla_high_days=7", "--revision", "0", "--json")
    assert late.code == 1
    assert connected("agent", "config", *OWNER, "--json").json == saved
    assert connected("agent", "disable", *OWNER, "--json").json["revision"] == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("config", *OWNER, "--set", "sla_high_days=0"), "sla_high_days"),
        (("config", *OWNER, "--set", "unheard=1"), "unheard"),
        (("config", *OWNER, "--set", "sla_high_days"), "set"),
        (("enable", *OWNER, "--repositories", "northwind/unheard"), "repositories"),
        (("enable", *OWNER, "--repositories", ","), "repositories"),
        (("enable", *OWNER, "--actor", "u_1"), "actor"),
        (("sync",), "owner"),
        (("sync", *OWNER, "--all"), "owner"),
        (("sync", *OWNER, "--repository", "a/b/c"), "repository"),
        (("findings", "--owner", "nobody"), "owner"),
    ],
)
def test_misuse_names_the_field_and_does_nothing(connected: Command, arguments: tuple[str, ...], field: str) -> None:
    before = actions(connected)
    said = connected("agent", *arguments, "--json")
    assert said.code == 2
    assert f'"field": "{field}"' in said.err
    assert actions(connected) == before


def test_without_an_app_the_settings_are_named(permalog: Command) -> None:
    said = permalog("agent", "connect", *OWNER, "--installation", "1")
    assert said.code == 1
    assert "PERMALOG_GITHUB_APP_ID" in said.err


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"no key"])
def test_a_key_that_cannot_be_used_is_named_and_not_shown(
    permalog: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    key = tmp_path / "key.pem"
    if content is not None:
        key.write_bytes(content)
    monkeypatch.setenv("PERMALOG_GITHUB_APP_ID", "1")
    monkeypatch.setenv("PERMALOG_GITHUB_PRIVATE_KEY", str(key))
    said = permalog("agent", "sync", *OWNER)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "PERMALOG_GITHUB_PRIVATE_KEY" in said.err or "private key" in said.err
    assert "no key" not in said.err.replace(str(key), "")
