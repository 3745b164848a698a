"""What one would write by hand: FastAPI, one table, one SELECT a page. For `benchmarks.load`.

BENCH_URL=postgresql://… uvicorn benchmarks.bare:app
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from fastapi import FastAPI
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from permalog.sql import Queries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_query: Final = Queries(files("benchmarks"))
_page: Final = sql.SQL(_query("plain", "page")).format(where=sql.SQL("true"))
_pool: Final = ConnectionPool(os.environ["BENCH_URL"], min_size=1, max_size=8, open=False, kwargs={"autocommit": True})


@asynccontextmanager
async def _opened(_: FastAPI) -> AsyncGenerator[None]:
    with _pool:
        yield


app: Final = FastAPI(lifespan=_opened)


@app.get("/{owner}/events")
def page(owner: UUID, limit: int = 50) -> dict[str, Any]:
    """The newest events."""
    with _pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return {"events": cursor.execute(_page, {"owner": owner, "rows": limit}).fetchall()}


@app.post("/{owner}/events")
def write(owner: UUID, body: dict[str, Any]) -> dict[str, Any]:
    """Inserts events, one by one, in one transaction."""
    with _pool.connection() as connection, connection.transaction():
        for event in body["events"]:
            actor, resource = event["actor"], event["resource"]
            row = (
                uuid4(), owner, None, event["action"], "success", actor["type"], actor["id"], actor["email"], None,
                None, resource["type"], resource["id"], None, None, Jsonb(event["metadata"]), None, "api",
                datetime.now(UTC),
            )  # fmt: skip
            connection.execute(_query("plain", "insert"), row)
    return {"results": len(body["events"])}
