"""Fixtures of what runs over HTTP: a service on a database of the module's own, and people who use it."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import structlog
from psycopg import sql

from permalog.postgres.migrate import migrate
from permalog_server.sql import steps
from permalog_server.wiring import ACTIONS
from service import People, Site, running, settle


@pytest.fixture(scope="session", autouse=True)
def quiet() -> Iterator[None]:
    """In-process services say nothing; what the service logs is tried on processes of their own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def make_database(embedded18: str) -> Iterator[Callable[[], str]]:
    """Makes migrated databases on PostgreSQL 18, which are dropped after the module."""
    names: list[str] = []

    def run(statement: str, name: str) -> None:
        with psycopg.connect(embedded18, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # pyright: ignore[reportArgumentType]

    def make() -> str:
        name = f"api_{uuid.uuid4().hex}"
        run("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy", name)
        names.append(name)
        url = urlunsplit(urlsplit(embedded18)._replace(path=f"/{name}"))
        migrate(url, ACTIONS, further=steps())
        return url

    yield make
    for name in names:
        run("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def site(make_database: Callable[[], str], folder: Path) -> Iterator[Site]:
    """The service, running, on a database of the module's own."""
    with running(make_database(), folder, webhook_secret="of GitHub's") as found:  # noqa: S106
        yield found


@pytest.fixture
def people(site: Site) -> People:
    """New people, in organisations of their own."""
    return settle(site.accounts)
