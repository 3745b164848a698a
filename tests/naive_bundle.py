"""A second verifier of evidence bundles, written from docs/evidence-bundle.md with the standard library's own means.

It reads the zip with `zipfile` and unpacks the whole of it: for what is in a bundle, not for how its file is written.
"""

import base64
import hashlib
import io
import json
import zipfile
from itertools import pairwise
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import naive

NAMES = [
    "manifest.json", "manifest.sig", "README.txt", "checkpoint.txt", "leaves.txt", "events.ndjson", "identities.ndjson"
]  # fmt: skip


def verify(data: bytes, key: str) -> dict[str, Any]:
    """The manifest; an AssertionError or another exception where something does not stand."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == NAMES
        members = {name: archive.read(name) for name in NAMES}
    manifest = json.loads(members["manifest.json"])
    assert rfc8785.dumps(manifest) == members["manifest.json"]
    assert manifest["format"] == "permalog-evidence-bundle"
    assert manifest["version"] == 1
    owner = manifest["owner"]
    assert manifest["log_id"] == log_id(owner)
    origin: str = manifest["origin"]
    assert origin.endswith(f"/log/{manifest['log_id']}" + (f"/{manifest['epoch']}" if manifest["epoch"] > 1 else ""))
    digest = base64.b64encode(hashlib.sha256(members["manifest.json"]).digest()).decode()
    assert signed_text(members["manifest.sig"], key) == f"permalog evidence bundle v1\n{origin}\n{digest}\n"
    assert manifest["key"] == key
    for name, said in zip(NAMES[2:], manifest["members"], strict=True):
        assert said["name"] == name
        assert said["size"] == len(members[name])
        assert base64.b64decode(said["sha256"]) == hashlib.sha256(members[name]).digest()
    tree = manifest["tree"]
    assert signed_text(members["checkpoint.txt"], key) == f"{origin}\n{tree['size']}\n{tree['root']}\n"
    check_range(manifest, members)
    check_identities(manifest, members["identities.ndjson"])
    return manifest


def log_id(owner: dict[str, str]) -> str:
    kind, name = next(iter(owner.items()))
    word = {"organization_id": "organization", "user_id": "user"}[kind]
    head = bytearray(hashlib.sha256(f"permalog/log/{word}/{name}".encode()).digest()[:16])
    head[6], head[8] = head[6] & 0x0F | 0x80, head[8] & 0x3F | 0x80
    text = head.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def signed_text(note: bytes, key: str) -> str:
    """The text of a note, if its first signature is that of the key."""
    name, _, material = key.split("+", 2)
    public = base64.b64decode(material)
    text, _, lines = note.decode().rpartition("\n\n")
    dash, who, blob = lines.split("\n")[0].split(" ")
    assert (dash, who) == ("—", name)
    raw = base64.b64decode(blob)
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], (text + "\n").encode())
    return text + "\n"


def check_range(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    events = members["events.ndjson"].split(b"\n")
    assert events.pop() == b""
    leaves: list[bytes] = []
    at = [0]
    said = members["leaves.txt"].decode().split("\n")
    assert said.pop() == ""
    assert not any(a.startswith("events") and b.startswith("events") for a, b in pairwise(said))
    for line in said:
        if line.startswith("events "):
            count = int(line[7:])
            assert line == f"events {count}"
            assert count > 0
            leaves += [naive.sha256(b"\0", event) for event in events[at[0] :][:count]]
            at[0] += count
        else:
            leaves.append(base64.b64decode(line, validate=True))
            assert base64.b64encode(leaves[-1]).decode() == line
    reach, counts, tree = manifest["range"], manifest["counts"], manifest["tree"]
    assert at[0] == len(events) == counts["events"]
    assert len(leaves) == reach["end"] - reach["start"] == counts["events"] + counts["left_out"]
    if events:
        assert said[0].startswith("events")
        assert said[-1].startswith("events")
    for index, event in enumerate(map(json.loads, events)):
        check_event(manifest, event, events[index])
    ends = [manifest.get("first"), manifest.get("last")]
    for place, event, index in zip(
        ends, events and [events[0], events[-1]], [reach["start"], reach["end"] - 1], strict=False
    ):
        found = json.loads(event)
        assert place == {"leaf_index": index, "id": found["id"], "occurred_at": found["occurred_at"]}
    root = base64.b64decode(tree["root"])
    left, right = ([base64.b64decode(one) for one in reach[side]] for side in ("left", "right"))
    assert closed(leaves, reach["start"], reach["end"], tree["size"], left, right) == root


def closed(leaves: list[bytes], start: int, end: int, size: int, left: list[bytes], right: list[bytes]) -> bytes:
    """The root, by cutting the tree as RFC 6962 does until each part lies inside the range or outside it."""
    before, after = list(left), list(right)

    def part(low: int, high: int) -> bytes:
        if high <= start and (start < end or (high - low) & (high - low - 1) == 0):
            return before.pop(0)
        if low >= end:
            return after.pop(0)
        if high - low == 1:
            return leaves[low - start]
        middle = low + naive.split(high - low)
        lower = part(low, middle)
        return naive.sha256(b"\1", lower, part(middle, high))

    root = part(0, size) if size else naive.sha256(b"")
    assert not before
    assert not after
    return root


def check_event(manifest: dict[str, Any], event: dict[str, Any], line: bytes) -> None:
    assert event["log_id"] == manifest["log_id"]
    assert event["version"] == 1
    if not any(isinstance(number, float) for number in numbers(event)):
        assert rfc8785.dumps(event) == line
    query = manifest["query"]
    assert query.get("start", "") <= event["occurred_at"]
    assert "end" not in query or event["occurred_at"] < query["end"]
    assert event["action"] in query.get("action", [event["action"]])
    for name in ("actor_id", "resource_type", "resource_id", "outcome", "correlation_id", "source"):
        if name in query and not (name == "actor_id" and event["actor_type"] == "staff"):
            assert event[name] == query[name]


def numbers(value: Any) -> list[int | float]:
    match value:
        case dict():
            return [one for inside in value.values() for one in numbers(inside)]
        case list():
            return [one for inside in value for one in numbers(inside)]
        case int() | float():
            return [value]
        case _:
            return []


def check_identities(manifest: dict[str, Any], data: bytes) -> None:
    lines = data.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == manifest["counts"]["identities"]
    found = [json.loads(line) for line in lines]
    commitments = [one["commitment"] for one in found]
    assert commitments == sorted(set(commitments))
    for one, line in zip(found, lines, strict=True):
        assert rfc8785.dumps(one) == line
        assert (
            naive.sha256(b"\2", bytes.fromhex(one["salt"]), rfc8785.dumps(one["identity"])).hex() == one["commitment"]
        )
        assert manifest["viewer"] == "staff" or one["identity"]["kind"] != "staff"
