"""Clients that do not behave: raw connections, and a service whose limits are short enough to be tried."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from permalog import Actor, Event, Owner, Resource
from permalog_server.guard import Limits
from service import People, Site, running, settle

LIMITS = Limits(
    body=200_000, bodies=500_000, at_once=40, at_once_each=20, body_seconds=1, send_seconds=1, linger_seconds=1
)
EXPORTED = "security.audit_log.exported"


@pytest.fixture(scope="module")
def strict(site: Site, folder: Path) -> Iterator[Site]:
    """The same database, served with small limits."""
    with running(site.database, folder, limits=LIMITS) as found:
        yield found


def head(method: str, path: str, token: str | None = None, **headers: object) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(raw: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer, to its end."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = raw.recv(65536)
        assert piece, received
        received += piece
    first, _, rest = received.partition(b"\r\n\r\n")
    lines = first.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    while len(rest) < int(headers.get("content-length", 0)):
        rest += raw.recv(65536)
    return int(lines[0].split()[1]), headers, rest


def asked(site: Site, request: bytes) -> tuple[int, dict[str, str], bytes]:
    with site.connected() as raw:
        raw.sendall(request)
        return answer(raw)


def log_of(people: People) -> str:
    return f"/v1/organizations/{people.organization}/audit-log"


def posting(people: People, length: int | None = None, who: str | None = "service", path: str = "/events") -> bytes:
    """The head of a request that brings a body; without a length, in chunks."""
    token = None if who is None else people.token(who)
    size = {"Transfer_Encoding": "chunked"} if length is None else {"Content_Length": str(length)}
    return head("POST", log_of(people) + path, token, Content_Type="application/json", **size)


def batch(events: int = 1, size: int = 10) -> bytes:
    event: dict[str, Any] = {
        "action": "security.finding.created",
        "actor": {"type": "user", "id": "u_1"},
        "resource": {"type": "security_finding", "id": "f_1"},
        "metadata": {"note": "x" * size},
    }
    return json.dumps({"events": [event] * events}).encode()


def stored(site: Site, people: People) -> int:
    """Writes one event; the status."""
    with site.client(people.token("service")) as client:
        return client.post(f"{log_of(people)}/events", json=json.loads(batch())).status_code


def total(site: Site, people: People) -> int:
    site.log.flush()
    return site.log.summary(Owner.organization(people.organization)).total


def eventually(true: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    "request_",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/audit-log/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/audit-log/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/audit-log/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1e9\r\n\r\n",
        b"POST /v1/audit-log/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot-hex\r\n",
        b"POST /v1/audit-log/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    ],
    ids=lambda raw: repr(raw[:50]) + str(len(raw)),
)
def test_what_is_no_http_is_refused_and_the_connection_closed(site: Site, request_: bytes) -> None:
    with site.connected() as raw:
        raw.sendall(request_)
        status, _, body = answer(raw)
        assert status in {400, 401, 501}
        assert b"Traceback" not in body
    assert asked(site, head("GET", "/healthz"))[0] == 200


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"GET /?", b""])
def test_a_head_without_end_is_cut_off(site: Site, start: bytes) -> None:
    sent = 0
    with site.connected() as raw, contextlib.suppress(ConnectionError):
        raw.sendall(start)
        while sent < 20_000_000:
            raw.sendall(b"y" * 65536)
            sent += 65536
    assert sent < 5_000_000
    assert asked(site, head("GET", "/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/audit-log/events?search=%ff", 400),
        ("/v1/audit-log/events?%c3%28=1", 400),
        ("/v1/users/%ff", 400),
        ("/v1/audit-log/events?search=" + "x" * 20_000, 414),
        ("/v1/audit-log/events?search=" + "x" * 100_000, 414),
        ("/v1/audit-log/../audit-log/events", 404),
        ("/v1/./audit-log/events", 404),
        ("/v1/%2e%2e/v1/audit-log/events", 404),
        ("/v1/audit-log%2fevents", 401),
        ("http://evil.example/v1/audit-log/events/", 404),
        ("*", 404),
    ],
)
def test_odd_targets_get_a_problem_document(site: Site, path: str, status: int) -> None:
    got, headers, body = asked(site, head("GET", path))
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(body)["status"] == status
    assert "evil" not in str(headers)


def test_no_header_of_a_request_makes_a_header_of_the_answer(site: Site) -> None:
    lines = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-ID: a%0d%0aSet-Cookie: b=1\r\n folded: 1\r\n\r\n"
    status, headers, _ = asked(site, lines)
    assert status == 200
    assert not {"set-cookie", "folded"} & headers.keys()
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])


def test_a_body_shorter_than_it_says_is_given_up(strict: Site, people: People) -> None:
    request = posting(people, 500)
    began = time.monotonic()
    status, headers, body = asked(strict, request + batch())
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(body)["detail"] == "the body took longer than 1 seconds"
    assert 0.9 < time.monotonic() - began < 4
    assert total(strict, people) == 0


def test_a_body_longer_than_it_says_is_another_request(strict: Site, people: People) -> None:
    body = batch()
    request = posting(people, len(body))
    with strict.connected() as raw:
        raw.sendall(request + body + b"junk\r\n\r\n")
        received = b"".join(iter(lambda: raw.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1") == 1 or b"HTTP/1.1 400" in received
    assert total(strict, people) == 1


def test_a_trickle_is_given_up_and_holds_nobody_up(strict: Site, people: People) -> None:
    request = posting(people, 5000)
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(strict.connected()) for _ in range(10)]
        for raw in raws:
            raw.sendall(request)
        for _ in range(5):
            for raw in raws:
                raw.sendall(b" ")
            assert asked(strict, head("GET", "/readyz"))[0] == 200
        assert [answer(raw)[0] for raw in raws] == [408] * 10


def test_who_is_not_known_is_refused_before_the_body(strict: Site, people: People) -> None:
    for who, status in ((None, 401), ("owner", 403), ("stranger", 404)):
        request = posting(people, 150_000, who)
        with strict.connected() as raw:
            raw.sendall(request + b"{")
            began = time.monotonic()
            got, headers, _ = answer(raw)
            assert (got, headers["connection"]) == (status, "close")
            assert time.monotonic() - began < 0.8


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(strict: Site, people: People) -> None:
    for path in ("/events", "/export"):
        request = posting(people, 10**12, path=path)
        status, _, body = asked(strict, request)
        assert (status, json.loads(body)["title"]) == (413, "Content Too Large")


def test_who_sends_too_much_still_gets_the_answer(strict: Site, people: People) -> None:
    """Closing at once would make the client's own sending fail before it sees why."""
    with strict.client(people.token("service")) as client:
        kind = {"Content-Type": "application/json"}
        for _ in range(3):
            assert client.post(f"{log_of(people)}/events", content=b"x" * 5_000_000, headers=kind).status_code == 413
            chunks = iter([b"x" * 99_999] * 50)
            assert client.post(f"{log_of(people)}/events", content=chunks, headers=kind).status_code == 413
        assert client.get("/healthz").status_code == 200


