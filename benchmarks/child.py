"""What is measured in a process of its own, whose memory and interpreter nothing else shares.

    python -m benchmarks.child import URL FILE
    python -m benchmarks.child record URL FILE
    python -m benchmarks.child export URL FORMAT [OWNER…]

prints one JSON object: seconds, of the clock and of this process's processor, how many events, and the most memory that
the process ever had, in megabytes.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from benchmarks.events import ACTIONS
from benchmarks.processor import own_seconds
from permalog import Event, Owner, Permalog
from permalog_server.importing import import_lines
from permalog_server.ndjson import lines_of

if TYPE_CHECKING:
    from permalog.reading.export_formats import ExportFormat


def main(arguments: list[str]) -> None:
    """Does one thing, and says what it took."""
    what, url, name, *owners = arguments
    with Permalog.connect(url, catalogue=ACTIONS, importing=True) as log:
        began = own_seconds()
        match what:
            case "import":
                result = _import(log, Path(name))
            case "record":
                result = _record(log, Path(name))
            case _:
                result = _export(log, cast("ExportFormat", name), [Owner.parse(owner) for owner in owners])
        result = {"processor": own_seconds() - began, **result}
    sys.stdout.buffer.write(orjson.dumps({**result, "peak_mb": peak_megabytes()}))


def _import(log: Permalog, file: Path) -> dict[str, Any]:
    """As ``permalog import FILE`` does."""
    with file.open("rb") as lines:
        began = time.perf_counter()
        tally = import_lines(log, lines_of(lines), reject=lambda _line: None, progress=lambda _tally, _bytes: None)
        return {"seconds": time.perf_counter() - began, "events": tally.added}


def _record(log: Permalog, file: Path) -> dict[str, Any]:
    """Fire and forget, until everything is committed. The events are built before the clock starts."""
    events = [Event.from_json(line) for line in file.read_bytes().splitlines()]
    began, computed = time.perf_counter(), own_seconds()
    for event in events:
        log.record(event)
    taken = time.perf_counter() - began
    log.flush(600)
    seconds, computed = time.perf_counter() - began, own_seconds() - computed
    return {"seconds": seconds, "taken": taken, "events": log.stats.stored, "processor": computed}


def _export(log: Permalog, form: ExportFormat, owners: list[Owner]) -> dict[str, Any]:
    events = 0
    with Path(os.devnull).open("wb") as nowhere:
        began = time.perf_counter()
        for owner in owners:
            events += log.export(owner, form, nowhere).rows
        return {"seconds": time.perf_counter() - began, "events": events}


def peak_megabytes() -> float:
    """The most resident memory of this program; `ru_maxrss` would count its parent's, from before it began."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
