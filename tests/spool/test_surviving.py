"""What was accepted is stored, exactly once and in its process's order, whoever dies and whatever is away."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from actions import ACTIONS
from asking import ask, composed, value
from line import Line
from permalog.catalogue import BUILT_IN
from permalog.client import Permalog
from permalog.errors import DatabaseProblem, InvalidEvent, SpoolProblem
from permalog.postgres import embedded
from permalog.postgres.migrate import migrate
from permalog.recording.record import Failure
from permalog.recording.spool_settings import SpoolSettings
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from spooling import Opened, event, numbers, quarantined, run, segments, start, until

pytestmark = pytest.mark.usefixtures("quick")


STILL = "log._recorder._start = lambda: None\n"
"""A process whose drain does not run."""


def emptied(place: Path) -> bool:
    return not list(place.glob("*/*/alive"))


def bring_in(opened: Opened, place: Path) -> Permalog:
    """Lets a new process, this one, bring in what is left."""
    log = opened()
    log.record(event(-1))
    assert log.flush(60)
    until(lambda: len(list(place.glob("*/*/alive"))) == 1)
    return log


def test_an_event_is_on_disk_before_record_returns(opened: Opened, database: str, place: Path) -> None:
    """Killed at once: the drain has not even begun."""
    run(database, place, "log.record(event(1))\nos.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)
    bring_in(opened, place)
    assert sorted(numbers(database)) == [-1, 1]


@pytest.mark.slow
def test_processes_that_are_killed_at_any_moment_lose_and_double_nothing(
    opened: Opened, database: str, place: Path
) -> None:
    program = """
    notes = os.open(sys.argv[2] + ".accepted", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    first = int.from_bytes(os.urandom(5), "big") * 100_000
    print("ready", flush=True)
    for number in range(first, first + 100_000):
        if log.record(event(number)).accepted:
            os.write(notes, b"%d\\n" % number)
        if number % 50 == 0:
            time.sleep(0.002)
    """
    dice = random.Random()  # noqa: S311  moments, not secrets
    for _ in range(5):
        writers = [start(database, place, program) for _ in range(3)]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        for writer in writers:
            time.sleep(dice.random() / 4)
            if dice.random() < 0.3:
                with psycopg.connect(database, autocommit=True) as connection:
                    ask(
                        connection,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                        " AND pid <> pg_backend_pid()",
                    )
            writer.kill()
            writer.communicate()
    accepted = [int(line) for line in Path(f"{place}.accepted").read_text().split()]
    bring_in(opened, place)
    stored = numbers(database)
    assert len(stored) == len(set(stored)), "each once"
    assert set(accepted) <= set(stored), "every one that was accepted"
    assert len(set(stored) - set(accepted) - {-1}) <= 15, "but those that were killed before they could note it"
    for process in {number // 100_000 for number in accepted}:
        own = [number for number in stored if number // 100_000 == process]
        assert own == sorted(own)
    assert len(accepted) > 1_000
    with psycopg.connect(database) as connection:
        lost = "SELECT count(*) FROM permalog.event AS e WHERE NOT EXISTS (SELECT FROM permalog.identity AS i"
        assert value(connection, lost + " WHERE i.log_id = e.log_id AND i.commitment = e.identity)") == 0


def test_a_fork_has_a_spool_of_its_own_and_leaves_its_parents_alone(opened: Opened, database: str, place: Path) -> None:
    """As gunicorn and Celery do it: the parent has recorded, and the child ends without a word."""
    run(
        database,
        place,
        """
        for n in range(100): log.record(event(n))
        children = []
        for child in range(2):
            pid = os.fork()
            if pid == 0:
                for n in range(100): log.record(event(1000 + child * 100 + n))
                if child: log.flush()
                os._exit(0)
            children.append(pid)
        for n in range(100, 200): log.record(event(n))
        for pid in children: assert os.waitpid(pid, 0)[1] == 0
        """,
    )
    bring_in(opened, place)
    assert sorted(numbers(database)) == [-1, *range(200), *range(1000, 1200)]


def test_a_child_does_not_keep_its_dead_parents_spool_from_being_adopted(
    opened: Opened, database: str, place: Path
) -> None:
    ready = place.parent / "stop"
    program = f"""
    log._recorder._start = lambda: None
    log.record(event(1))
    if os.fork() == 0:
        while not os.path.exists({str(ready)!r}): time.sleep(0.01)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = start(database, place, program)
    assert parent.wait(30) == -signal.SIGKILL
    log = opened()
    until(lambda: log.stats.adopted == 1)
    ready.touch()
    parent.communicate()
    assert numbers(database) == [1]


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "os._exit(0)", "log.close()"])
def test_the_end_of_a_program_loses_nothing(opened: Opened, database: str, place: Path, ending: str) -> None:
    run(database, place, f"for n in range(200): log.record(event(n))\n{ending}")
    if ending != "os._exit(0)":
        assert emptied(place)
    bring_in(opened, place)
    assert sorted(numbers(database)) == [-1, *range(200)]


