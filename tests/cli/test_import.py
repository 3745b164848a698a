"""``permalog import``: every good line exactly once, every bad one named."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from asking import value
from calling import Command, LineMaker
from permalog_server.ndjson import MAX_LINE

OWNER = {"organization_id": "5a3c1e00-0000-4000-8000-00000000000a"}


def count(database: str, table: str = "event") -> int:
    with psycopg.connect(database) as connection:
        return value(connection, f"SELECT count(*) FROM permalog.{table}")


def tally(read: int, added: int, duplicate: int = 0, rejected: int = 0) -> dict[str, int]:
    return {"read": read, "added": added, "duplicate": duplicate, "rejected": rejected}


def test_an_import_run_again_adds_nothing(permalog: Command, line: LineMaker, database: str) -> None:
    text = b"".join(line(event_key=f"k{n}") for n in range(50))
    first = permalog("import", "-", "--json", stdin=text)
    again = permalog("import", "-", "--json", stdin=text)
    assert (first.code, first.json) == (0, tally(50, 50))
    assert (again.code, again.json) == (0, tally(50, 0, duplicate=50))
    assert count(database) == 50


def test_lines_without_key_and_id_are_not_doubled_by_a_second_run(
    permalog: Command, line: LineMaker, database: str
) -> None:
    text = line() + line() + line(occurred_at=None)
    assert permalog("import", "-", "--json", stdin=text).json == tally(3, 3), "equal lines are two events"
    assert permalog("import", "-", "--json", stdin=text).json == tally(3, 0, duplicate=3)
    assert count(database) == 3


def test_an_event_that_names_no_source_says_that_it_was_imported(
    permalog: Command, line: LineMaker, database: str
) -> None:
    permalog("import", "-", stdin=line() + line(source="api"))
    with psycopg.connect(database) as connection:
        sources = connection.execute("SELECT source FROM permalog.event ORDER BY 1").fetchall()
    assert sources == [("api",), ("import",)]


def test_members_that_an_export_adds_are_ignored(permalog: Command, line: LineMaker, database: str) -> None:
    text = line(recorded_at="2026-01-31T09:00:01.000000Z", recorded_by="someone", leaf_index=7)
    assert permalog("import", "-", "--json", stdin=text).json == tally(1, 1)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT recorded_by <> 'someone' FROM permalog.event").fetchone() == (True,)


def nested(depth: int) -> Any:
    return {} if depth == 1 else {"a": nested(depth - 1)}


BAD = {
    "unknown action": ({"action": "security.finding.invented"}, "action", "not in the catalogue"),
    "two owners": ({"owner": {**OWNER, "user_id": "u_1"}}, "owner", "exactly one"),
    "no owner": ({"owner": {}}, "owner", "exactly one"),
    "owner left out": ({"owner": None}, "owner", "required"),
    "unknown member": ({"colour": "red"}, "colour", "unknown member"),
    "oversized payload": ({"metadata": {"a": "x" * 65_536}}, "metadata", "larger than 65536"),
    "too deep": ({"metadata": nested(17)}, "metadata" + ".a" * 16, "nested more than 16"),
    "NUL": ({"metadata": {"a": "x\0"}}, "metadata.a", "NUL"),
    "NUL in an id": ({"resource": {"type": "security_finding", "id": "\0"}}, "resource.id", "NUL"),
    "big integer": ({"metadata": {"a": 2**53}}, "metadata.a", "2^53"),
    "no date": ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at", "no date"),
    "no zone": ({"occurred_at": "2026-01-31T09:00:00"}, "occurred_at", "RFC 3339"),
    "far past": ({"occurred_at": "0001-01-01T00:00:00Z"}, "occurred_at", "before 1970"),
    "far future": ({"occurred_at": "9999-12-31T23:59:59Z"}, "occurred_at", "ahead"),
    "unknown outcome": ({"outcome": "maybe"}, "outcome", ""),
    "an array": ({"metadata": []}, "metadata", "object"),
}


@pytest.mark.parametrize("fault", BAD, ids=lambda name: name.replace(" ", "-"))
def test_a_bad_line_is_named_and_the_others_are_stored(
    permalog: Command, line: LineMaker, database: str, tmp_path: Path, fault: str
) -> None:
    members, field, reason = BAD[fault]
    rejects = tmp_path / "rejects.ndjson"
    bad = line(**members)
    said = permalog("import", "-", "--json", "--reject", str(rejects), stdin=line() + bad + line(event_key="k"))
    assert (said.code, said.json) == (1, tally(3, 2, rejected=1))
    assert said.err.startswith(f"line 2: {field}")
    assert reason in said.err
    (about,) = map(json.loads, rejects.read_text().splitlines())
    assert (about["line"], about["field"]) == (2, field)
    assert about["event"] == bad.decode().rstrip("\n")
    assert count(database) == 2


RAW = {
    "invalid UTF-8": (b'{"owner": "\xff"}\n', "UTF-8"),
    "NaN": (b'{"metadata": {"a": NaN}}\n', "NaN"),
    "infinity": (b'{"metadata": {"a": -Infinity}}\n', "Infinity"),
    "lone surrogate": (b'{"metadata": {"a": "\\ud800"}}\n', "surrogate"),
    "duplicate key": (b'{"metadata": {"a": 1, "a": 2}}\n', '"a" twice'),
    "inexact number": (b'{"metadata": {"a": 0.10000000000000000001}}\n', "exactly"),
    "no object": (b"[]\n", "object"),
    "no JSON": (b"hello\n", "JSON"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000 + b"\n", ""),
}


@pytest.mark.parametrize("fault", RAW, ids=lambda name: name.replace(" ", "-"))
def test_a_line_that_is_no_event_is_named(permalog: Command, line: LineMaker, database: str, fault: str) -> None:
    text, reason = RAW[fault]
    said = permalog("import", "-", "--json", stdin=line() + b"\n \r\n" + text + line(event_key="k"))
    assert (said.code, said.json) == (1, tally(3, 2, rejected=1))
    assert said.err.startswith("line 4: ")
    assert reason in said.err
    assert count(database) == 2


def test_a_truncated_last_line_is_said_to_be_one(permalog: Command, line: LineMaker) -> None:
    said = permalog("import", "-", "--json", stdin=line() + line()[:100])
    assert said.json == tally(2, 1, rejected=1)
    assert said.err.startswith("line 2: ")
    assert "cut off" in said.err


def test_a_last_line_without_newline_is_imported(permalog: Command, line: LineMaker) -> None:
    assert permalog("import", "-", "--json", stdin=line().rstrip(b"\n")).json == tally(1, 1)


def test_a_line_of_more_than_a_mebibyte_is_refused_and_the_next_one_read(permalog: Command, line: LineMaker) -> None:
    said = permalog("import", "-", "--json", stdin=b"x" * (3 * MAX_LINE) + b"\n" + line())
    assert said.json == tally(2, 1, rejected=1)
    assert said.err == f"line 1: the line is longer than {MAX_LINE} bytes\n"


def test_the_same_key_with_other_content_is_reported_and_not_skipped(
    permalog: Command, line: LineMaker, database: str
) -> None:
    permalog("import", "-", stdin=line(event_key="k"))
    said = permalog("import", "-", "--json", stdin=line(event_key="k", outcome="failure"))
    assert (said.code, said.json) == (1, tally(1, 0, rejected=1))
    assert "line 1: event_key: was used before with other content" in said.err
    assert count(database) == 1


def test_only_the_first_bad_lines_are_named(permalog: Command) -> None:
    said = permalog("import", "-", stdin=b"x\n" * 30)
    assert said.err.count("line ") == 20
    assert "and 10 more; --reject FILE collects them all" in said.err


def test_bad_lines_are_collected_in_the_order_of_the_file(permalog: Command, line: LineMaker, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.ndjson"
    text = line(event_key="k") + line(event_key="k", outcome="denied") + b"x\n" + line(action="security.x.y") + b"y\n"
    permalog("import", "-", "--reject", str(rejects), stdin=text)
    assert [json.loads(row)["line"] for row in rejects.read_text().splitlines()] == [2, 3, 4, 5]
    assert rejects.stat().st_mode & 0o777 == 0o600, "they hold personal data"


def test_bad_lines_cannot_steer_the_terminal(permalog: Command, line: LineMaker) -> None:
    said = permalog("import", "-", stdin=line(**{"\x1b[2J": 1}))
    assert "\x1b" not in said.err


def test_the_file_to_be_imported_is_not_overwritten_by_the_bad_lines(
    permalog: Command, line: LineMaker, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(line())
    said = permalog("import", str(file), "--reject", str(file))
    assert (said.code, said.err) == (2, "permalog: reject: is the file to be imported\n")
    assert file.read_bytes() == line()


def test_a_file_that_is_not_there_is_misuse(permalog: Command, tmp_path: Path) -> None:
    said = permalog("import", str(tmp_path / "none"), "--json")
    assert said.code == 2
    assert json.loads(said.err) == {"error": "FILE: cannot be read: No such file or directory", "field": "FILE"}


def program(database: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Starts the command in a process of its own."""
    environment = os.environ | {"PERMALOG_DATABASE_URL": database}
    command = [sys.executable, "-m", "permalog_server", *arguments]
    return cast("subprocess.Popen[bytes]", subprocess.Popen(command, env=environment, **options))


@pytest.mark.slow
def test_a_gigabyte_on_one_line_takes_no_memory(database: str, line: LineMaker) -> None:
    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, 400 << 20))

    with program(
        database, "import", "-", "--json", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=little_memory,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        for _ in range(1024):
            process.stdin.write(b"x" * (1 << 20))
        out, err = process.communicate(b"\n" + line())
    assert json.loads(out) == tally(2, 1, rejected=1), err


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_import_that_was_killed_and_is_run_again_stores_each_event_once(
    database: str, event_stream: Path, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.ndjson"
    process = program(database, "import", str(event_stream), "--reject", str(rejects), stdout=subprocess.DEVNULL)
    while not 10_000 < count(database) < 90_000:
        assert process.poll() is None, "it was to be killed half-way"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = count(database)
    assert 10_000 < stored < 100_000
    with program(database, "import", str(event_stream), "--json", stdout=subprocess.PIPE) as again:
        out, _ = again.communicate()
    assert json.loads(out) == tally(100_000, 100_000 - stored, duplicate=stored)
    assert count(database) == count(database, "event_key") == count(database, "unsealed") == 100_000
