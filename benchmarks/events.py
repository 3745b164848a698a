"""Where the events come from: the sample stream beside the repository, a file, or a generator of our own."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid5

import orjson

from permalog import Catalogue
from security_agent import actions

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

ROOT: Final = Path(__file__).parents[1]
STREAM: Final = ROOT.parent / "shared" / "data" / "event_stream.py"
ACTIONS: Final = Catalogue(replace(action, payload=None) for action in actions.CATALOGUE)
"""The security agent's actions with any payload: what is generated here has its names and its bulk, not its members."""
_SPACE: Final = UUID("9b1f0c52-3d0a-4c1e-8a77-0d6a5f0b7e11")
_FIRST: Final = datetime(2025, 8, 1, tzinfo=UTC)
_SPAN: Final = timedelta(days=396)


class Source(NamedTuple):
    """A stream of events."""

    name: str
    """For the report."""
    needles: dict[str, str]
    """What to search for, by how often it is found."""


FROM_STREAM: Final = Source(
    "event_stream.py",
    {
        "rare": "beaker",
        "medium": "libwebp-sys",
        "frequent": "django",
        "id": "GHSA-8v9w-p43c-r885",
        "not ASCII": "誤検知",
    },
)
OWN: Final = Source("benchmarks/events.py", {"rare": "needle-rare", "medium": "needle-medium", "frequent": "widget-1"})


@contextmanager
def opened(count: int, file: Path | None, *, own: bool) -> Generator[tuple[Source, Iterator[bytes]]]:
    """A source, and its lines with their newlines: `count` of them at least where there are as many."""
    if file is not None:
        with file.open("rb") as lines:
            yield FROM_STREAM._replace(name=file.name), islice(lines, count)
    elif own or not STREAM.exists():
        yield OWN, own_lines(count)
    else:
        with _program(count) as lines:
            yield FROM_STREAM, lines


@contextmanager
def _program(count: int) -> Generator[IO[bytes]]:
    command = [sys.executable, str(STREAM), "--n", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603  a fixed program
        if process.stdout is None:
            raise RuntimeError("there is no pipe")
        yield process.stdout
        process.terminate()


def own_lines(count: int) -> Iterator[bytes]:
    """Events like those of the security agent, the same every time: a fifth of them in the largest log."""
    dice = random.Random(11)  # noqa: S311  samples, not secrets
    kinds = [(action.name, action.resource_type) for action in ACTIONS]
    for number in range(count):
        yield orjson.dumps(_event(number, count, dice, kinds), option=orjson.OPT_APPEND_NEWLINE)


def _event(number: int, count: int, dice: random.Random, actions: list[tuple[str, str]]) -> dict[str, Any]:
    owner = 0 if dice.randrange(5) == 0 else 1 + int(dice.random() ** 2 * (count // 500))
    person = dice.randrange(15)
    action, resource_type = dice.choice(actions)
    needle = {count // 2: " needle-rare"}.get(number, " needle-medium" if number % 1_000 == 0 else "")
    metadata = {
        "package": f"widget-{dice.randrange(5_000)}",
        "ecosystem": dice.choice(("npm", "pip", "maven", "rust")),
        "severity": dice.choice(("low", "medium", "high", "critical")),
        "summary": f"A weakness in the handling of input number {dice.randrange(10**9)}{needle}",
        "manifest_path": f"services/part-{dice.randrange(300)}/package-lock.json",
        "alert_number": dice.randrange(10_000),
    }
    return {
        "owner": {"user_id": f"owner-{owner}"} if owner % 10 == 9 else {"organization_id": uuid5(_SPACE, str(owner))},  # noqa: PLR2004
        "action": action,
        "outcome": "denied" if dice.randrange(150) == 0 else "success",
        "actor": {"type": "system", "id": "scheduler"} if dice.randrange(2) else {
            "type": "user",
            "id": f"u_{owner}_{person}",
            "email": f"person.{owner}.{person}@bench.example",
            "name": f"Person {owner} {person}",
        },
        "resource": {"type": resource_type, "id": f"fnd_{dice.randrange(max(count // 5, 1)):08x}"},
        "occurred_at": f"{_FIRST + _SPAN * number / count:%Y-%m-%dT%H:%M:%S.%fZ}",
        "before_state": {"state": "open"},
        "after_state": {"state": dice.choice(("open", "dismissed", "fixed"))},
        "metadata": metadata,
        "correlation_id": f"{dice.randrange(max(count // 3, 1)):016x}",
        "source": dice.choice(("web", "api", "cron")),
        "event_key": f"bench/{number}",
    }  # fmt: skip
