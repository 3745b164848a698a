"""``permalog agent sync`` of the 4,000 alerts in the data: each is looked at, and each awkward case by its own test."""

import json
import os
import subprocess
import sys
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from github import ALERTS, load_real, real_alerts, real_repositories, standing_in
from permalog import Owner
from permalog.postgres.migrate import migrate
from permalog_server.sql import steps
from permalog_server.standin import World
from permalog_server.wiring import ACTIONS

pytestmark = pytest.mark.data
DAYS = {"critical": 15, "high": 30, "medium": 45, "low": 90}
OWNERS = {
    login: Owner.organization(uuid.uuid5(uuid.NAMESPACE_DNS, login))
    for login in ("octo-fleet", "Nordwind-Labs", "pied-piper-oss")
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Synced:
    """What two syncs of each owner said and left."""

    first: dict[str, Row]
    """What ``--json`` printed, by owner."""
    second: dict[str, Row]
    rows: dict[str, Row]
    """The findings by the address of their alert."""
    created: dict[str, Row]
    """The events of their creation, by the finding's id."""
    after: tuple[Counter[str], Counter[str]]
    """How many events there are of each action, after the first round, and after the second."""
    versions: tuple[str, str]
    """A digest over the versions of all rows of findings, after the first round and after the second."""


@pytest.fixture(scope="module")
def database(embedded18: str) -> Iterator[str]:
    name = f"four_thousand_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(embedded18, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    url = urlunsplit(urlsplit(embedded18)._replace(path=f"/{name}"))
    migrate(url, ACTIONS, further=steps())
    yield url
    with psycopg.connect(embedded18, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def synced(database: str, tmp_path_factory: pytest.TempPathFactory) -> Synced:
    """Connected and synced twice by the program itself, from the stand-in, over HTTP."""
    folder = tmp_path_factory.mktemp("four-thousand")
    world = World()
    installations = load_real(world)
    with standing_in(world) as github:
        (folder / "key.pem").write_text(github.private_key)
        environment = os.environ | {
            "PERMALOG_DATABASE_URL": database, "PERMALOG_DATA_DIR": str(folder),
            "PERMALOG_GITHUB_APP_ID": github.app_id, "PERMALOG_GITHUB_PRIVATE_KEY": str(folder / "key.pem"),
            "PERMALOG_GITHUB_API_URL": github.url,
        }  # fmt: skip

        def agent(*arguments: str) -> Row:
            done = subprocess.run(
                [sys.executable, "-m", "permalog_server", "agent", *arguments, "--json"],
                env=environment, capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr.decode()
            said: Row = json.loads(done.stdout)
            return said

        for login, owner in OWNERS.items():
            agent("connect", "--owner", str(owner), "--installation", str(installations[login]))
        first = {login: agent("sync", "--owner", str(owner)) for login, owner in OWNERS.items()}
        with reading(database) as connection:
            rows = {row["url"]: row for row in connection.execute("SELECT * FROM security_agent.finding")}
            made = connection.execute(
                "SELECT resource_id, metadata FROM permalog.event WHERE action = 'security.finding.created'"
            ).fetchall()
            before = (counts(connection), versions(connection))
        second = {login: agent("sync", "--owner", str(owner)) for login, owner in OWNERS.items()}
    with reading(database) as connection:
        after = (counts(connection), versions(connection))
    created = {row["resource_id"]: row for row in made}
    assert len(created) == len(made)
    return Synced(first, second, rows, created, (before[0], after[0]), (before[1], after[1]))


def reading(url: str) -> psycopg.Connection[Row]:
    return psycopg.Connection[Row].connect(url, row_factory=dict_row)  # pyright: ignore[reportArgumentType]


def counts(connection: psycopg.Connection[Row]) -> Counter[str]:
    rows = connection.execute("SELECT action, count(*) AS count FROM permalog.event GROUP BY action")
    return Counter({row["action"].removeprefix("security."): row["count"] for row in rows})


def versions(connection: psycopg.Connection[Row]) -> str:
    row = connection.execute(
        "SELECT md5(string_agg(id::text || xmin::text || ctid::text, ',' ORDER BY id)) AS digest"
        " FROM security_agent.finding"
    ).fetchone()
    assert row is not None
    return str(row["digest"])


@cache
def alerts() -> list[Row]:
    """All of them, as they are in the data."""
    return [alert for place in real_repositories() for alert in real_alerts(place["full_name"])]


@cache
def summary() -> Row:
    with zipfile.ZipFile(ALERTS) as archive:
        found: Row = json.loads(archive.read("alerts/summary.json"))
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# The whole of it.


def test_there_are_4000_findings_and_4000_events_of_their_creation(synced: Synced) -> None:
    assert len(synced.rows) == len(alerts()) == summary()["alerts"] == 4000
    assert sum(said["created"] for said in synced.first.values()) == 4000
    assert synced.created.keys() == {str(row["id"]) for row in synced.rows.values()}
    assert synced.after[0] == {
        "finding.created": 4000, "sync.triggered": 3, "sync.completed": 3, "installation.connected": 3,
    }  # fmt: skip


def test_every_deadline_is_right_to_the_second_in_the_finding_and_on_record(synced: Synced) -> None:
    for alert in alerts():
        row = synced.rows[alert["html_url"]]
        due = moment(alert["created_at"]) + timedelta(days=DAYS[alert["security_advisory"]["severity"]])
        assert row["deadline"] == due
        assert row["first_detected_at"] == moment(alert["created_at"])
        told = synced.created[str(row["id"])]["metadata"]
        assert told["deadline"] == told["finding"]["deadline"] == due.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def test_every_raw_alert_is_kept(synced: Synced) -> None:
    for alert in alerts():
        row = synced.rows[alert["html_url"]]
        assert row["raw"] | row["raw_people"] == alert


def test_a_second_sync_writes_nothing_but_its_beginning_and_its_end(synced: Synced) -> None:
    before, after = synced.after
    assert after - before == {"sync.triggered": 3, "sync.completed": 3}
    assert synced.versions[0] == synced.versions[1]
    told = {login: (said["created"], said["updated"]) for login, said in synced.second.items()}
    assert told == dict.fromkeys(OWNERS, (0, 0))
    assert sum(said["unchanged"] for said in synced.second.values()) == 4000


@pytest.mark.parametrize("name", [place["full_name"] for place in real_repositories()] if ALERTS.exists() else [])
def test_every_repository_is_whole_whatever_the_size_of_its_last_page(synced: Synced, name: str) -> None:
    mine = [row for row in synced.rows.values() if row["repository"] == name]
    assert len(mine) == summary()["repositories"][name]["alerts"]
    # Numbers have gaps, and hundreds of alerts were made in the same second: none is lost or doubled by paging.
    assert {row["source_id"] for row in mine} == {str(alert["number"]) for alert in real_alerts(name)}
    largest = [summary()["repositories"][name]["largest tie on created_at"]] if mine else []
    ties = Counter(row["first_detected_at"] for row in mine).most_common(1)
    assert [count for _, count in ties] == largest


# The awkward cases: which alerts they are, and what must be so of their findings.


@dataclass(frozen=True)
class Case:
    """Which alerts are meant, and what must be so of each and its finding."""

    is_one: Callable[[Row], bool]
    check: Callable[[Row, Row], bool]


def advisory(alert: Row) -> Row:
    found: Row = alert["security_advisory"]
    return found


def is_told_whole(alert: Row, row: Row) -> bool:
    return bool(row["description"] == advisory(alert)["description"])


def has_score_of(alert: Row, row: Row) -> bool:
    """The newest score there is, with its vector; none where GitHub writes 0.0 for it."""
    severities = advisory(alert)["cvss_severities"] or {}
    each = [advisory(alert)["cvss"], severities.get("cvss_v4"), severities.get("cvss_v3")]
    scored = [one for one in each if one and one["score"]]
    wanted = (scored[0]["score"], scored[0]["vector_string"]) if scored else (None, None)
    return (None if row["cvss_score"] is None else float(row["cvss_score"]), row["cvss_vector"]) == wanted


def status(state: str, wanted: str, *, by: str | None = None, reason: bool = False) -> Case:
    def check(alert: Row, row: Row) -> bool:
        login = alert["dismissed_by"]["login"] if by == "github" else None
        why = (alert["dismissed_reason"] if by == "github" else state) if reason else None
        fixed_at = moment(alert["fixed_at"]) if wanted == "fixed" else None
        found = [row[name] for name in ("status", "source_state", "ignored_by", "ignored_reason", "fixed_at")]
        return found == [wanted, state, login, why, fixed_at]

    return Case(lambda alert: alert["state"] == state, check)


def kept(name: str, value: str, read: Callable[[Row], Any]) -> Case:
    return Case(lambda alert: read(alert) == value, lambda _, row: row[name] == value)


def severity(alert: Row) -> Any:
    return alert["security_vulnerability"]["severity"]


def scope(alert: Row) -> Any:
    return alert["dependency"]["scope"]


def ecosystem(alert: Row) -> Any:
    return alert["dependency"]["package"]["ecosystem"]


@cache
def manifests() -> Counter[tuple[str, str, str]]:
    """In how many manifests of a repository a package with an advisory is found."""
    return Counter(same(alert) for alert in alerts())


def same(alert: Row) -> tuple[str, str, str]:
    package: str = alert["dependency"]["package"]["name"]
    return alert["url"].partition("/dependabot/")[0], advisory(alert)["ghsa_id"], package


def has_emoji(alert: Row) -> bool:
    return any(ord(one) > 0xFFFF for one in advisory(alert)["description"])


def is_only_asked_for(alert: Row, row: Row) -> bool:
    """A dismissal that nobody has approved; who asks stands apart from the raw alert, where forgetting finds it."""
    apart = "dismissal_request" not in row["raw"] and row["raw_people"]["dismissal_request"]
    return bool(row["status"] == "open" and apart == alert["dismissal_request"])


CASES: dict[str, Case] = {
    "advisory with several packages": Case(
        lambda alert: len({one["package"]["name"] for one in advisory(alert)["vulnerabilities"]}) > 1,
        lambda alert, row: row["package"] == alert["security_vulnerability"]["package"]["name"],
    ),
    "backticks in description": Case(lambda alert: "`" in advisory(alert)["description"], is_told_whole),
    "cvss absent (score 0.0)": Case(lambda alert: advisory(alert)["cvss"]["score"] == 0, has_score_of),
    "cvss vector null": Case(lambda alert: advisory(alert)["cvss"]["vector_string"] is None, has_score_of),
    "cvss_severities null": Case(lambda alert: advisory(alert)["cvss_severities"] is None, has_score_of),
    "description > 5000 characters": Case(lambda alert: len(advisory(alert)["description"]) > 5000, is_told_whole),
    "dismissal_request pending": Case(lambda alert: bool(alert.get("dismissal_request")), is_only_asked_for),
    "emoji in description": Case(has_emoji, is_told_whole),
    "malware": Case(
        lambda alert: advisory(alert)["classification"] == "malware",
        lambda alert, row: (
            row["raw"]["security_advisory"]["classification"] == "malware" and row["severity"] == severity(alert)
        ),
    ),
    "multi-line description": Case(lambda alert: "\n" in advisory(alert)["description"], is_told_whole),
    "no CWEs": Case(lambda alert: not advisory(alert)["cwes"], lambda _, row: row["cwe_ids"] == []),
    "no patched version": Case(
        lambda alert: alert["security_vulnerability"]["first_patched_version"] is None,
        lambda _, row: row["patched_version"] is None,
    ),
    "non-ASCII description": Case(lambda alert: not advisory(alert)["description"].isascii(), is_told_whole),
    "null cve_id": Case(lambda alert: advisory(alert)["cve_id"] is None, lambda _, row: row["cve_id"] is None),
    "same GHSA in several manifests": Case(
        lambda alert: manifests()[same(alert)] > 1,
        lambda alert, row: (
            (row["ghsa_id"], row["manifest_path"]) == (advisory(alert)["ghsa_id"], alert["dependency"]["manifest_path"])
        ),
    ),
    "withdrawn advisory": Case(
        lambda alert: advisory(alert)["withdrawn_at"] is not None,
        # GitHub's alert stands until GitHub closes it.
        lambda alert, row: row["source_state"] == alert["state"],
    ),
    "state:open": status("open", "open"),
    "state:fixed": status("fixed", "fixed"),
    "state:dismissed": status("dismissed", "ignored", by="github", reason=True),
    "state:auto_dismissed": status("auto_dismissed", "ignored", reason=True),
    "scope:None": Case(lambda alert: scope(alert) is None, lambda _, row: row["scope"] is None),
    **{f"scope:{one}": kept("scope", one, scope) for one in ("development", "runtime")},
    **{f"severity:{one}": kept("severity", one, severity) for one in DAYS},
    **{f"ecosystem:{one}": kept("ecosystem", one, ecosystem) for one in ("pip", "rubygems", "rust")},
}


def test_every_awkward_case_of_the_data_is_looked_at() -> None:
    assert CASES.keys() == summary()["counts"].keys() == summary()["first_example"].keys()


@pytest.mark.parametrize("name", CASES)
def test_an_awkward_case(synced: Synced, name: str) -> None:
    case = CASES[name]
    found = [alert for alert in alerts() if case.is_one(alert)]
    assert len(found) == summary()["counts"][name]
    assert summary()["first_example"][name] in {alert["url"] for alert in found}
    wrong = [alert["url"] for alert in found if not case.check(alert, synced.rows[alert["html_url"]])]
    assert wrong == []


def test_the_longest_description_is_kept_whole(synced: Synced) -> None:
    length, url = summary()["longest_description"]
    (alert,) = [one for one in alerts() if one["url"] == url]
    description = synced.rows[alert["html_url"]]["description"]
    assert (len(description), description) == (length, advisory(alert)["description"])
