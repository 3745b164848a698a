"""The servers and databases that the tests work on.

    server      a running PostgreSQL, once as the embedded 18 and once as 15 where that is installed
    template    a migrated database on it, made once
    database    the address of a fresh copy of the template, for one test
    sealed      the address of a database with two sealed logs, for one test
    log         a Permalog on it, closed after the test
    login       makes logins with certain roles, and gives their addresses of the database

All workers of a run share the servers: the first that needs one starts it under a lock, the controller stops
it.
"""

import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

import postgres15
import tampering
from actions import ACTIONS
from permalog.catalogue import BUILT_IN
from permalog.client import Permalog
from permalog.postgres import embedded
from permalog.postgres.migrate import migrate
from permalog_server.sql import steps
from servers import Server, as_user, on_database, run_on

# The stand-in for GitHub: see tests/github.py.
pytest_plugins = ["github"]

DATA = Path(__file__).parents[2] / "shared" / "data"
SHARED_FOLDER = "PERMALOG_TEST_SERVERS"
# The quicker of the two on memory: docs/decisions/0002-servers-for-tests.md has the figures.
CREATE: LiteralString = "CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let proofs of many rounds be run in full, as `make prove` does."""
    parser.addoption("--thorough", action="store_true", help="run proofs of many rounds in full, on every PostgreSQL")
    parser.addoption("--rounds", type=int, default=3, help="rounds of sealing under fire")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder that the workers share: open to the servers' accounts, which pytest's own is not."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="permalog-tests-", dir=postgres15.quick_folder())
        Path(folder).chmod(0o755)
        os.environ[SHARED_FOLDER] = folder
        os.environ["PERMALOG_SPOOL_DIR"] = str(Path(folder) / "spool")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what the workers started, and remove it."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.pop(SHARED_FOLDER))
    if (folder / "18").exists():
        # Joined and left: the last to leave stops it.
        embedded.start(folder / "18").stop()
    if (folder / "15.json").exists():
        found = json.loads((folder / "15.json").read_text())
        postgres15.Postgres15(found["url"], Path(found["home"]), Path(found["programs"])).stop()
    shutil.rmtree(folder)


