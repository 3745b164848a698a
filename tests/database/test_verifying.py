"""Verifying a live database: what holds is proven, whatever is read and wherever it begins."""

from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import tampering
from actions import ACTIONS
from asking import composed
from permalog import Owner
from permalog.client import Permalog
from permalog.errors import DatabaseProblem
from permalog.postgres.database import Database
from permalog.sealing.keys import KeyFile
from permalog.sealing.outside import SealedFolder
from permalog.sealing.sealer import seal_now
from permalog.sealing.signing import Signing
from permalog.tlog.findings import Broken, VerifyCode
from permalog.tlog.note import Cosigner, Note
from permalog.tlog.witness_policy import WitnessAddress, WitnessPolicy
from permalog.verifying import alongside as verify_alongside
from permalog.verifying import tree as verify_tree
from permalog.verifying.database import Given, Progress, SignedState, Verification, verify_database
from servers import as_user, run_on
from tampering import ACME, BETA, PREFIX, SIGNER, unguarded

GIVEN = Given(keys=[SIGNER.key], prefix=PREFIX)


def verified(url: str, owner: Owner | None = None, given: Given = GIVEN, **how: Any) -> Verification:
    with closing(Database(url)) as database:
        return verify_database(database, None if owner is None else owner.log_id, given, **how)


def test_what_was_sealed_is_proven(sealed: str) -> None:
    told: list[Progress] = []
    result = verified(sealed, progress=told.append)
    assert result.proven
    assert result.findings == []
    assert {(one.log_id, one.size, one.checkpoints, one.read) for one in result.logs} == {
        (owner.log_id, 300, 3, 300) for owner in (ACME, BETA)
    }
    assert [one.done for one in told] == [300, 300]


def test_the_least_rights_suffice(sealed: str) -> None:
    roles = {"permalog_verifier": True, "permalog_reader": False}
    for role, may in roles.items():
        name = f"test_{uuid4().hex}"
        run_on(sealed, "CREATE ROLE {name} LOGIN", name=name)
        try:
            run_on(sealed, "GRANT {role}, permalog_writer TO {name}", role=role, name=name)
            if may:
                assert verified(as_user(sealed, name), ACME).proven
            else:
                with pytest.raises(DatabaseProblem, match="GRANT permalog_verifier TO it"):
                    verified(as_user(sealed, name), ACME)
        finally:
            run_on(sealed, "DROP OWNED BY {name}", name=name)
            run_on(sealed, "DROP ROLE {name}", name=name)


def test_without_a_key_signatures_are_not_checked_and_that_is_said(sealed: str) -> None:
    result = verified(sealed, ACME, Given())
    assert result.proven
    assert [one.code for one in result.findings] == [VerifyCode.NOT_SIGNED]


@pytest.mark.parametrize("size", [3, 256, 300])
def test_it_goes_on_where_it_ended(size: int, sealed: str) -> None:
    with psycopg.connect(sealed) as connection:
        row = connection.execute(
            "SELECT root FROM permalog.checkpoint WHERE log_id = %s AND size = %s", (ACME.log_id, size)
        ).fetchone()
        assert row is not None
        state = {(ACME.log_id, 1): SignedState(size, row[0])}
        given = Given(keys=[SIGNER.key], prefix=PREFIX, since=state)
        result = verified(sealed, ACME, given)
        assert result.proven
        assert result.logs[0].read == 300 - size // 256 * 256
        wrong = Given(keys=[SIGNER.key], since={(ACME.log_id, 1): SignedState(size, bytes(32))})
        with pytest.raises(Broken):
            verified(sealed, ACME, wrong)


