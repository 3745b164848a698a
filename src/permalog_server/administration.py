"""The administration of Permalog itself: it is on record, like everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from permalog import Event, Owner, Resource

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from permalog import Actor, Permalog
    from permalog_server.accounts import Accounts, Issued, Role


class Administration:
    """Changes to accounts, each with its event: in the log that it concerns; staff's in the operator's."""

    def __init__(self, log: Permalog, accounts: Accounts, actor: Actor) -> None:
        self._log = log
        self._accounts = accounts
        self._actor = actor

    def join(self, user: str, organization: UUID, role: Role) -> None:
        """Gives somebody a role in an organisation, which is made where there is none.

        Raises:
            ValueError: the organisation was erased.
        """
        if self._accounts.ensure_membership(user, organization, role):
            self._record(Owner.organization(organization), "security.access.role_changed", user, {"role": role})

    def issue(
        self,
        user: str,
        *,
        staff: bool = False,
        organization: UUID | None = None,
        scopes: Collection[str] = (),
        expires_at: datetime | None = None,
    ) -> Issued:
        """Makes a token for somebody who is known.

        Raises:
            ValueError: a scope that there is none of.
        """
        issued = self._accounts.issue(user, organization=organization, scopes=scopes, expires_at=expires_at)
        where = self._accounts.operator() if staff else organization
        details: dict[str, object] = {"token_id": issued.id, "scopes": sorted(scopes), "expires_at": expires_at}
        self._record(_owner(user, where), "security.access.token_created", user, details)
        return issued

    def revoke(self, token_id: UUID) -> bool:
        """Ends a token at once; False where there is none to end."""
        ended = self._accounts.revoke(token_id)
        if ended is None:
            return False
        user, organization = ended
        self._record(_owner(user, organization), "security.access.token_revoked", user, {"token_id": token_id})
        return True

    def _record(self, owner: Owner, action: str, user: str, details: dict[str, object]) -> None:
        resource = Resource("user", user)
        self._log.record(
            Event(owner=owner, action=action, actor=self._actor, resource=resource, metadata=details, source="cli")
        )


def _owner(user: str, organization: UUID | None) -> Owner:
    return Owner.user(user) if organization is None else Owner.organization(organization)
