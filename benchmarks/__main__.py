"""``python -m benchmarks``: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from benchmarks.events import opened
from benchmarks.figures import Report, machine
from benchmarks.leaves import leaves
from benchmarks.leaving import export, sizes
from benchmarks.place import prepared
from benchmarks.reading import read
from benchmarks.writing import Effort, write

PARTS: Final = ("read", "export", "sizes", "leaves")


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmarks, and prints the figures."""
    options = _options(arguments)
    stages: list[int] = sorted(options.events)
    report = Report({**machine(), "command": "python -m benchmarks " + " ".join(arguments or sys.argv[1:])})
    with (
        opened(stages[-1], options.input, own=options.own) as (source, lines),
        prepared(options.url, options.folder) as place,
    ):
        report.about |= {"source": source.name, "settings": place.settings, "singles": options.singles}
        stored = 0
        for stage in stages:
            write(place, report, lines, stage - stored, Effort(options.repetitions, options.singles))
            stored = stage
            if "read" in options.parts:
                read(place, report, source, stored, options.repetitions)
            if "sizes" in options.parts:
                sizes(place, report, stored)
            if "leaves" in options.parts and stage == stages[-1]:
                leaves(place, report, options.repetitions)
            if "export" in options.parts and stage == stages[-1]:
                export(place, report, stored, options.repetitions)
    for name, value in report.about.items():
        print(f"{name}: {value}")
    print(report.table())
    if options.json is not None:
        options.json.write_bytes(report.json())
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure Permalog beside its peers.")
    add = parser.add_argument
    add(
        "--events",
        type=int,
        nargs="+",
        default=[100_000],
        metavar="N",
        help="at which sizes to measure (default: 100000)",
    )
    add(
        "--repetitions",
        type=int,
        default=5,
        metavar="N",
        help="of each measurement (default: 5; of pages, 20 times that)",
    )
    add(
        "--singles",
        type=int,
        default=2_000,
        metavar="N",
        help="single inserts that are timed in a repetition (default: 2000)",
    )
    add("--parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure beside writing (default: everything)")
    add("--input", type=Path, metavar="FILE", help="events as NDJSON (default: event_stream.py of the sample data)")
    add("--own", action="store_true", help="make the events here, as is done where the sample data is missing")
    add("--url", help="a PostgreSQL, as its superuser (default: start the embedded one in a temporary folder)")
    add("--folder", type=Path, help="where that folder is made: on a disk, not in memory")
    add("--json", type=Path, metavar="FILE", help="write the figures of every repetition here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
