"""The recorder takes events at once, loses none unseen, and doubles none, whatever the database does."""

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from typing_extensions import override

from actions import ACTIONS
from asking import ask, value
from line import Line
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog
from permalog.errors import ContentConflict, InvalidEvent, RecorderFull
from permalog.recording.record import Failure, Recorder, report_to_sentry
from permalog.recording.spool_settings import SpoolSettings

OWNER = Owner.user("u_1")


def event(number: int = 0, **members: Any) -> Event:
    given: dict[str, Any] = {
        "owner": OWNER, "actor": Actor.user("u_1", email="secret@example.org"), "action": "thing.made",
        "resource": Resource("thing", f"t_{number}"),
    }  # fmt: skip
    return Event(**(given | members))


def numbers(log: Permalog) -> list[str]:
    """What is stored, in the order of the ids."""
    with psycopg.connect(log.database.url) as connection:
        return [name for (name,) in ask(connection, "SELECT resource_id FROM permalog.event ORDER BY id")]


@pytest.fixture
def failures() -> list[Failure]:
    return []


@pytest.fixture
def line(database: str) -> Iterator[Line]:
    line = Line(database)
    yield line
    line.close()


@pytest.fixture
def far(line: Line, failures: list[Failure]) -> Iterator[Permalog]:
    """The library at the other end of the line."""
    with Permalog.connect(line.url, catalogue=ACTIONS, on_failure=failures.append) as log:
        yield log
        line.mend()


@pytest.fixture
def lock(database: str) -> Iterator[psycopg.Connection]:
    """Another session that holds the event table against everybody, until it commits."""
    with psycopg.connect(database) as connection:
        connection.execute("LOCK TABLE permalog.event IN ACCESS EXCLUSIVE MODE")
        yield connection


def test_events_are_taken_at_once_while_the_table_is_locked_and_keep_their_order(
    log: Permalog, lock: psycopg.Connection
) -> None:
    started = time.monotonic()
    receipts = [log.record(event(n)) for n in range(1_000)]
    assert time.monotonic() - started < 5, "the bound is generous: it would be for ever"
    assert not log.flush(0.1)
    assert log.stats.waiting == 1_000
    lock.commit()
    assert log.flush()
    assert numbers(log) == [f"t_{n}" for n in range(1_000)]
    assert [receipt.id for receipt in receipts] == sorted(receipt.id for receipt in receipts)
    assert {receipt.log_id for receipt in receipts} == {OWNER.log_id}


