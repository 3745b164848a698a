"""The service in a test: its application on a database, its accounts, and whoever asks it."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from fastapi import FastAPI

from actions import ACTIONS
from permalog.catalogue import BUILT_IN
from permalog.client import Permalog
from permalog.postgres.migrate import migrate
from permalog_server.accounts import WRITE, Accounts
from permalog_server.app import create_app
from permalog_server.forgetting import Office
from permalog_server.sql import steps


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    log: Permalog
    accounts: Accounts
    office: Office
    journal: Path
    client: httpx.Client

    def token(self, user_id: str, *scopes: str) -> dict[str, str]:
        """The header that lets somebody in."""
        return {"Authorization": f"Bearer {self.accounts.issue(user_id, scopes=scopes).token}"}

    def member(self, user_id: str, organization: UUID, role: Any = "owner", **about: Any) -> dict[str, str]:
        """Somebody of an organisation, let in."""
        self.accounts.ensure_person(user_id, **about)
        self.accounts.ensure_membership(user_id, organization, role)
        return self.token(user_id)

    def staff(self, user_id: str, **about: Any) -> dict[str, str]:
        """One of the product's own people, let in."""
        self.accounts.ensure_person(user_id, staff=True, **about)
        return self.token(user_id)

    def writer(self) -> dict[str, str]:
        """A service that writes events, let in."""
        self.accounts.ensure_person("writing-service")
        return self.token("writing-service", WRITE)


@contextmanager
def serving(url: str, journal: Path) -> Generator[Service]:
    """The service on a database that has the library's schema."""
    migrate(url, BUILT_IN | ACTIONS, further=steps())
    with Permalog.connect(url, catalogue=ACTIONS, importing=True) as log:
        accounts = Accounts(log.database)
        with (
            _listening(create_app(log, journal=journal)) as address,
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            yield Service(url, log, accounts, Office(log, accounts, journal), journal, client)


@contextmanager
def _listening(app: FastAPI) -> Generator[str]:
    """The application on a loopback port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port: int = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
