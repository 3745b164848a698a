"""The pages: what people look at, in a browser. They ask what the API asks, as whoever is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from permalog_server.pages import assets, audit_log, signing_in

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Adds the pages to the application; its state holds ``desk``, ``base_url`` and ``openid``."""
    app.state.provider = None
    for router in (assets.router, signing_in.router, audit_log.router):
        app.include_router(router)