def test_an_outage_and_recovery_lose_and_double_nothing(
    far: Permalog, line: Line, failures: list[Failure], caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(300):
        if n == 100:
            line.cut()
        if n == 200:
            line.mend()
        far.record(event(n))
    assert far.flush(30)
    line.cut()
    far.record(event(300))
    assert not far.flush(0.5)
    line.mend()
    assert far.flush(30)
    assert sorted(numbers(far)) == sorted(f"t_{n}" for n in range(301))
    assert failures == []
    assert "events wait, since the database does not take them" in caplog.text


@pytest.mark.parametrize("key", [None, "a key"])
@pytest.mark.parametrize("dated", [False, True])
def test_a_commit_whose_answer_is_lost_is_not_stored_twice_nor_taken_for_a_failure(
    far: Permalog, line: Line, failures: list[Failure], key: str | None, *, dated: bool
) -> None:
    far.record(event(1))  # opens the log, and the connection
    assert far.flush()
    line.lose_next_answer_to_a_commit()
    far.record(event(2, event_key=key, occurred_at=datetime.now(UTC) if dated else None))
    assert far.flush(30)
    assert numbers(far).count("t_2") == 1
    assert failures == []
    assert far.stats.duplicates == 1, "the answer was lost"


def test_a_poisoned_event_takes_no_others_with_it(
    database: str, lock: psycopg.Connection, failures: list[Failure]
) -> None:
    """Nobody but a fault of ours builds such events: they pass by the checks."""
    poison = [
        event(900).model_copy(update={"correlation_id": "\0"}),
        event(901).model_copy(update={"source": "nowhere"}),
        event(902).model_copy(update={"action": "thing.unheard_of"}),
        event(903).model_copy(update={"correlation_id": "x" * 256}),
        event(904).model_copy(update={"resource": Resource("thing", "t_904"), "outcome": "perhaps"}),
    ]
    with Permalog.connect(database, catalogue=ACTIONS, on_failure=failures.append) as log:
        for n in range(100):
            log.record(event(n))
            if n % 20 == 7:
                log.record(poison[n // 20])
        lock.commit()
        assert log.flush(30)
        assert numbers(log) == [f"t_{n}" for n in range(100)]
    assert len(failures) == len(poison)
    assert {type(failure.error) for failure in failures} == {InvalidEvent}
    assert "secret@example.org" not in str(failures)
    with psycopg.connect(database) as connection:
        assert value(connection, "SELECT count(*) FROM permalog.identity") >= 1
        unused = "SELECT count(*) FROM permalog.identity WHERE commitment NOT IN (SELECT identity FROM permalog.event)"
        assert value(connection, unused) == 0


def test_other_content_under_a_used_key_is_counted_and_reported(database: str, failures: list[Failure]) -> None:
    with Permalog.connect(database, catalogue=ACTIONS, on_failure=failures.append) as log:
        first = log.record(event(1, event_key="k"))
        log.record(event(1, event_key="k"))
        refused = log.record(event(2, event_key="k"))
        assert log.flush()
        assert (log.stats.stored, log.stats.duplicates, log.stats.failed) == (1, 1, 1)
    (failure,) = failures
    assert (failure.id, failure.log_id, failure.action) == (refused.id, OWNER.log_id, "thing.made")
    assert isinstance(failure.error, ContentConflict)
    assert first.id != refused.id


def test_what_the_caller_may_not_record_is_handed_to_the_hook_and_never_raised(
    database: str, failures: list[Failure]
) -> None:
    with Permalog.connect(database, catalogue=ACTIONS, on_failure=failures.append) as log:
        log.record(event(1, occurred_at="2020-01-01T00:00:00Z"))
        log.record(event(2, action="thing.unheard_of"))
        assert log.flush()
        assert log.stats.failed == 2
    assert {getattr(failure.error, "field", None) for failure in failures} == {"occurred_at", "action"}


def test_an_unknown_action_does_not_make_the_caller_wait_for_a_database_that_is_away(
    far: Permalog, line: Line, failures: list[Failure]
) -> None:
    line.cut()
    started = time.monotonic()
    far.record(event(1, action="thing.unheard_of"))
    assert time.monotonic() - started < 2
    line.mend()
    assert far.flush(30)
    assert [getattr(failure.error, "field", None) for failure in failures] == ["action"]


def test_a_hook_that_raises_is_logged_and_stops_nothing(database: str, caplog: pytest.LogCaptureFixture) -> None:
    def hook(failure: Failure) -> None:
        raise LookupError(failure.action)

    with Permalog.connect(database, catalogue=ACTIONS, on_failure=hook) as log:
        log.record(event(1, occurred_at="2020-01-01T00:00:00Z"))
        log.record(event(2, action="thing.unheard_of"))
        log.record(event(3))
        assert log.flush()
        assert log.stats.stored == 1
    assert caplog.text.count("the failure hook failed") == 2


def test_a_full_spool_refuses_and_says_so(
    log: Permalog, lock: psycopg.Connection, failures: list[Failure], tmp_path: Path
) -> None:
    recorder = Recorder(log.database, spool=SpoolSettings(tmp_path, limit=3_000), on_failure=failures.append)
    taken = sum(recorder.submit(event(n)).accepted for n in range(16))
    assert 0 < taken < 16
    assert recorder.stats.waiting == taken
    assert recorder.stats.failed == recorder.stats.dropped == len(failures) == 16 - taken
    assert {type(failure.error) for failure in failures} == {RecorderFull}
    assert "bytes wait already" in str(failures[0].error)
    lock.commit()
    recorder.close()
    assert recorder.stats.stored == taken


def test_a_full_spool_raises_where_that_is_asked_for(
    log: Permalog, lock: psycopg.Connection, failures: list[Failure], tmp_path: Path
) -> None:
    spool = SpoolSettings(tmp_path, limit=3_000, when_full="raise")
    recorder = Recorder(log.database, spool=spool, on_failure=failures.append)
    while not failures:
        with suppress(RecorderFull):
            recorder.submit(event())
    with pytest.raises(RecorderFull):
        recorder.submit(event())
    lock.commit()
    recorder.close()


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_closing_flushes_and_what_comes_later_has_failed(database: str, failures: list[Failure]) -> None:
    log = Permalog.connect(database, catalogue=ACTIONS, on_failure=failures.append)
    for n in range(50):
        log.record(event(n))
    log.close()
    assert log.stats.stored == 50
    log.record(event(50))
    (failure,) = failures
    assert isinstance(failure.error, RecorderFull)
    assert "closed" in str(failure.error)
    log.close()


def test_closing_while_the_table_is_locked_ends_and_leaves_the_rest_to_the_next(
    log: Permalog, lock: psycopg.Connection, failures: list[Failure], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(log.database, on_failure=failures.append)
    for n in range(20):
        recorder.submit(event(n))
    assert not recorder.flush(0.2)
    started = time.monotonic()
    recorder.close(0.2)
    assert time.monotonic() - started < 10
    lock.commit()
    assert recorder.stats.waiting == 20
    assert failures == []
    assert "20 events wait in the spool for the next process" in caplog.text
    assert numbers(log) == []
    following = Recorder(log.database)
    following.recover()
    until(lambda: following.stats.adopted == 20)
    following.close()
    assert numbers(log) == [f"t_{n}" for n in range(20)]


def test_closing_while_the_database_is_away_ends_and_leaves_the_rest_to_the_next(
    far: Permalog, line: Line, failures: list[Failure], tmp_path: Path
) -> None:
    spool = SpoolSettings(tmp_path)
    line.cut()
    recorder = Recorder(far.database, on_failure=failures.append, spool=spool)
    for n in range(20):
        recorder.submit(event(n))
    recorder.close(0.2)
    assert failures == []
    assert recorder.stats.waiting == 20
    line.mend()
    following = Recorder(far.database, spool=spool)
    following.recover()
    until(lambda: following.stats.adopted == 20)
    following.close()
    assert numbers(far) == [f"t_{n}" for n in range(20)]


def test_a_system_without_a_thread_left_raises_nothing_into_the_caller_and_loses_nothing(
    log: Permalog, failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    recorder = Recorder(log.database, on_failure=failures.append)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert recorder.submit(event(1)).accepted
    recorder.submit(event(2))
    recorder.close()
    assert failures == []
    assert numbers(log) == ["t_1", "t_2"]


def test_many_threads_record_at_once(log: Permalog) -> None:
    def work(thread: int) -> None:
        for n in range(100):
            log.record(event(thread * 100 + n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.flush(30)
    assert sorted(numbers(log)) == sorted(f"t_{n}" for n in range(800))


PROGRAM = """
import os, sys
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog

log = Permalog.connect(sys.argv[1])

def record(number):
    resource = Resource("thing", f"t_{number}")
    return Event(owner=Owner.user("u_1"), actor=Actor.system(), action="thing.made", resource=resource)
"""


def run(database: str, program: str, code: int = 0) -> str:
    """Runs a program of its own; its source may be that of a branch, so it takes the modules that this one has."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM + textwrap.dedent(program), database],
        check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise LookupError", 1), ("import atexit; log.close()", 0)]
)
def test_the_end_of_the_program_flushes(database: str, log: Permalog, ending: str, code: int) -> None:
    run(database, f"for n in range(200): log.record(record(n))\n{ending}", code)
    assert sorted(numbers(log)) == sorted(f"t_{n}" for n in range(200))


def test_a_forked_child_records_its_own_and_leaves_the_parents_alone(database: str, log: Permalog) -> None:
    """Neither the queue nor a connection may be shared: both would write the same, or end each other's session."""
    run(
        database,
        """
        for n in range(100): log.record(record(n))
        with log._database.shared() as connection: connection.execute("SELECT 1")
        child = os.fork()
        if child == 0:
            for n in range(100, 200): log.record(record(n))
            with log._database.shared() as connection:
                log.record(record(200), connection=connection)
            log.close()
            os._exit(0)
        for n in range(300, 400): log.record(record(n))
        assert os.waitpid(child, 0)[1] == 0
        with log._database.shared() as connection:
            log.record(record(400), connection=connection)
        """,
    )
    expected = [*range(201), *range(300, 401)]
    assert sorted(numbers(log)) == sorted(f"t_{n}" for n in expected)


class Sent(Transport):
    """Keeps what would go to Sentry."""

    envelopes: list[Envelope] = []  # noqa: RUF012  sentry_sdk makes the instance

    @override
    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


@pytest.fixture
def sent() -> Iterator[list[Envelope]]:
    Sent.envelopes = []
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1", transport=Sent, default_integrations=False, auto_enabling_integrations=False,
        include_local_variables=True,
    )  # fmt: skip
    yield Sent.envelopes
    sentry_sdk.init()


def test_sentry_is_told_what_failed_and_nothing_of_what_it_said(database: str, sent: list[Envelope]) -> None:
    """Not the traceback: its variables are the event; nor the database's own error, which shows the row."""
    with Permalog.connect(database, catalogue=ACTIONS, on_failure=report_to_sentry) as log:
        secret: dict[str, Any] = {"metadata": {"a": "confidential"}, "resource": Resource("thing", "unheard-of-thing")}
        log.record(event(1, occurred_at="2020-01-01T00:00:00Z", **secret))
        log.record(event(2, **secret).model_copy(update={"source": "nowhere"}))
        assert log.flush()
    reports: list[Any] = [found for envelope in sent if (found := envelope.get_event()) is not None]
    assert len(reports) == 2
    for report in reports:
        assert report["level"] == "error"
        assert report["tags"] == {"permalog.action": "thing.made"}
        assert report["contexts"]["permalog"]["log"] == str(OWNER.log_id)
        assert report["fingerprint"][:2] == ["permalog", "thing.made"]
        for private in ("secret@example.org", "confidential", "unheard-of-thing"):
            assert private not in str(report)
    kinds = {report["exception"]["values"][0]["type"] for report in reports}
    assert kinds == {"NotAllowed", "InvalidEvent"}


def test_what_is_logged_holds_no_personal_data(
    database: str, caplog: pytest.LogCaptureFixture, failures: list[Failure]
) -> None:
    with caplog.at_level(logging.DEBUG), Permalog.connect(database, on_failure=failures.append) as log:
        log.record(event(2, metadata={"a": "confidential"}).model_copy(update={"source": "nowhere"}))
        assert log.flush()
    assert len(failures) == 1
    assert "was not recorded" in caplog.text
    for private in ("secret@example.org", "confidential"):
        assert private not in caplog.text
