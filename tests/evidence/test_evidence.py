"""Bundles of a log in the database: what they hold, for whom, and that they verify where there is no database."""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import naive_bundle
import permalog.evidence.gathering
from bundles import SIGNER, STRANGER, contents_of
from evidence_logs import AUDITOR, COUNT, NOW, OWNER, PEOPLE, STAFF, Sealed, event, moment, verified
from permalog import Event, Owner, Resource
from permalog.errors import BundleCode, DatabaseProblem, InvalidQuery, NoEvidence, NotProven, ProofCode
from permalog.evidence.bundle import EVENTS, IDENTITIES, LEAVES, MANIFEST
from permalog.evidence.gathering import CREATED, Wanted, evidence
from permalog.evidence.verifier import verify_bundle
from permalog.evidence.writer import BundleWriter
from permalog.identity import Identity
from permalog.postgres.database import Database
from permalog.tlog.commitments import Commitments
from permalog.tlog.merkle import leaf_hash
from permalog.viewer import Viewer

PERIOD: dict[str, Any] = {"start": moment(10), "end": moment(40)}
FIVE: dict[str, dict[str, Any]] = {
    "whole": {},
    "period": PERIOD,
    "filtered": {"action": ["thing.made"], "outcome": "success"},
    "masked": {"viewer": Viewer.CUSTOMER, **PERIOD},
    "erased": {"actor_id": "u_1"},
}


def events_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in contents_of(data)[EVENTS].splitlines()]


def openings_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in contents_of(data)[IDENTITIES].splitlines()]


