"""Sessions: who is signed in with a browser, and how they came in.

A session is ``pls_<32 hex digits: its id>_<43 characters: 256 random bits, base64url>``, in a cookie that no script
reads. Only SHA-256 of the second part is kept. A new one is made at each sign-in, so that nobody can be made to use one
that somebody else knows; it ends at sign-out, after `IDLE_SECONDS` without a request, and after `LONGEST_SECONDS`.

A request that a session vouches for, and that changes something, proves that it comes from a page of ours
(`proves_its_origin`): by a token that only our pages know, since it is made from the session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from permalog.errors import PermalogError
from permalog_server.accounts import AGENT_READ, AGENT_WRITE, EXPORT, READ, Accounts, Holder, Role, UnknownToken
from permalog_server.sql import query

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import Request
    from fastapi.responses import Response

    from permalog.postgres.database import Database

IDLE_SECONDS: Final = 2 * 60 * 60
LONGEST_SECONDS: Final = 12 * 60 * 60
LINK_SECONDS: Final = 15 * 60
SCOPES: Final = (AGENT_READ, AGENT_WRITE, EXPORT, READ)
"""What a browser may do, as far as the role goes. Writing events in others' names is for services."""
MOST_ORGANIZATIONS: Final = 200
"""That somebody is offered to choose from."""
CSRF_HEADER: Final = "x-csrf-token"
_COOKIE: Final = "permalog_session"
_HOST_COOKIE: Final = f"__Host-{_COOKIE}"
"""Its prefix makes browsers refuse one that is not Secure, or that another host of the domain has set."""
_FORM: Final = re.compile(r"pls_([0-9a-f]{32})_([A-Za-z0-9_-]{43})", re.ASCII)
_LINK: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class NoSignIn(PermalogError):
    """Somebody could not be signed in; the message says why."""


class Organization(NamedTuple):
    """One that somebody may look into."""

    id: UUID
    name: str | None
    role: Role | None
    """None: staff, who are no members."""

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or f"Organisation {str(self.id)[:8]}"


class Begun(NamedTuple):
    """A new session."""

    value: str
    """The cookie's."""
    expires_at: datetime


