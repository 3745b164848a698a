"""Running a program contained: nothing of our environment, bounded in time, output and disk, killed as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import IO, TYPE_CHECKING, Final

from security_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from security_agent.sandbox.limits import Limits

LARGEST_OUTPUT: Final = 4 * 1024 * 1024
_BLOCK: Final = 4096
_WATCH_SECONDS: Final = 0.05
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class SandboxFailed(AgentError):
    """The code could not be looked at.

    Attributes:
        code: ``sandbox_timeout``, ``sandbox_output``, ``sandbox_disk``, ``sandbox_failed`` or ``clone_failed``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stopped(AgentError):
    """The process is to end: what was begun is to be begun again by another."""

    def __init__(self) -> None:
        super().__init__("ended before it was done, since the process ends")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the parent watches over."""

    seconds: float
    """From start to end."""
    disk: int
    """Bytes below the folder."""
    output: int = LARGEST_OUTPUT


def limited(limits: Limits, *command: str) -> list[str]:
    """The command line that runs a program within limits of its own."""
    return [*own("security_agent.sandbox.limits"), limits.as_json(), *command]


def own(module: str) -> list[str]:
    """The command line of a module of this project, in an interpreter that heeds neither environment nor folder."""
    return [sys.executable, "-I", "-m", module]


def run(  # noqa: PLR0913  what it may use, and what it gets
    command: Sequence[str],
    folder: Path,
    bounds: Bounds,
    *,
    given: bytes = b"",
    also: Mapping[str, str] | None = None,
    stopping: Event | None = None,
) -> bytes:
    """Runs a program in a folder, with an environment that holds nothing of this one, and gives what it printed.

    Args:
        command: of `limited` or `own`.
        folder: where it runs, and its home.
        bounds: of all processes that it starts, together.
        given: its standard input.
        also: variables beside PATH, HOME and the language.
        stopping: set when this process is to end.

    Raises:
        Stopped: it was ended for that.
        SandboxFailed: it ran into a bound, or ended otherwise than well. What it printed is not in the message.
    """
    environment = {"PATH": _PATH, "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder), **(also or {})}
    with TemporaryFile() as input_file, TemporaryFile() as output, TemporaryFile() as errors:
        input_file.write(given)
        input_file.seek(0)
        process = subprocess.Popen(  # noqa: S603  a list, without a shell
            command, cwd=folder, env=environment, stdin=input_file, stdout=output, stderr=errors,
            start_new_session=True, close_fds=True,
        )  # fmt: skip
        try:
            _watch(process, folder, bounds, (output, errors), stopping)
        finally:
            _kill(process)
        if process.returncode != 0:
            raise SandboxFailed("sandbox_failed", f"it ended with {process.returncode}")
        output.seek(0)
        return output.read(bounds.output)


def _watch(
    process: subprocess.Popen[bytes],
    folder: Path,
    bounds: Bounds,
    outputs: Sequence[IO[bytes]],
    stopping: Event | None,
) -> None:
    ends = time.monotonic() + bounds.seconds
    weighed = 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_WATCH_SECONDS)
        if any(os.fstat(one.fileno()).st_size > bounds.output for one in outputs):
            raise SandboxFailed("sandbox_output", f"it printed more than {bounds.output} bytes")
        ended = process.returncode is not None
        if not ended and stopping is not None and stopping.is_set():
            raise Stopped
        if not ended and time.monotonic() > ends:
            raise SandboxFailed("sandbox_timeout", f"it was not done within {bounds.seconds:g} seconds")
        if ended or time.monotonic() > weighed + 1:
            weighed = time.monotonic()
            if weight(folder) > bounds.disk:
                raise SandboxFailed("sandbox_disk", f"it wrote more than {bounds.disk} bytes")
        if ended:
            return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole session: what the program started goes with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def weight(folder: Path) -> int:
    """Bytes of all files below a folder, links not followed; each entry takes a block at least.

    So that a tree of millions of empty files, which a repository of a few kilobytes can unfold to, has its weight.
    """
    total, open_folders = 0, [folder]
    while open_folders:
        with suppress(OSError), os.scandir(open_folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(Path(entry.path))
                        total += _BLOCK
                    else:
                        total += max(entry.stat(follow_symlinks=False).st_size, _BLOCK)
    return total
