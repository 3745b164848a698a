"""The application: routes, and what stands before them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI

from permalog_server import problem
from permalog_server.accounts import Accounts
from permalog_server.allowance import Allowance
from permalog_server.entry import Desk, organization_of_route
from permalog_server.forgetting import Office
from permalog_server.guard import Guard
from permalog_server.metrics import REGISTRY, RecorderMetrics
from permalog_server.problem import ProblemDocument
from permalog_server.routes import audit_log, service, users
from permalog_server.writing import Writers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from permalog import Permalog

REQUESTS_A_MINUTE: Final = 120_000
"""For one token, over all processes: more than two cores answer, so that it only ever stops what runs wild."""


def create_app(log: Permalog, *, journal: Path, requests_a_minute: int = REQUESTS_A_MINUTE) -> FastAPI:
    """The HTTP API over an open log. Closing the log stays with whoever opened it.

    Args:
        log: an open log.
        journal: the file outside the database in which erasures are noted.
        requests_a_minute: for each token.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        metrics = RecorderMetrics(log)
        REGISTRY.register(metrics)
        try:
            yield
        finally:
            REGISTRY.unregister(metrics)
            desk.writers.close()

    app = FastAPI(
        title="Permalog", version=version("permalog"), lifespan=lifespan, docs_url=None, redoc_url=None,
        description="The audit log that a company can hand to an auditor. Times are RFC 3339, in UTC.",
    )  # fmt: skip
    accounts = Accounts(log.database)
    desk = Desk(
        log, accounts, Allowance(accounts, requests_a_minute), Writers(log.database), Office(log, accounts, journal)
    )
    app.state.desk = desk
    app.include_router(service.router)
    app.include_router(audit_log.router, prefix="/v1", tags=["personal"])
    app.include_router(
        audit_log.router,
        prefix="/v1/organizations/{organization_id}",
        tags=["organization"],
        dependencies=[Depends(organization_of_route)],
    )
    app.include_router(users.router, prefix="/v1")
    problem.install(app)
    app.add_middleware(Guard)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Puts the problem document into the OpenAPI document, where the routes refer to it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
        if "ProblemDocument" not in schemas:
            model = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(model.pop("$defs", {}))
            schemas["ProblemDocument"] = model
        return document

    app.openapi = openapi