def test_five_bundles_verify_in_a_process_without_a_database(sealed: Sealed, tmp_path: Path) -> None:
    for name, filters in FIVE.items():
        if name == "erased":
            sealed.log.erase_user("u_1")
        (tmp_path / f"{name}.zip").write_bytes(sealed.bundle(**filters))
    program = Path(__file__).with_name("without_a_database.py")
    done = subprocess.run(
        [sys.executable, "-I", str(program), str(SIGNER.key), *sorted(map(str, tmp_path.glob("*.zip")))],
        env={"PATH": "/nonexistent"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = dict(zip(sorted(FIVE), map(json.loads, done.stdout.splitlines()), strict=True))
    assert {name: one["events"] > 0 for name, one in found.items()} == dict.fromkeys(FIVE, True)
    assert (found["whole"]["left_out"], found["whole"]["tree_size"]) == (0, COUNT + 1)


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.usefixtures("small_steps")
def test_a_bundle_holds_what_the_list_shows(name: str, sealed: Sealed) -> None:
    asked = dict(FIVE[name])
    data = sealed.bundle(**asked)
    naive_bundle.verify(data, str(SIGNER.key))
    manifest = verified(data).manifest
    asked.pop("viewer", None)
    shown = sealed.log.list(OWNER, limit=100, **asked).events
    assert {one["id"] for one in events_in(data)} == {str(one.id) for one in shown}
    assert manifest.counts.events == len(shown)
    assert manifest.counts.left_out == manifest.range.end - manifest.range.start - len(shown)
    assert manifest.counts.unsealed == 0
    leaves = contents_of(data)[LEAVES].splitlines()
    assert len([line for line in leaves if not line.startswith(b"events")]) == manifest.counts.left_out


def test_large_steps_and_small_ones_make_the_same_bundle(sealed: Sealed, request: pytest.FixtureRequest) -> None:
    large = contents_of(sealed.bundle())
    request.getfixturevalue("small_steps")
    small = contents_of(sealed.bundle())
    assert {name: small[name] for name in (EVENTS, LEAVES, IDENTITIES)} == {
        name: large[name] for name in (EVENTS, LEAVES, IDENTITIES)
    }


def test_many_tiles(sealed: Sealed, request: pytest.FixtureRequest) -> None:
    """700 leaves are three tiles; those left out stand for the events of others."""
    sealed.store(
        *(
            Event(owner=OWNER, actor=PEOPLE[n % 4], action="thing.made", resource=Resource("thing", f"m_{n % 9}"),
                  occurred_at=NOW - timedelta(minutes=n))
            for n in range(639)
        )
    )  # fmt: skip
    sealed.seal()
    request.getfixturevalue("small_steps")
    assert verified(sealed.bundle()).manifest.counts.events == 700
    found = verified(sealed.bundle(resource_id="m_4")).manifest
    assert found.counts.events == 71
    assert found.counts.left_out > 500


def test_the_manifest_says_what_an_auditor_asks(sealed: Sealed) -> None:
    manifest = json.loads(contents_of(sealed.bundle(**PERIOD, action="thing.made"))[MANIFEST])
    assert manifest["made_by"] == {"type": "user", "id": "u_9", "email": "auditor@tests.example", "name": "Ada"}
    assert manifest["query"] == {
        "action": ["thing.made"],
        "start": moment(10).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "end": moment(40).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    assert manifest["owner"] == {"organization_id": str(OWNER.organization_id)}
    assert manifest["as_of"] > NOW.strftime("%Y-%m-%dT%H:%M:%S")
    assert verified(sealed.bundle()).as_json()["witnesses"] != []


def test_an_empty_period_is_a_signed_statement_over_the_whole_tree(sealed: Sealed) -> None:
    data = sealed.bundle(start=NOW + timedelta(days=1))
    naive_bundle.verify(data, str(SIGNER.key))
    manifest = verified(data).manifest
    assert manifest.counts.events == 0
    assert manifest.range.start == manifest.range.end == manifest.tree.size == COUNT + 1


def test_events_that_are_not_sealed_yet_are_counted_and_left_to_a_later_bundle(sealed: Sealed) -> None:
    late = event(3).model_copy(update={"occurred_at": NOW - timedelta(minutes=1)})
    sealed.store(late)
    before = verified(sealed.bundle()).manifest
    assert (before.counts.events, before.counts.unsealed) == (COUNT + 1, 1)
    sealed.seal()
    after = verified(sealed.bundle()).manifest
    assert (after.counts.events, after.counts.unsealed) == (COUNT + 2, 0)


def test_it_is_on_record_before_the_first_byte(sealed: Sealed) -> None:
    wanted = Wanted(OWNER, AUDITOR)
    pieces = evidence(sealed.log.database, wanted, SIGNER, record=sealed.recorded.append, keys=[SIGNER.key])
    assert sealed.recorded == []
    next(pieces)
    [record] = sealed.recorded
    pieces.close()
    assert record.action == CREATED
    assert record.actor == AUDITOR
    metadata = record.metadata
    assert (metadata["events"], metadata["filters"], metadata["period"]) == (
        COUNT + 1,
        [],
        {"start": None, "end": None},
    )
    assert metadata["manifest_sha256"]
    with sealed.log.database.connect() as connection:
        sealed.log.record(record, connection=connection)


def test_the_record_names_filters_and_not_their_values(sealed: Sealed) -> None:
    sealed.bundle(actor_email="u1@tests.example", search="octocat3", **PERIOD)
    [record] = sealed.recorded
    assert record.metadata["filters"] == ["actor_email", "end", "search", "start"]
    assert "octocat3" not in str(record.metadata)
    assert "u1@" not in str(record.metadata)


# Masking


def test_a_customer_cannot_tell_from_a_bundle_who_of_the_staff_acted(sealed: Sealed) -> None:
    """With a list of all of them, and every salt that is in the bundle."""
    data = sealed.bundle(Viewer.CUSTOMER)
    for content in contents_of(data).values():
        for person in STAFF:
            for told in (person.id, person.email, person.name, person.ip_address):
                assert told is not None
                assert told.encode() not in content
    openings, events = openings_in(data), events_in(data)
    by_staff = [one for one in events if one["actor_type"] == "staff"]
    assert len(by_staff) > len(STAFF)
    commitments = [one["identity"] for one in by_staff]
    assert len(set(commitments)) == len(commitments)
    assert not set(commitments) & {one["commitment"] for one in openings}
    salts = [bytes.fromhex(one["salt"]) for one in openings] + [b"", bytes(16)]
    guesses = [Identity("staff", one.id, one.email, one.name, one.ip_address, one.user_agent) for one in STAFF]
    tried = {guess.commitment(salt).hex() for guess, salt in product(guesses, salts)}
    assert not tried & set(commitments)
    assert all("actor_id" not in one for one in by_staff)


def test_personal_values_of_what_staff_did_stay_closed_to_a_customer(sealed: Sealed) -> None:
    theirs = {str(value) for one in sealed.execute(
        "SELECT metadata -> 'by' ->> '$identity' FROM permalog.event WHERE actor_type = 'staff' AND metadata ? 'by'"
    ) for value in one}  # fmt: skip
    assert theirs
    masked, whole = (
        {one["commitment"] for one in openings_in(sealed.bundle(viewer))} for viewer in (Viewer.CUSTOMER, Viewer.STAFF)
    )
    assert theirs <= whole
    assert not theirs & masked
    assert masked < whole


def test_staff_see_staff(sealed: Sealed) -> None:
    kinds = [one["identity"]["kind"] for one in openings_in(sealed.bundle())]
    assert kinds.count("staff") > len(STAFF)


@pytest.mark.parametrize("filters", [{"actor_id": "s_1"}, {"actor_email": "s1@staff.example"}])
def test_a_filter_cannot_find_staff_for_a_customer(filters: dict[str, Any], sealed: Sealed) -> None:
    assert verified(sealed.bundle(Viewer.CUSTOMER, **filters)).manifest.counts.events == 0
    assert verified(sealed.bundle(**filters)).manifest.counts.events > 0


def test_leaves_and_proofs_are_the_same_for_everybody(sealed: Sealed) -> None:
    """What differs between a customer's bundle and one for staff are openings, never the log."""
    one, other = (contents_of(sealed.bundle(viewer)) for viewer in (Viewer.CUSTOMER, Viewer.STAFF))
    assert one[EVENTS] == other[EVENTS]
    assert one[LEAVES] == other[LEAVES]


# Erasure


def test_bundles_of_before_and_after_an_erasure_verify_and_the_later_cannot_open_it(sealed: Sealed) -> None:
    before = sealed.bundle()
    opened = {one["commitment"] for one in openings_in(before) if one["identity"].get("actor_id") == "u_1"}
    assert opened
    sealed.log.erase_user("u_1")
    after = sealed.bundle()
    sealed.seal()
    later = sealed.bundle()
    for data in (before, after, later):
        assert verified(data).is_trusted
        naive_bundle.verify(data, str(SIGNER.key))
    for data in (after, later):
        assert not opened & {one["commitment"] for one in openings_in(data)}
        assert b"u1@tests.example" not in b"".join(contents_of(data).values())
    assert contents_of(before)[EVENTS] == contents_of(after)[EVENTS]
    assert contents_of(later)[EVENTS].startswith(contents_of(after)[EVENTS])


def test_of_an_erased_owner_no_bundle_is_made_and_earlier_ones_verify(sealed: Sealed) -> None:
    before = sealed.bundle()
    assert OWNER.organization_id is not None
    sealed.log.erase_organization(OWNER.organization_id)
    with pytest.raises(NoEvidence, match="erased"):
        sealed.bundle()
    assert verified(before).manifest.counts.events == COUNT + 1


def test_of_a_log_without_a_checkpoint_no_bundle_is_made(sealed: Sealed) -> None:
    with pytest.raises(NoEvidence, match="no checkpoint"):
        sealed.bundle(owner=Owner.user("u_nobody"))
    sealed.log.open(Owner.user("u_new"))
    with pytest.raises(NoEvidence, match="no checkpoint"):
        sealed.bundle(owner=Owner.user("u_new"))


# Epochs


def test_each_epoch_has_bundles_of_its_own(sealed: Sealed) -> None:
    sealed.store(event(5).model_copy(update={"occurred_at": NOW - timedelta(minutes=1)}))
    sealed.seal(epoch=2, first=leaf_hash(b"the last checkpoint of the first epoch"))
    second, first = verified(sealed.bundle()).manifest, verified(sealed.bundle(epoch=1)).manifest
    assert (second.epoch, second.counts.events, second.range.start) == (2, 1, 1)
    assert (first.epoch, first.counts.events) == (1, COUNT + 1)
    assert (second.counts.unsealed, first.counts.unsealed) == (COUNT + 1, 1)
    with pytest.raises(NoEvidence):
        sealed.bundle(epoch=3)


# What is broken


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        ("UPDATE permalog.event SET outcome = 'failure' WHERE resource_id = 't_20'", BundleCode.EVENT),
        ("UPDATE permalog.event SET recorded_at = recorded_at - interval '1 hour'", BundleCode.EVENT),
        ("UPDATE permalog.identity SET name = 'Mallory' WHERE actor_id = 'u_1'", BundleCode.IDENTITY),
        ("UPDATE permalog.tile SET hashes = substr(hashes, 1, 320), event_ids = event_ids[:10]", ProofCode.TILE_WIDTH),
        ("UPDATE permalog.checkpoint SET note = replace(note, E'\\n61\\n', E'\\n60\\n')", ProofCode.SIGNATURE),
    ],
)
def test_nothing_is_made_of_a_log_that_is_not_as_it_was_sealed(attack: str, code: str, sealed: Sealed) -> None:
    sealed.execute(attack)
    with pytest.raises(NotProven) as error:
        sealed.bundle()
    assert error.value.code == code
    assert sealed.recorded == []


def test_a_forged_checkpoint_is_never_signed_again(sealed: Sealed) -> None:
    """The present key signs what an older one has signed, and nothing else."""
    wanted = Wanted(OWNER, AUDITOR)
    with pytest.raises(NotProven) as error:
        b"".join(evidence(sealed.log.database, wanted, STRANGER, record=lambda _: None, keys=[STRANGER.key]))
    assert error.value.code == ProofCode.UNSIGNED


def test_after_a_rotation_the_new_key_alone_verifies(sealed: Sealed) -> None:
    wanted = Wanted(OWNER, AUDITOR)
    keys = [SIGNER.key, STRANGER.key]
    data = b"".join(evidence(sealed.log.database, wanted, STRANGER, record=lambda _: None, keys=keys))
    assert verify_bundle(io.BytesIO(data), [STRANGER.key]).is_trusted
    with pytest.raises(NotProven):
        verified(data)


def test_an_unknown_action_is_refused_before_anything_is_read(sealed: Sealed) -> None:
    with pytest.raises(InvalidQuery, match="action"):
        sealed.bundle(action="thing.unheard_of")


@pytest.mark.usefixtures("sealed")
def test_a_login_needs_the_role_of_an_auditor(login: Callable[..., str]) -> None:
    reader = Database(login("permalog_reader"))
    with pytest.raises(DatabaseProblem, match="permalog_auditor"):
        evidence(reader, Wanted(OWNER, AUDITOR), SIGNER, record=lambda _: None, keys=[SIGNER.key])
    reader.close()
    auditor = Database(login("permalog_auditor"))
    pieces = evidence(auditor, Wanted(OWNER, AUDITOR), SIGNER, record=lambda _: None, keys=[SIGNER.key])
    assert verified(b"".join(pieces)).is_trusted
    auditor.close()


@pytest.mark.parametrize("held", [1, 2, 7, 1000])
def test_commitments_come_once_and_in_order(held: int) -> None:
    given = [bytes([n * 7 % 31]) * 32 for n in range(100)]
    with Commitments(tempfile.TemporaryFile, held) as kept:
        for one in given:
            kept.add(one)
        assert list(kept) == sorted(set(given))


def test_no_file_is_left_open_when_a_writer_fails(monkeypatch: pytest.MonkeyPatch, sealed: Sealed) -> None:
    made: list[Any] = []

    def new_file() -> Any:
        made.append(tempfile.TemporaryFile())  # noqa: SIM115  that somebody else closes it is what is tried
        return made[-1]

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(permalog.evidence.gathering, "_new_file", new_file)
    monkeypatch.setattr(BundleWriter, "event", fail)
    with pytest.raises(OSError, match="no space"):
        sealed.bundle()
    assert made
    assert all(file.closed for file in made)
