"""The application: routes, and what stands before them."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from permalog_server import pages, problem, tailing
from permalog_server.accounts import Accounts
from permalog_server.allowance import Allowance, Places
from permalog_server.documents import EvidenceRequest, ExportRequest
from permalog_server.entry import Desk, organization_of_route
from permalog_server.forgetting import Office
from permalog_server.guard import Guard, Limits
from permalog_server.metrics import REGISTRY, RecorderMetrics
from permalog_server.paths import ORGANIZATION, PERSONAL
from permalog_server.problem import ProblemDocument
from permalog_server.routes import (
    analysis_callback,
    audit_log,
    internal,
    security_agent,
    service,
    tlog,
    users,
    webhooks,
)
from permalog_server.routes.security_agent.documents import EnableRequest, SaveRequest, SyncRequest
from permalog_server.routes.security_agent.judging_documents import AnalysisRequest, CallbackRequest, DismissRequest
from permalog_server.sessions import Sessions
from permalog_server.syncs import Syncs
from permalog_server.writing import WRITERS, Writers
from security_agent.agent import Agent
from security_agent.analysis import Means

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from permalog import Permalog
    from permalog.sealing.keys import Keys
    from permalog_server.settings import OpenId
    from security_agent.github import GitHub

REQUESTS_A_MINUTE: Final = 120_000
"""For one token, over all processes: more than two cores answer, so that it only ever stops what runs wild."""


EXPORTS: Final = 32
EXPORTS_EACH: Final = 4
"""At a time, in all and for one token; each holds up to two pages of events, and a thread that fetches the next."""
EXPORT_THREADS: Final = 8
TAILS: Final = 128
TAILS_EACH: Final = 16
"""At a time, likewise; each holds up to a hundred events while they are sent, and nothing while it waits."""
TAIL_THREADS: Final = 4


def create_app(  # noqa: PLR0913  its options
    log: Permalog,
    *,
    journal: Path,
    keys: Keys | None = None,
    github: GitHub | None = None,
    means: Means | None = None,
    internal_secret: str | None = None,
    webhook_secret: str | None = None,
    requests_a_minute: int = REQUESTS_A_MINUTE,
    limits: Limits | None = None,
    public_logs: bool = False,
    base_url: str | None = None,
    openid: OpenId | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The HTTP API over an open log. Closing the log stays with whoever opened it.

    Args:
        log: an open log.
        journal: the file outside the database in which erasures are noted.
        keys: those of the logs; without them no evidence is made.
        github: what the security agent asks; None: whatever needs GitHub says that no App is configured.
        means: what judges findings; None: the rules, and the built-in runner over HTTPS.
        internal_secret: what opens the routes below /internal; None: nothing does.
        webhook_secret: what GitHub signs its webhooks with; None: none is taken.
        requests_a_minute: for each token.
        limits: of sizes, times and numbers.
        public_logs: whether checkpoints and hash tiles are for anybody, without a token.
        base_url: where people reach the pages; None: as their requests say.
        openid: the provider by which people sign in; None: by links only.
        clock: seconds since 1970, for the minutes of the allowances.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        metrics = RecorderMetrics(log)
        REGISTRY.register(metrics)
        try:
            yield
        finally:
            REGISTRY.unregister(metrics)
            await run_in_threadpool(desk.close)

    app = FastAPI(
        title="Permalog", version=version("permalog"), lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False,  # a redirect would go to whatever host the client names
        description="The audit log that a company can hand to an auditor. Times are RFC 3339, in UTC.",
    )  # fmt: skip
    accounts = Accounts(log.database)
    agent = Agent(log, github)
    desk = Desk(
        log=log,
        accounts=accounts,
        sessions=Sessions(log.database),
        allowance=Allowance(accounts, requests_a_minute, clock),
        exports=Places("exports", EXPORTS, EXPORTS_EACH),
        exporting=CapacityLimiter(EXPORT_THREADS),
        writers=Writers(log.database),
        writing=CapacityLimiter(WRITERS),
        office=Office(log, accounts, journal),
        tails=tailing.Desk(
            tailing.Hub(log.database), Places("tails", TAILS, TAILS_EACH), CapacityLimiter(TAIL_THREADS)
        ),
        public_logs=public_logs,
        keys=keys,
        agent=agent,
        means=means or Means(),
        syncs=Syncs(agent),
        internal_secret=internal_secret,
        webhook_secret=webhook_secret,
    )
    app.state.desk = desk
    app.state.base_url = base_url
    app.state.openid = openid
    app.state.parameters = {}
    app.state.at_end = [desk.tails.hub.close]
    app.include_router(service.router)
    for router in (audit_log.router, security_agent.router):
        app.include_router(router, prefix=PERSONAL, tags=["personal"])
        app.include_router(
            router, prefix=ORGANIZATION, tags=["organization"], dependencies=[Depends(organization_of_route)]
        )
    app.include_router(users.router, prefix=PERSONAL)
    app.include_router(tlog.router)
    app.include_router(internal.router)
    app.include_router(analysis_callback.router)
    app.include_router(webhooks.router)
    pages.install(app)
    problem.install(app)
    app.add_middleware(Guard, limits=limits or Limits())
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Puts into the OpenAPI document what the routes refer to, and FastAPI does not find by itself."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
        if "ProblemDocument" not in schemas:
            models: tuple[type[BaseModel], ...] = (
                ProblemDocument, ExportRequest, EvidenceRequest, SaveRequest, EnableRequest, SyncRequest,
                DismissRequest, AnalysisRequest, CallbackRequest,
            )  # fmt: skip
            for model in models:
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(schema.pop("$defs", {}))
                schemas[model.__name__] = schema
        return document

    app.openapi = openapi
