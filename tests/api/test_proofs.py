"""Proofs over HTTP: whoever holds the log's key needs nothing else to follow it, and nobody gets what is not theirs."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

import naive
from permalog import Actor, Event, Owner, Resource
from permalog.tlog.checkpoint import TlogProof, verify_checkpoint
from permalog.tlog.merkle import verify_consistency
from permalog.tlog.note import Cosigner
from permalog.tlog.tile import Tile
from permalog.tlog.witness import AddCheckpoint
from service import People, Site, running, settle
from trees import SIGNER, Planted, some_leaves

WITNESS = Cosigner("witness.example/w1", bytes([1] * 32))


def recorded(site: Site, owner: Owner, count: int) -> list[UUID]:
    made = [
        site.log.record(
            Event(owner=owner, action="security.access.denied", actor=Actor.user("u_1"), resource=Resource("f", str(n)))
        ).id
        for n in range(count)
    ]
    site.log.flush()
    return made


def sealed(site: Site, owner: Owner, count: int) -> tuple[Planted, list[UUID]]:
    """Events of a log, and a tree over them."""
    ids = recorded(site, owner, count)
    tree = Planted(site.database, owner.log_id)
    tree.grow(some_leaves(count), list(ids))
    return tree, ids


def paths(people: People) -> list[tuple[str, str, Owner]]:
    """The prefix of the routes, who asks, and whose log it is: a person's, and an organisation's."""
    mine = people.id("owner")
    return [
        ("/v1", "owner", Owner.user(mine)),
        (f"/v1/organizations/{people.organization}", "admin", Owner.organization(people.organization)),
    ]


def test_each_event_of_a_log_is_proven(site: Site, people: People) -> None:
    for prefix, who, owner in paths(people):
        tree, ids = sealed(site, owner, 300)
        with site.client(people.token(who)) as client:
            for index in (0, 1, 7, 254, 255, 256, 299):
                answer = client.get(f"{prefix}/audit-log/events/{ids[index]}/proof")
                assert answer.status_code == 200, answer.text
                assert answer.headers["content-type"] == "text/plain; charset=utf-8"
                proof = TlogProof.parse(answer.content)
                assert proof.leaf_index == index
                proof.verify(tree.leaves[index], tree.origin, [SIGNER.key])


def test_what_waits_for_sealing_has_no_proof_yet(site: Site, people: People) -> None:
    for prefix, who, owner in paths(people):
        tree, _ = sealed(site, owner, 3)
        (late,) = recorded(site, owner, 1)
        with site.client(people.token(who)) as client:
            path = f"{prefix}/audit-log/events/{late}/proof"
            answer = client.get(path)
            assert answer.status_code == 409
            assert "waits for sealing" in answer.json()["detail"]
            tree.grow(some_leaves(1), [late], sign=False)  # in the tree, and nobody has signed it
            assert client.get(path).status_code == 409
            tree.sign()
            assert client.get(path).status_code == 200
            assert client.get(f"{prefix}/audit-log/events/{uuid4()}/proof").status_code == 404


def test_another_log_s_event_is_unknown(site: Site, people: People) -> None:
    _, ids = sealed(site, Owner.organization(people.other), 1)
    with site.client(people.token("owner")) as client:
        for prefix, _, _ in paths(people):
            assert client.get(f"{prefix}/audit-log/events/{ids[0]}/proof").status_code == 404


def test_a_proof_rests_on_what_a_witness_has_seen(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    ids = recorded(site, owner, 6)
    tree = Planted(site.database, owner.log_id)
    tree.grow(some_leaves(3), list(ids[:3]))
    seen = tree.grow(some_leaves(1), list(ids[3:4]))
    with psycopg.connect(site.database) as connection:
        connection.execute(
            "INSERT INTO permalog.cosignature (log_id, epoch, size, witness, line) VALUES (%s, 1, 4, %s, %s)",
            (owner.log_id, WITNESS.key.name, WITNESS.cosign(seen.text(), 5).line()),
        )
    tree.grow(some_leaves(2), list(ids[4:]))
    with site.client(people.token("owner")) as client:
        for index, size, cosigned in ((1, 4, 1), (5, 6, 0)):
            route = f"/v1/organizations/{people.organization}/audit-log/events/{ids[index]}/proof"
            proof = TlogProof.parse(client.get(route).content)
            verified = proof.verify(tree.leaves[index], tree.origin, [SIGNER.key], [WITNESS.key])
            assert (verified.checkpoint.size, len(verified.cosignatures)) == (size, cosigned)


def test_events_of_a_later_epoch_are_proven_there(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    ids = recorded(site, owner, 4)
    Planted(site.database, owner.log_id).grow(some_leaves(2), list(ids[:2]))
    later = Planted(site.database, owner.log_id, 2)
    later.grow(some_leaves(3), [None, *ids[2:]])
    with site.client(people.token("owner")) as client:
        route = f"/v1/organizations/{people.organization}/audit-log/events/{ids[3]}/proof"
        proof = TlogProof.parse(client.get(route).content)
        proof.verify(later.leaves[2], later.origin, [SIGNER.key])
        assert later.origin.endswith("/2")
        note = client.get(f"/log/{owner.log_id}/2/checkpoint").content
        assert verify_checkpoint(note, later.origin, [SIGNER.key]).checkpoint.size == 3
        assert client.get(f"/log/{owner.log_id}/2/tile/0/000.p/3").content == b"".join(later.leaves)
        assert client.get(f"/log/{owner.log_id}/3/checkpoint").status_code == 404
        for epoch in ("0", "1", "-1", "x"):
            assert client.get(f"/log/{owner.log_id}/{epoch}/checkpoint").status_code == 422


class Follower:
    """A client of somebody else: it knows a key and an address, reads tiles, and hashes them by itself."""

    def __init__(self, client: httpx.Client, base: str) -> None:
        self._get: Callable[[str], httpx.Response] = lambda path: client.get(f"{base}/{path}")
        self.size = 0
        self.root = hashlib.sha256().digest()

    def follow(self) -> None:
        """Reads the newest checkpoint, all hash tiles below it, and checks that the log only grew."""
        note = self._get("checkpoint").text
        body, _, signatures = note.partition("\n\n")
        _, written, encoded = body.split("\n")
        size, root = int(written), base64.b64decode(encoded)
        assert SIGNER.key.name in signatures
        leaves: list[bytes] = []
        for number in range(0, size, 256):
            width = min(256, size - number)
            leaves += self.tile(0, number // 256, width)
        assert naive.root(leaves) == root
        assert naive.root(leaves[: self.size]) == self.root
        for level in (1, 2):  # a higher tile is made of full lower ones
            span = 256**level
            for number in range(0, size // span, 256):
                hashes = self.tile(level, number // 256, min(256, size // span - number))
                for place, found in enumerate(hashes, number):
                    assert found == naive.root(leaves[place * span : (place + 1) * span])
        self.size, self.root = size, root

    def tile(self, level: int, number: int, width: int) -> list[bytes]:
        path = f"tile/{level}/{number:03}" + (f".p/{width}" if width < 256 else "")
        answer = self._get(path)
        assert answer.status_code == 200, path
        assert len(answer.content) == 32 * width
        return [answer.content[at : at + 32] for at in range(0, 32 * width, 32)]


def test_a_stranger_follows_a_log_by_its_tiles_alone(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    site.log.open(owner)
    tree = Planted(site.database, owner.log_id)
    with site.client(people.token("admin")) as client:
        follower = Follower(client, f"/log/{owner.log_id}")
        for growth in (1, 254, 1, 1, 300, 500):
            tree.grow(some_leaves(growth))
            follower.follow()
        assert follower.size == 1057


def test_what_is_served_of_tiles_is_what_was_signed(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    site.log.open(owner)
    tree = Planted(site.database, owner.log_id)
    tree.grow(some_leaves(260))
    tree.grow(some_leaves(300), sign=False)
    base = f"/log/{owner.log_id}/tile"
    with site.client(people.token("owner")) as client:
        full = client.get(f"{base}/0/000")
        assert full.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert full.headers["content-type"] == "application/octet-stream"
        assert full.content == b"".join(tree.leaves[:256])
        for width in (1, 3, 4):  # those of older checkpoints too
            assert client.get(f"{base}/0/001.p/{width}").content == b"".join(tree.leaves[256 : 256 + width])
        assert client.get(f"{base}/1/000.p/1").content == naive.root(tree.leaves[:256])
        refused = (
            "0/001.p/0", "0/001.p/5", "0/001", "0/002", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1", "0/000.p/256",
            "0/000.p/257", "0/0", "0/0000", "00/000", "0/x000/000", "0/000.p/01", "8/000", "entries/000", "0/000/",
            "0/", "0/000.p/999", "0/000.p/", "0/-01", "63/000.p/1", "0/x999/x999/x999/x999/x999/x999/x999/999",
        )  # fmt: skip
        for path in refused:
            assert client.get(f"{base}/{path}").status_code in {404, 422}, path


def test_consistency_is_proven_from_any_size_to_any_checkpoint(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    site.log.open(owner)
    tree = Planted(site.database, owner.log_id)
    checkpoints = [tree.grow(some_leaves(growth)) for growth in (3, 252, 1, 300)]
    route = f"/log/{owner.log_id}/consistency"
    with site.client(people.token("owner")) as client:
        for new in checkpoints:
            for old in (1, 2, 3, 100, new.size - 1, new.size):
                if old > new.size:
                    continue
                answer = client.get(route, params={"from": old, "to": new.size})
                proof = AddCheckpoint.parse(answer.content)
                verified = verify_checkpoint(proof.checkpoint, tree.origin, [SIGNER.key]).checkpoint
                assert verified.size == new.size
                verify_consistency(old, naive.root(tree.leaves[:old]), new.size, new.root, proof.proof)
        newest = AddCheckpoint.parse(client.get(route, params={"from": 3}).content)
        assert b"\n556\n" in newest.checkpoint
        assert AddCheckpoint.parse(client.get(route, params={"from": 0}).content).proof == ()
        assert client.get(route, params={"from": 3, "to": 4}).status_code == 404
        for wrong in (
            {"from": 4, "to": 3},
            {"from": -1},
            {"from": "x"},
            {},
            {"from": 1, "to": 2**63},
            {"from": 1, "x": 1},
        ):
            assert client.get(route, params=wrong).status_code == 422, wrong


def test_only_whose_log_it_is_may_follow_it(site: Site, people: People) -> None:
    mine, theirs = Owner.user(people.id("owner")), Owner.organization(people.organization)
    for owner in (mine, theirs):
        site.log.open(owner)
        Planted(site.database, owner.log_id).grow(some_leaves(3))
    expected: dict[str, tuple[int, int, int]] = {
        "owner": (200, 200, 404), "admin": (404, 200, 404), "billing_manager": (404, 200, 404),
        "member": (404, 403, 404),
        "outsider": (404, 404, 404), "stranger": (404, 404, 404), "staff": (200, 200, 404), "service": (404, 404, 404),
        "recorder": (404, 404, 404), "reader": (404, 200, 404), "forgetter": (404, 403, 404),
        "expired": (401, 401, 401),
        "revoked": (401, 401, 401), "garbage": (401, 401, 401), "none": (401, 401, 401),
    }  # fmt: skip
    for who, statuses in expected.items():
        with site.client(people.tokens[who]) as client:
            for log_id, status in zip((mine.log_id, theirs.log_id, uuid4()), statuses, strict=True):
                for path in ("checkpoint", "tile/0/000.p/3", "consistency?from=1"):
                    answer = client.get(f"/log/{log_id}/{path}")
                    assert answer.status_code == status, (who, path, answer.text)
                    if status == 404:
                        assert answer.json()["detail"] == "there is no such log, or you may not follow it"


@pytest.fixture(scope="module")
def public_site(make_database: Callable[[], str], folder: Path) -> Iterator[Site]:
    with running(make_database(), folder, public_logs=True) as found:
        yield found


def test_logs_are_public_where_the_operator_says_so(public_site: Site) -> None:
    owner = Owner.organization(uuid4())
    public_site.log.open(owner)
    Planted(public_site.database, owner.log_id).grow(some_leaves(256))
    with public_site.client() as client:
        assert client.get(f"/log/{owner.log_id}/checkpoint").status_code == 200
        tile = client.get(f"/log/{owner.log_id}/tile/0/000")
        assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert client.get(f"/log/{uuid4()}/checkpoint").status_code == 404
        people = settle(public_site.accounts)
        assert client.get(f"/v1/organizations/{people.organization}/audit-log/events").status_code == 401


def test_a_tile_s_path_is_what_the_library_writes(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    site.log.open(owner)
    Planted(site.database, owner.log_id).grow(some_leaves(2))
    with site.client(people.token("owner")) as client:
        assert client.get(f"/log/{owner.log_id}/{Tile(0, 0, 2).path()}").status_code == 200


def test_what_is_lost_is_told_and_makes_no_false_proof(site: Site, people: People) -> None:
    owner = Owner.organization(people.organization)
    tree, ids = sealed(site, owner, 300)
    with psycopg.connect(site.database) as connection:
        connection.execute("ALTER TABLE permalog.tile DISABLE TRIGGER USER")
        connection.execute("DELETE FROM permalog.tile WHERE log_id = %s AND index = 1", (tree.log_id,))
        connection.execute("ALTER TABLE permalog.tile ENABLE ALWAYS TRIGGER refuse_loss")
        connection.execute("ALTER TABLE permalog.tile ENABLE ALWAYS TRIGGER refuse_truncate")
    with site.client(people.token("owner")) as client:
        answer: Any = client.get(f"/v1/organizations/{people.organization}/audit-log/events/{ids[0]}/proof")
        assert answer.status_code == 409
        assert answer.json()["detail"] == "the log is not as it was sealed: its operator can see where"