def test_two_that_adopt_at_once_store_everything_once(opened: Opened, database: str, place: Path) -> None:
    for first in range(0, 400, 100):
        run(database, place, STILL + f"for n in range({first}, {first} + 100): log.record(event(n))\nos._exit(0)")
    logs = [opened() for _ in range(3)]
    until(lambda: emptied(place))
    assert sorted(numbers(database)) == list(range(400))
    assert sum(log.stats.failed for log in logs) == 0


def test_a_damaged_middle_is_set_aside_and_does_not_stop_the_rest(
    opened: Opened, database: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(database, place, STILL + "for n in range(30): log.record(event(n))\nos._exit(0)")
    (path,) = segments(place)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data[:-5])
    log = bring_in(opened, place)
    stored = numbers(database)
    assert len(stored) == 29
    assert set(stored) < {-1, *range(29)}
    assert log.stats.damaged == 1
    assert "are damaged, and were set aside" in caplog.text
    assert "are no whole event" in caplog.text
    assert "secret@acme.example" not in caplog.text
    assert log.spools.census().quarantined == 1


def test_a_poisoned_event_goes_to_quarantine_with_its_reason_and_the_others_go_on(
    opened: Opened, database: str, place: Path, failures: list[Failure], caplog: pytest.LogCaptureFixture
) -> None:
    log = opened()
    poison = event(900).model_copy(update={"source": "nowhere"})
    receipts = [log.record(poison if n == 5 else event(n)) for n in range(10)]
    with pytest.raises(InvalidEvent):
        receipts[5].wait()
    assert receipts[9].wait()
    assert log.flush()
    assert numbers(database) == [n for n in range(10) if n != 5]
    (file,) = quarantined(place)
    assert b"the database refuses it (SQLSTATE 23514, event_source)" in file.read_bytes()
    assert log.stats.quarantined == log.stats.failed == len(failures) == 1
    assert failures[0].id == receipts[5].id
    assert "secret@acme.example" not in caplog.text + str(failures)


def test_a_replay_stores_nothing_twice_and_quarantines_nothing_twice(
    opened: Opened, database: str, place: Path
) -> None:
    """Killed after the commit, before the mark: the same frames come again."""
    program = """
    log._recorder._start = lambda: None
    for n in range(20): log.record(event(n).model_copy(update={"source": "nowhere"}) if n == 7 else event(n))
    os._exit(0)
    """
    run(database, place, program)
    (path,) = segments(place)
    data = path.read_bytes()
    home = path.parent
    bring_in(opened, place).close()
    home.mkdir()
    (home / "alive").touch()
    (home / path.name).write_bytes(data)
    log = opened()
    until(lambda: log.stats.adopted == 19)
    assert sorted(numbers(database)) == [n for n in range(-1, 20) if n != 7]
    assert log.spools.census().quarantined == 1


def test_receipts_are_waited_for(opened: Opened, database: str) -> None:
    log = opened()
    with psycopg.connect(database) as lock:
        lock.execute("LOCK TABLE permalog.event IN ACCESS EXCLUSIVE MODE")
        receipt = log.record(event(1))
        assert receipt.accepted
        assert not receipt.wait(0.05)
        assert log.stats.oldest_seconds > 0
        assert log.stats.waiting_bytes > 0
    assert receipt.wait()
    assert numbers(database) == [1]
    assert (log.stats.waiting, log.stats.waiting_bytes, log.stats.oldest_seconds) == (0, 0, 0.0)
    refused = log.record(event(2, occurred_at="2020-01-01T00:00:00Z"))
    assert not refused.accepted
    with pytest.raises(InvalidEvent):
        refused.wait()
    with log.database.shared() as connection, pytest.raises(RuntimeError, match="commits with the transaction"):
        log.record(event(3), connection).wait()