def test_a_chunked_body_without_end_is_refused_and_the_connection_closed(strict: Site, people: People) -> None:
    request = posting(people)
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with strict.connected() as raw:
        raw.sendall(request)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 10:
                raw.sendall(chunk)
        assert time.monotonic() - began < 5


def test_all_bodies_together_are_bounded(strict: Site, people: People) -> None:
    request = posting(people, 190_001)
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(strict.connected()) for _ in range(4)]
        for raw in raws:
            raw.sendall(request + b" " * 190_000)
        statuses = sorted(answer(raw)[0] for raw in raws)
    assert statuses[-2:] == [429, 429]
    eventually(lambda: stored(strict, people) == 200)


def test_one_token_cannot_take_all_places(strict: Site, people: People) -> None:
    request = posting(people, 100)
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(strict.connected()) for _ in range(30)]
        for raw in raws:
            raw.sendall(request)
        with strict.client(people.token("owner")) as client:
            assert client.get(f"{log_of(people)}/events").status_code == 200
        statuses = [answer(raw)[0] for raw in raws]
    assert (statuses.count(408), statuses.count(429)) == (20, 10)
    assert total(strict, people) == 0


def test_a_client_that_leaves_half_way_through_its_body_stores_nothing(strict: Site, people: People) -> None:
    request = posting(people, 5000)
    for _ in range(30):
        with strict.connected() as raw:
            raw.sendall(request + b'{"events": [')
    eventually(lambda: stored(strict, people) == 200)
    assert total(strict, people) == 1


