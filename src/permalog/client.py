"""`Permalog`: the library's front door."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from typing_extensions import override

from permalog.catalogue import BUILT_IN, Catalogue
from permalog.erasing.forgetting import Forgetting
from permalog.errors import InvalidEvent, NotAllowed, PermalogError, UnknownAction
from permalog.postgres.database import Database
from permalog.postgres.migrate import migrate
from permalog.recording import statement as statements
from permalog.recording.record import Receipt, Recorder, capturing
from permalog.recording.spool_settings import SpoolSettings
from permalog.recording.store import Writer, refusal
from permalog.sql import query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType
    from uuid import UUID

    from permalog.catalogue import Action
    from permalog.event import Event, Owner
    from permalog.postgres.embedded import EmbeddedServer
    from permalog.recording.record import FailureHook, Stats
    from permalog.recording.spool_purge import Spools
    from permalog.recording.statement import Statement, Style

RECENT: Final = timedelta(days=7)
"""Older events need the right to import; bounds how far back a stolen writer's password can write."""


class Permalog(Forgetting):
    """An audit log in one PostgreSQL database. Made by `connect` or `embedded`, safe to share between threads.

    Args of both:
        catalogue: the actions that this application declares; what it records of these is checked against their
            models. It may record every other action that the database knows, too.
        on_failure: called for every event that ``record(event)`` took, or refused, and that was not stored.
        importing: record events of more than seven days ago; the login needs the role ``permalog_importer``.
        spool: the folder, or all settings, of the spool that ``record(event)`` writes to; else the environment says
            (``PERMALOG_SPOOL_DIR``, docs/settings.md).
    """

    def __init__(  # noqa: PLR0913  use `connect` or `embedded`
        self,
        database: Database,
        catalogue: Catalogue,
        *,
        on_failure: FailureHook | None = None,
        importing: bool = False,
        server: EmbeddedServer | None = None,
        spool: SpoolSettings | None = None,
    ) -> None:
        """Use `connect` or `embedded`."""
        super().__init__(database, self._commit)
        self._catalogue: Final = catalogue
        self._importing: Final = importing
        self._server: Final = server
        self._known: set[str] = set()
        self._opened: Final[set[UUID]] = set()
        role = "permalog_importer" if importing else "permalog_writer"
        self._recorder: Final = Recorder(database, role=role, on_failure=on_failure, spool=spool)
        self._refresh_actions()

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        catalogue: Catalogue | Iterable[Action] = (),
        on_failure: FailureHook | None = None,
        importing: bool = False,
        spool: SpoolSettings | Path | str | None = None,
    ) -> Self:
        """Opens a log in a database that `permalog migrate` has prepared.

        Raises:
            DatabaseProblem: it cannot be reached.
            NotMigrated: it has no Permalog schema.
            SpoolProblem: the settings of the spool cannot be understood.
        """
        settings = SpoolSettings.of(spool)
        log = cls(Database(url), _whole(catalogue), on_failure=on_failure, importing=importing, spool=settings)
        log._recorder.recover()
        return log

    @classmethod
    def embedded(
        cls,
        path: Path | str = ".permalog",
        *,
        catalogue: Catalogue | Iterable[Action] = (),
        on_failure: FailureHook | None = None,
        importing: bool = False,
        spool: SpoolSettings | Path | str | None = None,
    ) -> Self:
        """Opens a log in a PostgreSQL of its own under ``path``, which starts and is migrated when needed.

        Raises:
            EmbeddedUnavailable: the server cannot be started, or the extra ``embedded`` is not installed.
        """
        from pathlib import Path  # noqa: PLC0415

        from permalog.postgres.embedded import start  # noqa: PLC0415  needs an extra

        server = start(Path(path))
        try:
            actions = _whole(catalogue)
            migrate(server.url, actions)
            settings = SpoolSettings.of(spool, server.data_dir / "spool")
            log = cls(
                Database(server.url), actions, on_failure=on_failure, importing=importing, server=server, spool=settings
            )
            log._recorder.recover()
        except BaseException:
            server.stop()
            raise
        return log

    def record(self, event: Event, connection: Any = None) -> Receipt:  # noqa: ANN401  any driver's
        """Records an event: fire-and-forget, or inside the caller's transaction.

        Without a connection it returns at once, and the event survives the death of the process. It MUST NOT raise,
        unless ``PERMALOG_SPOOL_FULL`` says so: what goes wrong is counted and handed to ``on_failure``. The receipt can
        be waited for. With one (psycopg, SQLAlchemy's Connection or Session, Django's, or another DB-API driver's) the
        event commits with the caller's transaction or not at all.

        Raises:
            InvalidEvent: only with a connection: the event breaks a rule. Nothing was written.
            ContentConflict: only with a connection: its key or id was used before with other content.
            RecorderFull, SpoolProblem: only without, and where ``PERMALOG_SPOOL_FULL`` is ``raise``: not accepted.
        """
        if (capture := capturing(self)) is not None:
            self._check_with_database(event)
            return capture.take(event)
        if connection is not None:
            self._check_with_database(event)
            self.open(event.owner)
            return Receipt(statements.execute(event, connection), event.owner.log_id)
        try:
            self._check(event)  # whether the action is known is left to the database: asking it would be to wait
        except PermalogError as error:
            return self._recorder.reject(event, error)
        return self._recorder.submit(event)

    def record_all(self, events: Sequence[Event], connection: Any) -> list[Receipt]:  # noqa: ANN401  any driver's
        """Records many events in the caller's transaction with one statement, in their order; all or none.

        Raises:
            InvalidEvent: one of them breaks a rule. Nothing was written.
            ContentConflict: the key or id of one was used before with other content.
        """
        if (capture := capturing(self)) is not None:
            for event in events:
                self._check_with_database(event)
            return [capture.take(event) for event in events]
        for event in events:
            self._check_with_database(event)
            self.open(event.owner)
        stored = statements.execute_all(events, connection)
        return [Receipt(id, event.owner.log_id) for id, event in zip(stored, events, strict=True)]  # noqa: A001

    def _commit(self, event: Event) -> None:
        """Records an event in a transaction of its own, and waits for it."""
        self._check_with_database(event)
        self.open(event.owner)
        with self._database.shared() as connection:
            statements.execute(event, connection)

    def open(self, owner: Owner) -> None:
        """Makes sure that an owner's log exists, which `record` does by itself, in a transaction of its own.

        That is so that two callers who open one log do not wait for each other's commit; it takes a connection of the
        pool for a moment. Whoever records inside a transaction on a connection of the pool opens the log before it.
        """
        if owner.log_id in self._opened:
            return
        row = {
            "log_ids": [owner.log_id],
            "organization_ids": [owner.organization_id],
            "user_ids": [owner.user_id],
        }
        try:
            with self._database.shared() as connection, connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '1s'")
                connection.execute(query("store", "open_logs"), row)
        except psycopg.errors.LockNotAvailable:
            # An open transaction has opened this log by SQL. To wait for it would be for ever where it is the caller's;
            # and permalog.append opens the log itself.
            return
        except psycopg.errors.InsufficientPrivilege as error:
            raise refusal(error) from error
        self._opened.add(owner.log_id)

    def statement(self, event: Event, style: Style = "any") -> Statement:
        """SQL and parameters that record an event, for a driver or a transaction that Permalog does not know.

        Raises:
            InvalidEvent: the event breaks a rule.
        """
        self._check_with_database(event)
        return statements.statement(event, style)

    def knows(self, action: str) -> bool:
        """Whether the database knows an action; one that was admitted since it was last asked counts, too."""
        if action not in self._known:
            self._refresh_actions()
        return action in self._known

    def writer(self) -> Writer:
        """A connection of its own for storing many events and learning what became of each, such as an import."""
        return Writer(self._database, "permalog_importer" if self._importing else "permalog_writer")

    @property
    def catalogue(self) -> Catalogue:
        """What this application declares, and what the library itself records."""
        return self._catalogue

    def known_actions(self) -> frozenset[str]:
        """The names of all actions that the database admits now, retired ones included."""
        self._refresh_actions()
        return frozenset(self._known)

    @property
    def database(self) -> Database:
        """The database, for what builds on the library."""
        return self._database

    @property
    @override
    def spools(self) -> Spools:
        """The spools of all processes that record into this database, as far as they lie in the same folder."""
        return self._recorder.spools

    @property
    def stats(self) -> Stats:
        """What the recorder has taken, stored and lost since it was made."""
        return self._recorder.stats

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until everything recorded so far is stored or has failed; False if ``timeout`` seconds were too few."""
        return self._recorder.flush(timeout)

    def close(self) -> None:
        """Flushes the recorder, closes the connections, and leaves the embedded server."""
        self._recorder.close()
        self._database.close()
        if self._server is not None:
            self._server.stop()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def _check_with_database(self, event: Event) -> None:
        if not self.knows(event.action):
            raise UnknownAction(event.action)
        self._check(event)

    def _check(self, event: Event) -> None:
        """What can be checked here and now."""
        action = self._catalogue.get(event.action)
        if event.occurred_at is not None:
            now = datetime.now(UTC)
            if event.occurred_at > now + timedelta(minutes=5):
                raise InvalidEvent("occurred_at", "is more than 5 minutes ahead")
            if event.occurred_at < now - RECENT and not self._importing:
                raise NotAllowed("occurred_at", "is more than 7 days ago, which needs the right to import")
        if action is not None:
            action.check(event.before_state, event.after_state, event.metadata)

    def _refresh_actions(self) -> None:
        with self._database.shared() as connection:
            self._known = {name for (name,) in connection.execute("SELECT action FROM permalog.catalogue")}


def _whole(catalogue: Catalogue | Iterable[Action]) -> Catalogue:
    declared = catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue)
    return BUILT_IN | declared
