"""A PostgreSQL 15 of this machine's own, for the tests: the oldest version that Permalog supports."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

INSTALLED = Path("/usr/lib/postgresql/15/bin")
# Two servers with their write-ahead logs, and the databases of a few tests at a time.
ROOM = 4 * 2**30


@dataclass(frozen=True)
class Postgres15:
    """A running server of one's own, and where it lies."""

    url: str
    home: Path
    programs: Path

    def stop(self) -> None:
        """Stop the server by its own pid file, and remove its files."""
        run(self.programs / "pg_ctl", "stop", "-w", "-m", "fast", "-D", self.home / "data")
        shutil.rmtree(self.home)


def quick_folder() -> Path | None:
    """A folder in memory for what the tests need not keep, where one has room; None: the usual one."""
    memory = Path("/dev/shm")  # noqa: S108  what goes there has a random name and a mode of its own
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return memory if roomy else None


def programs() -> Path | None:
    """The folder of PostgreSQL 15's programs, or None where it is not installed."""
    if (INSTALLED / "initdb").exists():
        return INSTALLED
    config = shutil.which("pg_config")
    if config is None:
        return None
    if " 15" not in subprocess.run([config, "--version"], check=True, capture_output=True, text=True).stdout:
        return None
    folder = subprocess.run([config, "--bindir"], check=True, capture_output=True, text=True).stdout.strip()
    return Path(folder) if (Path(folder) / "initdb").exists() else None


def account() -> pwd.struct_passwd | None:
    """Whom root runs the server as, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def run(program: Path, *arguments: str | Path) -> None:
    """Run one of the programs, away from the caller's folder, which may be closed to the account."""
    who = account()
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.run(
            [program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=None if who is None else who.pw_uid,
            group=None if who is None else who.pw_gid,
            extra_groups=None if who is None else [],
        ).returncode
        output.seek(0)
        if code != 0:
            raise RuntimeError(f"{program.name} failed: {output.read()}")


def start(folder_of_programs: Path) -> Postgres15:
    """Make a cluster in a temporary folder and start it, on a socket in there and a loopback port."""
    home = Path(tempfile.mkdtemp(prefix="permalog-15-", dir=quick_folder()))
    if (who := account()) is not None:
        os.chown(home, who.pw_uid, who.pw_gid)
    initdb = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
    run(folder_of_programs / "initdb", "-D", home / "data", *initdb)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(folder_of_programs / "pg_ctl", "start", "-w", "-D", home / "data", "-l", home / "log", "-o", options)
    return Postgres15(f"postgresql://postgres@/postgres?host={home}&port={port}", home, folder_of_programs)
