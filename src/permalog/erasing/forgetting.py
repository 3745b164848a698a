"""Forgetting: what `Permalog` does to erase people and organisations, in the database and in spools."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from permalog.erasing.erasure import ErasedLog, bar_organization, bar_user, erase_organization, erase_user
from permalog.event import Actor, current_actor
from permalog.reader import Reading

if TYPE_CHECKING:
    from collections.abc import Collection, Generator
    from uuid import UUID

    from permalog.postgres.database import Connection
    from permalog.recording.spool_purge import Spools


class Forgetting(Reading):
    """The part of `Permalog` that erases."""

    @property
    @abstractmethod
    def spools(self) -> Spools:
        """The spools of all processes that record into this database, as far as they lie in the same folder."""

    def erase_user(  # noqa: PLR0913  who, by whom, and what is known of them
        self,
        user_id: str,
        *,
        actor: Actor | None = None,
        dry_run: bool = False,
        also: Collection[str] = (),
        staff: bool = False,
        connection: Connection | None = None,
    ) -> list[ErasedLog]:
        """Forgets a person: their identities in all logs, and the log that they own.

        Events of others stay as they are, and each organisation's log that is concerned gets a record. The login needs
        the role ``permalog_privacy``.

        Args:
            user_id: whose identities arrive blank from then on.
            actor: who erases; else that of `acting_as`, else the system.
            dry_run: write nothing, and only say what would go.
            also: addresses and names of the person that no identity need tell, such as those of an account: they are
                erased from personal values of others' events, too.
            staff: the person is one of the product's own; then no customer's log tells that they were erased.
            connection: erase in its transaction. Then call `bar_user` beforehand: otherwise what others were
                recording about the person at that moment stays.

        Returns:
            What was erased, a row for each log; empty where there was nothing.

        Raises:
            DatabaseProblem: a transaction that recorded something stayed open for too long.
        """
        who = actor or current_actor() or Actor.system("permalog")
        if connection is None and not dry_run:
            self.bar_user(user_id)
            self.spools.purge_user(user_id, also)
        with self._joined(connection) as used:
            return erase_user(used, user_id, who, dry_run=dry_run, also=also, staff=staff)

    def erase_organization(
        self, organization_id: UUID, *, dry_run: bool = False, connection: Connection | None = None
    ) -> list[ErasedLog]:
        """Removes an organisation's log as a whole; what stays is a tombstone, which refuses new events.

        With a connection, call `bar_organization` beforehand.
        """
        if connection is None and not dry_run:
            self.bar_organization(organization_id)
            self.spools.purge_organization(organization_id)
        with self._joined(connection) as used:
            return erase_organization(used, organization_id, dry_run=dry_run)

    def bar_user(self, user_id: str) -> None:
        """The first step of erasing a person: what arrives of them is blank from now on, and their log takes no events.

        Waits for those who were recording at that moment.

        Raises:
            DatabaseProblem: one of them had not ended after 30 seconds.
        """
        bar_user(self._database, user_id)

    def bar_organization(self, organization_id: UUID) -> None:
        """The first step of erasing an organisation, likewise."""
        bar_organization(self._database, organization_id)

    @contextmanager
    def _joined(self, connection: Connection | None) -> Generator[Connection]:
        if connection is not None:
            yield connection
            return
        with self._database.shared() as own, own.transaction():
            yield own
