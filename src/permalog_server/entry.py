"""Entry: who comes in, through which route, to whose log, and what of it is recorded."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from permalog import Actor, Event, Owner, Resource
from permalog.event import Source
from permalog.viewer import Viewer
from permalog.witnessing.proofs import owner_of
from permalog_server.accounts import AUDITORS, EXPORT, READ, Accounts, Holder, Role
from permalog_server.allowance import Allowance, Places
from permalog_server.paths import template_of
from permalog_server.problem import Problem, invalid
from permalog_server.sessions import CSRF_HEADER, Sessions, proves_its_origin, session_of
from permalog_server.sql import query
from security_agent.agent import owner_id

if TYPE_CHECKING:
    from anyio import CapacityLimiter

    from permalog import Permalog
    from permalog.sealing.keys import Keys
    from permalog_server import tailing
    from permalog_server.forgetting import Office
    from permalog_server.syncs import Syncs
    from permalog_server.writing import Writers
    from security_agent.agent import Agent
    from security_agent.analysis import Means

VIEW_SECONDS: Final = 15 * 60
KNOCK_SECONDS: Final = 60 * 60
_VIEWED: Final = "security.audit_log.viewed"

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

bearer: Final = HTTPBearer(auto_error=False, description="A token of `permalog token create`.")


class Need(NamedTuple):
    """What a route asks of whoever enters."""

    scopes: frozenset[str]
    """Any one of them."""
    roles: frozenset[Role]
    action: str
    """Which event a denied attempt is."""
    for_services: bool = False
    """Whether the scope alone is enough."""
    resource_type: str = "audit_log"
    """What a denied attempt was about: the log, or what of the security agent the action concerns."""


READING: Final = Need(frozenset({READ}), AUDITORS, _VIEWED)
EXPORTING: Final = Need(frozenset({EXPORT}), AUDITORS, "security.audit_log.exported")
PROVING: Final = Need(frozenset({EXPORT}), AUDITORS, "security.audit_log.evidence_created")


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who may do what they came for."""

    holder: Holder
    owner: Owner
    viewer: Viewer
    actor: Actor


@dataclass(frozen=True, slots=True)
class Desk:
    """What admission works with; one for the application."""

    log: Permalog
    accounts: Accounts
    sessions: Sessions
    allowance: Allowance
    exports: Places
    exporting: CapacityLimiter
    """Threads that make pieces of exports: apart, so that they never take those of the other routes."""
    writers: Writers
    writing: CapacityLimiter
    """Threads that store batches, likewise."""
    office: Office
    tails: tailing.Desk
    public_logs: bool
    """Whether anybody may read checkpoints and hash tiles."""
    keys: Keys | None
    """Those of the logs, which sign evidence."""
    agent: Agent
    means: Means
    """What judges findings."""
    syncs: Syncs
    """Syncs that run behind the answers."""
    internal_secret: str | None = field(repr=False)
    """What opens the routes below /internal; None: nothing does."""
    webhook_secret: str | None = field(repr=False)
    """What GitHub signs its webhooks with; None: none is taken."""

    def close(self) -> None:
        """Ends tails and syncs, and closes what was opened for them."""
        self.tails.hub.close()
        self.syncs.close()
        self.writers.close()

    def once(self, seconds: int, *what: object, event: Event) -> None:
        """Records an event unless the same was noticed within so many seconds, by whichever process."""
        digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
        with self.log.database.shared() as connection:
            if connection.execute(query("accounts", "is_noticed"), {"digest": digest}).fetchone():
                return
        # Before the transaction: opening takes another connection, and who waits for one must not hold one.
        self.log.open(event.owner)
        with self.log.database.shared() as connection, connection.transaction():
            if connection.execute(query("accounts", "notice"), {"digest": digest, "seconds": seconds}).fetchone():
                self.log.record(event, connection=connection)


