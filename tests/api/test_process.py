"""The service as a process: crowds, its memory, its log, a database that goes away, its end."""

import asyncio
import json
import re
import resource
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from asking import ask
from permalog import Actor, Event, Owner, Permalog, Resource
from permalog_server.accounts import Accounts
from permalog_server.wiring import ACTIONS
from service import People, Process, client, process, settle

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def database(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture(scope="module")
def log(database: str) -> Iterator[Permalog]:
    with Permalog.connect(database, catalogue=ACTIONS) as opened:
        yield opened


@pytest.fixture(scope="module")
def people(log: Permalog) -> People:
    """An organisation with 12,000 events, 60 MB."""
    people = settle(Accounts(log.database))
    owner = Owner.organization(people.organization)
    for n in range(12_000):
        log.record(
            Event(
                owner=owner, action="security.access.role_changed", actor=Actor.user("u_1"),
                resource=Resource("security_finding", str(n)), metadata={"note": "x" * 5_000},
            )
        )  # fmt: skip
    assert log.flush(60)
    return people


@pytest.fixture
def service(database: str, tmp_path: Path) -> Iterator[Process]:
    with process(database, tmp_path / "service") as found:
        yield found


def log_of(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log"


def getting(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def crowd(port: int, request: bytes, connections: int, each: int) -> Counter[int]:
    """So many connections at once, each of which asks so often; how many answers had which status."""
    statuses: Counter[int] = Counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(each):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = re.findall(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(int(length))
            statuses[int(head.split()[1])] += 1
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
    return statuses


@pytest.mark.slow
def test_ten_thousand_requests_at_once_are_answered_or_told_to_come_back(service: Process, people: People) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    path = f"{log_of(people)}/events?limit=5"
    request = getting(path, people.token("owner"))
    with service.client(people.token("owner")) as one:
        assert one.get(path).status_code == 200
        before = service.memory
        statuses = asyncio.run(crowd(service.port, request, connections=1000, each=10))
        assert statuses.keys() <= {200, 429}
        assert statuses.total() == 10_000
        assert statuses[200] > 500
        assert service.memory - before < 100 * MEGABYTE
        for _ in range(20):
            assert one.get(path).status_code == 200
        text = one.get("/metrics").text
    # The one in work is the request for the metrics.
    assert "permalog_http_requests_in_flight 1.0" in text


def test_two_hundred_at_once_wait_for_the_database_and_get_it(service: Process, people: People) -> None:
    """From four people, since each has places of their own."""
    everybody = ("owner", "admin", "billing_manager", "staff")
    heads = [getting(f"{log_of(people)}/summary", people.token(who)) for who in everybody]

    async def all_of_them() -> list[Counter[int]]:
        return await asyncio.gather(*(crowd(service.port, head, connections=50, each=1) for head in heads))

    found = sum(asyncio.run(all_of_them()), Counter[int]())
    assert found == {200: 200}, service.stderr.read_text()


def exporting(port: int, people: People, who: str) -> socket.socket:
    body = b'{"format": "ndjson"}'
    raw = socket.create_connection(("127.0.0.1", port), timeout=30)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.sendall(
        f"POST {log_of(people)}/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {people.token(who)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return raw


def read_out(raw: socket.socket) -> bytes:
    return b"".join(iter(lambda: raw.recv(1 << 20), b""))


def ended(log: Permalog, people: People) -> list[dict[str, Any]]:
    owner = Owner.organization(people.organization)
    page = log.list(owner, action="security.audit_log.exported", limit=100)
    return [event.metadata for event in page.events if event.metadata["phase"] == "finished"]


def test_exports_that_nobody_reads_cost_little_memory(service: Process, people: People) -> None:
    with service.client(people.token("owner")) as one:
        assert one.get(f"{log_of(people)}/events").status_code == 200
        before = service.memory
        raws = [exporting(service.port, people, who) for who in ("owner", "admin", "staff")]
        for raw in raws:
            assert raw.recv(12) == b"HTTP/1.1 200"
        time.sleep(1.5)
        assert service.memory - before < 150 * MEGABYTE
        assert one.get(f"{log_of(people)}/events").status_code == 200
        for raw in raws:
            raw.close()


def test_at_its_end_running_answers_end_and_everything_is_recorded(
    service: Process, people: People, log: Permalog
) -> None:
    before = len(ended(log, people))
    with exporting(service.port, people, "owner") as raw:
        assert raw.recv(12) == b"HTTP/1.1 200"
        with service.client(people.token("member")) as one:
            for _ in range(30):
                assert one.get(f"{log_of(people)}/summary").status_code == 403
        service.popen.terminate()
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", service.port))
        assert read_out(raw).endswith(b"0\r\n\r\n")
    assert service.popen.wait(20) in {0, 143}
    (end,) = ended(log, people)[: -before or None]
    assert end["complete"] is True
    denied = log.list(Owner.organization(people.organization), outcome="denied", limit=100)
    assert len(denied.events) >= 30


def test_an_export_that_is_not_done_at_the_end_is_recorded_as_such(
    database: str, people: People, log: Permalog, tmp_path: Path
) -> None:
    before = len(ended(log, people))
    with (
        process(database, tmp_path / "service", grace=1) as service,
        exporting(service.port, people, "admin") as raw,
    ):
        raw.recv(12)
        began = time.monotonic()
        assert service.stop() in {0, 143}
        assert time.monotonic() - began < 10
    (end,) = ended(log, people)[: -before or None]
    assert end["complete"] is False


@pytest.mark.slow
def test_without_its_database_it_says_so_and_recovers(make_database: Callable[[], str], tmp_path: Path) -> None:
    database = make_database()
    with Permalog.connect(database, catalogue=ACTIONS) as opened:
        people = settle(Accounts(opened.database))
    name = database.partition("?")[0].rpartition("/")[2]
    elsewhere = database.replace(name, "postgres")
    event = {
        "action": "security.finding.created",
        "actor": {"type": "user", "id": "u_1"},
        "resource": {"type": "security_finding", "id": "f_1"},
    }
    with process(database, tmp_path / "service") as service:
        ways: list[tuple[str, str, str, Any]] = [
            ("owner", "GET", f"{log_of(people)}/events", None),
            ("service", "POST", f"{log_of(people)}/events", {"events": [event]}),
            ("owner", "POST", f"{log_of(people)}/export", {"format": "csv"}),
            ("none", "GET", "/readyz", None),
        ]

        def ask_all() -> list[int]:
            statuses: dict[int, int] = {}

            def one(place: int, who: str, method: str, path: str, body: Any) -> None:
                with service.client(people.tokens[who]) as asking:
                    answer = asking.request(method, path, json=body)
                statuses[place] = answer.status_code
                if answer.status_code == 503:
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert answer.headers["retry-after"]
                    assert answer.json()["detail"] == "the database cannot be reached"

            threads = [threading.Thread(target=one, args=(place, *way)) for place, way in enumerate(ways)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return [statuses[place] for place in range(len(ways))]

        assert ask_all() == [200, 200, 200, 200]
        with psycopg.connect(elsewhere, autocommit=True) as connection:
            ask(connection, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=name)
            ask(connection, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            assert ask_all() == [503, 503, 503, 503]
            with service.client() as asking:
                assert asking.get("/healthz").status_code == 200
            ask(connection, "ALTER DATABASE {name} ALLOW_CONNECTIONS true", name=name)
        for _ in range(100):
            with service.client() as asking:
                if asking.get("/readyz").status_code == 200:
                    break
            time.sleep(0.1)
        assert ask_all() == [200, 200, 200, 200]


SECRETS = {
    "path": "secretpath",
    "query": "secretquery",
    "header": "secretheader",
    "email": "secretmail@example.org",
    "name": "Secret Name",
    "body": "secretbody",
    "user": "secretuser",
}


def test_the_log_is_json_and_holds_nothing_secret(database: str, tmp_path: Path, log: Permalog) -> None:
    """Tokens, e-mail addresses, names, paths, queries, bodies and ids: of good requests, bad ones and faults."""
    accounts = Accounts(log.database)
    organization = uuid.uuid4()
    user = f"{SECRETS['user']}{uuid.uuid4().hex}"
    accounts.ensure_person(user, email=SECRETS["email"], name=SECRETS["name"])
    accounts.ensure_membership(user, organization, "member")
    member = accounts.issue(user, scopes=["events:write", "audit_log:read", "users:delete"]).token
    event = {
        "action": SECRETS["body"],
        "actor": {"type": "user", "id": SECRETS["body"], "email": SECRETS["email"]},
        "resource": {"type": "thing", "id": SECRETS["body"]},
    }
    with process(database, tmp_path / "service") as service:
        with client(service.url, member) as one:
            headers = {"User-Agent": SECRETS["header"], "X-Secret": SECRETS["header"], "X-Request-ID": "known-id"}
            for path in ("/v1", f"/v1/organizations/{organization}", f"/v1/organizations/{SECRETS['path']}"):
                for rest in ("events", "summary", "export", f"events/{uuid.uuid4()}", SECRETS["path"]):
                    for query in (
                        "",
                        f"?search={SECRETS['query']}",
                        f"?{SECRETS['query']}={SECRETS['query']}",
                        "?a=%ff",
                    ):
                        one.get(f"{path}/audit-log/{rest}{query}", headers=headers)
                one.post(f"{path}/audit-log/events", json={"events": [event]}, headers=headers)
                one.post(f"{path}/audit-log/events", json=[SECRETS["body"]], headers=headers)
                one.post(f"{path}/audit-log/export", json={"format": SECRETS["body"]}, headers=headers)
            one.request("BREW" + SECRETS["path"].upper(), f"/{SECRETS['path']}")
            one.get("/v1/audit-log/events", headers={"Authorization": f"Bearer {SECRETS['header']}"})
            one.get(f"/v1/audit-log/events/{organization}")
            # A fault: the service looks for a table that is not there.
            with psycopg.connect(database) as connection:
                ask(connection, "ALTER TABLE accounts.membership RENAME TO hidden")
            try:
                fault = one.get(f"/v1/organizations/{organization}/audit-log/events?search={SECRETS['query']}")
            finally:
                with psycopg.connect(database) as connection:
                    ask(connection, "ALTER TABLE accounts.hidden RENAME TO membership")
            assert fault.status_code == 500
            assert fault.json()["detail"] == "a fault of ours; it has been noted"
            one.delete(f"/v1/users/{quote(SECRETS['path'])}")
            metrics = one.get("/metrics").text
        with socket.create_connection(("127.0.0.1", service.port)) as raw:
            raw.sendall(SECRETS["path"].encode() + b"\r\n\r\n")
            raw.recv(1000)
        service.stop()
        text = service.stderr.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"request", "fault"} <= {line["event"] for line in lines}
    assert {line["route"] for line in lines if "route" in line} >= {
        "none",
        "/v1/audit-log/events",
        "/v1/organizations/{organization_id}/audit-log/events/{event_id}",
        "/v1/users/{user_id}",
    }
    assert {"known-id"} <= {line.get("request_id") for line in lines}
    (error,) = [line["error"] for line in lines if line["event"] == "fault"]
    assert error[0]["type"] == "psycopg.errors.UndefinedTable"
    for output in (text, metrics):
        for secret in (
            *SECRETS.values(),
            member,
            member[4:36],
            member[-43:],
            str(organization),
            SECRETS["path"].upper(),
        ):
            assert secret not in output
        assert not re.search(r"[\w.]+@[\w.]+", output)
