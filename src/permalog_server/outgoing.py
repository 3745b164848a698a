"""What this service sends to others' addresses: anchors, and checkpoints for witnesses. Bounded in time and size."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from permalog.errors import PublishFailed, WitnessUnreachable
from permalog.tlog.witness import MAX_ANSWER
from permalog.witnessing.cosigning import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from permalog.tlog.anchor import Anchor

SECONDS: Final = 10.0
"""For connecting, and for each piece that is sent or read; a round asks again a minute later."""
_OK: Final = range(200, 300)
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}


def ask_witness(url: str, body: bytes) -> Answer:
    """Sends a request to a witness.

    Raises:
        WitnessUnreachable: no answer came in time, or a longer one than witnesses give.
    """
    try:
        return _post(url, body, _TEXT)
    except (OSError, http.client.HTTPException) as error:
        raise WitnessUnreachable(f"{urlsplit(url).netloc} gave no answer: {type(error).__name__}") from error


class HttpPlace:
    """A place for anchors behind HTTP: each is sent as the body of a POST, until it is answered with 2xx.

    ``Idempotency-Key: <epoch>-<size>`` marks those that come again.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self._url: Final = url
        self._token: Final = token
        parts = urlsplit(url)
        self.name: Final = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:1000]

    def publish(self, epoch: int, anchor: Anchor) -> None:
        """Sends a text.

        Raises:
            PublishFailed: it was not taken.
        """
        headers = {**_TEXT, "Idempotency-Key": f"{epoch}-{anchor.size}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            answer = _post(self._url, anchor.to_bytes(), headers)
        except (OSError, http.client.HTTPException) as error:
            raise PublishFailed(f"{self.name} gave no answer: {type(error).__name__}") from error
        if answer.status not in _OK:
            raise PublishFailed(f"{self.name} answered {answer.status}")


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """One request, without redirects, which would take a token elsewhere, and without a proxy."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=SECONDS, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=SECONDS)
    )
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        found = answer.read(MAX_ANSWER + 1)
        if len(found) > MAX_ANSWER:
            raise http.client.HTTPException("the answer is too long")
        return Answer(answer.status, found)
    finally:
        connection.close()