class Visit:
    """A request at the desk: nothing is decided yet."""

    def __init__(
        self,
        request: Request,
        token: str | None,
        organization: UUID | None,
        *,
        session: str | None = None,
        source: Source = "api",
    ) -> None:
        """A request comes with a token, or else with a browser's session; `source` is what its events say."""
        self._request: Final = request
        self._token: Final = token
        self._session: Final = session
        self._source: Final[Source] = source
        self.organization: Final = organization
        self._desk: Final[Desk] = request.app.state.desk

    def admit(self, need: Need, **details: Any) -> Entry:  # noqa: ANN401  whatever the event's metadata should hold
        """Lets somebody in, or says why not; what must be on record is recorded.

        Raises:
            UnknownToken: no token, or none that is valid.
            Problem: 404 for who is not a member, 403 for a role or a scope that is missing, 429 for too many requests.
        """
        holder = self._holder(self.organization)
        self._desk.allowance.take(holder.token_id)
        if self.organization is not None and not self._is_service(holder, need):
            self._check_membership(holder, need)
        if not need.scopes & holder.scopes:
            raise self.denied(holder, need, f"this token lacks the scope {' or '.join(sorted(need.scopes))}")
        if not self._may_by_role(holder, need):
            raise self.denied(holder, need, f"the role {holder.role} may not do this")
        owner = Owner.user(holder.user_id) if self.organization is None else Owner.organization(self.organization)
        entry = Entry(holder, owner, Viewer.STAFF if holder.staff else Viewer.CUSTOMER, self._actor(holder))
        if need.action == _VIEWED and holder.staff and self.organization is not None:
            self._note_view(entry, details)
        return entry

    def admit_to(self, log_id: UUID, need: Need) -> Entry:
        """Lets somebody in to a log by its id, as the routes of its owner would.

        Raises:
            UnknownToken: no token, or none that is valid.
            Problem: 404 for a log that is not there and for one of somebody else, the same for both; else as `admit`.
        """
        holder = self._holder(None)
        with self._desk.log.database.reading(log_id) as connection:
            owner = owner_of(connection, log_id)
        if owner is None or (owner.user_id is not None and not holder.staff and owner.user_id != holder.user_id):
            self._desk.allowance.take(holder.token_id)
        else:
            try:
                return Visit(
                    self._request, self._token, owner.organization_id, session=self._session, source=self._source
                ).admit(need)
            except Problem as problem:
                if problem.status != HTTPStatus.NOT_FOUND:
                    raise
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such log, or you may not follow it")

    @property
    def log(self) -> Permalog:
        """The log of the application."""
        return self._desk.log

    @property
    def desk(self) -> Desk:
        """What the routes work with."""
        return self._desk

    def _holder(self, organization: UUID | None) -> Holder:
        if self._token is not None or self._session is None:
            return self._desk.accounts.admit(self._token, organization)
        goes_on_by_itself = self._request.url.path.endswith("/tail")
        return self._desk.sessions.admit(self._session, organization, counts=not goes_on_by_itself)

    def _is_service(self, holder: Holder, need: Need) -> bool:
        """A service writes for whom its token is for, without being anybody's member."""
        return (
            need.for_services and bool(need.scopes & holder.scopes) and holder.writes_for in {None, self.organization}
        )

    def _may_by_role(self, holder: Holder, need: Need) -> bool:
        return self.organization is None or holder.staff or holder.role in need.roles or self._is_service(holder, need)

    def _check_membership(self, holder: Holder, need: Need) -> None:
        if holder.organization_exists and (holder.staff or holder.role is not None):
            return
        if holder.organization_exists:
            event = self._denial(holder, need, "not a member")
            self._desk.once(KNOCK_SECONDS, "knock", holder.user_id, self.organization, self._route, event=event)
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such organisation, or you are not a member of it")

    def denied(self, holder: Holder, need: Need, reason: str) -> Problem:
        """What somebody who may not is told; it is on record."""
        self._desk.log.record(self._denial(holder, need, reason))
        return Problem(HTTPStatus.FORBIDDEN, reason)

    def _denial(self, holder: Holder, need: Need, reason: str) -> Event:
        owner = Owner.user(holder.user_id) if self.organization is None else Owner.organization(self.organization)
        return Event(
            owner=owner, action=need.action, outcome="denied", actor=self._actor(holder), source=self._source,
            resource=self._aim(owner, need), metadata={"route": self._route, "reason": reason},
        )  # fmt: skip

    def _aim(self, owner: Owner, need: Need) -> Resource:
        """What an attempt was about: the finding of the route, the owner's agent, or the log."""
        finding = str(self._request.path_params.get("finding_id", ""))[:255].replace("\0", "")
        if need.resource_type == "security_finding" and finding:
            return Resource("security_finding", finding)
        if need.resource_type == "audit_log":
            return Resource("audit_log", str(owner.log_id))
        return Resource("agent_config", owner_id(owner))

    def _note_view(self, entry: Entry, details: dict[str, Any]) -> None:
        event = Event(
            owner=entry.owner, action=_VIEWED, actor=entry.actor, source=self._source,
            resource=Resource("audit_log", str(entry.owner.log_id)), metadata={"route": self._route, **details},
        )  # fmt: skip
        self._desk.once(VIEW_SECONDS, "view", entry.holder.user_id, entry.owner, event=event)

    def _actor(self, holder: Holder) -> Actor:
        make = Actor.staff if holder.staff else Actor.user
        agent = self._request.headers.get("user-agent", "").replace("\0", "")[:2048] or None
        address = self._request.client.host[:45] if self._request.client else None
        return make(holder.user_id, email=holder.email, name=holder.name, ip_address=address, user_agent=agent)

    @property
    def _route(self) -> str:
        return f"{self._request.method} {template_of(self._request.scope)}"


