"""The service on every PostgreSQL there is: each kind of request once."""

from pathlib import Path
from typing import Any

from service import running, settle


def test_each_kind_of_request_works_on_each_version(database: str, tmp_path: Path) -> None:
    event: dict[str, Any] = {
        "action": "thing.made",
        "actor": {"type": "staff", "id": "s_1", "email": "s@tests.example", "name": "Sam"},
        "resource": {"type": "thing", "id": "t_1"},
        "metadata": {"note": "Ünicode"},
    }
    with running(database, tmp_path) as site:
        people = settle(site.accounts)
        log = f"/v1/organizations/{people.organization}/audit-log"
        with site.client(people.token("service")) as client:
            for status in ("created", "duplicate"):
                headers = {"Idempotency-Key": "k"}
                answer = client.post(f"{log}/events", json={"events": [event]}, headers=headers).json()
                assert [result["status"] for result in answer["results"]] == [status]
        with site.client(people.token("owner")) as client:
            (found,) = client.get(f"{log}/events?search=ünicode").json()["events"]
            assert found["actor"] == {"type": "staff", "id": None, "email": None, "name": "Support"}
            assert client.get(f"{log}/events/{found['id']}").json() == found
            assert client.get(f"{log}/summary").json()["total"] == 1
            assert client.post(f"{log}/export", json={"format": "json"}).json() == [found]
        with site.client(people.token("staff")) as client:
            viewed, *_ = client.get(f"{log}/events").json()["events"]
            assert (viewed["action"], viewed["actor"]["id"]) == ("security.audit_log.viewed", people.id("staff"))
            assert client.delete(f"/v1/users/{people.id('member')}").status_code == 200
        with site.client(people.token("member")) as client:
            assert client.get("/v1/audit-log/events").status_code == 401
