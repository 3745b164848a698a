"""What the fixtures of the command line's tests hand out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

LineMaker: TypeAlias = Callable[..., bytes]
"""Makes one good event as a line of NDJSON, with members replaced; None leaves one out."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command(Protocol):
    """Calls a command on the test's database."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Said: ...
