"""``permalog anchor``: what was sealed goes to a folder, to an address and to witnesses, and comes back in proofs."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest
import structlog
import uvicorn
from typing_extensions import override

from calling import Command, LineMaker
from permalog import Owner
from permalog.postgres.database import Database
from permalog.tlog.anchor import Anchor, anchor_leaf, anchor_origin, open_anchors, read_anchors
from permalog.tlog.checkpoint import Checkpoint, TlogProof
from permalog.tlog.note import Cosigner, Note, VerifierKey
from permalog.tlog.witness import State, TrustedLog, Witness
from permalog.witnessing.anchor_folder import AnchorFolder
from permalog.witnessing.proofs import prove_event
from permalog_server.witnessing import create_app

OWNER = Owner.parse("org:5a3c1e00-0000-4000-8000-00000000000a")


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    """The witness of this process says nothing between the answers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture
def key(permalog: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> VerifierKey:
    """An installation with a signing key."""
    monkeypatch.setenv("PERMALOG_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PERMALOG_ORIGIN", "audit.example.com")
    monkeypatch.setenv("PERMALOG_SIGNING_KEY", str(tmp_path / "signing.key"))
    assert permalog("key", "rotate").code == 0
    return VerifierKey.parse(permalog("key", "show").out.strip())


@pytest.fixture
def seal(permalog: Command, line: LineMaker, key: VerifierKey) -> Callable[[int], None]:
    """Records so many events, and seals them."""
    assert key
    made = 0

    def run(count: int) -> None:
        nonlocal made
        lines = [line(event_key=f"k{n}") for n in range(made, made + count)]
        made += count
        assert permalog("import", "-", stdin=b"".join(lines)).code == 0
        assert permalog("seal", "--once").code == 0

    return run


@contextlib.contextmanager
def sink(*, status: int = 204) -> Generator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Somebody who takes anchors over HTTP."""
    taken: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((dict(self.headers.items()), body))
            self.send_response(status)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/anchors", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def witness(folder: Path, trusted: VerifierKey, number: int = 1) -> Generator[tuple[str, VerifierKey]]:
    """A witness that listens."""
    one = Witness(
        Cosigner(f"witness.example/w{number}", bytes([number] * 32)), State(folder), [TrustedLog.parse(str(trusted))]
    )
    server = uvicorn.Server(uvicorn.Config(create_app(one), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", one.key
    finally:
        server.should_exit = True
        thread.join()


def checkpoints(database: str) -> list[Checkpoint]:
    with psycopg.connect(database) as connection:
        notes = connection.execute("SELECT note FROM permalog.checkpoint").fetchall()
    return [Checkpoint.parse(Note.parse(note.encode()).text) for (note,) in notes]


def test_what_was_sealed_is_anchored_in_a_folder_and_behind_an_address(
    permalog: Command, database: str, seal: Callable[[int], None], key: VerifierKey, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = AnchorFolder(tmp_path / "anchors")
    monkeypatch.setenv("PERMALOG_ANCHOR_DIR", str(folder.folder))
    monkeypatch.setenv("PERMALOG_ANCHOR_TOKEN", "hunter2")
    with sink() as (url, taken):
        monkeypatch.setenv("PERMALOG_ANCHOR_URL", url)
        for size, logs in ((3, 2), (4, 1)):  # the operator's has a record of the key
            seal(size)
            said = permalog("anchor", "--once", "--json")
            assert (said.code, said.err) == (0, "")
            assert said.json["anchored"] == logs
    texts = list(folder.texts())
    assert [body for _, body in taken] == texts
    assert [headers["Authorization"] for headers, _ in taken] == ["Bearer hunter2"] * 2
    assert [headers["Idempotency-Key"] for headers, _ in taken] == ["1-2", "1-3"]
    known = {anchor_leaf(one): one for one in checkpoints(database)}
    found = open_anchors(read_anchors(texts, anchor_origin("audit.example.com"), [key]), known)
    assert [fact.size for fact in found.facts if fact.origin.endswith(str(OWNER.log_id))] == [3, 7]
    assert len(found.facts) == 3
    assert found.unopened == []
    assert "hunter2" not in permalog("settings").out


def test_a_place_that_takes_nothing_is_told_and_gets_it_later(
    permalog: Command, seal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(1)
    with sink(status=500) as (url, _):
        monkeypatch.setenv("PERMALOG_ANCHOR_URL", url)
        said = permalog("anchor", "--once")
        assert said.code == 1
        assert "answered 500" in said.err
    said = permalog("anchor", "--once", "--json")
    assert said.code == 1
    assert said.json["failures"][0]["reason"].endswith("gave no answer: ConnectionRefusedError")
    with sink() as (url, taken):
        # Another port, and so another place: it gets everything from the beginning.
        monkeypatch.setenv("PERMALOG_ANCHOR_URL", url)
        assert permalog("anchor", "--once").code == 0
        assert [Anchor.parse(body).start for _, body in taken] == [0]


def test_witnesses_cosign_and_proofs_carry_it(
    permalog: Command, database: str, seal: Callable[[int], None], key: VerifierKey, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seal(5)
    with witness(tmp_path / "w", key) as (url, theirs):
        policy = tmp_path / "policy.toml"
        policy.write_text(f'quorum = 1\n[[witness]]\nkey = "{theirs}"\nurl = "{url}"\n')
        monkeypatch.setenv("PERMALOG_WITNESS_POLICY", str(policy))
        for more, logs in ((0, 2), (300, 1)):
            seal(more)
            said = permalog("anchor", "--once", "--json")
            assert said.code == 0, said.err
            assert said.json["witnesses"] == [{"witness": "witness.example/w1", "cosigned": logs, "failures": []}]
    listed = permalog("list", "--owner", str(OWNER), "--format", "json", "--limit", "1").json["events"]
    opened = Database(database)
    try:
        proof = prove_event(opened, OWNER, listed[0]["id"])
    finally:
        opened.close()
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT hashes FROM permalog.tile WHERE level = 0 AND index = %s", (proof.leaf_index // 256,)
        ).fetchone()
    assert row is not None
    leaf = row[0][proof.leaf_index % 256 * 32 :][:32]
    origin = f"audit.example.com/log/{OWNER.log_id}"
    verified = TlogProof.parse(proof.to_bytes()).verify(leaf, origin, [key], [theirs])
    assert (verified.checkpoint.size, len(verified.cosignatures)) == (305, 1)


def test_a_log_and_a_bundle_are_held_to_anchors_and_a_policy(
    permalog: Command, seal: Callable[[int], None], key: VerifierKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, policy, other, bundle = (tmp_path / name for name in ("anchors", "policy.toml", "other.toml", "a.zip"))
    nobody = Cosigner("witness.example/w2", bytes(32)).key
    other.write_text(f'quorum = 1\n[[witness]]\nkey = "{nobody}"\nurl = "http://127.0.0.1:1"\n')
    monkeypatch.setenv("PERMALOG_ANCHOR_DIR", str(folder))
    seal(5)
    with witness(tmp_path / "w", key) as (url, theirs):
        policy.write_text(f'quorum = 1\n[[witness]]\nkey = "{theirs}"\nurl = "{url}"\n')
        monkeypatch.setenv("PERMALOG_WITNESS_POLICY", str(policy))
        assert permalog("anchor", "--once").code == 0
    assert permalog("evidence", "--owner", str(OWNER), "-o", str(bundle)).code == 0

    def verified(*options: str) -> tuple[int, set[str]]:
        said = permalog("verify", *options, "--json")
        assert said.json["proven"] is (said.code == 0)
        return said.code, {one["code"] for one in said.json["findings"]} - {"late"}

    of_bundle = ("--bundle", str(bundle), "--key", str(key))
    for target in ((), of_bundle):
        # The evidence is on record by itself, and sealed by nobody yet.
        assert verified(*target, "--anchors", str(folder), "--witness-policy", str(policy)) == (0, set())
    assert verified(*of_bundle, "--witness-policy", str(other)) == (1, {"witness.quorum"})
    assert verified("--witness-policy", str(other)) == (0, {"not_witnessed_yet"})
    (first,) = (folder / "1").iterdir()
    text = first.read_bytes()
    first.write_bytes(text.replace(b"start 0", b"start 1"))
    for target in ((), of_bundle):
        assert verified(*target, "--anchors", str(folder))[0] == 1
    assert verified(*of_bundle, "--anchors", str(folder), "--keep-going") == (1, {"anchor.wrong", "not_anchored"})
    first.unlink()
    for target in ((), of_bundle):
        said = permalog("verify", *target, "--anchors", str(folder))
        assert (said.code, said.out) == (2, "")
    first.write_bytes(text)
    seal(1)
    assert (
        permalog("evidence", "--owner", str(OWNER), "-o", str(bundle), "--action", "security.finding.created").code == 0
    )
    assert verified(*of_bundle, "--anchors", str(folder))[0] == 0


def test_without_a_witness_everything_goes_on_and_is_told(
    permalog: Command, database: str, seal: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(1)
    policy = tmp_path / "policy.toml"
    theirs = Cosigner("witness.example/w1", bytes(32)).key
    policy.write_text(f'quorum = 1\n[[witness]]\nkey = "{theirs}"\nurl = "http://127.0.0.1:1"\n')
    monkeypatch.setenv("PERMALOG_WITNESS_POLICY", str(policy))
    said = permalog("anchor", "--once")
    assert said.code == 1
    assert "127.0.0.1:1 gave no answer" in said.err
    seal(1)
    checks = {one["name"]: one for one in permalog("doctor", "--json").json["checks"]}
    assert checks["witnesses"]["status"] == "ok"  # for five minutes
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE permalog.checkpoint DISABLE TRIGGER USER")
        connection.execute("UPDATE permalog.checkpoint SET signed_at = signed_at - interval '6 minutes'")
    checks = {one["name"]: one for one in permalog("doctor", "--json").json["checks"]}
    assert checks["witnesses"]["status"] == "wrong"
    policy.write_text("quorum = 3")
    assert permalog("anchor", "--once").code == 2
    checks = {one["name"]: one for one in permalog("doctor", "--json").json["checks"]}
    assert checks["witnesses"]["status"] == "wrong"


def test_after_a_restore_it_refuses_until_told(
    permalog: Command, database: str, seal: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = AnchorFolder(tmp_path / "anchors")
    monkeypatch.setenv("PERMALOG_ANCHOR_DIR", str(folder.folder))
    seal(1)
    assert permalog("anchor", "--once").code == 0
    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in ("anchor", "anchor_leaf", "anchor_publication"):
            connection.execute(f"ALTER TABLE permalog.{table} DISABLE TRIGGER USER")  # pyright: ignore[reportArgumentType]
            connection.execute(f"DELETE FROM permalog.{table}")  # pyright: ignore[reportArgumentType]
    said = permalog("anchor", "--once")
    assert said.code == 1
    assert "--new-epoch" in said.err
    assert permalog("anchor", "--new-epoch", "--json").json["epoch"] == 2
    assert permalog("anchor", "--once").code == 0
    assert folder.epochs() == [1, 2]


def test_without_a_key_nothing_is_anchored(permalog: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERMALOG_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PERMALOG_SIGNING_KEY", raising=False)
    said = permalog("anchor", "--once")
    assert said.code == 1
    assert "PERMALOG_SIGNING_KEY" in said.err
