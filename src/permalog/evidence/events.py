"""The events of a bundle, some lines at a time: in their canonical form, of its log, and such as its query selects.

Pure functions over bytes. Where there are many events, a second process takes a part of them (`Checker`).
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import orjson

from permalog.errors import BundleCode, Malformed, Refuted
from permalog.evidence import bundle
from permalog.tlog.canonical import read_preimage, read_preimages

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_AT_ONCE: Final = 32
"""Events that are read together: faster than one by one, and than more than the processor's caches hold."""
_SENT: Final = 1024
"""Events that go to the other process at a time: enough that sending them costs little beside checking them."""
_HELPED_FROM: Final = 50_000
"""With fewer events, all are checked before another process would have begun."""
_AHEAD: Final = 3
_WAITING: Final = 12
"""Parts that may wait for an earlier one: with `_SENT` they bound memory."""
_SWITCH_SECONDS: Final = 0.0005
"""How soon the threads that talk to the other process get the interpreter: at 5 ms it would wait for them."""
_IDENTITY: Final = frozenset({"kind", "actor_id", "email", "name", "ip_address", "user_agent", "value"})
_SAME_IN_BOTH: Final = ("actor_id", "resource_type", "resource_id", "outcome", "correlation_id", "source")


class Rules(NamedTuple):
    """What a manifest says of each event."""

    log_id: str
    query: dict[str, Any]
    """The filters that were given."""
    exact: tuple[tuple[str, Any], ...]
    """Those that stand in an event as they stand in the query."""

    @classmethod
    def of(cls, manifest: bundle.Manifest) -> Self:
        """Those of a manifest."""
        query = manifest.query.model_dump(exclude_none=True)
        return cls(manifest.log_id, query, tuple((name, query[name]) for name in _SAME_IN_BOTH if name in query))


class Fault(NamedTuple):
    """An event that does not stand."""

    code: BundleCode
    offset: int
    """Which of the lines it is in."""
    event_id: str | None
    what: str


class Checked(NamedTuple):
    """What a part of the events has shown."""

    leaves: list[bytes]
    """The hash of each."""
    first: tuple[str, str] | None
    """The id and the time of the first; None where it cannot be read."""
    last: tuple[str, str] | None
    faults: list[Fault]


def check_events(rules: Rules, lines: Sequence[bytes]) -> Checked:
    """Looks at lines of `events.ndjson`: at least one."""
    sha256 = hashlib.sha256
    ends: list[dict[str, Any] | None] = []
    faults: list[Fault] = []
    for start in range(0, len(lines), _AT_ONCE):
        some = lines[start : start + _AT_ONCE]
        try:
            events: list[dict[str, Any] | None] = list(read_preimages(list(some)))
        except ValueError:
            events = [_read(line, start + offset, faults) for offset, line in enumerate(some)]
        for offset, event in enumerate(events, start):
            if event is not None and event["log_id"] != rules.log_id:
                faults.append(Fault(BundleCode.EVENT, offset, event["id"], "is of another log"))
            elif event is not None and rules.query and not _is_selected(rules, event):
                faults.append(Fault(BundleCode.QUERY, offset, event["id"], "is not one that the query selects"))
        ends += [events[0], events[-1]]
    faults.sort(key=lambda fault: fault.offset)
    return Checked([sha256(b"\0" + line).digest() for line in lines], _place(ends[0]), _place(ends[-1]), faults)


def _read(line: bytes, offset: int, faults: list[Fault]) -> dict[str, Any] | None:
    try:
        return read_preimage(line)
    except ValueError as error:
        faults.append(Fault(BundleCode.EVENT, offset, None, f"is {error}"))
        return None


def _place(event: dict[str, Any] | None) -> tuple[str, str] | None:
    return None if event is None else (event["id"], event["occurred_at"])


def _is_selected(rules: Rules, event: dict[str, Any]) -> bool:
    """All filters but the two that only the database can compare: an address, and a search."""
    query, at = rules.query, event["occurred_at"]
    if ("start" in query and at < query["start"]) or ("end" in query and at >= query["end"]):
        return False
    if "action" in query and event["action"] not in query["action"]:
        return False
    # The id of a member of staff stands in their identity only.
    return all(
        event.get(name) == value or (name == "actor_id" and event["actor_type"] == "staff")
        for name, value in rules.exact
    )


def check_opening(opening: bundle.Opening, viewer: str) -> None:
    """An identity is written in its canonical form, opens its commitment, and is one that the viewer may see.

    Raises:
        Malformed: it is not written so. Refuted: it does not, or is not (`IDENTITY`).
    """
    try:
        members: Any = orjson.loads(opening.identity)
    except ValueError:
        members = None
    if not isinstance(members, dict) or not {"kind"} <= members.keys() <= _IDENTITY:  # pyright: ignore[reportUnknownMemberType]
        raise Malformed(BundleCode.IDENTITY, "the members of an identity are not those of one")
    # For text under ASCII keys orjson writes what RFC 8785 asks for.
    is_text = all(isinstance(value, str) for value in members.values())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not is_text or orjson.dumps(members, option=orjson.OPT_SORT_KEYS) != opening.identity:
        raise Malformed(BundleCode.IDENTITY, "an identity is not in its canonical form")
    if hashlib.sha256(b"\2" + opening.salt + opening.identity).digest() != opening.commitment:
        raise Refuted(BundleCode.IDENTITY, f"an identity does not open its commitment {opening.commitment.hex()}")
    if viewer == "customer" and members["kind"] == "staff":
        raise Refuted(BundleCode.IDENTITY, "a bundle for a customer opens the identity of a member of staff")


def check_joined(rules: Rules, lines: bytes) -> Checked:
    """The same of lines that are parted by newlines, as they are sent to another process."""
    return check_events(rules, lines.split(b"\n"))


@dataclass(slots=True)
class Checker:
    """Checks events in their order; with a helper, in two processes at once. Memory does not grow with the events."""

    rules: Rules
    _executor: Executor | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the other process."""
        self._stack.close()

    def get_help(self, events: int) -> None:
        """Begins another process, if there are as many events that it is of use."""
        if events < _HELPED_FROM:
            return
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415  rarely needed
        from multiprocessing import get_context  # noqa: PLC0415

        self._stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._executor = ProcessPoolExecutor(1, get_context("spawn"))
        self._stack.callback(self._executor.shutdown, cancel_futures=True)

    def check(self, lines: Iterator[bytes], count: int) -> Iterator[Checked]:
        """The next lines, part by part; fewer than `count` where there are no more."""
        waiting: deque[Checked | Future[Checked]] = deque()
        for start in range(0, count, _SENT):
            part = list(islice(lines, min(_SENT, count - start)))
            if not part:
                break
            waiting.append(self._begun(part, waiting))
            while waiting and (len(waiting) > _WAITING or _is_done(waiting[0])):
                yield _result(waiting.popleft())
        yield from map(_result, waiting)

    def _begun(self, part: list[bytes], waiting: deque[Checked | Future[Checked]]) -> Checked | Future[Checked]:
        """To the other process, unless it has enough to do; else it is done here."""
        if self._executor is None or sum(not _is_done(one) for one in waiting) >= _AHEAD:
            return check_events(self.rules, part)
        return self._executor.submit(check_joined, self.rules, b"\n".join(part))


def _is_done(one: Checked | Future[Checked]) -> bool:
    return isinstance(one, Checked) or one.done()


def _result(one: Checked | Future[Checked]) -> Checked:
    return one if isinstance(one, Checked) else one.result()
