"""After a person was erased, their address and name stand nowhere; what they did stays on record."""

import io
import json
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

import histories
from asking import value
from everywhere import changed_events, everything_in, rows_of
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.errors import DatabaseProblem, InvalidEvent, InvalidQuery
from permalog_server import forgetting, rejects
from permalog_server.accounts import Accounts
from permalog_server.importing import import_lines
from permalog_server.journal import note, noted
from permalog_server.ndjson import lines_of
from services import Service

ORGANIZATION = UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f")
OTHER = UUID("0b8e3b50-93a1-4d0c-8a53-3f6c53b6a7aa")
HERS, COMPANYS = Owner.user("ada"), Owner.organization(ORGANIZATION)
ADA = Actor.user(
    "ada", email="Ada.Byron@acme.example", name="Ada Byron", ip_address="203.0.113.77", user_agent="Engine/1.0 (ada)"
)
SUE = Actor.staff("sue", email="sue.staff@staff.example", name="Sue Staff")
BOB = Actor.user("bob", email="bob@acme.example", name="Bob Hope")
ISOLATION = [psycopg.IsolationLevel(level) for level in (2, 3, 4)]
OPERATOR = Actor.staff("operator", name="Olga")
TRACES = ("ada.byron@acme.example", "ada byron", "203.0.113.77", "engine/1.0 (ada)", "other name of hers")
LATE = "lady-ada"
"""What only her late events tell: it goes with them, whatever it is, since nobody knows any more who she was."""


def event(actor: Actor, owner: Owner = COMPANYS, **members: Any) -> Event:
    members = {"action": "thing.made", "resource": Resource("thing", "t_1")} | members
    return Event(actor=actor, owner=owner, **members)


def fill(service: Service) -> None:
    """A person in two organisations and a log of her own, told of by others, and with an account."""
    service.member("ada", ORGANIZATION, email="ada.byron@acme.example", name="other name of hers")
    about = {
        "in text": Personal("search", "mails to ADA.BYRON@acme.example?"),
        "as it is": Personal("email", "ada.byron@ACME.example"),
        "name": Personal("display_name", "  ada   BYRON "),
        "searched": Personal("search", "what did Ada Byron do"),
        "of the account": Personal("display_name", "Other Name of Hers"),
    }
    done = [
        event(ADA, metadata={"address": Personal("email", "ada.byron@acme.example")}),
        event(ADA, Owner.organization(OTHER)),
        event(ADA, HERS),
        event(BOB, HERS),
        event(BOB, metadata=about),
        event(SUE, after_state={"list": [Personal("email", "Ada.Byron@acme.example")]}),
    ]
    histories.write(service, service.writer(), [(way, one) for one in done for way in histories.WAYS])


def forgotten(service: Service) -> forgetting.Erased:
    erased = service.office.forget_user("ada", OPERATOR)
    assert erased is not None
    return erased


def forgotten_by_another_process(service: Service) -> None:
    """The same by connections that are over when this returns: a server process counts its writes when it ends."""
    with psycopg.connect(service.url, autocommit=True) as connection:
        others = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = current_database()"
        before = value(connection, others)
        with Permalog.connect(service.url) as log:
            office = forgetting.Office(log, Accounts(log.database), service.journal)
            assert office.forget_user("ada", OPERATOR) is not None
        while set(value(connection, others)) - set(before):
            time.sleep(0.01)