def pytest_report_header() -> list[str]:
    """Say which servers the run uses."""
    found = postgres15.programs()
    return [
        "PostgreSQL: embedded 18, and "
        + (f"15 from {found}" if found else "no 15: it is not installed, so nothing is tried on it"),
        f"../shared/data: {'there' if DATA.is_dir() else 'missing'}",
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end too what was not tried."""
    if postgres15.programs() is None:
        terminalreporter.write_line("PostgreSQL 15 is not installed: the database tests ran on 18 only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a server on each version there is."""
    if "server" in metafunc.fixturenames:
        once = metafunc.definition.get_closest_marker("one_version") and not metafunc.config.option.thorough
        versions = ["18", "15"] if postgres15.programs() and not once else ["18"]
        metafunc.parametrize("server", versions, indirect=True, scope="session")


@contextmanager
def once_a_run(name: str) -> Generator[Path]:
    """Hold the other workers off, and give the file in which to leave for them what was made."""
    folder = Path(os.environ[SHARED_FOLDER])
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / f"{name}.json"


@pytest.fixture(scope="session", autouse=True)
def steady_pools() -> Iterator[None]:
    """Keep pools from drawing random numbers in their threads: Hypothesis takes it for a strategy that does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psycopg_pool.base.random", lambda: 0.5)
        yield


@pytest.fixture(scope="session")
def embedded18() -> Iterator[str]:
    """The address of the embedded server, shared by all workers, none of whose data matter."""
    server = embedded.start(Path(os.environ[SHARED_FOLDER]) / "18")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def installed15() -> str:
    """The address of the installed PostgreSQL 15, shared by all workers."""
    with once_a_run("15") as made:
        if not made.exists():
            programs = postgres15.programs()
            assert programs is not None
            started = postgres15.start(programs)
            made.write_text(json.dumps({"url": started.url, "home": str(started.home), "programs": str(programs)}))
        url: str = json.loads(made.read_text())["url"]
        return url


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """A running PostgreSQL; a test that uses it runs once on each version there is."""
    version: str = request.param
    url: str = request.getfixturevalue("embedded18" if version == "18" else "installed15")
    return Server(version, url)


def migrated_template(url: str) -> None:
    """Bring an empty database to the newest schema."""
    migrate(url, BUILT_IN | ACTIONS, further=steps())


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """The name of a migrated database that nobody is connected to, made once a run and server."""
    name = "permalog_template"
    with once_a_run(f"template-{server.version}") as made:
        if not made.exists():
            run_on(server.url, "CREATE DATABASE {name} TEMPLATE template0", name=name)
            migrated_template(on_database(server.url, name))
            run_on(server.url, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=name)
            made.write_text(json.dumps(name))
    return name


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[str], str]]:
    """Make databases from a template, by its name; each is dropped after the test."""
    names: list[str] = []

    def make(template: str) -> str:
        name = f"test_{uuid.uuid4().hex}"
        run_on(server.url, CREATE, name=name, template=template)
        names.append(name)
        return on_database(server.url, name)

    yield make
    for name in names:
        run_on(server.url, "DROP DATABASE {name} WITH (FORCE)", name=name)


@pytest.fixture
def empty_database(new_database: Callable[[str], str]) -> str:
    """The address of a database without Permalog's schema."""
    return new_database("template0")


@pytest.fixture
def database(new_database: Callable[[str], str], template: str) -> str:
    """The address of a fresh, migrated database, as the server's superuser."""
    return new_database(template)


@pytest.fixture(scope="session")
def sealed_template(server: Server, template: str) -> str:
    """The name of a database with two sealed logs (`tampering.fill`, `tampering.seal`), made once a run and server."""
    name = "permalog_sealed"
    with once_a_run(f"sealed-{server.version}") as made:
        if not made.exists():
            run_on(server.url, CREATE, name=name, template=template)
            url = on_database(server.url, name)
            with Permalog.connect(url, catalogue=ACTIONS) as opened:
                tampering.fill(opened, url, 310)
            with psycopg.connect(url) as connection, tampering.unguarded(connection):
                for owner in (tampering.ACME, tampering.BETA):
                    tampering.seal(connection, owner.log_id)
            run_on(server.url, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=name)
            made.write_text(json.dumps(name))
    return name


@pytest.fixture
def sealed(new_database: Callable[[str], str], sealed_template: str) -> str:
    """The address of a database with two logs of 310 events each, 300 of which are sealed; as its superuser."""
    url = new_database(sealed_template)
    # The template was made when the run began, and whoever verifies is told when events wait for long.
    with psycopg.connect(url) as connection, tampering.unguarded(connection):
        connection.execute(
            "UPDATE permalog.event AS e SET recorded_at = clock_timestamp() FROM permalog.unsealed AS u"
            " WHERE e.log_id = u.log_id AND e.id = u.id"
        )
    return url


@pytest.fixture
def log(database: str) -> Iterator[Permalog]:
    """The library on a fresh database."""
    with Permalog.connect(database, catalogue=ACTIONS) as opened:
        yield opened


@pytest.fixture
def login(database: str) -> Iterator[Callable[..., str]]:
    """Make logins that are granted the given roles; each gets its address of the database, and is dropped after."""
    names: list[str] = []

    def make(*roles: str, attributes: LiteralString = "") -> str:
        name = f"test_{uuid.uuid4().hex}"
        run_on(database, "CREATE ROLE {name} LOGIN " + attributes, name=name)
        names.append(name)
        for role in roles:
            run_on(database, "GRANT {role} TO {name}", role=role, name=name)
        return as_user(database, name)

    yield make
    for name in names:
        run_on(database, "DROP OWNED BY {name}", name=name)
        run_on(database, "DROP ROLE {name}", name=name)