def test_what_is_gone_is_found_even_before_the_end_of_the_last_time(sealed: str) -> None:
    with psycopg.connect(sealed) as connection, unguarded(connection):
        row = connection.execute(
            "SELECT root, size FROM permalog.checkpoint WHERE size = 300 AND log_id = %s", (ACME.log_id,)
        ).fetchone()
        assert row is not None
        connection.execute(
            "DELETE FROM permalog.event WHERE log_id = %s AND id = (SELECT event_ids[1] FROM permalog.tile"
            " WHERE log_id = %s AND level = 0 AND index = 0)", (ACME.log_id, ACME.log_id),
        )  # fmt: skip
    given = Given(keys=[SIGNER.key], since={(ACME.log_id, 1): SignedState(300, row[0])})
    codes = {one.code for one in verified(sealed, ACME, given, keep_going=True).findings}
    assert VerifyCode.EVENT_MISSING in codes


def test_an_event_that_was_recorded_long_before_it_was_sealed_is_a_notice(sealed: str) -> None:
    """As where a transaction stood open for hours; or its time was forged while nothing protected it yet."""
    with psycopg.connect(sealed) as connection, unguarded(connection):
        late = tampering.rows_of(connection, ACME.log_id)[305]
        connection.execute(
            "UPDATE permalog.event SET recorded_at = recorded_at - interval '2 hours' WHERE log_id = %s AND id = %s",
            (ACME.log_id, late.id),
        )
        tampering.seal(connection, ACME.log_id, (3, 256, 300, 310))
    result = verified(sealed, ACME)
    (finding,) = result.findings
    assert result.proven
    assert (finding.code, finding.severity) == (VerifyCode.SEALED_LATE, "notice")
    assert (finding.leaf_index, finding.event_id) == (305, UUID(late.id))


