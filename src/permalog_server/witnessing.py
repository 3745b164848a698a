"""A witness over HTTP (C2SP tlog-witness): one route, and no database."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response

from permalog.errors import Refusal, WitnessRefused, WitnessUnusable
from permalog.tlog.witness import MAX_REQUEST, Witness
from permalog_server.guard import Guard, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

_log: Final = structlog.get_logger("permalog.witness")
SIZE: Final = "text/x.tlog.size"
STATUS: Final[Mapping[Refusal, HTTPStatus]] = {
    Refusal.UNKNOWN: HTTPStatus.NOT_FOUND,
    Refusal.UNSIGNED: HTTPStatus.FORBIDDEN,
    Refusal.MALFORMED: HTTPStatus.BAD_REQUEST,
    Refusal.CONFLICT: HTTPStatus.CONFLICT,
    Refusal.INCONSISTENT: HTTPStatus.UNPROCESSABLE_ENTITY,
}
BODY_SECONDS: Final = 10.0
"""For a whole request to arrive; it has at most 64 KiB."""


def create_app(witness: Witness) -> FastAPI:
    """The witness as an application: ``POST /add-checkpoint``, and ``GET /healthz``."""
    app = FastAPI(title="Permalog witness", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(_answer, witness, body)

    @app.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    app.add_middleware(Guard, limits=Limits(body=MAX_REQUEST, body_seconds=BODY_SECONDS))
    return app


def _answer(witness: Witness, body: bytes) -> Response:
    try:
        signature = witness.add_checkpoint(body)
    except WitnessRefused as refused:
        _log.info("refused", refusal=refused.refusal.value)
        status = STATUS[refused.refusal]
        if refused.size is not None:
            # By its header, since a media type of text would get a charset, which the format does not have.
            return Response(f"{refused.size}\n", status, {"Content-Type": SIZE})
        return PlainTextResponse(f"{refused}\n", status)
    except (WitnessUnusable, OSError):
        # Nothing was signed. It is for the witness's operator to look, and not for who asks.
        _log.exception("cannot go on")
        return PlainTextResponse("this witness cannot go on; its operator is told\n", HTTPStatus.SERVICE_UNAVAILABLE)
    return PlainTextResponse(f"{signature.line()}\n")
