"""What one can ask of a log: pages, one event, counts, exports."""

from __future__ import annotations

import builtins
import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO, cast

from permalog.event import Actor, current_actor
from permalog.evidence import gathering as bundles
from permalog.reading import activity as activities
from permalog.reading import export as exports
from permalog.reading.filters import Filters
from permalog.reading.query import DEFAULT_LIMIT, Page, get_event, list_events
from permalog.reading.summary import Summary, summary
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Unpack
    from uuid import UUID

    from permalog.event import Event, Owner, Source
    from permalog.evidence.bundle import Manifest
    from permalog.postgres.database import Database
    from permalog.reading.activity import Activity, SealState
    from permalog.reading.export import Exported
    from permalog.reading.export_formats import ExportFormat
    from permalog.reading.filters import FilterArguments
    from permalog.reading.stored import StoredEvent
    from permalog.sealing.keys import Keys
    from permalog.verifying.database import Given, Progress, Verification

_NOBODY: Final = Actor.system("permalog")


class Reading:
    """The reading half of `permalog.Permalog`: every method takes the filters of `Filters` by name.

    ``viewer`` says who looks: to a customer, staff are “Support” everywhere, and no filter or search tells them apart.

    Raises of all:
        InvalidQuery: a filter breaks a rule; `field` names it.
        DatabaseProblem: the database cannot be reached.
    """

    def __init__(self, database: Database, record_now: Callable[[Event], object]) -> None:
        """``record_now`` records an event, committed when it returns: what a reader must not get ahead of."""
        self._database: Final = database
        self._record_now: Final = record_now

    def list(
        self,
        owner: Owner,
        *,
        before: str | None = None,
        after: str | None = None,
        limit: int = DEFAULT_LIMIT,
        viewer: Viewer = Viewer.STAFF,
        **filters: Unpack[FilterArguments],
    ) -> Page:
        """One page, newest first: the newest events, those before a cursor (older), or those after one (newer).

        Raises:
            InvalidCursor: a cursor of another log or of other filters.
        """
        return list_events(
            self._database, owner, Filters(**filters), before=before, after=after, limit=limit, viewer=viewer
        )

    def get(self, owner: Owner, event_id: UUID, viewer: Viewer = Viewer.STAFF) -> StoredEvent:
        """One event.

        Raises:
            EventNotFound: this log has none of this id.
        """
        return get_event(self._database, owner, event_id, viewer)

    def summary(self, owner: Owner, *, viewer: Viewer = Viewer.STAFF, **filters: Unpack[FilterArguments]) -> Summary:
        """Counts by action, by actor and by day, from one snapshot."""
        return summary(self._database, owner, Filters(**filters), viewer)

    def activity(
        self, owner: Owner, *, viewer: Viewer = Viewer.STAFF, **filters: Unpack[FilterArguments]
    ) -> builtins.list[Activity]:
        """Counts by day (of UTC) and action, from one snapshot."""
        return activities.activity(self._database, owner, Filters(**filters), viewer)

    def seal_state(self, owner: Owner) -> SealState:
        """How far an owner's log is sealed, and since when events wait for it."""
        return activities.seal_state(self._database, owner)

    def verify(
        self,
        owner: Owner | None = None,
        given: Given | None = None,
        *,
        keep_going: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> Verification:
        """Rebuilds an owner's log from its rows, or all logs, and holds them to all that was signed and is `given`.

        The login needs the role ``permalog_verifier``, which reads everything and writes nothing.

        Args:
            owner: whose log; None: all of the database.
            given: keys, and what is known from outside the database.
            keep_going: report everything that is wrong, and do not raise on the first.
            progress: is told now and then how far it is.

        Raises:
            Broken: something is not proven; `finding` says what, and where.
            DatabaseProblem: also if the login is no member of ``permalog_verifier``.
        """
        from permalog.verifying.database import verify_database  # noqa: PLC0415  few that read a log verify it

        log_id = None if owner is None else owner.log_id
        return verify_database(self._database, log_id, given, keep_going=keep_going, progress=progress)

    def actions(self) -> list[dict[str, Any]]:
        """The catalogue as the database has it: name, label, resource type and whether it is retired, by name."""
        with self._database.shared() as connection:
            rows = connection.execute(query("filters", "catalogue")).fetchall()
        return [
            {"name": n, "label": label, "resource_type": kind, "retired": retired} for n, label, kind, retired in rows
        ]

    def export(  # noqa: PLR0913  who exports, and the interface's parameters
        self,
        owner: Owner,
        format: ExportFormat,
        file: BinaryIO | TextIO,
        *,
        actor: Actor | None = None,
        through: Source | None = None,
        viewer: Viewer = Viewer.STAFF,
        **filters: Unpack[FilterArguments],
    ) -> Exported:
        """Writes all events that the filters select to a file, newest first, in constant memory.

        It is on record twice: `started`, committed before the first byte is written, and `finished`. Who exports is
        ``actor``, else that of `acting_as`, else the system; ``through`` becomes the record's `source`.

        Raises:
            Exception: whatever writing raises; the record then says that the export is not complete.
        """

        def write(piece: bytes) -> object:
            if isinstance(file, io.TextIOBase):
                return cast("TextIO", file).write(piece.decode())
            return cast("BinaryIO", file).write(piece)

        who = actor or current_actor() or _NOBODY
        return exports.export(
            self._database,
            owner,
            format,
            write,
            Filters(**filters),
            record=self._record_now,
            actor=who,
            source=through,
            viewer=viewer,
        )

    def export_stream(
        self,
        owner: Owner,
        format: ExportFormat,
        *,
        actor: Actor,
        through: Source | None = None,
        viewer: Viewer = Viewer.STAFF,
        **filters: Unpack[FilterArguments],
    ) -> Generator[bytes]:
        """The same in pieces, for whoever answers a request with it; one that is closed early is recorded as such."""
        return exports.stream(
            self._database,
            owner,
            format,
            Filters(**filters),
            record=self._record_now,
            actor=actor,
            source=through,
            viewer=viewer,
        )

    def evidence(  # noqa: PLR0913  who asks, for what, and by which key it is signed
        self,
        owner: Owner,
        file: BinaryIO,
        *,
        keys: Keys,
        actor: Actor | None = None,
        through: Source | None = None,
        viewer: Viewer = Viewer.STAFF,
        epoch: int | None = None,
        progress: Callable[[int, int], object] = lambda _done, _of: None,
        **filters: Unpack[FilterArguments],
    ) -> Manifest:
        """Writes an evidence bundle (docs/evidence-bundle.md) of the sealed events that the filters select.

        It is on record before its first byte is written. Nothing is written where it cannot be made.

        Args:
            owner: whose log.
            file: where to.
            keys: the log's: the present one signs.
            actor: who asks; else that of `acting_as`, else the system.
            through: becomes the record's `source`.
            viewer: to a customer, staff are masked: the bundle may be handed on.
            epoch: whose tree; else the present one's.
            progress: told how many leaves of the range are done, and of how many.
            filters: those of every reading method.

        Raises:
            NoEvidence: the log has no checkpoint, or its owner was erased.
            NotProven: the log is not as it was sealed: `permalog verify` says more.
        """
        found: list[Manifest] = []
        who = actor or current_actor() or _NOBODY
        wanted = bundles.Wanted(owner, who, Filters(**filters), viewer, through, epoch)
        file.writelines(self._bundle(wanted, keys, progress, found.append))
        return found[0]

    def evidence_stream(  # noqa: PLR0913  as above
        self,
        owner: Owner,
        *,
        keys: Keys,
        actor: Actor,
        through: Source | None = None,
        viewer: Viewer = Viewer.STAFF,
        epoch: int | None = None,
        **filters: Unpack[FilterArguments],
    ) -> Generator[bytes]:
        """The same in pieces; the first comes when the whole is made."""
        return self._bundle(bundles.Wanted(owner, actor, Filters(**filters), viewer, through, epoch), keys)

    def _bundle(
        self,
        wanted: bundles.Wanted,
        keys: Keys,
        progress: Callable[[int, int], object] = lambda _done, _of: None,
        made: Callable[[Manifest], object] = lambda _: None,
    ) -> Generator[bytes]:
        return bundles.evidence(
            self._database, wanted, keys.signer(),
            record=self._record_now, keys=keys.known(), progress=progress, made=made,
        )  # fmt: skip
