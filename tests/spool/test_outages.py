"""Each outage, brought about on a server or a file system of the test's own: callers go on, and nothing is lost.

What happens in each of them is a row of the table in docs/life-of-an-event.md.
"""

import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import httpx
import psycopg
import pytest
from typing_extensions import override

from actions import ACTIONS
from asking import ask
from line import Line
from own_server import OwnServer, own_server
from permalog.catalogue import BUILT_IN
from permalog.client import Permalog
from permalog.errors import RecorderFull, SpoolProblem
from permalog.postgres.database import Database
from permalog.postgres.health import examine
from permalog.postgres.migrate import migrate
from permalog.recording.record import Failure
from permalog.recording.spool_health import examine_spools
from permalog.recording.spool_settings import SpoolSettings
from permalog_server.metrics import RecorderMetrics
from permalog_server.sql import steps
from servers import on_database, run_on
from service import process
from spooling import Opened, event, numbers, until

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.slow]


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    """A server that these tests may do anything to."""
    server = own_server("outages")
    try:
        server.start()
        ready = on_database(server.url, "ready")
        run_on(server.url, "CREATE DATABASE ready")
        migrate(ready, BUILT_IN | ACTIONS, further=steps())
        yield server
    finally:
        server.remove()


@pytest.fixture
def database(own: OwnServer) -> str:
    """A migrated database on it; here instead of that of all tests, which no one may stop."""
    if not own.is_running:
        own.start()
    name = f"test_{uuid.uuid4().hex}"
    run_on(own.url, "CREATE DATABASE {name} TEMPLATE ready", name=name)
    return on_database(own.url, name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes file systems of a few megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    with ExitStack() as stack:

        def make(megabytes: int, folder: Path = tmp_path / "disk") -> Path:
            folder.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none", folder],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
            return folder

        yield make


def fill(folder: Path) -> Path:
    """Leaves no room on a small file system."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def metrics(log: Permalog) -> dict[str, float]:
    """What Prometheus is told of the recorder."""
    samples = [sample for family in RecorderMetrics(log).collect() for sample in family.samples]
    return {" ".join((sample.name, *sample.labels.values())): sample.value for sample in samples}


def doctor(url: str, place: Path) -> dict[str, str]:
    return {check.name: f"{check.status}: {check.found}" for check in examine_spools(url, SpoolSettings(place))}


@pytest.mark.parametrize("how", ["immediate", "kill"])
def test_a_server_that_is_stopped_under_load_has_everything_once_after_its_start(
    own: OwnServer, opened: Opened, database: str, place: Path, how: str
) -> None:
    log = opened()
    for n in range(300):
        log.record(event(n))
    own.kill() if how == "kill" else own.stop("immediate")
    receipts = [log.record(event(n)) for n in range(300, 600)]
    assert all(receipt.accepted for receipt in receipts)
    assert not log.flush(0.2)
    until(lambda: metrics(log)["permalog_recorder_oldest_seconds"] > 0)
    told = metrics(log)
    assert told["permalog_recorder_waiting"] >= 300
    assert told["permalog_recorder_waiting_bytes"] > 0
    assert re.fullmatch(
        r"ok: \d+ events wait in 1 spools, the oldest for \d+ seconds", doctor(database, place)["waiting events"]
    )
    (start,) = [check for check in examine(database, BUILT_IN) if check.name == "database"]
    assert start.status == "wrong"
    own.start()
    assert log.flush(60)
    assert numbers(database) == list(range(600))
    told = metrics(log)
    assert (told["permalog_recorder_waiting"], told["permalog_recorder_oldest_seconds"]) == (0, 0)
    assert (log.stats.accepted, log.stats.failed, log.stats.dropped) == (600, 0, 0)


def test_readiness_tells_of_a_server_that_is_away_and_of_its_return(
    own: OwnServer, database: str, tmp_path: Path
) -> None:
    with process(database, tmp_path / "service") as service, httpx.Client(base_url=service.url, timeout=60) as client:
        assert client.get("/readyz").status_code == 200
        own.stop("immediate")
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200
        own.start()
        until(lambda: client.get("/readyz").status_code == 200, 60)


def test_a_server_without_a_free_connection_keeps_events_waiting(
    own: OwnServer, opened: Opened, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    own.stop("fast")
    own.start("max_connections=20", "superuser_reserved_connections=0", "max_wal_senders=0")
    log = opened()
    with ExitStack() as taken:
        with suppress(psycopg.OperationalError):  # too many clients
            while True:
                taken.enter_context(psycopg.connect(database))
        for n in range(50):
            log.record(event(n))
        assert not log.flush(0.3)
        assert "too many clients" in caplog.text
        assert log.stats.waiting == 50
    assert log.flush(60)
    assert numbers(database) == list(range(50))
    own.stop("fast")


def test_a_line_that_stalls_and_is_cut_holds_up_no_caller_and_doubles_nothing(opened: Opened, database: str) -> None:
    line = Line(database)
    try:
        log = opened(line.url)
        log.record(event(0))
        assert log.flush()
        line.stall()
        for n in range(1, 200):
            log.record(event(n))  # would not come back if it waited for the database
        assert not log.flush(0.3)
        line.go_on()
        assert log.flush(60)
        line.stall()
        for n in range(200, 300):
            log.record(event(n))
        assert not log.flush(0.3)
        line.cut()  # with what is on its way
        line.go_on()
        line.lose_next_answer_to_a_commit()
        line.mend()
        assert log.flush(60)
        assert numbers(database) == list(range(300))
        assert log.stats.failed == 0
    finally:
        line.close()


def test_a_server_that_vanishes_without_a_word_is_noticed_within_minutes(database: str) -> None:
    """After a power cut or a failover nobody answers, and nobody ends the connection: the system has to ask."""
    line = Line(database)
    with Database(line.url).connect() as connection:
        found = connection.info.get_parameters()
        assert (found["keepalives_idle"], found["tcp_user_timeout"]) == ("30", "60000")
    with Database(f"{line.url}?keepalives_idle=7").connect() as connection:
        assert connection.info.get_parameters()["keepalives_idle"] == "7", "who says otherwise is heard"
    line.close()


def test_a_server_whose_disk_is_full_keeps_events_waiting_until_there_is_room(
    own: OwnServer, opened: Opened, small_disk: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    disk = small_disk(64, own.home / "disk")
    owner = own.home.stat()
    os.chown(disk, owner.st_uid, owner.st_gid)
    with psycopg.connect(own.url, autocommit=True) as connection:
        ask(connection, f"CREATE TABLESPACE small LOCATION '{disk}'")
        ask(connection, "CREATE DATABASE on_small TEMPLATE ready TABLESPACE small")
    url = on_database(own.url, "on_small")
    log = opened(url)
    log.record(event(0))
    assert log.flush(30)
    filler = fill(disk)
    for n in range(1, 2_000):
        log.record(event(n, metadata={"room": "x" * 200}))
    until(lambda: "events wait, since the database does not take them: DiskFull" in caplog.text)
    assert not log.flush(0.3)
    assert log.stats.waiting > 0
    filler.unlink()
    assert log.flush(60)
    assert numbers(url) == list(range(2_000))
    assert log.stats.failed == 0
    log.close()
    run_on(own.url, "DROP DATABASE {name} WITH (FORCE)", name="on_small")
    run_on(own.url, "DROP TABLESPACE small")


def test_a_spools_disk_that_is_full_refuses_says_so_and_takes_events_again(
    own: OwnServer, opened: Opened, database: str, place: Path, small_disk: Callable[..., Path], failures: list[Failure]
) -> None:
    small_disk(6, place)
    log, strict = opened(), opened(when_full="raise")
    own.stop("immediate")
    filled = [log.record(event(n)).accepted for n in range(5)]
    filler = fill(place)
    taken: list[int] = []
    refused = 0
    for n in range(5, 400):  # what is left of a page takes some
        if log.record(event(n)).accepted:
            taken.append(n)
        else:
            refused += 1
    assert all(filled)
    assert refused > 0
    assert {type(failure.error) for failure in failures} == {SpoolProblem}
    assert "No space left on device" in str(failures[0].error)
    assert metrics(log)["permalog_recorder_events_total dropped"] == refused == log.stats.dropped
    with pytest.raises(SpoolProblem, match="No space left"):
        strict.record(event(-1))
    assert doctor(database, place)["spool"].startswith("wrong")
    filler.unlink()
    assert log.record(event(1000)).accepted
    own.start()
    assert log.flush(60)
    assert numbers(database) == [*range(5), *taken, 1000]


def test_a_spool_on_a_file_system_that_is_read_only_refuses_until_it_is_not(
    opened: Opened, database: str, place: Path, small_disk: Callable[..., Path], failures: list[Failure]
) -> None:
    small_disk(6, place)

    def remount(mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", place], check=True)

    log = opened()
    remount("ro")
    assert not log.record(event(0)).accepted
    assert "Read-only file system" in str(failures[0].error)
    assert doctor(database, place)["spool"].startswith("wrong")
    remount("rw")
    assert log.record(event(1)).wait(30)
    assert numbers(database) == [1]
    assert log.stats.dropped == 1


def test_a_spool_at_its_limit_refuses_and_takes_events_again(
    own: OwnServer, opened: Opened, database: str, failures: list[Failure]
) -> None:
    log = opened(limit=20_000)
    own.stop("immediate")
    taken = [n for n in range(200) if log.record(event(n)).accepted]
    assert 0 < len(taken) < 200
    assert {type(failure.error) for failure in failures} == {RecorderFull}
    assert log.stats.dropped == 200 - len(taken)
    assert log.stats.waiting_bytes <= 20_000
    own.start()
    assert log.flush(60)
    assert log.record(event(1000)).wait(30)
    assert numbers(database) == [*taken, 1000]


def test_a_clock_that_is_set_back_loses_nothing(opened: Opened, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    back = timedelta(0)

    class Clock(datetime):
        @classmethod
        @override
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - back

    monkeypatch.setattr("permalog.recording.record.datetime", Clock)
    log = opened()
    log.record(event(0))
    back = timedelta(hours=3)
    monkeypatch.setattr(time, "time_ns", lambda: 1)  # a spool that is begun then has an older name
    for n in range(1, 50):
        log.record(event(n))
    assert log.stats.oldest_seconds >= 0
    assert log.flush(30)
    assert log.stats.failed == 0
    with psycopg.connect(database) as connection:
        rows = ask(connection, "SELECT resource_id FROM permalog.event ORDER BY recorded_at, id")
    assert sorted(int(name.removeprefix("t_")) for (name,) in rows) == list(range(50))


def test_the_doctor_says_for_how_long_events_have_waited(
    own: OwnServer, opened: Opened, database: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    own.stop("immediate")
    log.record(event(1))
    assert doctor(database, place)["waiting events"].startswith("ok: 1 events wait in 1 spools, the oldest for ")
    monkeypatch.setattr("permalog.recording.spool_health._LONG_SECONDS", 0)
    assert doctor(database, place)["waiting events"].startswith("wrong: 1 events wait in 1 spools, the oldest for ")
    own.start()
    assert log.flush(60)
    assert doctor(database, place)["waiting events"] == "ok: 0 events wait in 1 spools"
