"""What the verifier of evidence bundles takes, and all that it refuses. No database."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import naive_bundle
import permalog.evidence.events
from bundles import (
    LOG,
    ORGANIZATION,
    SIGNER,
    STRANGER,
    WITNESS,
    Entry,
    bundle_of,
    contents_of,
    entry,
    packed,
    resigned,
)  # fmt: skip
from permalog.errors import BundleCode, NotProven, ProofCode
from permalog.evidence.archive import Packing, read_directory, unpacked, zipped
from permalog.evidence.bundle import (
    CHECKPOINT,
    EVENTS,
    IDENTITIES,
    LEAVES,
    MANIFEST,
    MEMBERS,
    README,
    SIGNATURE,
    BundleOwner,
)
from permalog.evidence.verifier import VerifiedBundle, inspect_bundle, verify_bundle
from permalog.ids import log_id_of
from permalog.tlog.checkpoint import Checkpoint, log_origin
from permalog.tlog.findings import Finding
from permalog.tlog.note import VerifierKey
from record_vectors import table_of

KEY = SIGNER.key
ENTRIES = [entry(number) for number in range(40)]
PERIOD = {"start": "2026-01-01T05:00:00.000000Z", "end": "2026-01-01T20:00:00.000000Z"}
CREATED = {"action": ["security.finding.created"]}


def in_period(one: Entry) -> bool:
    return PERIOD["start"] <= one.row.occurred_at < PERIOD["end"]


def is_created(one: Entry) -> bool:
    return one.row.action == CREATED["action"][0]


def nothing(_: Entry) -> bool:
    return False


HONEST = {
    "whole": lambda: bundle_of(ENTRIES, witnessed=True),
    "period": lambda: bundle_of(ENTRIES, in_period, query=PERIOD),
    "filtered": lambda: bundle_of(ENTRIES, is_created, query=CREATED),
    "masked": lambda: bundle_of(ENTRIES, in_period, query=PERIOD, viewer="customer"),
    "erased": lambda: bundle_of([one._replace(opening=None) if one.row.actor_id == "u_1" else one for one in ENTRIES]),
    "one": lambda: bundle_of(ENTRIES, lambda one: one.row.resource_id == "f_17", query={"resource_id": "f_17"}),
    "nothing": lambda: bundle_of(ENTRIES, nothing, query={"source": "cron"}),
    "empty log": lambda: bundle_of([], nothing),
}


FIVE = ["whole", "period", "filtered", "masked", "erased"]
five = pytest.mark.parametrize("name", FIVE)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """A thousand with ``--thorough``, as `make prove` runs them."""
    return 1_000 if request.config.option.thorough else 100


def dice_of(seed: int) -> random.Random:
    """The same throws in every run."""
    return random.Random(seed)  # noqa: S311


def verified(data: bytes, key: VerifierKey | None = KEY) -> VerifiedBundle:
    return verify_bundle(io.BytesIO(data), [] if key is None else [key], witnesses=[WITNESS.key])


def refused(data: bytes, key: VerifierKey | None = KEY) -> str:
    with pytest.raises(NotProven) as error:
        verified(data, key)
    return error.value.code


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_bundle_stands_and_a_second_verifier_agrees(name: str) -> None:
    data = HONEST[name]()
    found = verified(data)
    assert found.is_trusted
    assert not verified(data, None).is_trusted
    manifest = naive_bundle.verify(data, str(KEY))
    assert found.manifest.to_bytes() == contents_of(data)[MANIFEST]
    counts = found.manifest.counts
    assert (counts.events, counts.left_out) == (manifest["counts"]["events"], manifest["counts"]["left_out"])


def test_what_a_bundle_shows_is_what_was_asked() -> None:
    found = verified(HONEST["filtered"]()).as_json()
    assert (found["events"], found["left_out"], found["tree_size"]) == (20, 19, 40)
    assert found["first"]["leaf_index"] == 1
    assert found["last"]["leaf_index"] == 39
    assert found["query"] == CREATED
    assert verified(HONEST["whole"]()).as_json()["witnesses"] == [{"key": str(WITNESS.key), "time": 1_769_850_000}]


@pytest.mark.parametrize("name", HONEST)
def test_the_same_bundle_is_the_same_file(name: str) -> None:
    assert HONEST[name]() == HONEST[name]()


@pytest.mark.parametrize("name", HONEST)
def test_ordinary_tools_unpack_it(name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(HONEST[name]())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(MEMBERS)


@five
def test_a_changed_bit_anywhere_is_refused(name: str, rounds: int) -> None:
    data, dice = HONEST[name](), dice_of(1)
    for _ in range(rounds):
        at = dice.randrange(len(data))
        changed = bytearray(data)
        changed[at] ^= 1 << dice.randrange(8)
        refused(bytes(changed))
        refused(bytes(changed), None)


@five
def test_cuts_and_insertions_anywhere_are_refused(name: str, rounds: int) -> None:
    data, dice = HONEST[name](), dice_of(2)
    for _ in range(rounds):
        at, length = dice.randrange(len(data) + 1), dice.randrange(1, 40)
        inserted = data[:at] + dice.randbytes(length) + data[at:]
        cut = data[:at] + data[at + length :]
        for changed in (inserted, cut):
            if changed != data:
                refused(changed)


def changes(dice: random.Random, content: bytes) -> bytes:
    """A content that differs: a byte, a line, or a part of it, changed, doubled, gone or exchanged."""
    lines = content.splitlines(keepends=True)
    match dice.randrange(5):
        case 0 if content:
            at = dice.randrange(len(content))
            return content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :]
        case 1 if lines:
            del lines[dice.randrange(len(lines))]
        case 2 if lines:
            lines.insert(dice.randrange(len(lines)), lines[dice.randrange(len(lines))])
        case 3 if len(lines) > 1:
            one, other = dice.sample(range(len(lines)), 2)
            lines[one], lines[other] = lines[other], lines[one]
        case _:
            lines.append(dice.randbytes(dice.randrange(1, 20)))
    return b"".join(lines)


@five
def test_a_member_with_another_content_is_refused(name: str, rounds: int) -> None:
    """The file is made anew around them, with every size and checksum of the zip as it should be."""
    contents, dice = contents_of(HONEST[name]()), dice_of(3)
    tried = 0
    while tried < rounds:
        which = dice.choice(list(MEMBERS))
        content = changes(dice, contents[which])
        if content == contents[which]:
            continue
        tried += 1
        changed = packed((contents | {which: content}).items())
        refused(changed)
        refused(changed, None)


@five
def test_a_member_with_another_name_is_refused(name: str, rounds: int) -> None:
    contents, dice = contents_of(HONEST[name]()), dice_of(4)
    for _ in range(rounds):
        which = dice.choice(list(MEMBERS))
        at = dice.randrange(len(which))
        other = which[:at] + dice.choice(["", "/", "../", "\\", "x", which[at].swapcase(), "\x00"]) + which[at + 1 :]
        if other in MEMBERS:
            continue
        members = [(other if old == which else old, content) for old, content in contents.items()]
        refused(packed(members))
        refused(packed(members), None)


@five
def test_an_added_doubled_missing_or_moved_member_is_refused(name: str, rounds: int) -> None:
    contents, dice = contents_of(HONEST[name]()), dice_of(5)
    for _ in range(rounds):
        members = list(contents.items())
        match dice.randrange(5):
            case 0:
                del members[dice.randrange(len(members))]
            case 1:
                members.insert(dice.randrange(len(members) + 1), dice.choice(members))
            case 2:
                at = dice.randrange(len(members) + 1)
                members.insert(
                    at, (dice.choice(["more.txt", "events.ndjson/", "../x", "", "a" * 64]), dice.randbytes(9))
                )
            case 3:
                one, other = dice.sample(range(len(members)), 2)
                members[one], members[other] = members[other], members[one]
            case _:
                members += [(f"m{number}", b"") for number in range(dice.randrange(1, 20))]
        refused(packed(members))
        refused(packed(members), None)


@pytest.mark.parametrize(
    ("compression", "level", "comment"),
    [
        (zipfile.ZIP_DEFLATED, 6, b"hello"),
        (zipfile.ZIP_DEFLATED, 1, b""),
        (zipfile.ZIP_STORED, None, b""),
        (zipfile.ZIP_BZIP2, None, b""),
    ],
)
def test_a_file_that_was_packed_anew_is_refused(compression: int, level: int | None, comment: bytes) -> None:
    contents, made = contents_of(HONEST["whole"]()), io.BytesIO()
    with zipfile.ZipFile(made, "w", compression, compresslevel=level) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        archive.comment = comment
    assert refused(made.getvalue()) in {BundleCode.FILE, BundleCode.MEMBER}


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\3\4", b"\0" * 1000, b"PK\5\6" + bytes(18)])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    assert refused(data) in {BundleCode.FILE, BundleCode.MEMBER}


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """Whoever lacks the key cannot make the verifier unpack anything."""
    contents = contents_of(HONEST["whole"]())
    assert refused(packed((contents | {EVENTS: bytes(300_000_000)}).items())) == BundleCode.MEMBER
    for name in (MANIFEST, SIGNATURE, README, CHECKPOINT):
        assert refused(packed((contents | {name: bytes(1_000_001)}).items())) == BundleCode.LIMIT


def test_a_bundle_that_a_stranger_made_up_is_refused_with_a_key_only() -> None:
    data = bundle_of(ENTRIES[:30], signer=STRANGER)
    assert refused(data) == ProofCode.UNSIGNED
    assert not verified(data, None).is_trusted
    assert refused(resigned(contents_of(HONEST["whole"]()), STRANGER)) == ProofCode.UNSIGNED
    assert refused(resigned(contents_of(HONEST["whole"]()), STRANGER, key=str(STRANGER.key))) == ProofCode.UNSIGNED
    assert (
        refused(resigned(contents_of(HONEST["whole"]()), STRANGER, key=str(STRANGER.key)), None) == ProofCode.UNSIGNED
    )


def test_a_signature_of_a_manifest_is_no_checkpoint() -> None:
    with pytest.raises(NotProven) as error:
        Checkpoint.parse(contents_of(HONEST["whole"]())[SIGNATURE].decode().partition("\n\n")[0] + "\n")
    assert error.value.code == ProofCode.CHECKPOINT


def test_a_checkpoint_in_place_of_the_signature_is_refused() -> None:
    contents = contents_of(HONEST["whole"]())
    assert refused(packed((contents | {SIGNATURE: contents[CHECKPOINT]}).items())) == BundleCode.SIGNATURE


def line_replaced(number: int, **members: Any) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """An event that never was in the tree, in the place of one that is."""

    def replace(contents: dict[str, bytes]) -> dict[str, bytes]:
        lines = contents[EVENTS].splitlines()
        lines[number] = entry(number, **members).preimage
        return contents | {EVENTS: b"".join(line + b"\n" for line in lines)}

    return replace


def rewritten(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def rewrite(contents: dict[str, bytes]) -> dict[str, bytes]:
        assert old in contents[name]
        return contents | {name: contents[name].replace(old, new, 1)}

    return rewrite


def first_line_gone(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda contents: contents | {name: contents[name].partition(b"\n")[2]}


HASH = "A" * 43 + "="


def counts(events: int, left_out: int) -> dict[str, Any]:
    return {"counts": {"events": events, "left_out": left_out, "identities": 40, "unsealed": 0}}


LIES: list[tuple[str, Callable[[dict[str, bytes]], dict[str, bytes]], dict[str, Any], str]] = [
    ("whole", line_replaced(3, outcome="failure"), {}, ProofCode.RANGE),
    ("whole", line_replaced(3, recorded_at="2026-01-01T03:00:00.000001Z"), {}, ProofCode.RANGE),
    ("whole", line_replaced(3, log_id="e152bb82-5527-8d8b-8ded-3f5737b427b3"), {}, BundleCode.EVENT),
    ("whole", rewritten(EVENTS, b'"schema_version":1', b'"schema_version": 1'), {}, BundleCode.EVENT),
    ("whole", rewritten(EVENTS, b'"schema_version":1', b'"schema_version":1.0'), {}, BundleCode.EVENT),
    ("whole", rewritten(EVENTS, b'"source":"api",', b""), {}, ProofCode.RANGE),
    ("whole", rewritten(EVENTS, b'"resource_id":"f_0",', b""), {}, BundleCode.EVENT),
    ("whole", rewritten(EVENTS, b'"id":', b'"ida":1,"id":'), {}, BundleCode.EVENT),
    ("whole", first_line_gone(EVENTS), {}, BundleCode.COUNT),
    ("whole", rewritten(LEAVES, b"events 40", b"events 39"), {}, ProofCode.LENGTH),
    ("whole", rewritten(LEAVES, b"events 40", b"events 41"), {}, BundleCode.COUNT),
    ("whole", rewritten(LEAVES, b"events 40", b"events 040"), {}, BundleCode.LEAVES),
    ("whole", rewritten(LEAVES, b"events 40", b"events 20\nevents 20"), {}, BundleCode.LEAVES),
    ("whole", rewritten(LEAVES, b"events 40\n", b"events 40"), {}, BundleCode.LEAVES),
    ("whole", first_line_gone(IDENTITIES), {}, BundleCode.COUNT),
    ("whole", rewritten(IDENTITIES, b"tests.example", b"other.example"), {}, BundleCode.IDENTITY),
    ("whole", rewritten(IDENTITIES, b'"kind":"', b'"kind": "'), {}, BundleCode.IDENTITY),
    ("whole", lambda c: c, {"viewer": "customer"}, BundleCode.IDENTITY),
    ("whole", lambda c: c, {"query": {"outcome": "denied"}}, BundleCode.QUERY),
    ("whole", lambda c: c, {"query": {"start": "2026-01-01T00:00:00.000001Z"}}, BundleCode.QUERY),
    ("whole", lambda c: c, {"query": {"end": "2026-01-02T15:00:00.000000Z"}}, BundleCode.QUERY),
    ("whole", lambda c: c, {"query": {"actor_id": "u_1"}}, BundleCode.QUERY),
    ("whole", lambda c: c, counts(39, 1), BundleCode.COUNT),
    ("whole", lambda c: c, counts(39, 0), BundleCode.MANIFEST),
    ("whole", lambda c: c, {"tree": {"size": 40, "root": HASH}}, BundleCode.CHECKPOINT),
    ("whole", lambda c: c, {"owner": {"user_id": "u_1"}}, BundleCode.MANIFEST),
    ("whole", lambda c: c, {"more": 1}, BundleCode.MANIFEST),
    ("whole", lambda c: c, {"version": 2}, BundleCode.MANIFEST),
    ("whole", lambda c: c, {"epoch": 2}, BundleCode.MANIFEST),
    ("whole", lambda c: c, {"time_zone": "CET"}, BundleCode.MANIFEST),
    ("whole", lambda c: c, {"origin": "other.example/log/" + str(LOG)}, ProofCode.ORIGIN),
    ("filtered", lambda c: c, {"query": {}}, ""),
    ("filtered", rewritten(LEAVES, b"=\n", b"A\n"), {}, BundleCode.LEAVES),
    ("filtered", lambda c: c | {LEAVES: b"\n".join([*c[LEAVES].splitlines()[1:], b""])}, {}, BundleCode.LEAVES),
    ("filtered", lambda c: c | {LEAVES: b"\n".join([*c[LEAVES].splitlines()[:-1], b""])}, {}, BundleCode.LEAVES),
    ("nothing", lambda c: c, {"range": {"start": 40, "end": 40, "left": [], "right": []}}, ProofCode.LENGTH),
    ("nothing", lambda c: c, {"range": {"start": 40, "end": 40, "left": [HASH] * 2, "right": []}}, ProofCode.RANGE),
    ("nothing", lambda c: c | {LEAVES: b"events 1\n"}, {}, BundleCode.COUNT),
    ("nothing", lambda c: c | {LEAVES: b"A" * 43 + b"=\n"}, {}, BundleCode.LEAVES),
    ("nothing", lambda c: c | {EVENTS: ENTRIES[0].preimage + b"\n"}, {}, BundleCode.COUNT),
    ("nothing", lambda c: c, {"range": {"start": 0, "end": 0, "left": [], "right": []}}, BundleCode.MANIFEST),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said", "code"), LIES)
def test_what_the_log_itself_signs_must_agree_with_itself(
    name: str, change: Callable[[dict[str, bytes]], dict[str, bytes]], said: dict[str, Any], code: str
) -> None:
    """Here the log's own key signs what is not so; where nothing contradicts it, it is the signer's word."""
    data = resigned(change(contents_of(HONEST[name]())), **said)
    if not code:
        verified(data)
        return
    assert refused(data) == code


def inspected(data: bytes, *, helped: bool = False) -> list[Finding]:
    found: list[Finding] = []
    bundle = inspect_bundle(io.BytesIO(data), [KEY], witnesses=[WITNESS.key], helped=helped, report=found.append)
    assert (bundle is None) is bool(found)
    return found


@pytest.mark.parametrize(("name", "change", "said", "code"), LIES)
def test_whoever_wants_all_faults_is_told_the_first_first(
    name: str, change: Callable[[dict[str, bytes]], dict[str, bytes]], said: dict[str, Any], code: str
) -> None:
    found = inspected(resigned(change(contents_of(HONEST[name]())), **said))
    assert [one.code for one in found[:1]] == ([code] if code else [])


def test_everything_that_is_wrong_is_told_with_its_place() -> None:
    """Two events, an identity, the query, a count and the signature, all at once."""
    contents = contents_of(HONEST["whole"]())
    changes = [
        line_replaced(3, outcome="failure"),
        line_replaced(7, log_id="e152bb82-5527-8d8b-8ded-3f5737b427b3"),
        rewritten(EVENTS, b'"schema_version":1', b'"schema_version": 1'),
        rewritten(IDENTITIES, b"tests.example", b"other.example"),
    ]
    for change in changes:
        contents = change(contents)
    counted = {"counts": {"events": 40, "left_out": 0, "identities": 41, "unsealed": 0}}
    found = inspected(resigned(contents, STRANGER, query={"end": ENTRIES[39].row.occurred_at}, **counted))
    assert [(one.code, one.leaf_index) for one in found] == [
        (ProofCode.UNSIGNED, None),
        (BundleCode.EVENT, 0),
        (BundleCode.EVENT, 7),
        (BundleCode.QUERY, 39),
        (ProofCode.RANGE, None),
        (BundleCode.IDENTITY, None),
        (BundleCode.COUNT, None),
    ]
    assert {one.log_id for one in found} == {LOG}
    assert str(found[2].event_id) == ENTRIES[7].row.id
    assert "(" not in found[0].message[-20:]


def test_what_was_not_signed_is_not_unpacked_and_the_rest_is_looked_at() -> None:
    contents = contents_of(HONEST["whole"]())
    contents |= {EVENTS: b"{}\n", README: b"hello"}
    found = inspected(packed(contents.items()))
    assert [one.code for one in found] == [BundleCode.MEMBER] * 2
    assert [one.message.split()[0] for one in found] == [README, EVENTS]


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process takes its part, and the smallest parts there are."""
    monkeypatch.setattr(permalog.evidence.events, "_HELPED_FROM", 0)
    monkeypatch.setattr(permalog.evidence.events, "_SENT", 3)


