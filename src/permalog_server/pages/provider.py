"""An OpenID provider, asked by authlib: who somebody is, by the authorization code flow with PKCE.

One secret of the browser's cookie gives state, nonce and code verifier, so that nothing has to be kept here: an answer
is taken only from the browser that began, and only for what it began.
"""

from __future__ import annotations

import base64
import hmac
import os
import ssl
import time
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, cast
from urllib.parse import urlsplit

import structlog

from permalog_server.sessions import NoSignIn
from permalog_server.settings import OpenId

if TYPE_CHECKING:
    from types import TracebackType

    import httpx2

CALLBACK: Final = "/sign-in/callback"
SECONDS: Final = 10.0
"""For one answer of the provider; bounds how long a sign-in holds a thread."""
KEPT_SECONDS: Final = 60 * 60
"""How long what the provider says of itself is remembered; its keys are fetched each time."""
LEEWAY_SECONDS: Final = 60
SCOPE: Final = "openid email profile"
ALGORITHMS: Final = ["RS256", "PS256", "ES256", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "EdDSA"]
"""Public-key ones only: with a shared secret anybody who has it could say who somebody is."""
_LONGEST: Final = 255

_log: Final = structlog.get_logger("permalog.sign_in")


class _Client(Protocol):
    """What is used of authlib's client, which says nothing of its types."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def create_authorization_url(self, url: str, state: str, code_verifier: str, *, nonce: str) -> tuple[str, str]: ...

    def fetch_token(self, url: str, **parameters: str) -> dict[str, Any]: ...

    def request(self, method: str, url: str, *, withhold_token: bool) -> httpx2.Response: ...


class Person(NamedTuple):
    """Whom the provider vouches for."""

    id: str
    email: str | None
    """Only where the provider says that it is verified."""
    name: str | None


class Provider:
    """The provider of the settings."""

    def __init__(self, openid: OpenId, base_url: str) -> None:
        """``base_url`` is where people reach the pages.

        Raises:
            NoSignIn: an address is neither HTTPS nor on this machine.
        """
        for address in (openid.issuer, base_url):
            if not _is_guarded(address):
                raise NoSignIn(f"{address} must begin with https://")
        self._openid: Final = openid
        self._callback: Final = base_url.rstrip("/") + CALLBACK
        self._certificates: Final = ssl.create_default_context()  # once: to read them takes longer than to ask
        self._about: tuple[float, dict[str, Any]] | None = None

    def address(self, attempt: str) -> str:
        """Where the browser goes to say who it is.

        Raises:
            NoSignIn: the provider does not answer as one.
        """
        with self._client() as client:
            about = self._described(client)
            address, _ = client.create_authorization_url(
                about["authorization_endpoint"],
                state=_derived(attempt, "state"),
                nonce=_derived(attempt, "nonce"),
                code_verifier=_derived(attempt, "verifier"),
            )
        return str(address)

    def person(self, attempt: str, answer: str, state: str) -> Person:
        """Whom the provider vouches for, by the address (`answer`) to which it has sent the browser back.

        Raises:
            NoSignIn: for nobody, not in answer to this attempt, or in a way that does not hold.
        """
        if not attempt or not hmac.compare_digest(state.encode(), _derived(attempt, "state").encode()):
            raise NoSignIn("this answer belongs to no sign-in of this browser: begin again")
        with self._client() as client:
            try:
                about = self._described(client)
                token = client.fetch_token(
                    about["token_endpoint"],
                    authorization_response=answer,
                    state=state,
                    code_verifier=_derived(attempt, "verifier"),
                )
                keys = client.request("GET", about["jwks_uri"], withhold_token=True).raise_for_status().json()
                claims = self._claims(token, keys, _derived(attempt, "nonce"))
            except _failures() as error:  # its words may hold what was sent
                _log.warning("sign-in failed", kind=type(error).__name__)
                raise NoSignIn("the sign-in did not come to an end that holds: begin again") from error
        return self._person(claims)

    def _claims(self, token: dict[str, Any], keys: Any, nonce: str) -> dict[str, Any]:  # noqa: ANN401  JSON
        from authlib.oidc.core import CodeIDToken  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
        from joserfc import jwt  # noqa: PLC0415  as above: only who signs in so needs them
        from joserfc.jwk import KeySet  # noqa: PLC0415

        read = jwt.decode(token["id_token"], KeySet.import_key_set(keys), algorithms=ALGORITHMS)
        exactly = {
            "iss": {"essential": True, "value": self._openid.issuer},
            "aud": {"essential": True, "value": self._openid.client_id},
        }
        parameters = {"nonce": nonce, "client_id": self._openid.client_id, "access_token": token.get("access_token")}
        CodeIDToken(read.claims, read.header, exactly, parameters).validate(leeway=LEEWAY_SECONDS)  # pyright: ignore[reportUnknownMemberType]  untyped
        return dict(read.claims)

    def _person(self, claims: dict[str, Any]) -> Person:
        found = claims.get(self._openid.user_claim)
        if not isinstance(found, str) or not 1 <= len(found) <= _LONGEST:
            raise NoSignIn(f"the provider did not say who this is: the claim {self._openid.user_claim} is missing")
        email = claims.get("email") if claims.get("email_verified") is True else None
        return Person(found, _short(email), _short(claims.get("name")))

    def _described(self, client: _Client) -> dict[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        if self._about is not None and time.monotonic() - self._about[0] < KEPT_SECONDS:
            return self._about[1]
        address = self._openid.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            answer = client.request("GET", address, withhold_token=True)
            about: dict[str, Any] = answer.json() if answer.status_code == HTTPStatus.OK else {}
            endpoints = [about[name] for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        except _failures() as error:
            _log.warning("the OpenID provider does not answer", kind=type(error).__name__)
            raise NoSignIn("the sign-in service cannot be reached: try again in a while") from error
        if about.get("issuer") != self._openid.issuer or not all(map(_is_guarded, endpoints)):
            raise NoSignIn("the sign-in service is not the one of the settings")
        self._about = (time.monotonic(), about)
        return about

    def _client(self) -> _Client:
        from authlib.integrations.httpx_client import OAuth2Client  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

        made: object = OAuth2Client(
            client_id=self._openid.client_id, client_secret=self._openid.client_secret, scope=SCOPE,
            redirect_uri=self._callback, code_challenge_method="S256", timeout=SECONDS, follow_redirects=False,
            verify=self._certificates,
        )  # fmt: skip
        return cast("_Client", cast("object", made))


def new_attempt() -> str:
    """The secret of one attempt to sign in, for a cookie of the browser that begins it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def _failures() -> tuple[type[Exception], ...]:
    """What goes wrong with a provider that does not answer, or not as one."""
    import httpx2  # noqa: PLC0415  only who signs in so needs them
    from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
    from joserfc.errors import JoseError  # noqa: PLC0415

    return (httpx2.HTTPError, httpx2.InvalidURL, AuthlibBaseError, JoseError, ValueError, KeyError)


def _derived(attempt: str, what: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(attempt.encode(), what.encode(), "sha256")).decode().rstrip("=")


def _is_guarded(address: str) -> bool:
    """HTTPS, or on this machine."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        is_here = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
    return parts.scheme == "http" and is_here


def _short(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value else None
