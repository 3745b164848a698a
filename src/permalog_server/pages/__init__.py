"""The pages: what people look at, in a browser. They ask what the API asks, as whoever is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from permalog_server.pages import assets, audit_log, event, signing_in, taking_out

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Adds the pages to the application; its state holds ``desk``, ``base_url`` and ``openid``."""
    app.state.provider = None
    for part in (assets, signing_in, audit_log, event, taking_out):
        app.include_router(part.router)