@pytest.mark.usefixtures("helper")
def test_two_processes_find_what_one_finds() -> None:
    data = HONEST["whole"]()
    assert verify_bundle(io.BytesIO(data), [KEY], witnesses=[WITNESS.key], helped=True) == verified(data)
    contents = contents_of(data)
    for number in (0, 20, 39):
        contents = line_replaced(number, log_id="e152bb82-5527-8d8b-8ded-3f5737b427b3")(contents)
    wrong = resigned(contents)
    found = inspected(wrong, helped=True)
    assert found == inspected(wrong)
    assert [one.leaf_index for one in found if one.code is BundleCode.EVENT] == [0, 20, 39]


PLACE = {"leaf_index": 0, "id": ENTRIES[1].row.id, "occurred_at": ENTRIES[1].row.occurred_at}


@pytest.mark.parametrize(("end", "index"), [("first", 0), ("last", 39)])
def test_another_event_at_an_end_is_refused(end: str, index: int) -> None:
    lie: dict[str, Any] = {end: {**PLACE, "leaf_index": index}}
    data = resigned(contents_of(HONEST["whole"]()), SIGNER, **lie)
    assert refused(data) == BundleCode.COUNT


def test_identities_stand_in_order_and_once() -> None:
    contents = contents_of(HONEST["whole"]())
    lines = contents[IDENTITIES].splitlines(keepends=True)
    exchanged = b"".join([lines[1], lines[0], *lines[2:]])
    doubled = b"".join([lines[0], *lines[:-1]])
    for changed in (exchanged, doubled):
        assert refused(resigned(contents | {IDENTITIES: changed})) == BundleCode.IDENTITY