def test_a_schema_of_somebodys_own_tells_the_verifier_nothing(sealed: str) -> None:
    """Neither the database's search path nor an operator that lies in it."""
    with psycopg.connect(sealed, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA liar")
        connection.execute(
            "CREATE FUNCTION liar.never(uuid, uuid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false'"
        )
        connection.execute("CREATE OPERATOR liar.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = liar.never)")
        connection.execute("GRANT USAGE ON SCHEMA liar TO PUBLIC")
        path = composed(f'ALTER DATABASE "{connection.info.dbname}" SET search_path = liar, pg_catalog')
        connection.execute(path)
        with unguarded(connection):
            connection.execute("UPDATE permalog.event SET outcome = 'denied' WHERE log_id = %s", (ACME.log_id,))
    codes = [one.code for one in verified(sealed, keep_going=True).findings]
    assert codes.count(VerifyCode.EVENT_CHANGED) == 300


@pytest.mark.parametrize(
    ("size", "old", "code"),
    [
        (300, True, None),
        (256, False, VerifyCode.NOT_WITNESSED_YET),
        (256, True, VerifyCode.WITNESS_QUORUM),
        (0, True, VerifyCode.WITNESS_QUORUM),
    ],
)
def test_every_leaf_is_covered_by_a_quorum_in_time(
    size: int,
    old: bool,  # noqa: FBT001
    code: VerifyCode | None,
    sealed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_tree, "UNCOVERED_TOO_LONG", -1.0 if old else 900.0)
    one, two, three = (Cosigner(f"witness.example/w{n}", bytes([n] * 32)) for n in range(3))
    with psycopg.connect(sealed) as connection:
        for signer, at in ((one, size), (two, size), (three, 300)):
            row = connection.execute(
                "SELECT note FROM permalog.checkpoint WHERE log_id = %s AND size = %s", (ACME.log_id, at)
            ).fetchone()
            if row is not None:
                line = signer.cosign(Note.parse(row[0].encode()).text, 1_769_850_000).line()
                connection.execute(
                    "INSERT INTO permalog.cosignature (log_id, size, witness, line) VALUES (%s, %s, %s, %s)",
                    (ACME.log_id, at, signer.key.name, line),
                )
    policy = WitnessPolicy(2, tuple(WitnessAddress(each.key, "http://127.0.0.1:1") for each in (one, two)))
    found = verified(sealed, ACME, Given(keys=[SIGNER.key], prefix=PREFIX, policy=policy), keep_going=True).findings
    assert [each.code for each in found] == ([] if code is None else [code])


def test_a_log_that_grows_all_the_time_must_be_signed_all_the_same(
    sealed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(sealed) as connection, unguarded(connection):
        connection.execute("DELETE FROM permalog.checkpoint WHERE size = 300")
        connection.execute("UPDATE permalog.head SET sealed_at = clock_timestamp()")
    assert {one.code for one in verified(sealed, ACME).findings} == {VerifyCode.NOT_SIGNED_YET}
    monkeypatch.setattr(verify_tree, "UNCOVERED_TOO_LONG", -1.0)
    assert {one.code for one in verified(sealed, ACME, keep_going=True).findings} == {VerifyCode.CHECKPOINT_MISSING}


def test_what_is_verified_alongside_is_of_the_same_moment(sealed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second connection finds the same as the first, also what somebody changes meanwhile."""
    with psycopg.connect(sealed) as connection, unguarded(connection):
        connection.execute("UPDATE permalog.identity SET name = 'Eve' WHERE kind = 'actor' AND name IS NOT NULL")
        connection.execute("DELETE FROM permalog.activity WHERE part = 'all'")
    found = verified(sealed, keep_going=True)
    assert {one.code for one in found.findings} == {VerifyCode.IDENTITY_CHANGED, VerifyCode.ACTIVITY_WRONG}
    monkeypatch.setattr(verify_alongside, "FROM_LEAVES", 0)

    def meddle(_: Progress) -> None:
        with psycopg.connect(sealed) as connection, unguarded(connection):
            connection.execute("DELETE FROM permalog.activity")

    alongside = verified(sealed, ACME, keep_going=True, progress=meddle)
    assert alongside.failures == sum(one.log_id == ACME.log_id for one in found.findings)
    assert alongside.findings == [one for one in found.findings if one.log_id == ACME.log_id]
    with pytest.raises(Broken):
        verified(sealed, BETA)


def test_it_raises_on_the_first_failure_or_names_all(sealed: str) -> None:
    with psycopg.connect(sealed) as connection, unguarded(connection):
        connection.execute("UPDATE permalog.event SET outcome = 'denied' WHERE log_id = %s", (ACME.log_id,))
    with pytest.raises(Broken) as raised:
        verified(sealed, ACME)
    assert (raised.value.finding.code, raised.value.finding.leaf_index) == (VerifyCode.EVENT_CHANGED, 0)
    assert isinstance(raised.value.finding.event_id, UUID)
    result = verified(sealed, keep_going=True)
    assert not result.proven
    changed = [one for one in result.findings if one.code is VerifyCode.EVENT_CHANGED]
    assert [one.leaf_index for one in changed] == list(range(300))
    assert {one.log_id for one in changed} == {ACME.log_id}


def test_what_the_sealer_sealed_in_many_steps_is_proven(database: str, log: Permalog, tmp_path: Path) -> None:
    """Tiles that grow in place, checkpoints at odd sizes, and what was noted outside."""
    keys = KeyFile(tmp_path / "signing.key", PREFIX)
    keys.make()
    signing = Signing(PREFIX, keys, SealedFolder(tmp_path / "sealed"))
    with closing(Database(database)) as opened:
        for count in (7, 250, 300):
            tampering.fill(log, database, count)
            seal_now(opened, signing)
    last = signing.outside.last(ACME.log_id)
    assert last is not None
    outside = {(ACME.log_id, 1): SignedState(last.size, last.root)}
    result = verified(database, given=Given(keys=keys.known(), prefix=PREFIX, outside=outside))
    assert (result.proven, [one.code for one in result.findings]) == (True, [])
    assert {(one.size, one.checkpoints) for one in result.logs} == {(557, 3)}


def test_the_library_verifies_an_owners_log(sealed: str) -> None:
    with Permalog.connect(sealed, catalogue=ACTIONS) as log:
        assert log.verify(ACME, GIVEN).proven
        assert [one.log_id for one in log.verify(ACME, GIVEN).logs] == [ACME.log_id]
