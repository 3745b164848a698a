"""Anchoring: every log that changed, once, in an anchor log that only grows, to every place."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from permalog.errors import AnchorConflict, DatabaseProblem, PublishFailed
from permalog.postgres.database import Database
from permalog.tlog.anchor import Anchor, anchor_leaf, anchor_origin, open_anchors, read_anchors
from permalog.tlog.checkpoint import Checkpoint
from permalog.witnessing.anchor_folder import AnchorFolder
from permalog.witnessing.anchoring import AnchorLog, Failure
from trees import PREFIX, SIGNER, Planted, some_leaves


class Outside:
    """What was published last, in memory."""

    def __init__(self) -> None:
        self.noted: dict[UUID, Checkpoint] = {}
        self.lock = threading.Lock()

    @contextmanager
    def locked(self, log_id: UUID) -> Generator[None]:
        assert log_id
        with self.lock:
            yield

    def last(self, log_id: UUID) -> Checkpoint | None:
        return self.noted.get(log_id)

    def note(self, log_id: UUID, checkpoint: Checkpoint) -> None:
        self.noted[log_id] = checkpoint


class Broken:
    """A place that takes nothing."""

    name = "broken"

    def publish(self, epoch: int, anchor: Anchor) -> None:
        raise PublishFailed(f"no: {epoch}, {anchor.size}")


@pytest.fixture
def opened(database: str) -> Iterator[Database]:
    found = Database(database)
    yield found
    found.close()


def planted(database: str, count: int) -> list[Planted]:
    return [Planted(database, uuid4()) for _ in range(count)]


def anchor_log(opened: Database, outside: Outside | None = None) -> AnchorLog:
    return AnchorLog(opened, lambda: SIGNER, PREFIX, outside)


def test_each_log_that_changed_is_anchored_once(opened: Database, tmp_path: Path) -> None:
    logs, anchors, folder = planted(opened.url, 3), anchor_log(opened), AnchorFolder(tmp_path)
    assert anchors.grow().added == 0
    checkpoints = [log.grow(some_leaves(2)) for log in logs]
    assert anchors.grow() == (1, 3, 3)
    assert anchors.grow() == (1, 3, 0)
    # Of two sizes between two steps, the newer one.
    logs[1].grow(some_leaves(1))
    checkpoints.append(logs[1].grow(some_leaves(300)))
    assert anchors.grow() == (1, 4, 1)
    assert anchors.publish([folder]) == []
    assert [path.name for path in sorted((tmp_path / "1").iterdir())] == [f"{0:020}.anchor", f"{3:020}.anchor"]
    batches = read_anchors(folder.texts(), anchor_origin(PREFIX), [SIGNER.key])
    found = open_anchors(batches, {anchor_leaf(one): one for one in checkpoints})
    assert found.unopened == []
    assert {(fact.origin, fact.size, fact.root) for fact in found.facts} == {one[:3] for one in checkpoints}


def test_the_database_knows_which_checkpoint_a_leaf_is_of(opened: Database) -> None:
    logs = planted(opened.url, 3)
    by_log = {log.log_id: log.grow(some_leaves(2)) for log in logs}
    anchor_log(opened).grow()
    with psycopg.connect(opened.url) as connection:
        rows = connection.execute("SELECT log_id, epoch, size, leaf_index FROM permalog.anchor_leaf").fetchall()
        row = connection.execute("SELECT leaves FROM permalog.anchor").fetchone()
    assert row is not None
    for log_id, epoch, size, index in rows:
        assert (epoch, size) == (1, 2)
        assert row[0][index * 32 : index * 32 + 32] == anchor_leaf(by_log[log_id])


def test_a_place_that_fails_keeps_no_other_from_theirs(opened: Database, tmp_path: Path) -> None:
    (log,), anchors = planted(opened.url, 1), anchor_log(opened)
    log.grow(some_leaves(1))
    anchors.grow()
    folder = AnchorFolder(tmp_path)
    assert anchors.publish([Broken(), folder]) == [Failure("broken", "no: 1, 1")]
    assert len(list(folder.texts())) == 1


def test_a_place_that_was_away_gets_what_it_missed(opened: Database, tmp_path: Path) -> None:
    (log,), anchors = planted(opened.url, 1), anchor_log(opened)
    for _ in range(45):  # more than are handed over at a time
        log.grow(some_leaves(1))
        anchors.grow()
    folder = AnchorFolder(tmp_path)
    assert anchors.publish([folder]) == []
    assert len(list(read_anchors(folder.texts(), anchor_origin(PREFIX), [SIGNER.key]))) == 45


def test_a_text_that_is_there_is_never_written_over(opened: Database, tmp_path: Path) -> None:
    (log,), anchors, folder = planted(opened.url, 1), anchor_log(opened), AnchorFolder(tmp_path)
    log.grow(some_leaves(1))
    anchors.grow()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / f"{0:020}.anchor").write_bytes(b"something else")
    (failure,) = anchors.publish([folder])
    assert "another anchor" in failure.reason
    assert (tmp_path / "1" / f"{0:020}.anchor").read_bytes() == b"something else"


def test_of_many_that_anchor_at_once_each_leaf_is_there_once(opened: Database, tmp_path: Path) -> None:
    logs = planted(opened.url, 20)
    for log in logs:
        log.grow(some_leaves(1))
    outside, ready = Outside(), threading.Barrier(4)

    def anchor() -> None:
        ready.wait()
        one = anchor_log(opened, outside)
        one.grow()
        assert one.publish([AnchorFolder(tmp_path)]) == []

    threads = [threading.Thread(target=anchor) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    anchor_log(opened, outside).publish([AnchorFolder(tmp_path)])
    batches = list(read_anchors(AnchorFolder(tmp_path).texts(), anchor_origin(PREFIX), [SIGNER.key]))
    assert sum(len(batch.leaves) for batch in batches) == 20


def test_a_database_that_lost_what_was_published_signs_no_more(
    opened: Database, new_database: Callable[[str], str], template: str, tmp_path: Path
) -> None:
    outside, folder = Outside(), AnchorFolder(tmp_path)
    anchors = anchor_log(opened, outside)
    (log,) = planted(opened.url, 1)
    log.grow(some_leaves(1))
    anchors.grow()
    assert anchors.publish([folder]) == []
    # Another database in its place: as an old backup is.
    restored = Database(new_database(template))
    try:
        late = anchor_log(restored, outside)
        (again,) = planted(restored.url, 1)
        again.grow(some_leaves(3))
        with pytest.raises(AnchorConflict, match="--new-epoch"):
            late.grow()
        assert late.grow(new_epoch=True) == (2, 1, 1)
        assert late.publish([folder]) == []
        assert folder.epochs() == [1, 2]
        (batch,) = read_anchors(folder.texts(2), anchor_origin(PREFIX, 2), [SIGNER.key])
        assert batch.leaves
        again.grow(some_leaves(1))
        assert late.grow() == (2, 2, 1)
    finally:
        restored.close()


def test_only_who_may_seal_may_anchor(database: str, login: Callable[..., str]) -> None:
    for roles, may in ((("permalog_reader", "permalog_writer"), False), (("permalog_reader", "permalog_sealer"), True)):
        found = Database(login(*roles))
        try:
            if may:
                anchor_log(found).grow()
            else:
                with pytest.raises(DatabaseProblem, match="permalog_sealer"):
                    anchor_log(found).grow()
        finally:
            found.close()
    assert database