def test_requests_in_a_row_are_answered_in_a_row(site: Site) -> None:
    with site.connected() as raw:
        raw.sendall(head("GET", "/healthz") * 20 + head("GET", "/nothing"))
        received = b""
        while b"HTTP/1.1 404" not in received:
            received += raw.recv(65536)
    assert received.count(b"HTTP/1.1 200") == 20


class TestExports:
    """Exports whose readers stop, leave, or are too many."""

    @pytest.fixture(scope="class")
    @staticmethod
    def large(site: Site) -> People:
        """An organisation whose export is larger than all buffers on the way: 12,000 events, 60 MB."""
        people = settle(site.accounts)
        owner = Owner.organization(people.organization)
        for n in range(12_000):
            site.log.record(
                Event(
                    owner=owner, action="security.access.role_changed", actor=Actor.user("u_1"),
                    resource=Resource("security_finding", str(n)), metadata={"note": "x" * 5_000},
                )
            )  # fmt: skip
        assert site.log.flush(60)
        return people

    @staticmethod
    def started(site: Site, people: People, who: str = "owner") -> socket.socket:
        body = b'{"format": "ndjson"}'
        raw = socket.create_connection(("127.0.0.1", site.port), timeout=20)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.sendall(posting(people, len(body), who, "/export") + body)
        return raw

    @staticmethod
    def ended(site: Site, people: People) -> list[dict[str, Any]]:
        page = site.log.list(Owner.organization(people.organization), action=EXPORTED, limit=100)
        return [event.metadata for event in page.events if event.metadata["phase"] == "finished"]

    def test_a_reader_who_stops_loses_it_and_the_record_says_so(self, strict: Site, large: People) -> None:
        before = len(self.ended(strict, large))
        with self.started(strict, large) as raw:
            assert raw.recv(12) == b"HTTP/1.1 200"
            with strict.client(large.token("admin")) as client:
                assert client.get(f"{log_of(large)}/events").status_code == 200
            (end,) = eventually(lambda: self.ended(strict, large)[: -before or None])
            assert end["complete"] is False
            assert 0 < end["rows"] < 12_000
            received = b"".join(iter(lambda: raw.recv(1 << 20), b""))
        assert not received.endswith(b"0\r\n\r\n"), "who reads on must see that it was cut off"

    def test_a_reader_who_leaves_ends_it_at_once(self, site: Site, large: People) -> None:
        """With the ordinary limits: nothing waits for the minute that a reader has."""
        before = len(self.ended(site, large))
        with self.started(site, large) as raw:
            raw.recv(100_000)
        ends = eventually(lambda: self.ended(site, large)[: -before or None], 3)
        assert [end["complete"] for end in ends] == [False]

    def test_so_many_at_a_time(self, site: Site, large: People) -> None:
        raws = [self.started(site, large) for _ in range(4)]
        assert [raw.recv(12) for raw in raws] == [b"HTTP/1.1 200"] * 4
        with site.client(large.token("owner")) as client:
            refused = client.post(f"{log_of(large)}/export", json={"format": "csv"})
            assert refused.status_code == 429
            assert refused.headers["retry-after"]
        before = len(self.ended(site, large))
        with site.client(large.token("admin")) as client:
            answer = client.post(f"{log_of(large)}/export", json={"format": "csv", "resource_id": "1"})
            assert answer.text.count("\r\n") == 2
        for raw in raws:
            raw.close()
        eventually(lambda: len(self.ended(site, large)) == before + 5)
        with site.client(large.token("owner")) as client:
            assert client.post(f"{log_of(large)}/export", json={"format": "csv", "resource_id": "1"}).status_code == 200

    def test_a_whole_one_is_whole(self, site: Site, large: People) -> None:
        before = site.log.summary(Owner.organization(large.organization), action="security.access.role_changed").total
        with site.client(large.token("owner")) as client:
            wanted = {"format": "ndjson", "action": ["security.access.role_changed"]}
            assert client.post(f"{log_of(large)}/export", json=wanted).text.count("\n") == before
