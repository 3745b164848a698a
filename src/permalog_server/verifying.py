"""What `permalog verify` is given from outside the database: keys, what was signed last, anchors, an earlier end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import orjson

from permalog.anchor_folder import AnchorFolder
from permalog.errors import InvalidQuery, NotProven
from permalog.note import VerifierKey
from permalog.verify_database import Given, SignedState, place_of
from permalog_server.wiring import sealed_folder, signing_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from permalog.verify_database import Verification
    from permalog_server.wiring import Place

_LONGEST: Final = 1_000_000
States = dict[tuple[UUID, int], SignedState]


class Sources(NamedTuple):
    """Where it is found, as the options name it."""

    keys: Sequence[str] = ()
    witnesses: Sequence[str] = ()
    sealed: Path | None = None
    anchors: Path | None = None
    witnessed: Sequence[Path] = ()
    since: Path | None = None


def keys_of(texts: Iterable[str], option: str) -> list[VerifierKey]:
    """Verifier keys, as an option gives them.

    Raises:
        InvalidQuery: one is none.
    """
    try:
        return [VerifierKey.parse(text) for text in texts]
    except NotProven as error:
        raise InvalidQuery(option, str(error)) from error


def given(place: Place, sources: Sources) -> Given:
    """What is known. Without a key, the installation's own keyring; without a folder, its own of what was signed.

    Raises:
        InvalidQuery: an option names what is none, or cannot be read.
        OutsideUnusable: what was signed last cannot be read.
    """
    keys = keys_of(sources.keys, "key")
    if not keys:
        own = signing_key(place)
        keys = own.known() if own is not None and own.path.exists() else []
    folder = sealed_folder(place)
    if sources.sealed is not None:
        _readable(sources.sealed, "sealed")
        folder = type(folder)(sources.sealed)
    outside: States = {}
    for log_id in _logs_in(folder.folder):
        last = folder.last(log_id)
        if last is not None:
            outside[place_of(last.origin)] = SignedState(last.size, last.root)
    anchors: dict[int, list[bytes]] = {}
    if sources.anchors is not None:
        _readable(sources.anchors, "anchors")
        published = AnchorFolder(sources.anchors)
        anchors = {epoch: list(published.texts(epoch)) for epoch in published.epochs()}
    return Given(
        keys=keys,
        prefix=keys[0].name if keys else None,
        outside=outside,
        anchors=anchors,
        witnessed=[_bytes(path) for path in sources.witnessed],
        witnesses=keys_of(sources.witnesses, "witness"),
        since={} if sources.since is None else read_ends(sources.since),
    )


def read_ends(path: Path) -> States:
    """Where earlier verifications have ended; nothing where there is no such file yet.

    Raises:
        InvalidQuery: it is not what `write_ends` wrote.
    """
    if not path.exists():
        return {}
    try:
        found: dict[str, dict[str, str | int]] = orjson.loads(_bytes(path))
        return {
            (UUID(log), int(epoch)): SignedState(int(end["size"]), bytes.fromhex(str(end["root"])))
            for (log, _, epoch), end in ((name.partition("/"), end) for name, end in found.items())
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidQuery("since", "is not a file that an earlier verification wrote") from error


def write_ends(path: Path, result: Verification) -> None:
    """Notes where this one has ended, beside what is known of other logs; as a whole, or not at all."""
    ends = {f"{log}/{epoch}": state for (log, epoch), state in read_ends(path).items()}
    ends |= {f"{one.log_id}/{one.epoch}": SignedState(one.size, one.root) for one in result.logs}
    content = {name: {"size": state.size, "root": state.root.hex()} for name, state in sorted(ends.items())}
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    new.replace(path)


def _logs_in(folder: Path) -> list[UUID]:
    found: list[UUID] = []
    for path in folder.glob("[0-9a-f][0-9a-f]/*-*-*-*-*") if folder.is_dir() else ():
        try:
            found.append(UUID(path.name))
        except ValueError:
            continue  # a file that is being written
    return sorted(found)


def _readable(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise InvalidQuery(option, "is no folder")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except OSError as error:
        raise InvalidQuery(str(path), f"cannot be read: {error.strerror}") from error
