"""Verifying a live database: every log rebuilt from its rows, in one snapshot a log and in constant memory.

It runs as ``permalog_verifier``, which may read all logs with their salts, and write nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from permalog.ids import log_id_of
from permalog.sql import query
from permalog.tlog.anchor import anchor_leaf
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.findings import Broken, Finding, Report, VerifyCode
from permalog.tlog.note import VerifierKey
from permalog.tlog.witness_policy import WitnessPolicy
from permalog.verifying import alongside as verify_alongside
from permalog.verifying.epochs import ends, resumptions
from permalog.verifying.outside import read_published, read_witnessed
from permalog.verifying.rows import Rows
from permalog.verifying.rules import Claim, Place, Source
from permalog.verifying.schema import check_schema
from permalog.verifying.tree import Before, Head, TreeReader

if TYPE_CHECKING:
    from permalog.postgres.database import Connection, Database

_NIL: Final = UUID(int=0)


class SignedState(NamedTuple):
    """A size and a root that stand outside the database, or that an earlier verification has ended with."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Given:
    """What is known from outside the database, against which it is held. What is not given is not looked at."""

    keys: Sequence[VerifierKey] = ()
    """Of the logs. Without any, no signature is checked, and that is a notice."""
    prefix: str | None = None
    """``PERMALOG_ORIGIN``, which each checkpoint's origin begins with."""
    outside: Mapping[tuple[UUID, int], SignedState] = field(default_factory=dict[tuple[UUID, int], SignedState])
    """What was signed last, by log and epoch, as the sealer keeps it outside the database."""
    anchors: Mapping[int, Sequence[bytes]] = field(default_factory=dict[int, Sequence[bytes]])
    """All texts of the anchor log by its epochs, from the first leaf on. They tell only of all logs together."""
    witnessed: Sequence[bytes] = ()
    """Checkpoints that witnesses have cosigned, as they keep them."""
    witnesses: Sequence[VerifierKey] = ()
    """The witnesses' keys."""
    policy: WitnessPolicy | None = None
    """How many of which witnesses must have cosigned; their keys count as given."""
    since: Mapping[tuple[UUID, int], SignedState] = field(default_factory=dict[tuple[UUID, int], SignedState])
    """Where an earlier verification has ended: events before are counted, and not read again."""


class Progress(NamedTuple):
    """How far it is in one log."""

    log_id: UUID
    done: int
    """Leaves, those of earlier epochs included."""
    total: int


class VerifiedLog(NamedTuple):
    """What was found of one epoch of a log; for the highest, what to begin with next time (`Given.since`)."""

    log_id: UUID
    epoch: int
    size: int
    root: bytes
    checkpoints: int
    read: int
    """Events that were read: fewer than the size where it began with an earlier verification's end."""


@dataclass(slots=True)
class Verification:
    """What verifying has come to."""

    logs: list[VerifiedLog] = field(default_factory=list[VerifiedLog])
    findings: list[Finding] = field(default_factory=list[Finding])
    """The first 1,000 failures and all notices."""
    failures: int = 0

    @property
    def proven(self) -> bool:
        """There is no failure."""
        return self.failures == 0

    def note(self, finding: Finding) -> None:
        """Takes a finding."""
        if finding.severity == "failure":
            self.failures += 1
            if self.failures > MOST_FAILURES:
                return
        self.findings.append(finding)


MOST_FAILURES: Final = 1_000
"""That are kept: bounds memory where all of a log is broken."""


def verify_database(
    database: Database,
    log_id: UUID | None = None,
    given: Given | None = None,
    *,
    keep_going: bool = False,
    progress: Callable[[Progress], object] | None = None,
) -> Verification:
    """Verifies one log, or all, and the guards of the database itself.

    Raises:
        Broken: something is not proven, and `keep_going` is not set; `finding` says what, and where.
        DatabaseProblem: the database cannot be reached, or the login is no member of ``permalog_verifier``.
    """
    given = given or Given()
    result = Verification()

    def report(finding: Finding) -> None:
        result.note(finding)
        if finding.severity == "failure" and not keep_going:
            raise Broken(finding)

    run = _Run(database, given, result, report, progress)
    with database.verifying() as connection:
        check_schema(connection, report, has_roles=database.has_roles)
    for each in run.all_logs() if log_id is None else [log_id]:
        with database.verifying() as connection:
            run.log(connection, each)
    run.close(whole=log_id is None)
    return result


