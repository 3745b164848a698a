"""Figures: what was measured, its medians and ratios, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

PERMALOG: Final = "permalog"
PLAIN: Final = "plain"
LIMIT: Final = "limit"
_HEADS: Final = ("", "unit", "Permalog", "plain table", "the limit", "to plain", "to limit", "aim")


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, of each subject, as often as it was repeated."""

    group: str
    what: str
    unit: str
    aim: str = ""
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, subject: str, value: float) -> None:
        """One more measurement."""
        self.values.setdefault(subject, []).append(value)

    def median(self, subject: str) -> float | None:
        """The middle one."""
        values = self.values.get(subject)
        return statistics.median(values) if values else None

    def ratio(self, subject: str) -> float | None:
        """How many times the other subject's figure Permalog's is: the median of the repetitions', where they pair.

        None where one of them was not measured, or was too small to be: processor time comes in ticks of 10 ms.
        """
        ours, theirs = self.values.get(PERMALOG, []), self.values.get(subject, [])
        if not ours or not theirs or 0 in theirs:
            return None
        if len(ours) == len(theirs):
            return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        return statistics.median(ours) / statistics.median(theirs)

    def row(self) -> tuple[str, ...]:
        """The figure as a line of the table."""
        shown = [_shown(self.median(subject)) for subject in (PERMALOG, PLAIN, LIMIT)]
        ratios = ["" if (ratio := self.ratio(subject)) is None else f"{ratio:.2f}" for subject in (PLAIN, LIMIT)]
        return (self.what, self.unit, *shown, *ratios, self.aim)

    def p99(self, subject: str) -> float | None:
        """The slowest but one in a hundred, where there are a hundred."""
        values = self.values.get(subject, [])
        return statistics.quantiles(values, n=100)[-1] if len(values) >= 100 else None  # noqa: PLR2004


@dataclass(slots=True)
class Report:
    """All figures of a run."""

    about: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)

    def figure(self, group: str, what: str, unit: str, aim: str = "") -> Figure:
        """A new figure."""
        made = Figure(group, what, unit, aim)
        self.figures.append(made)
        return made

    def table(self, groups: Iterable[str] | None = None) -> str:
        """The figures as text."""
        wanted = list(dict.fromkeys(figure.group for figure in self.figures)) if groups is None else list(groups)
        rows = [_HEADS, *(figure.row() for figure in self.figures)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADS))]
        lines: list[str] = []
        for group in wanted:
            lines += ["", group, _line(_HEADS, widths)]
            lines += [_line(figure.row(), widths) for figure in self.figures if figure.group == group]
        return "\n".join(lines)

    def json(self) -> bytes:
        """Everything, repetition by repetition."""
        content = {**self.about, "figures": [asdict(figure) for figure in self.figures]}
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def machine() -> dict[str, Any]:
    """What it was measured on, and when."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def say(text: str) -> None:
    """Progress, on standard error, with the load of the machine: figures count only where nothing else runs."""
    print(f"[{datetime.now(UTC):%H:%M:%S}, load {os.getloadavg()[0]:.1f}] {text}", file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in about.splitlines() if line.startswith("model name")), "")


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *others, aim = cells
    numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *numbers, aim]).rstrip()
