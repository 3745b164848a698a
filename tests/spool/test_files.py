"""The files of a spool: private, adopted once, cut where they are torn, and left by whoever does not own them."""

import os
import stat
import threading
from pathlib import Path
from typing import Literal

import pytest

from permalog.errors import RecorderFull, SpoolProblem
from permalog.recording import frames
from permalog.recording.quarantine import Quarantine, kept_in
from permalog.recording.spool import Source, Spool
from permalog.recording.spool_files import HEAD_BYTES, SEGMENT_BYTES, Home, Segment, homes_in, private_folder
from permalog.recording.spool_settings import SpoolSettings, place_of
from spooling import everything_in, segments, until


@pytest.fixture
def spool(place: Path) -> Spool:
    return Spool(place / "db-writer", SpoolSettings(place))


def fill(spool: Spool, count: int, text: bytes = b"x" * 100 + b"\n") -> None:
    for _ in range(count):
        number = spool.number + 1
        spool.append(bytes(16), number.to_bytes(16, "big"), b"user/u", text, b"", 0)


def drain(source: Source) -> list[int]:
    found: list[int] = []
    while (work := source.next(100)) is not None:
        segment, read = work
        found += [frame.number for frame in read.frames]
        segment.settle(read.end)
    return found


def adopted(spool: Spool) -> Source:
    source = spool.adopt()
    assert source is not None
    return source


def test_nothing_is_made_before_the_first_event(spool: Spool, place: Path) -> None:
    assert spool.adopt() is None
    spool.tidy()
    spool.close()
    assert not place.exists()


