"""A backup from before an erasure holds what was erased: after restoring it, the journal is replayed."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

import histories
from everywhere import everything_in, rows_of
from permalog import Actor, Event, Owner, Personal, Resource
from permalog.client import Permalog
from permalog.errors import InvalidEvent
from permalog.postgres.embedded_host import programs
from permalog_server.accounts import Accounts
from permalog_server.forgetting import Office
from postgres15 import programs as programs15
from servers import Server
from services import Service

COMPANY, OTHERS = UUID("7d1f8a52-6c0e-4a53-9f0e-2b1a5c3d4e5f"), UUID("0b8e3b50-93a1-4d0c-8a53-3f6c53b6a7aa")
COMPANYS, THEIRS, HERS, GONE = (
    Owner.organization(COMPANY), Owner.organization(OTHERS), Owner.user("ada"), Owner.user("eve"),
)  # fmt: skip
ADA = Actor.user("ada", email="ada.byron@acme.example", name="Ada Byron")
OPERATOR = Actor.staff("operator", name="Olga")
TRACES = ("ada.byron@acme.example", "ada byron", "zoe@acme.example")


def event(actor: Actor, owner: Owner = COMPANYS, **metadata: object) -> Event:
    return Event(actor=actor, owner=owner, action="thing.made", resource=Resource("thing", "t_1"), metadata=metadata)


@pytest.fixture
def tools(server: Server) -> Path:
    """The folder with the server's own pg_dump."""
    found = programs(None) if server.version == "18" else programs15()
    assert found is not None
    return found


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_restored_backup_and_its_journal_forget_again(
    form: str, service: Service, tools: Path, tmp_path: Path, new_database: Callable[[str], str]
) -> None:
    writer = service.writer()
    service.member("ada", COMPANY, email="ada.byron@acme.example")
    done = [event(ADA, mine=Personal("email", "Ada.Byron@acme.example")), event(ADA, HERS), event(ADA, THEIRS)]
    done += [event(Actor.user("bob"), whom=Personal("search", "ada byron")), event(Actor.staff("sue", name="Sue"))]
    histories.write(service, writer, [(way, one) for one in done for way in histories.WAYS])
    # Somebody who was erased before the backup.
    histories.write(service, writer, [("http", event(Actor.user("eve", email="eve@acme.example")))])
    assert service.office.forget_user("eve", OPERATOR)
    before, journal_then = rows_of(service.url), service.journal.read_bytes()

    backup = tmp_path / "backup"
    run(tools / "pg_dump", "--format", form, "--file", backup, service.url)
    assert service.office.forget_user("ada", OPERATOR)
    assert service.office.forget_organization(OTHERS, OPERATOR)
    assert service.office.forget_user("zoe", OPERATOR) is None  # nobody knows her yet

    restored = new_database("template0")
    if form == "custom":
        run(tools / "pg_restore", "--exit-on-error", "--single-transaction", "--dbname", restored, backup)
    else:
        run(tools / "psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--file", backup, restored)
    assert rows_of(restored) == before  # what the triggers note, and what they blank, is as it was
    journal = tmp_path / "copied.ndjson"
    journal.write_bytes(service.journal.read_bytes() + b'{"at": "", "erased": "user", "id": "zoe"}\n')
    with Permalog.connect(restored) as log:
        own = tmp_path / "new" / "erasures.ndjson"
        office = Office(log, Accounts(log.database), own)
        assert TRACES[0] in everything_in(restored)
        assert office.replay(journal, OPERATOR) == 2
        assert [trace for trace in TRACES if trace in everything_in(restored)] == []
        assert len(own.read_bytes().splitlines()) == len(journal.read_bytes().splitlines())  # for the next restore
        assert len(journal.read_bytes()) > len(journal_then)
        assert office.replay(journal, OPERATOR) == 0
        # Who was erased, then or now, stays so; and who was not even known.
        for user in ("ada", "eve", "zoe"):
            log.record(event(Actor.user(user, email=f"{user}@acme.example")))
        assert log.flush()
        assert [trace for trace in (*TRACES, "@acme.example") if trace in everything_in(restored)] == []
        for owner in (HERS, GONE, THEIRS):
            with pytest.raises(InvalidEvent, match="this log was erased"), psycopg.connect(restored) as connection:
                log.record(event(ADA, owner), connection=connection)
        assert len(log.list(COMPANYS, actor_id="ada").events) == len(histories.WAYS) + 1
    with psycopg.connect(restored) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE permalog.event SET action = action")
