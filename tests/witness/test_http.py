"""The witness over HTTP, as C2SP tlog-witness has it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import httpx
import pytest

import naive
from calling import Said
from permalog.tlog.checkpoint import Checkpoint
from permalog.tlog.merkle import leaf_hash, root_of
from permalog.tlog.note import Ed25519Signer, Note, VerifierKey
from permalog.tlog.witness import MAX_REQUEST, AddCheckpoint, State, read_cosignature

PREFIX = "audit.example.com"
ORIGIN = f"{PREFIX}/anchor"
LOG = Ed25519Signer(PREFIX, bytes(range(32)))
LEAVES = [leaf_hash(b"%d" % number) for number in range(20)]
PROGRAM = [sys.executable, "-m", "permalog_server", "witness"]


def text(size: int, origin: str = ORIGIN) -> str:
    return Checkpoint(origin, size, root_of(LEAVES[:size])).text()


def asked(old: int, size: int, origin: str = ORIGIN, signer: Ed25519Signer = LOG) -> bytes:
    proof = naive.proof(old, LEAVES[:size]) if 0 < old < size else []
    note = Checkpoint.parse(text(size, origin)).signed(signer)
    return AddCheckpoint(old, tuple(proof), note.to_bytes()).to_bytes()


class Running:
    """A witness in a process of its own, and its verifier key."""

    def __init__(self, url: str, key: VerifierKey, state: Path, process: subprocess.Popen[bytes]) -> None:
        self.url, self.key, self.state, self.process = url, key, state, process

    def add(self, body: bytes) -> httpx.Response:
        return httpx.post(f"{self.url}/add-checkpoint", content=body, timeout=30)


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], contextlib.AbstractContextManager[Running]]:
    """Starts witnesses that share one key and one state."""
    key, state = tmp_path / "witness.key", tmp_path / "state"
    made = subprocess.run(
        [*PROGRAM, "key", "--key", key, "--name", "witness.example/w1"], check=True, capture_output=True, text=True
    )

    @contextlib.contextmanager
    def run() -> Generator[Running]:
        arguments = ["serve", "--key", key, "--state", state, "--log", str(LOG.key), "--port", "0", "--json"]
        with subprocess.Popen(
            [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
        ) as process:
            assert process.stdout is not None
            try:
                url = json.loads(process.stdout.readline())["address"]
                yield Running(url, VerifierKey.parse(made.stdout.strip()), state, process)
            finally:
                process.terminate()

    return run


Start = Callable[[], contextlib.AbstractContextManager[Running]]


def test_each_answer_is_that_of_the_specification(start: Start) -> None:
    with start() as witness:
        answer = witness.add(asked(0, 4))
        assert answer.status_code == 200
        signature = read_cosignature(answer.content, text(4), witness.key)
        assert Note(text(4), (signature,)).verify([witness.key])[0].time

        conflict = witness.add(asked(0, 6))
        assert (conflict.status_code, conflict.text) == (409, "4\n")
        assert conflict.headers["content-type"] == "text/x.tlog.size"
        forked = AddCheckpoint(4, (), Checkpoint(ORIGIN, 4, bytes(32)).signed(LOG).to_bytes())
        assert witness.add(forked.to_bytes()).status_code == 409

        wrong = AddCheckpoint.parse(asked(4, 6))._replace(proof=(bytes(32),))
        assert witness.add(wrong.to_bytes()).status_code == 422
        assert witness.add(asked(0, 1, origin="other.example")).status_code == 404
        assert witness.add(asked(4, 6, signer=Ed25519Signer(PREFIX, bytes(32)))).status_code == 403
        assert witness.add(asked(4, 3)).status_code == 400
        assert witness.add(b"nonsense").status_code == 400
        assert witness.add(asked(4, 6) + b"x" * MAX_REQUEST).status_code == 413
        assert httpx.get(f"{witness.url}/add-checkpoint").status_code == 405

        assert witness.add(asked(4, 6)).status_code == 200


def test_two_processes_on_one_state_cosign_one_history(start: Start) -> None:
    with start() as one, start() as two:
        assert one.add(asked(0, 4)).status_code == 200
        bodies = [asked(4, size) for size in range(5, 13)]
        statuses: list[int] = []

        def ask(witness: Running, body: bytes) -> None:
            statuses.append(witness.add(body).status_code)

        threads = [threading.Thread(target=ask, args=(one if at % 2 else two, body)) for at, body in enumerate(bodies)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] + [409] * 7


def test_a_killed_witness_knows_what_it_answered(start: Start) -> None:
    with start() as witness:
        assert witness.add(asked(0, 9)).status_code == 200
        os.kill(witness.process.pid, signal.SIGKILL)
    with start() as again:
        assert again.add(asked(0, 10)).text == "9\n"
        assert again.add(asked(9, 10)).status_code == 200


def test_a_state_that_was_damaged_is_not_started_over(start: Start) -> None:
    with start() as witness:
        assert witness.add(asked(0, 9)).status_code == 200
        State(witness.state)._path(ORIGIN).write_text("")
        answer = witness.add(asked(0, 10))
        assert answer.status_code == 503
        assert str(witness.state) not in answer.text


def test_a_body_that_never_ends_holds_nobody_up(start: Start) -> None:
    with start() as witness:
        host, port = witness.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 5000\r\n\r\nold 0\n")
            assert witness.add(asked(0, 9)).status_code == 200


def run(*arguments: str) -> Said:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = str(tmp_path / "key")
    made = run("key", "--key", file, "--name", "witness.example/w1")
    assert made.code == 0
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert run("key", "--key", file).out == made.out
    assert run("key", "--key", file, "--json").json == {"verifier_key": made.out.strip()}
    again = run("key", "--key", file, "--name", "witness.example/w2")
    assert again.code == 1
    assert run("key", "--key", file).out == made.out
    Path(file).chmod(0o640)
    assert "chmod 600" in run("key", "--key", file).err


@pytest.mark.parametrize(
    "content", ["", "x\n", "PRIVATE+KEY+w+00000000+AAAA\n", "PRIVATE+KEY+w+00000000+BAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"]
)
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(0o600)
    said = run("key", "--key", str(file))
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert content.strip() not in said.err.replace(str(file), "") or len(content) < 5


def test_misuse_is_told(tmp_path: Path) -> None:
    key = str(tmp_path / "key")
    run("key", "--key", key, "--name", "witness.example/w1")
    common = ("serve", "--key", key, "--state", str(tmp_path / "state"))
    assert run(*common).code == 2
    assert run(*common, "--log", "nonsense").code == 2
    assert run("key", "--key", str(tmp_path / "other"), "--name", "a b").code == 2