def test_everything_is_its_owners_alone(spool: Spool, place: Path) -> None:
    fill(spool, 1)
    frame = frames.frame_at(frames.encode(1, bytes(16), bytes(16), b"", b"", b""), 0)
    assert frame is not None
    spool.sources[0].quarantine.keep(frame, "why")
    files = [path for path in (place, *place.rglob("*")) if not path.is_dir()]
    folders = [path for path in (place, *place.rglob("*")) if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert len(files) == 4


@pytest.mark.parametrize("kind", ["open", "link"])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "folder"
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.symlink_to(tmp_path)
    with pytest.raises(SpoolProblem):
        private_folder(folder)


def test_what_a_dead_process_left_is_found_in_order_and_then_gone(spool: Spool, place: Path) -> None:
    fill(spool, 3, b"y" * SEGMENT_BYTES + b"\n")
    fill(spool, 50)
    assert len(segments(place)) == 4
    spool.close()
    other = Spool(spool.place, spool.settings)
    source = adopted(other)
    assert drain(source) == list(range(1, 54))
    source.close()
    assert list(homes_in(spool.place)) == []


def test_a_live_process_is_left_alone_and_one_that_let_go_is_not(spool: Spool) -> None:
    fill(spool, 1)
    other = Spool(spool.place, spool.settings)
    assert other.adopt() is None
    spool.close()
    assert drain(adopted(other)) == [1]


def test_of_two_that_race_for_it_one_adopts(spool: Spool) -> None:
    for _ in range(50):
        fill(spool, 3)
        spool.close()
        found: list[int] = []
        start = threading.Barrier(4)

        def race(found: list[int] = found, start: threading.Barrier = start) -> None:
            start.wait()
            source = Spool(spool.place, spool.settings).adopt()
            if source is not None:
                found.extend(drain(source))
                source.close()

        racers = [threading.Thread(target=race) for _ in range(4)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(found) == 3
        assert list(homes_in(spool.place)) == []


def test_what_is_settled_is_not_read_again_by_who_adopts(spool: Spool) -> None:
    fill(spool, 10)
    work = spool.sources[0].next(4)
    assert work is not None
    spool.settled(work[0], work[1].end)
    spool.close()
    assert drain(adopted(Spool(spool.place, spool.settings))) == list(range(5, 11))


def test_where_the_mark_is_lost_everything_is_read_again(spool: Spool, place: Path) -> None:
    fill(spool, 10)
    work = spool.sources[0].next(4)
    assert work is not None
    spool.settled(work[0], work[1].end)
    spool.close()
    (path,) = segments(place)
    for byte in range(HEAD_BYTES - 4):
        data = bytearray(path.read_bytes())
        data[byte] ^= 0x10
        (place / "copy").write_bytes(data)
        segment = Segment.open(place / "copy")
        assert segment.settled == HEAD_BYTES
        segment.close()


def test_a_file_torn_at_any_byte_gives_all_that_is_whole(spool: Spool, place: Path) -> None:
    fill(spool, 3, b"event\n")
    spool.close()
    (path,) = segments(place)
    data = path.read_bytes()
    size = (len(data) - HEAD_BYTES) // 3
    for length in range(len(data)):
        copy = place / "copy"
        copy.write_bytes(data[:length])
        segment = Segment.open(copy)
        whole = max(length - HEAD_BYTES, 0) // size
        found: list[int] = []
        while not segment.is_drained:
            read = segment.read(100, final=True)
            found += [frame.number for frame in read.frames]
            assert {gap.kind for gap in read.gaps} <= {"torn"}
            segment.settled = read.end
        assert found == list(range(1, whole + 1))
        segment.close()


def test_a_frame_that_is_larger_than_what_is_read_at_once(spool: Spool) -> None:
    fill(spool, 1, b"z" * 3_000_000)
    fill(spool, 2)
    assert drain(spool.sources[0]) == [1, 2, 3]


def test_a_file_that_somebody_cut_ends(spool: Spool, place: Path) -> None:
    fill(spool, 10)
    os.truncate(segments(place)[0], HEAD_BYTES)
    work = spool.sources[0].next(100)
    assert work is not None
    assert [gap.kind for gap in work[1].gaps] == ["damaged"]
    spool.settled(work[0], work[1].end)
    assert spool.waiting_bytes() == 0


def test_a_file_or_folder_that_somebody_removed_is_drained_and_replaced(spool: Spool, place: Path) -> None:
    fill(spool, 1)
    segments(place)[0].unlink()
    spool.tidy()
    fill(spool, 1)
    assert len(segments(place)) == 1
    for path in sorted(place.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    spool.tidy()
    fill(spool, 1)
    assert len(segments(place)) == 1
    assert [number for source in tuple(spool.sources) for number in drain(source)] == [1, 2, 3]


def test_the_limit_counts_what_waits(place: Path) -> None:
    spool = Spool(place, SpoolSettings(place, limit=1_000))
    with pytest.raises(RecorderFull):
        fill(spool, 100)
    taken = spool.number
    assert drain(spool.sources[0])[-1] == taken


def test_what_is_drained_leaves_the_disk_after_a_while(
    spool: Spool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, 5)
    while (work := spool.sources[0].next(100)) is not None:
        spool.settled(work[0], work[1].end)
    spool.tidy()
    assert len(segments(place)) == 1, "more may come at once"
    monkeypatch.setattr("permalog.recording.spool.IDLE_SECONDS", -1.0)
    spool.tidy()
    assert segments(place) == []
    fill(spool, 1)
    assert drain(spool.sources[0]) == [6]


@pytest.mark.parametrize("fsync", ["each", 1])
def test_events_are_brought_to_disk(place: Path, monkeypatch: pytest.MonkeyPatch, fsync: Literal["each", 1]) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def noting(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)
        real(fd)

    monkeypatch.setattr("permalog.recording.spool.os.fdatasync", noting)
    spool = Spool(place / "db-writer", SpoolSettings(place, fsync=fsync))
    fill(spool, 3)
    until(lambda: segments(place)[0].stat().st_size in synced)
    assert fsync != "each" or len(synced) == 3
    spool.close()


def test_a_disk_that_cannot_be_relied_on_is_told_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    spool = Spool(place, SpoolSettings(place, fsync="each"))
    fill(spool, 1)
    with monkeypatch.context() as patched:
        patched.setattr("permalog.recording.spool.os.fdatasync", broken)
        with pytest.raises(SpoolProblem, match="Input/output error"):
            fill(spool, 1)
    fill(spool, 1)
    assert spool.number == 2
    assert drain(spool.sources[0]) == [1, 2]


def test_the_quarantine_keeps_each_event_once_and_no_more_than_fits(place: Path) -> None:
    found = frames.frame_at(frames.encode(1, bytes(16), b"i" * 16, b"user/u", b"event\n", b"secret\n"), 0)
    assert found is not None
    assert Quarantine(place, "a", 400).keep(found, "why")
    quarantine = Quarantine(place, "a", 400)
    assert quarantine.keep(found, "why")
    assert quarantine.keep(found, "why")
    (kept,) = kept_in(place / "quarantine" / "a.frames")
    assert (kept.event, kept.note) == (b"event\n", b"why")
    assert quarantine.keep(found._replace(event_id=b"j" * 16), "why")
    assert not quarantine.keep(found._replace(event_id=b"k" * 16), "why" * 100)


def test_the_place_of_a_database_is_that_of_its_address_and_of_no_login(tmp_path: Path) -> None:
    url = "postgresql://app:hunter2@db.example:5433/audit"
    place = place_of(url, "permalog_writer", tmp_path)
    assert place == place_of("host=db.example port=5433 dbname=audit user=other", "permalog_writer", tmp_path)
    assert place != place_of(url, "permalog_importer", tmp_path)
    assert place != place_of("postgresql://app@db.example:5433/other", "permalog_writer", tmp_path)
    assert "hunter2" not in str(place)


@pytest.mark.parametrize(
    ("name", "value"),
    [("FSYNC", "sometimes"), ("FSYNC", "-1"), ("FSYNC", "0"), ("LIMIT", "1GB"), ("LIMIT", "0"), ("FULL", "wait")],
)
def test_settings_that_cannot_be_understood_are_named(name: str, value: str) -> None:
    with pytest.raises(SpoolProblem, match=f"PERMALOG_SPOOL_{name} must be"):
        SpoolSettings.read({f"PERMALOG_SPOOL_{name}": value})


def test_settings_come_from_the_environment_and_an_argument_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"DIR": "/srv/spool", "FSYNC": "each", "LIMIT": "5", "FULL": "raise"}
    found = SpoolSettings.read({f"PERMALOG_SPOOL_{name}": value for name, value in given.items()})
    assert found == SpoolSettings(Path("/srv/spool"), "each", 5, "raise")
    monkeypatch.setenv("PERMALOG_SPOOL_DIR", "/srv/spool")
    assert SpoolSettings.of("/other").folder() == Path("/other")
    assert SpoolSettings.of(None, Path("/third")).folder() == Path("/srv/spool")
    monkeypatch.delenv("PERMALOG_SPOOL_DIR")
    assert SpoolSettings.of(None, Path("/third")).folder() == Path("/third")


def test_without_a_setting_it_is_where_a_user_keeps_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert SpoolSettings().folder() == tmp_path / "state" / "permalog" / "spool"

    def refused(*_: object) -> bool:
        return False

    monkeypatch.setattr("permalog.recording.spool_settings.os.access", refused)
    assert SpoolSettings().folder().name == f"permalog-{os.getuid()}"


def test_a_home_is_seen_only_when_it_is_locked(place: Path) -> None:
    home = Home.create(place)
    assert [path.name for path in homes_in(place)] == [home.path.name]
    assert Home.adopt(home.path) is None
    home.remove()
    assert Home.adopt(home.path) is None
    assert everything_in(place) == b""
