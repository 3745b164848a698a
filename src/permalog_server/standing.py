"""Standing: what somebody may read, for commands that look with a customer's eyes (``--as user:ID``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from permalog import Actor, Owner
from permalog.errors import InvalidQuery, PermalogError
from permalog.viewer import Viewer
from permalog_server.accounts import AUDITORS, Accounts
from permalog_server.wiring import operator_at_console

if TYPE_CHECKING:
    from permalog import Permalog


class NotPermitted(PermalogError):
    """The user may not read the log."""


class Reader(NamedTuple):
    """Who reads, and what of the staff they see."""

    actor: Actor
    viewer: Viewer


def reader_of(log: Permalog, whom: str | None, owner: Owner) -> Reader:
    """Whoever is at the console, as staff; or the user that ``whom`` (``user:ID``) names, as the API would let them.

    Raises:
        InvalidQuery: ``whom`` is no ``user:ID``.
        NotPermitted: the user may not read this log.
    """
    if whom is None:
        return Reader(operator_at_console(), Viewer.STAFF)
    kind, _, user_id = whom.partition(":")
    if kind != "user" or not user_id:
        raise InvalidQuery("as", "must be user:<id>")
    standing = Accounts(log.database).standing(user_id, owner.organization_id)
    if standing is not None and standing.staff:
        return Reader(Actor.staff(user_id, email=standing.email, name=standing.name), Viewer.STAFF)
    its_own = owner.user_id == user_id
    if not its_own and (standing is None or standing.role not in AUDITORS):
        raise NotPermitted(f"user:{user_id} may not read the log of {owner}")
    email, name = (standing.email, standing.name) if standing else (None, None)
    return Reader(Actor.user(user_id, email=email, name=name), Viewer.CUSTOMER)
