"""``permalog list``, ``show``, ``summary``, ``actions`` and ``export``."""

import csv
import getpass
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calling import Command, LineMaker
from permalog_server.wiring import ACTIONS

ORGANISATION = "5a3c1e00-0000-4000-8000-00000000000a"
OWNER = ("--owner", f"org:{ORGANISATION}")
OTHER = ("--owner", "user:u_9")


@pytest.fixture
def filled(permalog: Command, line: LineMaker) -> Command:
    """The command line, on a log of fourteen events."""
    dismissed = {"action": "security.finding.dismissed", "outcome": "denied", "correlation_id": "op", "source": "web"}
    text = b"".join(
        [
            *(line(occurred_at=f"2026-01-{day:02}T10:00:00Z", metadata={"day": str(day)}) for day in range(1, 13)),
            line(occurred_at="2026-02-01T00:00:00Z", resource={"type": "security_finding", "id": "f_2"}, **dismissed),
            line(occurred_at="2026-02-02T00:00:00Z", actor={"type": "system", "id": "sync"}, source="cron"),
            line(owner={"user_id": "u_9"}),
        ]
    )
    assert permalog("import", "-", stdin=text).code == 0
    return permalog


def pages(command: Command, *options: str) -> Iterator[dict[str, Any]]:
    page = command("list", *OWNER, *options, "--json").json
    yield page
    while page["has_next"]:
        page = command("list", *OWNER, *options, "--before", page["next_cursor"], "--format", "json").json
        yield page


def test_pages_lead_through_the_whole_log_and_back(filled: Command) -> None:
    there = list(pages(filled, "--limit", "4"))
    ids = [event["id"] for page in there for event in page["events"]]
    assert len(ids) == len(set(ids)) == 14
    assert ids == sorted(ids, reverse=True)
    back = filled("list", *OWNER, "--limit", "4", "--json", "--after", there[-1]["previous_cursor"]).json
    assert back["events"] == there[-2]["events"]


FILTERS: dict[tuple[str, ...], int] = {
    ("--action", "security.finding.dismissed"): 1,
    ("--action", "security.finding.dismissed", "--action", "security.finding.created"): 14,
    ("--actor-id", "sync"): 1,
    ("--actor-email", "ADA@tests.example"): 13,
    ("--resource-type", "security_finding"): 14,
    ("--resource-id", "f_2"): 1,
    ("--outcome", "denied"): 1,
    ("--correlation-id", "op"): 1,
    ("--source", "import"): 12,
    ("--search", "LEFT-pad"): 2,
    ("--start", "2026-01-12", "--end", "2026-02-02"): 2,
    ("--start", "2026-02-01T02:00:00+02:00"): 2,
}


@pytest.mark.parametrize("options", FILTERS, ids=lambda options: options[0].lstrip("-"))
def test_every_filter_means_the_same_to_list_summary_and_export(filled: Command, options: tuple[str, ...]) -> None:
    count = FILTERS[options]
    assert len(filled("list", *OWNER, *options, "--json").json["events"]) == count
    assert filled("summary", *OWNER, *options, "--json").json["total"] == count
    exported = filled("export", *OWNER, *options, "--format", "ndjson").out.splitlines()
    assert len([row for row in exported if json.loads(row)["action"] != "security.audit_log.exported"]) == count


def test_one_event_is_shown_whole(filled: Command) -> None:
    (event,) = filled("list", *OTHER, "--json").json["events"]
    assert filled("show", event["id"], *OTHER, "--json").json == event
    assert "ada@tests.example" in filled("show", event["id"], *OTHER).out
    absent = filled("show", event["id"], *OWNER, "--json")
    assert absent.code == 1, "it is in another log"
    assert "there is no event" in absent.err


def test_tables_are_for_people(filled: Command) -> None:
    listed = filled("list", *OWNER, "--limit", "1").out
    assert "2026-02-02 00:00:00" in listed
    assert "older: --before " in listed
    assert "14 events" in filled("summary", *OWNER).out
    assert "Finding dismissed" in filled("actions").out


def test_the_actions_are_those_of_the_catalogue(permalog: Command) -> None:
    listed = {action["name"]: action for action in permalog("actions", "--json").json["actions"]}
    for action in ACTIONS:
        about = {"name": action.name, "label": action.label, "resource_type": action.resource_type}
        assert listed[action.name] == about