def test_a_further_signature_below_the_manifest_is_refused() -> None:
    """Nobody has signed it, and readers of notes pass over the keys that they do not know."""
    contents = contents_of(HONEST["whole"]())
    other = STRANGER.sign(contents[SIGNATURE].decode().partition("\n\n")[0] + "\n").line() + "\n"
    text, _, own = contents[SIGNATURE].decode().rpartition("\n\n")
    for lines in (own + other, other + own):
        changed = f"{text}\n\n{lines}".encode()
        assert refused(packed((contents | {SIGNATURE: changed}).items())) == BundleCode.SIGNATURE


def test_nothing_stands_behind_what_is_packed() -> None:
    """Bytes behind the last block of deflate belong to no content."""
    packing = Packing("README.txt", io.BytesIO())
    packing.write(b"hello")
    one = packing.end()
    one.file.write(b"more")
    longer = one._replace(member=one.member._replace(packed_size=one.member.packed_size + 4))
    file = io.BytesIO(b"".join(zipped([longer])))
    [placed] = read_directory(file)
    with pytest.raises(NotProven) as error:
        list(unpacked(file, placed, one.sha256))
    assert error.value.code == BundleCode.MEMBER


@pytest.mark.parametrize("member", ["log_id", "owner", "as_of", "key", "range", "counts", "members", "query", "first"])
def test_a_manifest_without_a_member_is_refused(member: str) -> None:
    contents = contents_of(HONEST["whole"]())
    manifest = json.loads(contents[MANIFEST])
    del manifest[member]
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    assert refused(packed((contents | {MANIFEST: data}).items())) == BundleCode.MANIFEST


def test_another_owner_has_another_log() -> None:
    other = log_id_of(None, "u_1")
    checkpoint = Checkpoint(log_origin("audit.example.com", other), 0, bytes(32))
    with pytest.raises(ValueError, match="owner"):
        bundle_of(
            ENTRIES, log_id=str(other), checkpoint=checkpoint, owner=BundleOwner(organization_id=str(ORGANIZATION))
        )


def test_events_are_told_as_they_are_verified() -> None:
    told: list[int] = []
    verify_bundle(io.BytesIO(HONEST["filtered"]()), progress=told.append)
    assert sum(told) == 20


def test_the_documentation_lists_every_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evidence-bundle.md").read_text()
    assert table_of(BundleCode) in page
