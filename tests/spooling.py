"""What tests of the spool do over and over: events, what is stored, files, and programs that die."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from asking import ask
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog

Opened: TypeAlias = Callable[..., Permalog]
OWNER = Owner.user("u_1")


def event(number: int = 0, **members: Any) -> Event:
    given: dict[str, Any] = {
        "owner": OWNER, "actor": Actor.user("u_1", email="secret@acme.example"), "action": "thing.made",
        "resource": Resource("thing", f"t_{number}"),
    }  # fmt: skip
    return Event(**(given | members))


def numbers(url: str) -> list[int]:
    """The numbers of the events that are stored, in the order of their ids."""
    with psycopg.connect(url) as connection:
        rows = ask(connection, "SELECT resource_id FROM permalog.event ORDER BY id")
    return [int(name.removeprefix("t_")) for (name,) in rows]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Waits for something that must come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def segments(place: Path) -> list[Path]:
    """The files of all spools."""
    return sorted(place.glob("*/*/*.spool"))


def quarantined(place: Path) -> list[Path]:
    """The files of all quarantines."""
    return sorted(place.glob("*/quarantine/*.frames"))


def everything_in(place: Path) -> bytes:
    """All bytes of all files."""
    return b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())


PROGRAM = """
import os, signal, sys, threading, time
from permalog import Actor, Event, Owner, Resource
from permalog.client import Permalog

url, place = sys.argv[1:3]
log = Permalog.connect(url, spool=place)

def event(number):
    resource = Resource("thing", f"t_{number}")
    actor = Actor.user("u_1", email="secret@acme.example")
    return Event(owner=Owner.user("u_1"), actor=actor, action="thing.made", resource=resource)
"""


def start(url: str, place: Path, program: str) -> subprocess.Popen[str]:
    """Starts a program of its own, which may print."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM + textwrap.dedent(program), url, str(place)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def run(url: str, place: Path, program: str, code: int = 0) -> str:
    """Runs one to its end."""
    process = start(url, place, program)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out
