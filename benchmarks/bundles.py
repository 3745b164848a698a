"""``python -m benchmarks.bundles``: how fast evidence bundles are made and verified, how large, in how much memory.

One owner's log in the embedded PostgreSQL, sealed; one bundle of all of it. Verifying runs in a process of its own,
which has no database, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks.events import ACTIONS, opened
from benchmarks.figures import machine, say
from benchmarks.place import prepared
from permalog import Event, Owner, Permalog
from permalog.recording.store import Dated
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN: Final = "audit.example.com"
OWNER: Final = {"user_id": "u_1"}
_BATCH: Final = 5_000
_VERIFY: Final = """
import json, sys, time
from permalog.evidence.verifier import verify_bundle
from permalog.tlog.note import VerifierKey
from permalog_server.bundles import collecting_rarely
def most_kib():  # of this program; what getrusage says is inherited from whoever started it
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
before = most_kib()
began, cpu = time.perf_counter(), time.process_time()
with open(sys.argv[1], "rb") as file, collecting_rarely():  # as `permalog verify` does
    found = verify_bundle(file, [VerifierKey.parse(sys.argv[2])], helped=len(sys.argv) > 3)
print(json.dumps({"events": found.manifest.counts.events, "wall": time.perf_counter() - began,
    "cpu": time.process_time() - cpu, "before_kib": before, "most_kib": most_kib()}))
"""


def main() -> int:
    """Runs it, and prints the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.bundles", description="Measure evidence bundles.")
    parser.add_argument("--events", type=int, default=50_000, metavar="N", help="default: 50000")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="default: 3")
    options = parser.parse_args()
    for name, value in machine().items():
        print(f"{name}: {value}")
    with (
        opened(options.events, None, own=False) as (source, lines),
        prepared(None, None) as place,
        tempfile.TemporaryDirectory(prefix="permalog-bench-") as folder,
        Permalog.connect(place.url, catalogue=ACTIONS, importing=True) as log,
    ):
        print(f"source: {source.name}")
        _store(log, islice(lines, options.events))
        keys = KeyFile(Path(folder) / "signing.key", ORIGIN)
        key = keys.make()
        say("sealing")
        began = time.perf_counter()
        seal_now(log.database, Signing(ORIGIN, keys, SealedFolder(Path(folder) / "sealed")))
        print(f"sealed in {time.perf_counter() - began:.1f} s")
        place.settle()
        file = Path(folder) / "audit.zip"
        for viewer in (Viewer.STAFF, Viewer.CUSTOMER):
            for _ in range(options.repetitions):
                _measure(log, keys, file, str(key), viewer)
    return 0


def _store(log: Permalog, lines: Iterator[bytes]) -> None:
    """All in one log: a bundle is one owner's."""
    say("storing")
    writer = log.writer()
    now = datetime.now(UTC)
    while batch := list(islice(lines, _BATCH)):
        events = [Event.from_json(orjson.dumps({**orjson.loads(line), "owner": OWNER})) for line in batch]
        for outcome in writer.store([Dated.of(event, now) for event in events]):
            if outcome.error is not None:
                raise outcome.error
    writer.close()


def _measure(log: Permalog, keys: KeyFile, file: Path, key: str, viewer: Viewer) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    with file.open("wb") as output:
        made = log.evidence(Owner.user(OWNER["user_id"]), output, keys=keys, viewer=viewer)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    events, size = made.counts.events, file.stat().st_size
    plain = sum(one.size for one in made.members)
    command = [sys.executable, "-c", _VERIFY, str(file), key]
    checked, helped = (
        json.loads(subprocess.run([*command, *more], check=True, capture_output=True, text=True).stdout)  # noqa: S603  of our own making
        for more in ((), ("helped",))
    )
    print(
        f"{viewer}: {events:,} events, {made.counts.identities:,} identities;"
        f" made {events / wall:,.0f}/s ({events / cpu:,.0f}/s of our processor);"
        f" {size / events:.0f} bytes an event, unpacked {plain / events:.0f};"
        f" verified {checked['events'] / checked['wall']:,.0f}/s"
        f" ({checked['events'] / checked['cpu']:,.0f}/s of processor),"
        f" in two processes {helped['events'] / helped['wall']:,.0f}/s,"
        f" memory {checked['before_kib'] / 1024:.0f} -> {checked['most_kib'] / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