def test_receipts_are_awaited(opened: Opened, database: str) -> None:
    receipt = opened().record(event(1))
    assert asyncio.run(receipt.committed())
    assert numbers(database) == [1]


def test_a_receipt_is_waited_for_until_a_signed_checkpoint_covers_the_event(opened: Opened, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "signing.key", "audit.example.com")
    keys.make()
    log = opened()
    receipt = log.record(event(1))
    assert receipt.wait()
    assert not receipt.wait_sealed(0.05)
    seal_now(log.database, None)
    assert not receipt.wait_sealed(0.05), "a leaf alone is no promise: nothing is signed"
    seal_now(log.database, Signing("audit.example.com", keys, SealedFolder(tmp_path / "sealed")))
    assert receipt.wait_sealed(30)
    assert asyncio.run(receipt.sealed(30))
    assert not log.record(event(2)).wait_sealed(0.5)
    refused = log.record(event(3, occurred_at="2020-01-01T00:00:00Z"))
    with pytest.raises(InvalidEvent):
        refused.wait_sealed()


def test_a_disk_that_is_full_refuses_says_so_and_goes_on_when_there_is_room(database: str, place: Path) -> None:
    """A limit on the size of files stands for the disk: the write is cut in the middle, as it is there."""
    said = run(
        database,
        place,
        """
        import resource
        log._recorder._start = lambda: None
        failed = []
        log._recorder._tally._on_failure = failed.append
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
        taken = [n for n in range(50) if log.record(event(n)).accepted]
        error = failed[0].error
        print(type(error).__name__, error, len(taken) + len(failed), log.stats.dropped == len(failed))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        taken += [n for n in range(100, 110) if log.record(event(n)).accepted]
        del log._recorder._start
        log.flush()
        print(taken)
        """,
    )
    first, taken = said.splitlines()
    assert first == "SpoolProblem the spool cannot be written: File too large 50 True"
    assert numbers(database) == [int(number) for number in taken.strip("[]").split(",")]
    assert taken.endswith("108, 109]")


def test_a_spool_that_cannot_be_written_refuses_and_raises_where_that_is_asked_for(
    opened: Opened, database: str, place: Path, failures: list[Failure]
) -> None:
    place.write_text("no folder")
    log = opened()
    assert not log.record(event(1)).accepted
    assert [type(failure.error) for failure in failures] == [SpoolProblem]
    strict = opened(when_full="raise")
    with pytest.raises(SpoolProblem):
        strict.record(event(2))
    place.unlink()
    assert log.record(event(3)).wait()
    assert numbers(database) == [3]


