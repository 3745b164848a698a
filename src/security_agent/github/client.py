"""`GitHub`: one App at one GitHub, and what the agent asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Self, final
from urllib.parse import urlsplit

import orjson
from typing_extensions import override

from security_agent.github import answers
from security_agent.github.credentials import AppKey, Token
from security_agent.github.errors import BadAnswer, NotConfigured, NotFound
from security_agent.github.link import next_page
from security_agent.github.model import Alert, Installation, Repository
from security_agent.github.names import FullName, number
from security_agent.github.waiting import Clock, Waiting

if TYPE_CHECKING:
    from pydantic import SecretStr

    from security_agent.github.asking import Asker
    from security_agent.github.transport import Answer

PUBLIC: Final = "https://api.github.com"
PAGE: Final = 100
"""Of a page: the most that GitHub gives."""
MOST_PAGES: Final = 10_000
"""Of one list: a million alerts. A server whose pages never end does not hold us."""
COMMENT: Final = 280
"""Characters of a dismissal's comment that GitHub takes."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_READ: Final = "vulnerability_alerts=read"
_WRITE: Final = "vulnerability_alerts=write"


@final
class GitHub:
    """One App at one GitHub (github.com or an Enterprise server). Safe for threads; waits where GitHub asks for it.

    Args:
        app_id: the App's id or client id.
        private_key: its RSA key, in PEM form.
        api_url: where the API is; HTTPS, or HTTP on this machine.
        waiting: how long for answers, and for rate limits to pass.
        clock: the time; another one in tests.

    Raises:
        NotConfigured: the id, the key or the address cannot be used.

    Every method raises `GitHubError`, whose kinds are listed in `security_agent.github.errors`.
    """

    def __init__(
        self,
        app_id: str,
        private_key: str,
        api_url: str = PUBLIC,
        *,
        waiting: Waiting | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._api = _api_address(api_url)
        self._key = AppKey(app_id, private_key)
        self._clock = clock or Clock()
        self._asker = self._new_asker(waiting or Waiting())

    @override
    def __repr__(self) -> str:
        """Without id and key."""
        return f"GitHub({self._api!r})"

    def __enter__(self) -> Self:
        """The same, closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._asker.transport.close()

    def installation(self, installation_id: int) -> Installation:
        """The facts of an installation, as they are now.

        Raises:
            NotFound: the App has no such installation.
        """
        number(installation_id, "an installation's id")
        # What is granted may have changed: the next token is to have it.
        self._asker.tokens.forget(installation_id)
        try:
            answer = self._ask("GET", f"/app/installations/{installation_id}")
        except NotFound:
            return self._installation_by_token(installation_id)
        return answers.installation(answer, installation_id)

    def repositories(self, installation_id: int) -> Iterator[list[Repository]]:
        """The repositories that an installation reaches, in pages of up to 100."""
        number(installation_id, "an installation's id")
        for answer in self._pages(f"/installation/repositories?per_page={PAGE}", installation_id, "metadata=read"):
            yield answers.repositories(answer)

    def alerts(self, installation_id: int, full_name: str) -> Iterator[list[Alert]]:
        """The Dependabot alerts of a repository in all states, oldest first, in pages of up to 100, raw.

        Raises:
            BadName: the name is not ``owner/name``.
            NotFound: there is no such repository, or the installation does not reach it.
            AlertsDisabled: alerts are switched off in it.
        """
        path = f"{_alerts_path(installation_id, full_name)}?per_page={PAGE}&sort=created&direction=asc"
        for answer in self._pages(path, installation_id, _READ):
            yield answers.alerts(answer)

    def alert(self, installation_id: int, full_name: str, alert_number: int) -> Alert:
        """One alert as GitHub sends it.

        Raises:
            BadName: the name is not ``owner/name``, or the number is none.
            NotFound: there is no such alert.
        """
        path = f"{_alerts_path(installation_id, full_name)}/{number(alert_number)}"
        return answers.alert(self._ask("GET", path, installation_id, needs=_READ))

    def dismiss(
        self, installation_id: int, full_name: str, alert_number: int, reason: str, comment: str | None
    ) -> Alert:
        """Dismisses an alert on GitHub; returns it as it is then.

        Args:
            installation_id: as which installation.
            full_name: ``owner/name``.
            alert_number: which alert.
            reason: ``fix_started``, ``inaccurate``, ``no_bandwidth``, ``not_used`` or ``tolerable_risk``.
            comment: at most 280 characters; None or empty: none.

        Raises:
            Refused: GitHub does not do it; asking again would not help.
            Forbidden: the installation may not write.
        """
        path = f"{_alerts_path(installation_id, full_name)}/{number(alert_number)}"
        change = {"state": "dismissed", "dismissed_reason": reason}
        if comment:
            change["dismissed_comment"] = comment
        return answers.alert(self._ask("PATCH", path, installation_id, needs=_WRITE, content=change))

    def _new_asker(self, waiting: Waiting) -> Asker:
        # Here, and not above: whoever only names this package does not load the HTTP client.
        from security_agent.github.asking import Asker  # noqa: PLC0415
        from security_agent.github.transport import Timeouts, Transport  # noqa: PLC0415

        timeouts = Timeouts(min(waiting.timeout, 10.0), waiting.timeout, waiting.whole)
        return Asker(Transport(timeouts), self._jwt, self._issue, waiting, self._clock)

    def _jwt(self) -> SecretStr:
        return self._key.jwt(self._clock.now())

    def _issue(self, installation_id: int) -> Token:
        return answers.token(self._ask("POST", _tokens_path(installation_id)))

    def _ask(
        self, method: str, path: str, installation_id: int | None = None, *, needs: str = "", content: object = None
    ) -> Answer:
        """Asks for a path, or an absolute address that was checked before."""
        from security_agent.github.asking import Request  # noqa: PLC0415  as above

        url = self._api + path if path.startswith("/") else path
        body = None if content is None else orjson.dumps(content)
        return self._asker.ask(Request(method, url, installation_id, needs, body, conditional=method == "GET"))

    def _pages(self, path: str, installation_id: int, needs: str) -> Iterator[Answer]:
        """Page after page, as ``Link`` leads."""
        url: str | None = self._api + path
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) == MOST_PAGES:
                raise BadAnswer("pages without end")
            seen.add(url)
            answer = self._ask("GET", url, installation_id, needs=needs)
            yield answer
            url = next_page(answer.headers.get("link"), answer.url)

    def _installation_by_token(self, installation_id: int) -> Installation:
        """For servers that do not describe installations: what a token and the repositories tell of it."""
        issued = self._ask("POST", _tokens_path(installation_id))
        listed = self._ask("GET", "/installation/repositories?per_page=1", installation_id, needs="metadata=read")
        return answers.pieced_together(installation_id, issued, listed)


def _api_address(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise NotConfigured("the address of GitHub's API is no address") from error
    if parts.scheme not in {"https", "http"} or not host or parts.query or parts.fragment:
        raise NotConfigured("the address of GitHub's API is like https://api.github.com, without anything after it")
    if parts.username is not None or parts.password is not None:
        raise NotConfigured("the address of GitHub's API has a login in it")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise NotConfigured("GitHub's API is asked over HTTPS; plain HTTP only on this machine")
    return url.strip().rstrip("/")


def _alerts_path(installation_id: int, full_name: str) -> str:
    number(installation_id, "an installation's id")
    owner, name = FullName.parse(full_name)
    return f"/repos/{owner}/{name}/dependabot/alerts"


def _tokens_path(installation_id: int) -> str:
    return f"/app/installations/{installation_id}/access_tokens"
