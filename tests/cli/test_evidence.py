"""``permalog evidence``: a bundle of what is sealed, under its name when it is complete."""

import io
from pathlib import Path

import pytest

import naive_bundle
from bundles import contents_of
from calling import Command, LineMaker
from permalog.evidence.verifier import verify_bundle
from permalog.tlog.note import VerifierKey

OWNER = ("--owner", "org:5a3c1e00-0000-4000-8000-00000000000a")


@pytest.fixture
def sealed(permalog: Command, line: LineMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command line, on a sealed log of six events, one of them by staff."""
    monkeypatch.setenv("PERMALOG_SIGNING_KEY", str(tmp_path / "keys" / "signing.key"))
    monkeypatch.setenv("PERMALOG_DATA_DIR", str(tmp_path / "data"))
    assert permalog("key", "rotate").code == 0
    people = [{"type": "user", "id": f"u_{n}", "email": f"u{n}@tests.example"} for n in range(5)]
    people.append({"type": "staff", "id": "s_1", "email": "sam@staff.example", "name": "Sam"})
    text = b"".join(line(occurred_at=f"2026-01-{n + 1:02}T10:00:00Z", actor=one) for n, one in enumerate(people))
    assert permalog("import", "-", stdin=text).code == 0
    assert permalog("seal", "--once").code == 0
    return permalog


def key_of(command: Command) -> str:
    return command("key", "show").out.strip()


def test_a_bundle_verifies_with_the_key_that_is_shown(sealed: Command, tmp_path: Path) -> None:
    file = tmp_path / "audit.zip"
    said = sealed("evidence", *OWNER, "-o", str(file), "--json")
    assert said.code == 0, said.err
    report = said.json
    assert (report["events"], report["left_out"], report["unsealed"], report["viewer"]) == (6, 0, 0, "staff")
    assert report["key"] == key_of(sealed)
    found = verify_bundle(io.BytesIO(file.read_bytes()), [VerifierKey.parse(key_of(sealed))])
    assert found.manifest.counts.events == 6
    naive_bundle.verify(file.read_bytes(), key_of(sealed))
    assert b"sam@staff.example" in contents_of(file.read_bytes())["identities.ndjson"]


def test_it_takes_the_filters_and_says_what_is_left_out(sealed: Command, tmp_path: Path) -> None:
    file = tmp_path / "audit.zip"
    said = sealed("evidence", *OWNER, "--start", "2026-01-02", "--end", "2026-01-05", "-o", str(file))
    assert (said.code, said.out) == (0, f"{file}: 3 events, 0 left out between them\n")


def test_it_is_on_record_and_the_next_bundle_counts_it(sealed: Command, tmp_path: Path) -> None:
    for expected in (0, 1):
        said = sealed("evidence", *OWNER, "-o", str(tmp_path / "audit.zip"), "--json")
        assert said.json["unsealed"] == expected
    [latest, _] = sealed("list", *OWNER, "--action", "security.audit_log.evidence_created", "--json").json["events"]
    assert (latest["actor"]["type"], latest["source"], latest["metadata"]["events"]) == ("staff", "cli", 6)


def test_for_a_customer_staff_are_masked(sealed: Command, tmp_path: Path) -> None:
    assert sealed("token", "create", "--user", "u_0", "--organization", OWNER[1][4:], "--role", "owner").code == 0
    said = sealed("evidence", *OWNER, "--as", "user:u_0", "-o", str(tmp_path / "audit.zip"), "--json")
    assert (said.code, said.json["viewer"]) == (0, "customer")
    assert not any(b"sam@staff" in content for content in contents_of((tmp_path / "audit.zip").read_bytes()).values())
    assert sealed("evidence", *OWNER, "--as", "user:u_1", "-o", str(tmp_path / "other.zip")).code == 1
    assert not (tmp_path / "other.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--owner", "user:nobody"), 1, "no checkpoint"),
        ((*OWNER, "--epoch", "2"), 1, "no checkpoint"),
        ((*OWNER, "--action", "no.such"), 2, "action"),
        ((*OWNER, "--start", "yesterday"), 2, "start"),
    ],
)
def test_what_cannot_be_made_leaves_no_file(
    arguments: tuple[str, ...], code: int, said: str, sealed: Command, tmp_path: Path
) -> None:
    file = tmp_path / "out" / "audit.zip"
    file.parent.mkdir()
    done = sealed("evidence", *arguments, "-o", str(file))
    assert done.code == code
    assert said in done.err
    assert list(file.parent.iterdir()) == []


def test_without_a_key_it_says_which_setting_is_missing(permalog: Command, tmp_path: Path) -> None:
    done = permalog("evidence", *OWNER, "-o", str(tmp_path / "audit.zip"))
    assert done.code == 1
    assert "PERMALOG_SIGNING_KEY" in done.err