class Sessions:
    """The sessions of one installation."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._accounts: Final = Accounts(database)

    def admit(self, value: str | None, organization: UUID | None, *, counts: bool = True) -> Holder:
        """Whom a session speaks for, as `Accounts.admit` says it of a token.

        ``counts``: the request keeps the session from ending; one that goes on by itself, such as a tail, does not.

        Raises:
            UnknownToken: there is none, or it has ended.
        """
        match = _FORM.fullmatch(value or "")
        if match is None:
            raise UnknownToken("nobody is signed in")
        parameters = {
            "token": UUID(match[1]), "organization": organization, "scopes": list(SCOPES), "idle": IDLE_SECONDS
        }  # fmt: skip
        with self._database.shared() as connection:
            row = connection.execute(query("sessions", "admit"), parameters).fetchone()
            known = hmac.compare_digest(row[0] if row else b"\0" * 32, _digest(match[2]))
            if row is None or not known or row[7] or row[8]:
                raise UnknownToken("the session has ended: sign in again")
            if row[9] and counts:
                connection.execute(query("sessions", "touch"), parameters)
        _, user_id, email, name, staff, scopes, writes_for, _, _, _, role, exists = row
        return Holder(UUID(match[1]), user_id, email, name, staff, frozenset(scopes), writes_for, role, exists)

    def begin(self, user_id: str) -> Begun:
        """Signs somebody in.

        Raises:
            NoSignIn: there is nobody of this id, or they were deleted.
        """
        session_id, secret = uuid4(), _secret()
        parameters = {
            "session": session_id, "user": user_id, "digest": _digest(secret), "seconds": LONGEST_SECONDS
        }  # fmt: skip
        with self._database.shared() as connection:
            connection.execute(query("sessions", "sweep"))
            row = connection.execute(query("sessions", "begin"), parameters).fetchone()
        if row is None:
            raise NoSignIn("nobody is known here by this account: ask whoever runs this installation")
        return Begun(f"pls_{session_id.hex}_{secret}", row[0])

    def end(self, value: str | None) -> None:
        """Signs out; a session that is none is left alone."""
        match = _FORM.fullmatch(value or "")
        if match is None:
            return
        with self._database.shared() as connection:
            connection.execute(query("sessions", "end"), {"session": UUID(match[1])})

    def make_link(self, user_id: str) -> str:
        """The secret of a link that signs somebody in, once, within `LINK_SECONDS`."""
        secret = _secret()
        parameters = {"digest": _digest(secret), "user": user_id, "seconds": LINK_SECONDS}
        with self._database.shared() as connection:
            connection.execute(query("sessions", "sweep_links"))
            connection.execute(query("sessions", "add_link"), parameters)
        return secret

    def use_link(self, secret: str) -> str:
        """Whom a link signs in; it is used up.

        Raises:
            NoSignIn: it is none, was used before, or is too old.
        """
        row = None
        if _LINK.fullmatch(secret):
            with self._database.shared() as connection:
                row = connection.execute(query("sessions", "use_link"), {"digest": _digest(secret)}).fetchone()
        if row is None or not row[1]:
            raise NoSignIn("this link was used before, or is older than 15 minutes: start Permalog again for a new one")
        return row[0]

    def organizations(self, user_id: str, *, staff: bool) -> list[Organization]:
        """Those that somebody may choose from, by name: all for staff, else where they are a member."""
        parameters = {"user": user_id, "staff": staff, "most": MOST_ORGANIZATIONS}
        with self._database.shared() as connection:
            return [Organization(*row) for row in connection.execute(query("sessions", "organizations"), parameters)]

    def name_organization(self, organization: UUID, name: str) -> None:
        """What pages call an organisation."""
        with self._database.shared() as connection:
            connection.execute(query("sessions", "name_organization"), {"organization": organization, "name": name})


def session_of(request: Request) -> str | None:
    """The session's cookie; None where there is none."""
    return request.cookies.get(cookie_name(request))


def cookie_name(request: Request) -> str:
    """That of the session: over plain HTTP, as on one's own machine, the prefix could not be kept to."""
    return _HOST_COOKIE if is_secure(request) else _COOKIE


def is_secure(request: Request) -> bool:
    """Whether people come by HTTPS: the address of the settings says so where a proxy stands before us."""
    base_url: str | None = request.app.state.base_url
    return (base_url or str(request.url)).startswith("https://")


def set_session(request: Request, response: Response, begun: Begun) -> None:
    """Gives the browser its session."""
    response.set_cookie(
        cookie_name(request), begun.value, max_age=LONGEST_SECONDS, path="/", secure=is_secure(request),
        httponly=True, samesite="lax",
    )  # fmt: skip


def clear_session(request: Request, response: Response) -> None:
    """Takes it away."""
    response.delete_cookie(
        cookie_name(request), path="/", secure=is_secure(request), httponly=True, samesite="lax"
    )  # fmt: skip


def csrf_of(session: str) -> str:
    """The token that shows that a request comes from a page that this session was shown."""
    return _text(hmac.digest(session.encode(), b"permalog csrf", "sha256"))


def proves_its_origin(request: Request, session: str, given: str | None) -> bool:
    """Whether a request that changes something comes from a page of ours: by its token, and by what browsers say."""
    return is_own_origin(request) and hmac.compare_digest((given or "").encode(), csrf_of(session).encode())


def is_own_origin(request: Request) -> bool:
    """Whether the browser does not say that another site has sent this request."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    base_url: str | None = request.app.state.base_url
    own = urlsplit(base_url).netloc if base_url else request.headers.get("host", "")
    return origin is None or urlsplit(origin).netloc == own


def _secret() -> str:
    return _text(os.urandom(32))


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