def test_a_folder_that_is_removed_while_the_database_is_away_is_replaced(
    opened: Opened, database: str, place: Path, line: Line
) -> None:
    """Else what is recorded from then on would die with the process."""
    log = opened(line.url)
    log.record(event(0))
    assert log.flush()
    line.cut()
    log.record(event(1))
    for path in sorted(place.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()

    def recorded() -> bool:
        log.record(event(2))
        return bool(segments(place))

    until(recorded)
    line.mend()
    assert log.flush(60)
    assert set(numbers(database)) == {0, 1, 2}
    assert len(numbers(database)) == log.stats.accepted


def test_a_spool_that_cannot_be_opened_holds_nobody_up(
    opened: Opened, database: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        run(database, place, STILL + f"log.record(event({number}))\nos._exit(0)")
    log = opened()
    log.record(event(3))
    assert log.flush()
    until(lambda: 2 in numbers(database) and 1 in numbers(database))
    broken = next(place.glob("*")) / "0000-1-broken"
    broken.mkdir()
    (broken / "alive").touch()
    (broken / "00000001.spool").mkdir()
    until(lambda: "cannot be adopted" in caplog.text)
    log.record(event(4))
    assert log.flush()
    assert sorted(numbers(database)) == [1, 2, 3, 4]


@pytest.fixture
def line(database: str) -> Iterator[Line]:
    line = Line(database)
    yield line
    line.close()


def test_a_read_only_database_keeps_everybody_waiting_and_loses_nothing(
    opened: Opened, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened()

    def switch(mode: str) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(
                composed(f"ALTER DATABASE {{name}} SET default_transaction_read_only = {mode}", name=name)
            )
            ask(
                connection,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()",
            )

    log.record(event(0))
    assert log.flush()
    switch("on")
    for n in range(1, 20):
        log.record(event(n))
    assert not log.flush(0.3)
    switch("off")
    assert log.flush(60)
    assert numbers(database) == list(range(20))
    assert log.stats.failed == 0
    assert "events wait, since the database does not take them: ReadOnlySqlTransaction" in caplog.text


@pytest.mark.slow
def test_a_database_that_is_killed_and_started_again_has_everything_once(tmp_path: Path, place: Path) -> None:
    tmp_path.chmod(0o755)
    server = embedded.start(tmp_path / "data")
    try:
        migrate(server.url, BUILT_IN | ACTIONS)
        with Permalog.connect(server.url, catalogue=ACTIONS, spool=place) as log:
            for n in range(500):
                log.record(event(n))
            postmaster = int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)
            for n in range(500, 1_000):
                log.record(event(n))
            until(
                lambda: not Path(f"/proc/{postmaster}").exists() or "Z" in Path(f"/proc/{postmaster}/stat").read_text()
            )
            assert log.stats.waiting > 0
            embedded.start(tmp_path / "data").stop()
            again = embedded.start(tmp_path / "data")
            assert log.flush(60)
            assert numbers(again.url) == list(range(1_000))
            assert log.stats.failed == 0
            again.stop()
    finally:
        server.stop()


def test_the_identity_that_another_server_may_not_have_travels_again(
    opened: Opened, database: str, make_connections_fail: Callable[[], None]
) -> None:
    """After a connection is lost nothing is taken for committed: a standby may have taken over without it."""
    log = opened()
    log.record(event(1))
    assert log.flush()
    with psycopg.connect(database, autocommit=True) as connection:
        before = value(connection, "SELECT count(*) FROM permalog.identity")
        make_connections_fail()
        log.record(event(2))
        assert log.flush(30)
        log.record(event(3))
        assert log.flush(30)
        assert value(connection, "SELECT count(*) FROM permalog.identity") == before + 1


@pytest.fixture
def make_connections_fail(database: str) -> Callable[[], None]:
    def fail() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            ask(
                connection,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND query NOT LIKE '%count%'",
            )

    return fail


def test_the_doctor_tells_the_truth(opened: Opened, database: str, place: Path) -> None:
    from permalog.recording.spool_health import examine_spools  # noqa: PLC0415

    settings = SpoolSettings(place, limit=1)
    found = {check.name: check for check in examine_spools(database, settings)}
    assert {check.status for check in found.values()} == {"ok"}
    run(database, place, STILL + "for n in range(3): log.record(event(n))\nos._exit(0)")
    waiting = {check.name: check for check in examine_spools(database, settings)}["waiting events"]
    assert waiting.status == "wrong"
    assert waiting.found == "3 events wait in 1 spools, 1 of which their processes have left behind"
    log = opened()
    until(lambda: log.stats.adopted == 3)
    log.record(event(9).model_copy(update={"source": "nowhere"}))
    assert log.flush()
    found = {check.name: check for check in examine_spools(database, settings)}
    assert (found["waiting events"].status, found["quarantine"].status) == ("ok", "wrong")
    too_large = SpoolSettings(place, limit=2**60)
    assert examine_spools(database, too_large)[0].status == "wrong"
    (place.parent / "file").write_text("")
    assert examine_spools(database, SpoolSettings(place.parent / "file" / "x"))[0].status == "wrong"


def test_a_login_that_may_not_write_keeps_events_and_says_what_to_grant(
    opened: Opened, login: Callable[..., str], database: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(login("permalog_reader"))
    log.record(event(1))
    assert not log.flush(0.2)
    log.close()
    assert "this login is no member of permalog_writer" in caplog.text
    assert log.stats.failed == 0
    writer = opened(database)
    writer.record(event(2))
    assert writer.flush()
    until(lambda: writer.stats.adopted == 1)
    assert DatabaseProblem.__name__ not in caplog.text
