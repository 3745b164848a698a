"""A PostgreSQL of a test's own, to be killed, stopped and starved: on the embedded server's programs."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

import postgres15
from permalog.postgres import embedded_host

QUICK = ("fsync=off", "listen_addresses=", "autovacuum=off", "max_wal_size=256MB", "jit=off")
"""What was written survives the death of the server without fsync, too; nobody pulls the plug here."""


class OwnServer:
    """A server in a folder of its own, stopped until `start`."""

    def __init__(self, home: Path) -> None:
        """Makes the cluster in a new folder, which the server's account can reach."""
        _, self._account, _ = embedded_host.place(home)
        self._programs = embedded_host.programs(self._account)
        self.home = home
        self.data = home / "data"
        self.url = f"postgresql://postgres@/postgres?host={home}&port=5432"
        if self._account is not None:
            os.chown(home, self._account.pw_uid, self._account.pw_gid)
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")

    def start(self, *settings: str) -> None:
        """Starts it, and waits until it takes connections; further settings are like ``max_connections=9``."""
        options = " ".join(f"-c {one}" for one in (*QUICK, *settings))
        end = time.monotonic() + 60
        while True:
            try:
                self._run("pg_ctl", "start", "-w", "-l", str(self.home / "log"), "-o", f"-k {self.home} {options}")
            except RuntimeError:  # the remains of one that was killed notice within moments, and end
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self, mode: str = "immediate") -> None:
        """Stops it if it runs: ``immediate`` gives nobody the time to end anything."""
        if self.is_running:
            self._run("pg_ctl", "stop", "-w", "-m", mode)

    def kill(self) -> None:
        """SIGKILL for the postmaster and all that it has started."""
        processes = self.processes()
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        end = time.monotonic() + 30
        while any(_is_alive(process) for process in processes):
            assert time.monotonic() < end
            time.sleep(0.01)
        # Where nobody reaps the dead, a new server would take the number in there for a living postmaster's.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def processes(self) -> list[int]:
        """The postmaster, and what it has started."""
        postmaster = self._postmaster()
        if postmaster is None:
            return []
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
        with suppress(OSError):
            return [postmaster, *map(int, children.read_text().split())]
        return []

    @property
    def is_running(self) -> bool:
        """Whether its postmaster lives."""
        postmaster = self._postmaster()
        return postmaster is not None and _is_alive(postmaster)

    def is_answering(self) -> bool:
        """Whether it takes connections now."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def remove(self) -> None:
        """Kills it, and removes its files."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _postmaster(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _run(self, program: str, *arguments: str) -> None:
        who = self._account
        done = subprocess.run(
            [self._programs / program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=(said := (self.home / "said").open("w+")),
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "PGDATA": str(self.data), "LC_ALL": "C"},
            user=None if who is None else who.pw_uid,
            group=None if who is None else who.pw_gid,
            extra_groups=None if who is None else [],
        )
        with said:
            said.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed: {said.read()}")


def _is_alive(process: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def own_server(name: str) -> OwnServer:
    """One in a quick folder."""
    folder = Path(os.environ.get("PERMALOG_TEST_SERVERS") or postgres15.quick_folder() or "/var/tmp")  # noqa: S108
    home = folder / f"{name}-{os.getpid()}-{time.monotonic_ns()}"
    home.mkdir()
    home.chmod(0o755)
    return OwnServer(home)
