"""The service as the tests of the API use it: running in this process or in one of its own, with people and tokens."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import uvicorn
from fastapi import FastAPI

from bundles import HeldKeys
from permalog import Permalog
from permalog_server.accounts import FORGET, READ, RECORD, WRITE, Accounts, Role
from permalog_server.app import create_app
from permalog_server.serving import listening
from security_agent.actions import CATALOGUE

# Made once: httpx would read all certificates for every client, and there are none to check.
_TLS = ssl.create_default_context()


def client(url: str, token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=60, verify=_TLS)


@dataclass
class Site:
    """A running service on a database."""

    url: str
    database: str
    log: Permalog
    app: FastAPI

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.log.database)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, token: str | None = None) -> httpx.Client:
        return client(self.url, token)

    @contextlib.contextmanager
    def connected(self) -> Generator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as raw:
            yield raw


@contextlib.contextmanager
def running(database: str, folder: Path, **options: Any) -> Generator[Site]:
    """The service in a thread of this process."""
    with Permalog.connect(database, catalogue=CATALOGUE) as log:
        app = create_app(log, journal=folder / "erasures.ndjson", keys=HeldKeys(), **options)
        server = uvicorn.Server(listening(app, "127.0.0.1", 0))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port: int = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Site(f"http://127.0.0.1:{port}", database, log, app)
        finally:
            server.should_exit = True
            thread.join(30)


@dataclass
class Process:
    """The service as a process of its own."""

    url: str
    popen: subprocess.Popen[bytes]
    stderr: Path

    def client(self, token: str | None = None) -> httpx.Client:
        return client(self.url, token)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(60)


@contextlib.contextmanager
def process(database: str, folder: Path, *, grace: int = 20) -> Generator[Process]:
    """``permalog serve`` on a database; ``grace`` is how long running answers may go on at its end."""
    program = f"from permalog_server import cli, serving; serving.GRACE_SECONDS = {grace}; cli.main()"
    folder.mkdir(exist_ok=True)
    errors = folder / "stderr"
    environment = os.environ | {"PERMALOG_DATABASE_URL": database, "PERMALOG_DATA_DIR": str(folder)}
    with errors.open("wb") as stderr:
        popen = subprocess.Popen(
            [sys.executable, "-c", program, "serve", "--port", "0", "--json"],
            stdout=subprocess.PIPE, stderr=stderr, env=environment,
        )  # fmt: skip
    assert popen.stdout is not None
    try:
        said = popen.stdout.readline()
        assert said, errors.read_text()
        yield Process(json.loads(said)["address"], popen, errors)
    finally:
        if popen.poll() is None:
            popen.terminate()
            popen.wait(60)
        popen.stdout.close()


@dataclass
class People:
    """Who the tests are about, by the name of what they are, with a token of each."""

    organization: UUID = field(default_factory=uuid4)
    other: UUID = field(default_factory=uuid4)
    """Another tenant's."""
    prefix: str = field(default_factory=lambda: f"u_{uuid4().hex[:8]}")
    tokens: dict[str, str | None] = field(default_factory=dict)

    def id(self, name: str) -> str:
        return f"{self.prefix}_{name}"

    def token(self, name: str) -> str:
        found = self.tokens[name]
        assert found is not None
        return found


MEMBERS: tuple[Role, ...] = ("owner", "admin", "billing_manager", "member")
SERVICES = {"service": WRITE, "other service": WRITE, "unbound service": WRITE, "recorder": RECORD}
"""Whose tokens write; bound to the organisation, to the other one, to none, and to the organisation."""


def settle(accounts: Accounts) -> People:
    """An organisation with one member of each role, another tenant, staff, services, and tokens of every kind."""
    people = People()
    for name in (*MEMBERS, "outsider", "stranger", "staff", *SERVICES, "forgetter", "reader", "expired", "revoked"):
        user = people.id(name)
        accounts.ensure_person(user, email=f"{user}@tests.example", name=f"Name of {user}", staff=name == "staff")
    for role in MEMBERS:
        accounts.ensure_membership(people.id(role), people.organization, role)
    for name in ("forgetter", "reader", "expired", "revoked"):
        accounts.ensure_membership(people.id(name), people.organization, "admin")
    accounts.ensure_membership(people.id("outsider"), people.other, "owner")
    for name in (*MEMBERS, "outsider", "stranger", "staff"):
        people.tokens[name] = accounts.issue(people.id(name)).token
    bound = {"service": people.organization, "other service": people.other, "recorder": people.organization}
    for name, scope in SERVICES.items():
        issued = accounts.issue(people.id(name), scopes=[scope], organization=bound.get(name))
        people.tokens[name] = issued.token
    past = datetime.now(UTC) - timedelta(seconds=1)
    people.tokens["expired"] = accounts.issue(people.id("expired"), expires_at=past).token
    revoked = accounts.issue(people.id("revoked"))
    accounts.revoke(revoked.id)
    people.tokens["revoked"] = revoked.token
    people.tokens["forgetter"] = accounts.issue(people.id("forgetter"), scopes=[FORGET]).token
    people.tokens["reader"] = accounts.issue(people.id("reader"), scopes=[READ]).token
    people.tokens["garbage"] = "plt_" + "0" * 32 + "_" + "A" * 43
    people.tokens["none"] = None
    return people
