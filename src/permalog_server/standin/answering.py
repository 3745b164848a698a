"""What GitHub answers: one function over the world, without any network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final
from urllib.parse import parse_qsl

import orjson
from pydantic import TypeAdapter, ValidationError

from permalog_server.standin.documents import Document, account
from permalog_server.standin.paging import BadParameter, alerts_page, link_header, numbered_page, page_size
from permalog_server.standin.world import QUOTA, Held, Installed, World, state_members

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

DOCUMENTATION: Final = "https://docs.github.com/rest"
REASONS: Final = frozenset({"fix_started", "inaccurate", "no_bandwidth", "not_used", "tolerable_risk"})
COMMENT: Final = 280
_OBJECT: Final = TypeAdapter(Document)
_LEVELS: Final = {"read": 1, "write": 2}
_INSTALLATION: Final = r"/app/installations/(?P<id>\d+)"
_ALERTS: Final = r"/(?:repos/(?P<name>[^/]+/[^/]+)|repositories/(?P<id>\d+))/dependabot/alerts"
_NUMBER: Final = r"/(?P<number>\d+)"
_MEMBERS: Final = frozenset({"state", "dismissed_reason", "dismissed_comment", "assignees", "agent_assignment"})


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """By name in small letters."""
    body: bytes


@dataclass(slots=True)
class Answer:
    """An answer."""

    status: int
    document: object = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The document as JSON; nothing for 304."""
        return b"" if self.document is None else orjson.dumps(self.document)


