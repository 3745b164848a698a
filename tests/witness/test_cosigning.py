"""Collecting cosignatures: by a policy, from witnesses of every kind, and what happens without a quorum."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from permalog.errors import InvalidPolicy, Refusal, WitnessRefused, WitnessUnreachable
from permalog.postgres.database import Database
from permalog.tlog.checkpoint import verify_checkpoint
from permalog.tlog.note import Cosigner, VerifierKey
from permalog.tlog.witness import State, TrustedLog, Witness
from permalog.tlog.witness_policy import WitnessAddress, WitnessPolicy
from permalog.witnessing.cosigning import Answer, collect, standing
from permalog.witnessing.proofs import Tree
from trees import SIGNER, Planted, some_leaves

STATUS = {
    Refusal.UNKNOWN: 404,
    Refusal.UNSIGNED: 403,
    Refusal.MALFORMED: 400,
    Refusal.CONFLICT: 409,
    Refusal.INCONSISTENT: 422,
}
NOW = timedelta(0)


class Neighbour:
    """A witness in this process, that counts how often it is asked."""

    def __init__(self, folder: Path, number: int = 1, *, trusted: VerifierKey = SIGNER.key) -> None:
        cosigner = Cosigner(f"witness.example/w{number}", bytes([number] * 32))
        self.folder = folder
        self.asked = 0
        self.witness = Witness(cosigner, State(folder), [TrustedLog.parse(str(trusted))])

    @property
    def address(self) -> WitnessAddress:
        return WitnessAddress(self.witness.key, "http://127.0.0.1:1/w")

    def ask(self, url: str, body: bytes) -> Answer:
        assert url == "http://127.0.0.1:1/w/add-checkpoint"
        self.asked += 1
        try:
            return Answer(200, f"{self.witness.add_checkpoint(body).line()}\n".encode())
        except WitnessRefused as refused:
            body = b"" if refused.size is None else b"%d\n" % refused.size
            return Answer(STATUS[refused.refusal], body)


@pytest.fixture
def opened(database: str) -> Iterator[Database]:
    found = Database(database)
    yield found
    found.close()


def lines(opened: Database) -> int:
    with psycopg.connect(opened.url) as connection:
        row = connection.execute("SELECT count(*) FROM permalog.cosignature").fetchone()
    assert row is not None
    return row[0]


def test_each_tree_is_cosigned_as_it_grows(opened: Database, tmp_path: Path) -> None:
    one = Neighbour(tmp_path)
    logs = [Planted(opened.url, uuid4()) for _ in range(3)]
    for growth in (1, 255, 1, 300):
        for log in logs:
            log.grow(some_leaves(growth))
        assert collect(opened, one.address, one.ask) == ("witness.example/w1", 3, [])
    assert collect(opened, one.address, one.ask).cosigned == 0
    assert one.asked == 12
    with opened.reading(logs[0].log_id) as connection:
        published = Tree(connection, logs[0].log_id).newest()
    assert published is not None
    verified = verify_checkpoint(published.note, logs[0].origin, [SIGNER.key], [one.witness.key])
    assert len(verified.cosignatures) == 1
    assert verified.checkpoint.size == 557


def test_later_epochs_are_trees_of_their_own(opened: Database, tmp_path: Path) -> None:
    one, log_id = Neighbour(tmp_path), uuid4()
    for epoch in (1, 2):
        Planted(opened.url, log_id, epoch).grow(some_leaves(3))
    assert collect(opened, one.address, one.ask).cosigned == 2


def test_a_witness_that_knows_more_than_we_remember_goes_on_from_there(opened: Database, tmp_path: Path) -> None:
    one = Neighbour(tmp_path)
    log = Planted(opened.url, uuid4())
    log.grow(some_leaves(5))
    collect(opened, one.address, one.ask)
    with psycopg.connect(opened.url) as connection:  # its line was lost on the way
        connection.execute("ALTER TABLE permalog.cosignature DISABLE TRIGGER USER")
        connection.execute("DELETE FROM permalog.cosignature")
    assert collect(opened, one.address, one.ask).cosigned == 1  # the same size again
    with psycopg.connect(opened.url) as connection:
        connection.execute("DELETE FROM permalog.cosignature")
    log.grow(some_leaves(4))
    assert collect(opened, one.address, one.ask) == ("witness.example/w1", 1, [])
    assert one.asked == 1 + 2 + 2


def test_a_rewritten_log_is_found_out(opened: Database, tmp_path: Path) -> None:
    one, log_id = Neighbour(tmp_path), uuid4()
    Planted(opened.url, log_id).grow(some_leaves(5))
    collect(opened, one.address, one.ask)
    with psycopg.connect(opened.url) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in ("cosignature", "checkpoint", "tile", "head"):
            connection.execute(f"ALTER TABLE permalog.{table} DISABLE TRIGGER USER")  # pyright: ignore[reportArgumentType]
            connection.execute(f"DELETE FROM permalog.{table}")  # pyright: ignore[reportArgumentType]
    Planted(opened.url, log_id).grow(some_leaves(3))
    assert "has cosigned 5 leaves" in collect(opened, one.address, one.ask).failures[0]
    Planted(opened.url, log_id, 2).grow(some_leaves(1))  # what is sound goes on
    assert collect(opened, one.address, one.ask).cosigned == 1


def test_a_fork_of_the_same_size_is_found_out(opened: Database, tmp_path: Path) -> None:
    one, log_id = Neighbour(tmp_path), uuid4()
    Planted(opened.url, log_id).grow(some_leaves(5))
    collect(opened, one.address, one.ask)
    with psycopg.connect(opened.url) as connection:
        for table in ("cosignature", "checkpoint", "tile", "head"):
            connection.execute(f"ALTER TABLE permalog.{table} DISABLE TRIGGER USER")  # pyright: ignore[reportArgumentType]
            connection.execute(f"DELETE FROM permalog.{table}")  # pyright: ignore[reportArgumentType]
    Planted(opened.url, log_id).grow(some_leaves(5))
    assert "has cosigned 5 leaves" in collect(opened, one.address, one.ask).failures[0]
    assert lines(opened) == 0


def down(url: str, body: bytes) -> Answer:
    raise WitnessUnreachable(f"no answer from {url} to {len(body)} bytes")


def test_a_witness_that_is_away_is_asked_once_a_round(opened: Database, tmp_path: Path) -> None:
    for _ in range(3):
        Planted(opened.url, uuid4()).grow(some_leaves(1))
    assert len(collect(opened, Neighbour(tmp_path).address, down).failures) == 1
    assert lines(opened) == 0


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b""), Answer(200, b"nonsense\n"), Answer(500, b"oops"), Answer(409, b""), Answer(409, b"x\n"),
        Answer(409, b"007\n"), Answer(302, b""), Answer(404, b""), Answer(422, b""), Answer(409, b"3\n"),
        Answer(409, b"9999999999999999999\n"), Answer(200, "— witness.example/w1 AAAAAAAA\n".encode()),
    ],
)  # fmt: skip
def test_no_answer_but_a_signature_counts(opened: Database, tmp_path: Path, answer: Answer) -> None:
    Planted(opened.url, uuid4()).grow(some_leaves(5))
    asked: list[bytes] = []

    def ask(_: str, body: bytes) -> Answer:
        asked.append(body)
        return answer

    found = collect(opened, Neighbour(tmp_path).address, ask)
    assert (found.cosigned, len(found.failures)) == (0, 1)
    assert len(asked) <= 3
    assert lines(opened) == 0


def test_a_signature_of_another_checkpoint_does_not_count(opened: Database, tmp_path: Path) -> None:
    one, other = Neighbour(tmp_path / "1"), Planted(opened.url, uuid4())
    text = other.grow(some_leaves(2)).text()
    Planted(opened.url, uuid4()).grow(some_leaves(2))
    line = Cosigner("witness.example/w1", bytes([1] * 32)).cosign(text, 5).line()
    found = collect(opened, one.address, lambda _, __: Answer(200, f"{line}\n".encode()))
    assert (found.cosigned, len(found.failures)) == (1, 1)


def policy(quorum: int, *neighbours: Neighbour) -> WitnessPolicy:
    return WitnessPolicy(quorum, tuple(one.address for one in neighbours))


def test_a_checkpoint_counts_as_witnessed_with_a_quorum(opened: Database, tmp_path: Path) -> None:
    one, two, three = (Neighbour(tmp_path / str(number), number) for number in (1, 2, 3))
    wanted = policy(2, one, two, three)
    log = Planted(opened.url, uuid4())
    log.grow(some_leaves(1))
    assert standing(opened, wanted, NOW) == (1, 1)
    collect(opened, one.address, one.ask)
    assert standing(opened, wanted, NOW) == (1, 1)
    collect(opened, three.address, three.ask)
    assert standing(opened, wanted, NOW) == (1, 0)
    log.grow(some_leaves(1))
    collect(opened, two.address, two.ask)
    assert standing(opened, wanted, NOW) == (1, 1)
    assert standing(opened, wanted) == (0, 0)  # nothing has waited for five minutes yet
    assert wanted.is_satisfied([one.witness.key, three.witness.key])
    assert not wanted.is_satisfied([one.witness.key, one.witness.key, SIGNER.key])


KEY1, KEY2 = (str(Cosigner(f"witness.example/w{n}", bytes([n] * 32)).key) for n in (1, 2))
GOOD = f"""quorum = 1
[[witness]]
key = "{KEY1}"
url = "https://witness.example/w1/"
[[witness]]
key = "{KEY2}"
url = "http://127.0.0.1:8090"
"""


def test_a_policy_is_read() -> None:
    found = WitnessPolicy.parse(GOOD)
    assert found.quorum == 1
    assert [one.url for one in found.witnesses] == ["https://witness.example/w1", "http://127.0.0.1:8090"]
    assert [str(key) for key in found.keys] == [KEY1, KEY2]


@pytest.mark.parametrize(
    "text",
    [
        "", "quorum = 1", "quorum = [", GOOD.replace("quorum = 1", "quorum = 0"),
        GOOD.replace("quorum = 1", "quorum = 3"),
        GOOD.replace("quorum = 1", "quorum = true"), GOOD.replace("quorum = 1", "quorum = 1\nextra = 1"),
        GOOD.replace("[[witness]]", "[witness]", 1).replace("[[witness]]", "[other]"), GOOD.replace(KEY2, KEY1),
        GOOD.replace(KEY1, str(SIGNER.key)), GOOD.replace(KEY1, "nonsense"), GOOD.replace("https:", "ftp:"),
        GOOD.replace("https://witness", "https://user@witness"), GOOD.replace("url =", "URL ="),
        GOOD.replace('url = "http:', 'extra = 1\nurl = "http:'), "quorum = 1\nwitness = 3",
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidPolicy):
        WitnessPolicy.parse(text)