class _Run:
    """One verification, log by log."""

    def __init__(
        self,
        database: Database,
        given: Given,
        result: Verification,
        report: Report,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        self._database = database
        self._given = given
        self._result = result
        self._report = report
        self._progress = progress
        witnesses = [*given.witnesses, *(given.policy.keys if given.policy else ())]
        self._witnesses = list(dict.fromkeys(witnesses))
        self._anchored = read_published(given.anchors, given.prefix or "", given.keys, self._witnesses, report)
        self._claims = read_witnessed(given.witnessed, self._witnesses, report)
        self._seen: set[tuple[UUID, int]] = set()
        for key, state in given.outside.items():
            self._claims.setdefault(key, []).append(Claim(state.size, state.root, Source.OUTSIDE))
        if not given.keys:
            report(Finding(VerifyCode.NOT_SIGNED, "no key was given: signatures were not checked"))

    def all_logs(self) -> Iterator[UUID]:
        """Every log of which there is a row, or that was named from outside."""
        after = _NIL
        while True:
            with self._database.verifying() as connection:
                row = connection.execute(query("verify", "next_log"), {"after": after}).fetchone()
            if row is None:
                break
            after = row[0]
            yield after
        yield from sorted({log for log, _ in self._claims} - {log for log, _ in self._seen})

    def log(self, connection: Connection, log_id: UUID) -> None:
        """All rules of one log, in one snapshot."""
        erased = self._owner(connection, log_id)
        epochs = connection.execute(query("verify", "epochs"), {"log": log_id}).fetchall()
        known = [key for key in self._claims if key[0] == log_id]
        for missing in sorted({epoch for _, epoch in known} - {epoch for epoch, *_ in epochs}):
            epochs.append((missing, None, None, None))
        if [epoch for epoch, *_ in epochs] != list(range(1, len(epochs) + 1)):
            self._report(Finding(VerifyCode.EPOCH_BROKEN, "an epoch of the log is left out", log_id))
        rows = Rows(connection, log_id, self._report)
        if erased:
            self._trees(connection, rows, log_id, epochs, erased=True)
            return
        with self._beside(connection, rows, log_id, sum(size or 0 for _, size, *_ in epochs)) as tell_beside:
            self._trees(connection, rows, log_id, epochs)
            tell_beside()

    def _trees(
        self, connection: Connection, rows: Rows, log_id: UUID, epochs: list[Any], *, erased: bool = False
    ) -> None:
        """Every epoch, from the first."""
        resumed = {} if erased else resumptions(connection, log_id, self._report)
        ended = ends(resumed)
        total, done = sum(size or 0 for _, size, *_ in epochs), 0
        last: Checkpoint | None = None
        for epoch, size, frontier, age in epochs:
            place = Place(log_id, epoch)
            self._seen.add((log_id, epoch))
            reader = TreeReader(
                connection, place, rows, self._report,
                origin=None if self._given.prefix is None else log_origin(self._given.prefix, log_id, epoch),
                keys=self._given.keys, witnesses=self._witnesses, opened=self._open_anchor,
                policy=self._given.policy if epoch == epochs[-1][0] else None,
            )  # fmt: skip
            claims = self._claims.get((log_id, epoch), [])
            if size is None:
                self._report(place.found(VerifyCode.HEAD_MISSING, "the head of the tree is not there"))
                size = 0  # noqa: PLW2901  as if there were no leaf
            if erased:
                last = reader.signed_only(Head(size, frontier, age or 0.0), claims)
                continue
            since = self._given.since.get((log_id, epoch))
            start = None if since is None else Claim(since.size, since.root, Source.OUTSIDE)

            def tell(leaves: int, before: int = done) -> None:
                if self._progress is not None:
                    self._progress(Progress(log_id, before + leaves, total))

            before = Before(last, resumed.get(epoch))
            newest = reader.verify(Head(size, frontier, age or 0.0), claims, start, before, ended.get(epoch), tell)
            last = newest or last
            done += size
            self._result.logs.append(VerifiedLog(log_id, epoch, size, reader.root, reader.checkpoints, reader.read))

    @contextmanager
    def _beside(self, connection: Connection, rows: Rows, log_id: UUID, leaves: int) -> Generator[Callable[[], object]]:
        """What stands beside the trees; of a large log it is begun now. To be told when it is called."""
        since = any(key[0] == log_id for key in self._given.since)
        if leaves < verify_alongside.FROM_LEAVES:
            yield lambda: rows.beside(since=since)
            return
        with verify_alongside.Alongside(
            self._database, connection, log_id, since=since, most=MOST_FAILURES
        ) as alongside:

            def tell() -> None:
                alongside.report(self._report)
                self._result.failures += alongside.more

            yield tell

    def close(self, *, whole: bool) -> None:
        """What can be told only at the end: anchored checkpoints that no log has."""
        for index in sorted(self._anchored.values()) if whole else ():
            message = f"no stored checkpoint is the one that was anchored as leaf {index} of the anchor log"
            self._report(Finding(VerifyCode.ANCHOR_UNOPENED, message))

    def _owner(self, connection: Connection, log_id: UUID) -> bool:
        """The log was opened for the owner of whom its id is made; returns whether it was erased."""
        row = connection.execute(query("verify", "log"), {"log": log_id}).fetchone()
        if row is None:
            self._report(Finding(VerifyCode.LOG_MISSING, "there is no such log", log_id))
            return False
        organization, user, erased = row
        if (organization is None) == (user is None) or log_id_of(organization, user) != log_id:
            self._report(Finding(VerifyCode.LOG_OWNER, "the id of the log is not that of its owner", log_id))
        if erased:
            counts = connection.execute(query("verify", "remains"), {"log": log_id}).fetchone() or ()
            if any(counts):
                message = "the log counts as erased, and still holds rows"
                self._report(Finding(VerifyCode.EVENT_UNPLACED, message, log_id))
            message = "the owner was erased: what was signed stands, the events are gone"
            self._report(Finding(VerifyCode.ERASED, message, log_id))
        return erased

    def _open_anchor(self, checkpoint: Checkpoint) -> None:
        if self._anchored:
            self._anchored.pop(anchor_leaf(checkpoint), None)