def analyze(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def traces(text: str, of: tuple[str, ...] = TRACES) -> list[str]:
    return [trace for trace in of if trace in text.lower()]


def test_neither_address_nor_name_stands_anywhere(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    fill(service)
    analyze(service.url)  # what it gathers is kept in the server's own tables
    assert traces(everything_in(service.url)) == list(TRACES)
    header = service.token("ada", "users:delete")
    answer = service.client.delete("/v1/users/ada", headers=header)
    assert answer.status_code == 200
    assert traces(everything_in(service.url)) == []
    analyze(service.url)
    assert traces(everything_in(service.url)) == []
    said = capfd.readouterr()
    assert traces(said.out + said.err) == []
    assert traces(service.client.get("/metrics").text + answer.text) == []
    assert traces(service.journal.read_text()) == []
    assert service.client.get("/v1/audit-log/events", headers=header).status_code == 401


def test_events_and_counts_stay_and_no_row_of_an_organisation_is_touched(service: Service) -> None:
    fill(service)
    logs = (COMPANYS, Owner.organization(OTHER))
    with psycopg.connect(service.url) as connection:
        query = "SELECT * FROM permalog.event WHERE log_id = ANY (%s) ORDER BY log_id, id"
        before = connection.execute(query, ([owner.log_id for owner in logs],)).fetchall()
    counted = [service.log.summary(owner) for owner in logs]
    hers = service.log.summary(HERS).total
    forgotten_by_another_process(service)
    with psycopg.connect(service.url) as connection:
        after = connection.execute(query, ([owner.log_id for owner in logs],)).fetchall()
    assert [row for row in after if row[5] != "security.log.user_erased"] == before
    for owner, was in zip(logs, counted, strict=True):
        now = service.log.summary(owner)
        assert now.total == was.total + 1
        assert [(one.id, one.count) for one in now.by_actor if one.type == "user"] == [
            (one.id, one.count) for one in was.by_actor if one.type == "user"
        ]
        assert service.log.list(owner, actor_id="ada").events
    assert sum(deleted for _, deleted in changed_events(service.url).values()) == hers > 0
    assert not any(updated for updated, _ in changed_events(service.url).values())


def test_where_no_log_is_removed_no_event_row_is_ever_written(service: Service) -> None:
    histories.write(service, {}, [("statement", event(ADA)), ("recorder", event(BOB))])
    forgotten_by_another_process(service)
    assert changed_events(service.url) == {}


def test_the_erasure_is_on_record_in_each_log_concerned_and_in_the_operators(service: Service) -> None:
    fill(service)
    forgotten(service)
    operators = Owner.organization(service.accounts.operator())
    told = {
        owner: [
            (one.actor_type, one.actor_name, one.metadata)
            for one in service.log.list(owner, action="security.log.user_erased").events
        ]
        for owner in (COMPANYS, Owner.organization(OTHER), operators)
    }
    assert [numbers for _, _, numbers in told[COMPANYS]] == [{"user_id": "ada", "identities": mentions(service)}]
    assert len(told[Owner.organization(OTHER)]) == 1
    assert told[operators] == [("staff", "Olga", {"user_id": "ada", "logs": 3})]


def mentions(service: Service) -> int:
    with psycopg.connect(service.url) as connection:
        query = "SELECT count(*) FROM permalog.identity WHERE log_id = %s AND erased_at IS NOT NULL"
        return connection.execute(query, (COMPANYS.log_id,)).fetchall()[0][0]


def test_other_peoples_data_stay(service: Service) -> None:
    """Over-erasure destroys others' evidence."""
    fill(service)
    kept = {
        "longer address": "xada.byron@acme.example",
        "tagged": "list+ada.byron@acme.example",
        "other domain": "ada.byron@acme.example.org",
        "longer name": "Ada Byron King",
        "double name": "Ada Byron-King",
        "one word of it": "Ada",
        "the other": "byron",
        "in a word": "Canada Byronic",
    }
    searched = ["Canada Byronic", "ada", "byron", "Ada Byron-King", "ada or byron"]
    metadata = {name: Personal("display_name", text) for name, text in kept.items()}
    metadata |= {f"search {n}": Personal("search", text) for n, text in enumerate(searched)}
    histories.write(service, {}, [("statement", event(BOB, metadata=metadata))])
    forgotten(service)
    (found, *_) = service.log.list(COMPANYS, actor_id="bob").events
    values = {name: value["$personal"]["value"] for name, value in found.metadata.items()}
    assert values == kept | {f"search {n}": text for n, text in enumerate(searched)}
    assert found.actor_email == "bob@acme.example"


@pytest.mark.parametrize("name", ["Al", "open", "A", "-", "%", "_", "王伟", "İlker", "O'Brien", "🙂"])
def test_a_name_takes_only_values_that_are_this_name(name: str, service: Service) -> None:
    """“Al” is in half of all words; a name may be a word, a wildcard, or no letter at all."""
    texts = ["total", "open findings", "al", "Al Capone", "100%", "a_b", "alarm", "reopened", "王伟明", "brien", "x"]
    metadata = {str(n): Personal("search", text) for n, text in enumerate(texts)} | {"own": Personal("login", name)}
    histories.write(
        service, {}, [("statement", event(BOB, metadata=metadata)), ("statement", event(Actor.user("al", name=name)))]
    )
    assert service.office.forget_user("al", OPERATOR) is not None
    (found,) = service.log.list(COMPANYS, actor_id="bob").events
    gone = {texts[int(n)] for n, v in found.metadata.items() if n != "own" and v["$personal"]["value"] is None}
    assert gone == {text for text in texts if text.lower() == name.lower()}
    if name[0].isalnum():
        assert found.metadata["own"]["$personal"]["value"] is None


def late(metadata: dict[str, Any] | None = None) -> Event:
    return event(ADA, metadata=metadata or {"mine": Personal("github_login", LATE), "plain": "stays"})


@pytest.mark.parametrize("way", histories.WAYS)
def test_what_arrives_later_arrives_blank(way: str, service: Service) -> None:
    fill(service)
    forgotten(service)
    histories.write(service, service.writer(), [(way, late()), (way, event(BOB, metadata={"o": Personal("x", "y")}))])
    assert traces(everything_in(service.url), (*TRACES, LATE)) == []
    by_bob, by_ada, *_ = service.log.list(COMPANYS).events
    assert (by_ada.actor_id, by_ada.actor_email, by_ada.actor_name) == ("ada", None, None)
    assert by_ada.metadata == {"mine": {"$personal": {"kind": "github_login", "value": None}}, "plain": "stays"}
    assert by_bob.metadata["o"]["$personal"]["value"] == "y"


def test_what_waited_in_the_queue_arrives_blank(service: Service) -> None:
    fill(service)
    with psycopg.connect(service.url) as blocker:
        blocker.execute("LOCK TABLE permalog.unsealed")  # the drain waits, as if the database were slow
        for _ in range(3):
            service.log.record(late())
        done: list[object] = []
        erasing = threading.Thread(target=lambda: done.append(service.office.forget_user("ada", OPERATOR)))
        erasing.start()
        time.sleep(0.3)
        assert not done  # it waits for what is on its way
        blocker.rollback()
    erasing.join(30)
    assert done
    assert service.log.flush()
    assert traces(everything_in(service.url)) == []


def test_a_repeated_event_is_a_duplicate_still(service: Service) -> None:
    """The content digest holds nothing personal."""
    sent = event(ADA, event_key="k", metadata={"mine": Personal("email", "ada.byron@acme.example")})
    writer = service.writer()
    body = {"events": [json.loads(sent.to_json())]}
    statuses: list[str] = []
    for _ in range(2):
        answer = service.client.post("/v1/audit-log/events", json=body, headers=writer)
        statuses.append(answer.json()["results"][0]["status"])
        service.office.forget_user("ada", OPERATOR)
    assert statuses == ["created", "duplicate"]


@pytest.mark.parametrize("owner", [HERS, COMPANYS], ids=["personal", "organisation"])
@pytest.mark.parametrize("was_open", [True, False])
def test_an_erased_log_stays_a_tombstone_and_refuses_events(owner: Owner, was_open: bool, service: Service) -> None:  # noqa: FBT001
    if was_open:
        fill(service)
    else:
        service.member("ada", ORGANIZATION)
    if owner is HERS:
        forgotten(service)
    else:
        assert service.office.forget_organization(ORGANIZATION, OPERATOR)
    with (
        pytest.raises(InvalidEvent, match="owner: this log was erased") as refused,
        psycopg.connect(service.url) as own,
    ):
        service.log.record(event(BOB, owner), connection=own)
    assert refused.value.field == "owner"
    body = {"events": [json.loads(event(BOB, owner).to_json())]}
    answer = service.client.post("/v1/audit-log/events", json=body, headers=service.writer())
    assert answer.json()["results"][0] == {
        "id": None, "status": "rejected", "error": "owner: this log was erased, or never opened",
    }  # fmt: skip
    with psycopg.connect(service.url) as connection:
        row = connection.execute(
            "SELECT erased_at IS NOT NULL, (SELECT count(*) FROM permalog.event AS e WHERE e.log_id = l.log_id),"
            " (SELECT count(*) FROM permalog.identity AS i WHERE i.log_id = l.log_id),"
            " (SELECT count(*) FROM permalog.unsealed AS u WHERE u.log_id = l.log_id),"
            " (SELECT count(*) FROM permalog.event_key AS k WHERE k.log_id = l.log_id)"
            " FROM permalog.log AS l WHERE l.log_id = %s",
            (owner.log_id,),
        ).fetchone()
    assert row == (True, 0, 0, 0, 0)


def test_erasing_an_organisation_ends_its_tokens_and_memberships(service: Service) -> None:
    fill(service)
    bob = service.member("bob", ORGANIZATION)
    service.accounts.ensure_person("svc")
    issued = service.accounts.issue("svc", organization=ORGANIZATION, scopes=["events:write"])
    dry = service.office.forget_organization(ORGANIZATION, OPERATOR, dry_run=True)
    erased = service.office.forget_organization(ORGANIZATION, OPERATOR)
    assert dry is not None
    assert erased is not None
    assert dry.as_json() | {"dry_run": False} == erased.as_json()
    assert (erased.tokens, erased.memberships) == (1, 2)
    base = f"/v1/organizations/{ORGANIZATION}/audit-log"
    assert service.client.get(f"{base}/events", headers=bob).status_code == 404
    header = {"Authorization": f"Bearer {issued.token}"}
    assert service.client.post(f"{base}/events", json={"events": [{}]}, headers=header).status_code == 401
    (record,) = service.log.list(
        Owner.organization(service.accounts.operator()), action="security.log.user_erased"
    ).events
    assert record.metadata["organization_id"] == str(ORGANIZATION)
    assert service.office.forget_organization(ORGANIZATION, OPERATOR) is None


def test_a_dry_run_writes_nothing_and_tells_what_then_happens(service: Service) -> None:
    fill(service)
    before = rows_of(service.url)
    dry = service.office.forget_user("ada", OPERATOR, dry_run=True)
    assert rows_of(service.url) == before
    assert not service.journal.exists()
    assert dry is not None
    assert dry.as_json() | {"dry_run": False} == forgotten(service).as_json()
    assert [(log["events"] > 0, log["identities"] > 0) for log in dry.logs] == [
        (False, True),
        (False, True),
        (True, True),
    ]


def test_to_erase_twice_is_harmless(service: Service) -> None:
    fill(service)
    forgotten(service)
    before = rows_of(service.url)
    assert service.office.forget_user("ada", OPERATOR) is None
    service.log.erase_user("ada")
    assert rows_of(service.url) == before


def test_staff_are_erased_likewise(service: Service) -> None:
    fill(service)
    service.accounts.ensure_person("sue", email="sue.staff@staff.example", name="Sue Staff", staff=True)
    histories.write(
        service, {}, [("statement", event(BOB, metadata={"whom": Personal("email", "SUE.staff@staff.example")}))]
    )
    assert service.office.forget_user("sue", OPERATOR) is not None
    assert traces(everything_in(service.url), ("sue.staff@staff.example", "sue staff")) == []
    assert service.log.summary(COMPANYS, actor_id="sue").total == 0
    assert sum(one.count for one in service.log.summary(COMPANYS).by_actor if one.type == "staff") == 4


def test_who_was_user_and_staff_is_named_only_where_they_were_a_user(service: Service) -> None:
    both = {"email": "both@staff.example"}
    histories.write(service, {}, [
        ("statement", event(Actor.user("both", **both))),
        ("statement", event(Actor.staff("both", **both))),
        ("statement", event(Actor.staff("both", **both), Owner.organization(OTHER))),
    ])  # fmt: skip
    assert service.office.forget_user("both", OPERATOR) is not None
    (record,) = service.log.list(COMPANYS, action="security.log.user_erased").events
    assert record.metadata == {"user_id": "both", "identities": 1}
    assert service.log.list(Owner.organization(OTHER), action="security.log.user_erased").events == ()


def killed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure whose connections are ended when it has been noted."""

    def note_and_kill(journal: Path, kind: Any, identifier: str) -> None:
        note(journal, kind, identifier)
        with psycopg.connect(service.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with monkeypatch.context() as patched:
        patched.setattr(forgetting, "note", note_and_kill)
        with pytest.raises((psycopg.OperationalError, DatabaseProblem)):
            service.office.forget_user("ada", OPERATOR)


def test_a_crash_behind_the_journal_is_mended_by_a_replay(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(service)
    before = rows_of(service.url)
    killed(service, monkeypatch)
    assert rows_of(service.url) == before
    assert list(noted(service.journal)) == [("user", "ada")]
    with Permalog.connect(service.url) as log:  # another process, once the database is there again
        office = forgetting.Office(log, Accounts(log.database), service.journal)
        assert office.replay(service.journal, OPERATOR) == 1
        assert traces(everything_in(service.url)) == []
        assert office.replay(service.journal, OPERATOR) == 0
    assert service.journal.read_text().count("\n") == 1


def test_a_crash_between_barring_and_erasing_is_mended_likewise(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(service)

    def crash(*_arguments: object, **_more: object) -> None:
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(forgetting, "erase_alone", crash)
        with pytest.raises(psycopg.OperationalError):
            service.office.forget_user("ada", OPERATOR)
    assert traces(everything_in(service.url)) != []
    forgotten(service)
    assert traces(everything_in(service.url)) == []


def test_nothing_is_erased_that_cannot_be_noted(service: Service) -> None:
    fill(service)
    before = rows_of(service.url)
    service.journal.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        service.office.forget_user("ada", OPERATOR)
    assert rows_of(service.url) == before


def test_a_line_that_was_cut_off_stops_no_other(service: Service) -> None:
    fill(service)
    service.journal.write_bytes(b'{"at":"2026-01-31T09:00:00+00:00","erased":"us')
    forgotten(service)
    service.journal.write_bytes(service.journal.read_bytes() + b'{"erased": "user", "id": "bob"}')
    with pytest.raises(InvalidQuery, match="line 1: is no line of an erasure journal"):
        service.office.replay(service.journal, OPERATOR)
    assert traces(everything_in(service.url), ("bob@acme.example",)) == []


@pytest.mark.parametrize("whom", [("ada", "ada"), ("ada", "bob")], ids=["the same", "two people"])
def test_two_erasures_at_once_do_not_harm_each_other(whom: tuple[str, str], service: Service) -> None:
    fill(service)
    both = {"a": Personal("search", "ada.byron@acme.example or bob@acme.example")}
    histories.write(service, {}, [("statement", event(Actor.system("x"), metadata=both)) for _ in range(20)])
    results: list[object] = []

    def erase(who: str) -> None:
        results.append(service.office.forget_user(who, OPERATOR))

    threads = [threading.Thread(target=erase, args=(who,)) for who in whom]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(result is not None for result in results) == len(set(whom))
    assert len(results) == 2
    assert traces(everything_in(service.url), (*TRACES, *(["bob@acme.example"] if "bob" in whom else []))) == []


@pytest.mark.slow
def test_erasing_while_their_events_are_imported(service: Service) -> None:
    fill(service)
    lines = b"".join(
        late({"n": n, "mine": Personal("email", "ada.byron@acme.example")}).to_json() + b"\n" for n in range(12_000)
    )
    importing = threading.Thread(
        target=lambda: import_lines(
            service.log, lines_of(io.BytesIO(lines)), reject=lambda _rejected: None, progress=lambda _tally, _size: None
        )
    )
    importing.start()
    time.sleep(0.3)
    forgotten(service)
    importing.join()
    assert service.log.summary(COMPANYS, actor_id="ada").total == 12_000 + 4
    assert traces(everything_in(service.url)) == []


@pytest.mark.parametrize("isolation", ISOLATION, ids=lambda level: level.name.lower())
@pytest.mark.parametrize("records", ["before", "after"])
def test_erasing_while_somebody_records_as_them(
    isolation: psycopg.IsolationLevel, records: str, service: Service
) -> None:
    """A transaction that began before, and commits after: whatever it wrote, and whenever."""
    fill(service)
    with psycopg.connect(service.url) as own:
        own.isolation_level = isolation
        own.execute("SELECT 1 FROM permalog.log")
        if records == "before":
            service.log.record(late(), connection=own)
        done: list[object] = []
        erasing = threading.Thread(target=lambda: done.append(service.office.forget_user("ada", OPERATOR)))
        erasing.start()
        erasing.join(0.5)
        assert bool(done) == (records == "after")  # before: it waits
        if records == "after":
            service.log.record(late(), connection=own)
        own.commit()
    erasing.join(30)
    assert done
    assert traces(everything_in(service.url), (*TRACES, *([LATE] if records == "after" else []))) == []
    assert service.log.summary(COMPANYS, actor_id="ada").total == 4 + 1


@pytest.mark.parametrize("isolation", ISOLATION, ids=lambda level: level.name.lower())
@pytest.mark.parametrize("records", ["before", "after"])
def test_no_event_gets_into_a_log_that_is_being_removed(
    isolation: psycopg.IsolationLevel, records: str, service: Service
) -> None:
    fill(service)
    with psycopg.connect(service.url) as own:
        own.isolation_level = isolation
        own.execute("SELECT 1 FROM permalog.log")
        if records == "before":
            service.log.record(event(BOB, HERS), connection=own)
        erasing = threading.Thread(target=lambda: service.office.forget_user("ada", OPERATOR))
        erasing.start()
        erasing.join(0.5)
        if records == "after":
            with pytest.raises((InvalidEvent, psycopg.errors.SerializationFailure)):
                service.log.record(event(BOB, HERS), connection=own)
        own.commit()
    erasing.join(30)
    with psycopg.connect(service.url) as connection:
        rows = connection.execute("SELECT FROM permalog.event WHERE log_id = %s", (HERS.log_id,)).fetchall()
        assert rows == []


def test_a_transaction_that_is_left_open_is_named(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(service)
    monkeypatch.setattr("permalog.erasing.forgetting.bar_user.__kwdefaults__", {"wait": 0.2})
    with psycopg.connect(service.url) as own:
        service.log.record(late(), connection=own)
        with pytest.raises(DatabaseProblem, match=f"process {own.info.backend_pid} of the database"):
            service.office.forget_user("ada", OPERATOR)
    forgotten(service)
    assert traces(everything_in(service.url)) == []


def test_erasing_in_a_transaction_that_does_not_see_the_present_is_refused(log: Permalog, database: str) -> None:
    with psycopg.connect(database) as own:
        own.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"):
            log.erase_user("ada", connection=own)


def test_rejected_lines_are_purged(tmp_path: Path, log: Permalog) -> None:
    good = json.loads(late().to_json())
    bad = good | {"action": "no.such"}
    bobs = {"type": "user", "id": "bob", "email": "bob@acme.example"}
    sent: list[Any] = [
        bad,
        bad | {"actor": bobs, "metadata": {"to": "ADA.byron@acme.example"}},
        bad | {"actor": bobs, "metadata": {}},
        bad | {"actor": {"type": "system"}, "owner": {"user_id": "ada"}},
    ]
    lines = [json.dumps(one).encode() for one in sent] + [b'{"actor": "\\u0041da Byron', b"garbage"]
    rejected: list[Any] = []
    import_lines(
        log, lines_of(io.BytesIO(b"\n".join(lines))), reject=rejected.append, progress=lambda _tally, _size: None
    )
    file = tmp_path / "rejects"
    file.write_text(
        "".join(
            json.dumps({"line": r.line.number, "error": "e", "field": "f", "event": r.line.text.decode()}) + "\n"
            for r in rejected
        )
    )
    before = file.read_bytes()
    assert rejects.purge(file, "ada", [], dry_run=True) == 3
    assert file.read_bytes() == before
    assert rejects.purge(file, "ada", []) == 3
    assert [json.loads(line)["line"] for line in file.read_text().splitlines()] == [3, 5, 6]
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidQuery, match="cannot be purged"):
        rejects.purge(tmp_path, "ada", [])
