"""The service under load, beside a bare FastAPI application that does one SELECT of the same page.

    python -m benchmarks.load --seconds 120

32 clients read the newest page of the largest log, 8 write one event at a time to it, all as fast as they are answered.
Needs wrk (Debian: ``apt-get install wrk``). Prints requests a second, latencies, errors, and the service's memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from typing_extensions import override

from benchmarks.events import opened
from benchmarks.figures import machine
from benchmarks.place import Place, prepared
from benchmarks.reading import Largest
from benchmarks.writing import copy_plain, plain_row, run_child
from permalog.postgres.database import Database
from permalog.postgres.migrate import migrate
from permalog_server.accounts import WRITE, Accounts
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Generator

READERS: Final = 32
WRITERS: Final = 8
_EVENT: Final = {
    "action": "security.finding.created",
    "actor": {"type": "user", "id": "u_1", "email": "ada@acme.example"},
    "resource": {"type": "security_finding", "id": "fnd_1"},
    "metadata": {"package": "left-pad", "severity": "high"},
}
_SCRIPT: Final = """
wrk.method = "{method}"
wrk.headers["Authorization"] = "Bearer {token}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = {body}
done = function(summary, latency, requests)
  io.write(string.format("FIGURES %d %d %d %.1f %.1f %d %d\\n", summary.requests, summary.duration, summary.bytes,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


class Load(NamedTuple):
    """What so many clients got."""

    a_second: float
    median: float
    """Milliseconds, as the next."""
    p99: float
    refused: int
    """Answers that were no 2xx or 3xx."""
    broken: int

    @override
    def __str__(self) -> str:
        """For people."""
        return (
            f"{self.a_second:8.1f} /s   p50 {self.median:7.1f} ms   p99 {self.p99:7.1f} ms   "
            f"{self.refused} refused, {self.broken} broken"
        )


def main() -> None:
    """Measures both, and prints the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.load", description="The service under load.")
    parser.add_argument("--seconds", type=int, default=20, metavar="N", help="of each measurement (default: 20)")
    parser.add_argument("--events", type=int, default=100_000, metavar="N", help="stored before (default: 100000)")
    parser.add_argument("--url", help="a PostgreSQL, as its superuser (default: start the embedded one)")
    parser.add_argument("--folder", type=Path, help="where that is started: on a disk, not in memory")
    options = parser.parse_args()
    for name, value in machine().items():
        print(f"{name}: {value}")
    with prepared(options.url, options.folder) as place, tempfile.TemporaryDirectory() as folder:
        reading, writing = _filled(place, options.events, Path(folder))
        largest = Largest.of(place)
        organization = largest.owner.organization_id
        print(f"events: {options.events:,}, in the largest log {largest.events:,}")
        ours = [sys.executable, "-m", "permalog_server", "serve", "--port", "8098", "--json"]
        bare = [
            sys.executable, "-m", "uvicorn", "--port", "8099", "--no-access-log", "--log-level", "warning",
            "--http", "h11", "--loop", "asyncio", "benchmarks.bare:app",
        ]  # fmt: skip
        address = f"http://127.0.0.1:8098/v1/organizations/{organization}/audit-log/events"
        environment = {"PERMALOG_DATABASE_URL": place.url, "PERMALOG_DATA_DIR": folder}
        _Subject("Permalog", ours, environment, address, reading, writing).measure(options.seconds)
        environment = {"BENCH_URL": place.plain.info.dsn}
        address = f"http://127.0.0.1:8099/{organization}/events"
        _Subject("bare FastAPI", bare, environment, address).measure(options.seconds)


def _filled(place: Place, events: int, folder: Path) -> tuple[str, str]:
    """Both databases with the same events, and the tokens of who reads and who writes."""
    migrate(place.url, ACTIONS, further=steps())
    file = folder / "events.ndjson"
    with opened(events, None, own=False) as (_, lines):
        taken = list(itertools.islice(lines, events))
    file.write_bytes(b"".join(taken))
    run_child("import", place.url, str(file))
    copy_plain(place, [plain_row(line) for line in taken])
    place.settle()
    database = Database(place.url)
    accounts = Accounts(database)
    accounts.ensure_person("bench")
    organization = Largest.of(place).owner.organization_id
    if organization is None:
        raise AssertionError  # the largest log is an organisation's
    accounts.ensure_membership("bench", organization, "owner")
    tokens = accounts.issue("bench").token, accounts.issue("bench", organization=organization, scopes=[WRITE]).token
    database.close()
    return tokens


@dataclass(frozen=True, slots=True)
class _Subject:
    """A service, and how it is asked."""

    name: str
    command: list[str]
    environment: dict[str, str]
    address: str
    reading: str = ""
    """The token of who reads, if it wants one."""
    writing: str = ""

    def measure(self, seconds: int) -> None:
        """Prints what readers alone get, then both together, then what memory that took."""
        with _running(self.command, self.environment, self.address) as process:
            self.read(2).wait()
            before = _memory(process.pid)
            print(f"{self.name}, {READERS} readers alone:   {_figures(self.read(seconds))}")
            both = self.read(seconds), _wrk(self.address, "POST", self.writing, WRITERS, seconds)
            print(f"{self.name}, {READERS} readers of both: {_figures(both[0])}")
            print(f"{self.name}, {WRITERS} writers of both:  {_figures(both[1])}")
            print(f"{self.name}, memory: {before:.0f} MB before, {_memory(process.pid):.0f} MB after")

    def read(self, seconds: int) -> subprocess.Popen[bytes]:
        """Readers, at work."""
        return _wrk(self.address, "GET", self.reading, READERS, seconds)


def _wrk(address: str, method: str, token: str, clients: int, seconds: int) -> subprocess.Popen[bytes]:
    body = f"[==[{orjson.dumps({'events': [_EVENT]}).decode()}]==]" if method == "POST" else "nil"
    handle, script = tempfile.mkstemp(suffix=".lua")
    with os.fdopen(handle, "w") as file:
        file.write(_SCRIPT.format(method=method, token=token, body=body))
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", script, address]
    return subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  as named above


def _figures(process: subprocess.Popen[bytes]) -> Load:
    said = process.communicate()[0].decode()
    found = re.search(r"FIGURES (.*)", said)
    if found is None:
        raise RuntimeError(said)
    requests, microseconds, _, median, p99, refused, broken = map(float, found[1].split())
    return Load(requests / microseconds * 1e6, median, p99, int(refused), int(broken))


@contextmanager
def _running(command: list[str], environment: dict[str, str], address: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(  # noqa: S603  our own
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            port = int(re.findall(r":(\d+)/", address)[0])
            for _ in range(100):
                time.sleep(0.1)
                if _listens(port):
                    break
            yield process
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _memory(pid: int) -> float:
    """Megabytes resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


if __name__ == "__main__":
    main()