def test_an_export_is_that_of_staff_on_the_command_line(filled: Command, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    report = filled("export", *OWNER, "--format", "csv", "-o", str(file), "--json").json
    assert report["rows"] >= 14
    assert report["complete"] is True
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert len(rows) == report["rows"]
    events = filled("list", *OWNER, "--action", "security.audit_log.exported", "--json").json["events"]
    assert [event["metadata"]["phase"] for event in events] == ["finished", "started"]
    assert {(e["actor"]["type"], e["actor"]["id"], e["source"]) for e in events} == {
        ("staff", getpass.getuser(), "cli")
    }


def test_an_export_that_fails_leaves_no_file(filled: Command, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("yesterday's")
    assert filled("export", *OWNER, "--format", "csv", "-o", str(file), "--action", "security.no.such").code == 2
    assert [path.read_text() for path in tmp_path.iterdir()] == ["yesterday's"]


BAD: dict[tuple[str, ...], str] = {
    ("list", "--owner", "acme"): "owner",
    ("list", "--owner", "org:acme"): "owner",
    ("list", *OWNER, "--limit", "0"): "limit",
    ("list", *OWNER, "--limit", "1000000000"): "limit",
    ("list", *OWNER, "--before", "nonsense"): "before",
    ("list", *OWNER, "--action", "security.no.such"): "action",
    ("list", *OWNER, "--outcome", "maybe"): "outcome",
    ("list", *OWNER, "--source", "elsewhere"): "source",
    ("list", *OWNER, "--search", ""): "search",
    ("list", *OWNER, "--search", "x" * 201): "search",
    ("list", *OWNER, "--start", "2026-02-30"): "start",
    ("list", *OWNER, "--start", "yesterday"): "start",
    ("list", *OWNER, "--end", "0001-01-01"): "end",
    ("summary", *OWNER, "--start", "2026-02-02", "--end", "2026-02-01"): "end",
    ("export", *OWNER, "--format", "csv", "--end", "99999-01-01"): "end",
    ("export", *OWNER, "--format", "csv", "-o", "/no/such/folder/file"): "output",
    ("show", "f_1", *OWNER): "ID",
}


@pytest.mark.parametrize("arguments", BAD, ids=lambda arguments: "-".join(arguments)[:60])
def test_bad_input_is_one_line_that_names_the_field(filled: Command, arguments: tuple[str, ...]) -> None:
    said = filled(*arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(f"permalog: {BAD[arguments]}: ")
    assert json.loads(filled(*arguments, "--json").err)["field"] == BAD[arguments]
    assert not filled("list", *OWNER, "--action", "security.audit_log.exported", "--json").json["events"]


def test_a_cursor_of_another_log_or_of_other_filters_is_refused(filled: Command) -> None:
    cursor = filled("list", *OWNER, "--limit", "1", "--json").json["next_cursor"]
    for options in (OTHER, (*OWNER, "--outcome", "success")):
        said = filled("list", *options, "--before", cursor)
        assert (said.code, said.err) == (2, "permalog: before: is not a cursor of this log with these filters\n")
    assert filled("list", *OWNER, "--before", cursor, "--after", cursor).code == 2


def test_an_own_export_imported_elsewhere_gives_the_same_events(
    filled: Command, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = filled("export", *OWNER, "--format", "ndjson").out
    again = filled("import", "-", "--json", stdin=text.encode()).json
    assert again["added"] == again["rejected"] == 0, "here they are there already"
    monkeypatch.setenv("PERMALOG_DATABASE_URL", empty_database)
    assert filled("migrate").code == 0
    assert filled("import", "-", stdin=text.encode()).code == 0
    copy = filled("export", *OWNER, "--format", "ndjson").out
    assert [without_place(row) for row in copy.splitlines()][-14:] == [without_place(r) for r in text.splitlines()][
        -14:
    ]


def without_place(row: str) -> dict[str, Any]:
    """An event without what belongs to the database that it is in."""
    return {k: v for k, v in json.loads(row).items() if k not in {"recorded_at", "recorded_by", "leaf_index"}}


def test_a_customers_eyes_see_what_the_customer_may(permalog: Command) -> None:
    """``--as``: the log of the own organisation, with staff masked, and no other."""
    organization = "7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f"
    owner = f"org:{organization}"
    for user, role in (("u_admin", "admin"), ("u_member", "member")):
        permalog("token", "create", "--user", user, "--organization", organization, "--role", role)
    console = {event["actor"]["id"] for event in permalog("list", "--owner", owner, "--json").json["events"]}
    assert None not in console
    seen = permalog("list", "--owner", owner, "--as", "user:u_admin", "--json").json["events"]
    assert {event["actor"]["name"] for event in seen} == {"Support"}
    assert {event["actor"]["id"] for event in seen} == {None}
    assert "Support" in permalog("show", seen[0]["id"], "--owner", owner, "--as", "user:u_admin").out
    assert permalog("summary", "--owner", owner, "--as", "user:u_admin", "--json").json["total"] == len(seen)
    assert ",staff,,,Support," in permalog("export", "--owner", owner, "--as", "user:u_admin", "--format", "csv").out
    for refused in ("user:u_member", "user:u_nobody"):
        answer = permalog("list", "--owner", owner, "--as", refused)
        assert (answer.code, "may not read" in answer.err) == (1, True)
    assert permalog("list", "--owner", owner, "--as", "u_admin").code == 2
