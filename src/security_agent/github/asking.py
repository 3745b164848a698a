"""Asking GitHub until it answers: tokens, rate limits, retries, redirects, conditional requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, final

from pydantic import SecretStr

from security_agent.github.allowance import Allowance, moment, refusal, retry_after, used_up
from security_agent.github.credentials import Token, Tokens
from security_agent.github.errors import GitHubError, RateLimited, Unreachable
from security_agent.github.failures import failure, said
from security_agent.github.link import same_server
from security_agent.github.remembered import Kept, Remembered
from security_agent.github.transport import Answer, Lost, Transport
from security_agent.github.waiting import Clock, Waiting

FIRST_PAUSE: Final = 0.5
"""Seconds before the second attempt, at most; doubled for each further one."""
LONGEST_PAUSE: Final = 8.0
REDIRECTS: Final = 3
"""A renamed repository leads to its number, on the same server; more would be a circle."""
API_VERSION: Final = "2022-11-28"

_MOVED: Final = frozenset({301, 302, 307, 308})
_SERVER_FAULT: Final = 500
_SUCCESS: Final = range(200, 300)
_HEADERS: Final = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "permalog",
    "X-GitHub-Api-Version": API_VERSION,
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked."""

    method: str
    url: str
    """Absolute."""
    installation_id: int | None = None
    """As which installation; None: as the App itself."""
    needs: str = ""
    """The permission that it needs, as GitHub writes it."""
    content: bytes | None = field(default=None, repr=False)
    conditional: bool = False
    """Whether an earlier answer may be used, if GitHub says that nothing has changed."""


class _Again(Exception):
    def __init__(self, error: GitHubError, at_least: float) -> None:
        super().__init__()
        self.error = error
        self.at_least = at_least


@final
@dataclass(slots=True)
class Asker:
    """Sends requests as the App or an installation of it, within GitHub's limits. Safe for threads."""

    transport: Transport
    jwt: Callable[[], SecretStr]
    issue: Callable[[int], Token]
    """Asks GitHub for a token of an installation."""
    waiting: Waiting
    clock: Clock
    tokens: Tokens = field(init=False)
    allowance: Allowance = field(init=False)
    remembered: Remembered = field(default_factory=Remembered)

    def __post_init__(self) -> None:
        """With nothing at hand yet."""
        self.tokens = Tokens(self.issue, self.clock.now)
        self.allowance = Allowance(self.clock.now)

    def ask(self, request: Request) -> Answer:
        """The answer of a success, after as many attempts as are sensible.

        Raises:
            GitHubError: one of its kinds; see there.
        """
        left = self.waiting.patience
        for attempt in range(1, self.waiting.attempts + 1):
            last = attempt == self.waiting.attempts
            left -= self._keep_away(request.installation_id, left)
            try:
                return self._answered(request)
            except RateLimited:
                if last or self.allowance.wait(request.installation_id) > left:
                    raise
            except _Again as again:
                pause = max(again.at_least, self._back_off(attempt))
                if last or pause > left:
                    raise again.error from again.__cause__
                self.clock.sleep(pause)
                left -= pause
        raise AssertionError  # pragma: no cover  the last attempt returns or raises

    def _keep_away(self, installation_id: int | None, left: float) -> float:
        """Waits until GitHub wants to be asked again; returns the seconds that were waited."""
        wait = self.allowance.wait(installation_id)
        if wait <= 0:
            return 0.0
        if wait > left:
            raise RateLimited(moment(self.clock.now() + wait))
        # Those who wait for the same moment do not all ask in it.
        wait += self.clock.chance()
        self.clock.sleep(wait)
        return wait

    def _back_off(self, attempt: int) -> float:
        return self.clock.chance() * min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)

    def _answered(self, request: Request) -> Answer:
        answer = self._authorized(request)
        for _ in range(REDIRECTS):
            location = answer.headers.get("location")
            if answer.status not in _MOVED or not location:
                break
            request = replace(request, url=same_server(location, request.url))
            answer = self._authorized(request)
        self._judge(request, answer)
        return answer

    def _authorized(self, request: Request) -> Answer:
        """Sends it with a token; one that GitHub does not take any more is replaced once."""
        if request.installation_id is None:
            return self._sent(request, self.jwt())
        token, fresh = self.tokens.get(request.installation_id)
        answer = self._sent(request, token.secret)
        if answer.status == HTTPStatus.UNAUTHORIZED and not fresh:
            token, _ = self.tokens.get(request.installation_id, instead_of=token)
            answer = self._sent(request, token.secret)
        return answer

    def _sent(self, request: Request, secret: SecretStr) -> Answer:
        kept = self.remembered.get(request.installation_id, request.url) if request.conditional else None
        headers = _HEADERS | {"Authorization": f"Bearer {secret.get_secret_value()}"}
        if kept is not None:
            headers["If-None-Match"] = kept.etag
        if request.content is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self.transport.send(request.method, request.url, headers, request.content)
        except Lost as lost:
            raise _Again(Unreachable("GitHub did not answer"), 0.0) from lost
        if answer.status == HTTPStatus.NOT_MODIFIED and kept is not None:
            link = {} if kept.link is None else {"link": kept.link}
            return replace(answer, status=int(HTTPStatus.OK), headers=link, body=kept.body)
        etag = answer.headers.get("etag")
        if request.conditional and answer.status == HTTPStatus.OK and etag:
            kept = Kept(etag, answer.headers.get("link"), answer.body)
            self.remembered.put(request.installation_id, request.url, kept)
        return answer

    def _judge(self, request: Request, answer: Answer) -> None:
        """Lets a success pass, and raises what everything else means."""
        now = self.clock.now()
        if answer.status in _SUCCESS:
            spent = used_up(answer.headers, now)
            if spent is not None:
                self.allowance.pause(request.installation_id, spent)
            return
        refused = refusal(answer.status, answer.headers, said(answer), now)
        if refused is not None:
            self.allowance.pause(request.installation_id, refused)
            raise RateLimited(moment(now + refused), status=answer.status, said=said(answer))
        if answer.status >= _SERVER_FAULT:
            error = Unreachable("GitHub could not answer", status=answer.status, said=said(answer))
            raise _Again(error, retry_after(answer.headers, now) or 0.0)
        error = failure(answer, request.needs)
        raise _Again(error, 0.0) if answer.status == HTTPStatus.CONFLICT else error