async def organization_of_route(organization_id: UUID) -> UUID:
    """Declares the parameter of an organisation's routes."""
    return organization_id


async def _visit(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Visit:
    """A request at the desk. Asynchronous, since it only looks at what is there already."""
    _check_query(request)
    organization = request.path_params.get("organization_id")
    try:
        which = None if organization is None else UUID(organization)
    except ValueError:
        raise invalid("organization_id", "must be a UUID") from None
    token, session = credentials and credentials.credentials, session_of(request)
    by_session = token is None and session is not None and request.method not in _SAFE
    # A browser sends its cookie along with whatever another site makes it send.
    if by_session and not proves_its_origin(request, session or "", request.headers.get(CSRF_HEADER)):
        raise Problem(HTTPStatus.FORBIDDEN, f"a browser's session needs the header {CSRF_HEADER}")
    return Visit(request, token, which, session=session)


def _check_query(request: Request) -> None:
    """Refuses parameters that the route does not have, and those given twice that it has once.

    A misspelt `dry_run` must not delete anybody, and of two limits nobody knows which one holds.
    """
    if not request.scope["query_string"]:
        return
    known = _parameters(request.app, template_of(request.scope), request.method)
    names = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in names.items():
        if name not in known:
            raise invalid(name[:200], "unknown parameter")
        if times > 1 and not known[name]:
            raise invalid(name, "is given more than once")


def _parameters(app: FastAPI, template: str, method: str) -> dict[str, bool]:
    """The query parameters of a route by name, and whether each may be repeated."""
    made: dict[tuple[str, str], dict[str, bool]] = app.state.parameters
    if (template, method) not in made:
        route: dict[str, Any] = app.openapi()["paths"].get(template, {}).get(method.lower(), {})
        made[template, method] = {
            parameter["name"]: parameter["schema"].get("type") == "array"
            for parameter in route.get("parameters", ())
            if parameter["in"] == "query"
        }
    return made[template, method]


Guest: TypeAlias = Annotated[Visit, Depends(_visit)]
"""What every route takes: whoever has come, not yet admitted."""
