"""Bodies: read only once it is known who sends them, and as strictly as everything that is recorded."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from permalog.errors import InvalidEvent
from permalog.payload import parsed
from permalog_server.problem import Problem

if TYPE_CHECKING:
    from fastapi import Request


async def read(request: Request) -> bytes:
    """The body, of which the type must be JSON.

    Raises:
        Problem: it says that it is something else, or the guard's limits are reached.
        ClientDisconnect: the client has gone before its end.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as Content-Type: application/json")
    return await request.body()


def document_of(body: bytes) -> Any:  # noqa: ANN401  any JSON value
    """What the body says.

    Raises:
        Problem: it is no JSON, or JSON that two readers could understand differently.
    """
    try:
        return parsed(body)
    except InvalidEvent as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body {error.reason}", [("body", error.reason)]) from None