class Trouble(Exception):
    """An answer that refuses."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, problem(status, message), {k.replace("_", "-"): v for k, v in headers.items()})


def problem(status: int, message: str) -> Document:
    """An error document."""
    return {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}


@final
class GitHubRules:
    """Answers requests as GitHub does for one App.

    Args:
        world: what there is.
        app_id: the App's id.
        key: its public key.
        own_url: where it runs, for links.
    """

    def __init__(self, world: World, app_id: str, key: RSAPublicKey, own_url: Callable[[], str]) -> None:
        self._world = world
        self._app_id = app_id
        self._key = key
        self._own_url = own_url

    def answer(self, asked: Asked) -> Answer:
        """The answer, whatever was asked."""
        with self._world.lock:
            try:
                found = self._route(asked)
            except Trouble as trouble:
                found = trouble.answer
            except BadParameter as bad:
                found = Answer(bad.status, problem(bad.status, str(bad)))
        return _unchanged(asked, found)

    def _route(self, asked: Asked) -> Answer:
        routes: dict[tuple[str, str], Callable[..., Answer]] = {
            ("GET", _INSTALLATION): self._installation,
            ("POST", _INSTALLATION + "/access_tokens"): self._access_token,
            ("GET", "/installation/repositories"): self._repositories,
            ("GET", _ALERTS): self._alerts,
            ("GET", _ALERTS + _NUMBER): self._alert,
            ("PATCH", _ALERTS + _NUMBER): self._change,
        }
        for (method, pattern), handler in routes.items():
            match = re.fullmatch(pattern, asked.path)
            if match and method == asked.method:
                return handler(asked, **match.groupdict())
        raise Trouble(404, "Not Found")

    # As the App

    def _as_app(self, asked: Asked, id: str) -> Installed:
        import jwt  # noqa: PLC0415  the rest of the stand-in does without

        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        try:
            # Its times are compared with the stand-in's clock, below.
            untimed: Any = {"require": ["exp", "iat", "iss"], "verify_exp": False, "verify_iat": False}
            claims = jwt.decode(token, self._key, algorithms=["RS256"], options=untimed)
        except jwt.PyJWTError as error:
            raise Trouble(401, "A JSON web token could not be decoded") from error
        if scheme.lower() != "bearer" or claims["iss"] != self._app_id:
            raise Trouble(401, "'Issuer' claim ('iss') must be an Integer or the client id of the App")
        left = claims["exp"] - self._world.clock()
        if not 0 < left <= 600 or claims["iat"] > self._world.clock() + 1:  # noqa: PLR2004  ten minutes
            raise Trouble(401, "'Expiration time' claim ('exp') is too far in the future, or over")
        installed = self._world.installations.get(int(id[:12]))
        if installed is None or installed.removed:
            raise Trouble(404, "Not Found")
        return installed

    def _installation(self, asked: Asked, id: str) -> Answer:
        return Answer(200, self._world.describe(self._as_app(asked, id)))

    def _access_token(self, asked: Asked, id: str) -> Answer:
        installed = self._as_app(asked, id)
        if installed.suspended_at is not None:
            raise Trouble(403, "This installation has been suspended")
        token, end = self._world.issue(installed.id)
        return Answer(201, {
            "token": token, "expires_at": end, "permissions": installed.permissions,
            "repository_selection": installed.selection,
        })  # fmt: skip

    # As an installation

    def _as_installation(self, asked: Asked) -> tuple[Installed, dict[str, str]]:
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        installed = self._world.holder(token) if scheme.lower() in {"bearer", "token"} else None
        if installed is None:
            raise Trouble(401, "Bad credentials")
        if not self._world.spend(installed):
            left = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": str(int(installed.reset_at))}
            raise Trouble(403, f"API rate limit exceeded for installation ID {installed.id}.", **left)
        return installed, {
            "x-ratelimit-limit": str(QUOTA), "x-ratelimit-remaining": str(installed.quota),
            "x-ratelimit-reset": str(int(installed.reset_at)),
        }  # fmt: skip

    def _repositories(self, asked: Asked) -> Answer:
        installed, headers = self._as_installation(asked)
        rows = [self._world.repositories[name.lower()].document for name in installed.repositories]
        query = dict(parse_qsl(asked.query))
        page = numbered_page(rows, query)
        if page.links:
            headers["link"] = link_header(f"{self._own_url()}/installation/repositories", page.links)
        return Answer(200, {
            "total_count": len(rows), "repository_selection": installed.selection, "repositories": page.rows,
        }, headers)  # fmt: skip

    def _reached(self, asked: Asked, name: str, level: str) -> tuple[Held, dict[str, str]]:
        installed, headers = self._as_installation(asked)
        held = self._world.repositories.get(name.lower())
        if held is not None and held.moved_to is not None:
            rest = asked.path.partition("/dependabot/")[2] + (f"?{asked.query}" if asked.query else "")
            url = f"{self._own_url()}/repositories/{held.document['id']}/dependabot/{rest}"
            raise Trouble(301 if asked.method == "GET" else 307, "Moved Permanently", location=url)
        reached = {full_name.lower() for full_name in installed.repositories}
        if held is None or (str(held.document["full_name"]).lower() not in reached):
            raise Trouble(404, "Not Found")
        granted = installed.permissions.get("vulnerability_alerts", "")
        if _LEVELS.get(granted, 0) < _LEVELS[level]:
            needs = f"vulnerability_alerts={level}"
            raise Trouble(403, "Resource not accessible by integration", x_accepted_github_permissions=needs)
        if held.document["archived"]:
            raise Trouble(403, "Dependabot alerts are not available for archived repositories.")
        if not held.enabled:
            raise Trouble(403, "Dependabot alerts are disabled for this repository.")
        return held, headers

    def _name(self, name: str | None, id: str | None) -> str:
        """A repository's full name, which GitHub's own links replace by its number."""
        if name is not None:
            return name
        for held in self._world.repositories.values():
            if str(held.document["id"]) == id and held.moved_to is None:
                return str(held.document["full_name"])
        raise Trouble(404, "Not Found")

    def _alerts(self, asked: Asked, name: str | None, id: str | None) -> Answer:
        held, headers = self._reached(asked, self._name(name, id), "read")
        query = dict(parse_qsl(asked.query))
        page = alerts_page(list(held.alerts.values()), query | {"per_page": str(page_size(query))})
        if page.links:
            # GitHub's own links go by the repository's number.
            url = f"{self._own_url()}/repositories/{held.document['id']}/dependabot/alerts"
            headers["link"] = link_header(url, page.links)
        return Answer(200, page.rows, headers)

    def _alert(self, asked: Asked, number: str, name: str | None, id: str | None) -> Answer:
        held, headers = self._reached(asked, self._name(name, id), "read")
        return Answer(200, self._known(held, number), headers)

    def _change(self, asked: Asked, number: str, name: str | None, id: str | None) -> Answer:
        held, headers = self._reached(asked, self._name(name, id), "write")
        alert = self._known(held, number)
        change = _change_asked(asked.body)
        if alert["state"] in {"fixed", "auto_dismissed"}:
            raise Trouble(422, f"An alert that is {alert['state']} cannot be changed")
        now = self._world.now()
        members = state_members(change["state"], now)
        if change["state"] == "dismissed":
            members |= {
                "dismissed_by": account("permalog-agent[bot]", "Bot"), "dismissed_reason": change["dismissed_reason"],
                "dismissed_comment": change.get("dismissed_comment"),
            }  # fmt: skip
        held.alerts[alert["number"]] = {**alert, "state": change["state"], "updated_at": now, **members}
        return Answer(200, held.alerts[alert["number"]], headers)

    @staticmethod
    def _known(held: Held, number: str) -> Document:
        alert = held.alerts.get(int(number[:12]))
        if alert is None:
            raise Trouble(404, "No alert found for alert number")
        return alert


def _change_asked(body: bytes) -> Document:
    try:
        change = _OBJECT.validate_json(body)
    except ValidationError as error:
        raise Trouble(400, "Problems parsing JSON") from error
    if not change.keys() <= _MEMBERS:
        raise Trouble(422, "Invalid request. Unknown member.")
    if change.get("state") not in {"dismissed", "open"}:
        raise Trouble(422, "Invalid request. state is not one of dismissed, open.")
    if change["state"] == "dismissed" and change.get("dismissed_reason") not in REASONS:
        raise Trouble(422, "Invalid request. dismissed_reason is missing or not one of the reasons.")
    comment = change.get("dismissed_comment", "")
    if not isinstance(comment, str) or len(comment) > COMMENT:
        raise Trouble(422, "Invalid request. dismissed_comment is longer than 280 characters.")
    return change


def _unchanged(asked: Asked, answer: Answer) -> Answer:
    """Marks what was answered, and spares whoever has it already."""
    if asked.method != "GET" or answer.status != 200:  # noqa: PLR2004  OK
        return answer
    etag = f'W/"{hashlib.sha256(answer.body).hexdigest()}"'
    answer.headers["etag"] = etag
    if asked.headers.get("if-none-match") != etag:
        return answer
    return Answer(304, None, answer.headers)
