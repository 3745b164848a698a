"""Logs as C2SP tlog-tiles serves them: checkpoints and hash tiles, so that standard clients can follow a log.

A log's first epoch is under ``/log/{log_id}``, later ones under ``/log/{log_id}/{epoch}``, as their origins say.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from permalog.errors import Malformed
from permalog.tlog.merkle import MAX_SIZE
from permalog.tlog.tile import Tile
from permalog.witnessing.proofs import FIRST_EPOCH, Tree, prove_consistency
from permalog_server.accounts import AUDITORS, READ
from permalog_server.entry import Guest, Need, Visit
from permalog_server.problem import Problem, described, invalid

router: Final = APIRouter(prefix="/log", tags=["log"])

FOLLOWING: Final = Need(frozenset({READ}), AUDITORS, "security.access.denied")
_ERRORS: Final = described(401, 403, 404, 422, 503)
_NOTE: Final = (
    "audit.example.com/log/e152bb82-5527-8d8b-8ded-3f5737b427b3\n12\nbTynfkMpnTxTsoyz9RyABCBDGM8fNzV/ycyMtOAxCLg=\n\n"
    "— audit.example.com YZdKF3JMAUTvsF0Nl5hOjFzVxPe/03lrZhc3horxtxokslXHtInKsEqfzc2snAVJ7S8+ZuvXvs4bnWTgjXUeZxIf8Aw=\n"
)


def _answers(description: str, kind: str, example: str | None = None) -> dict[int | str, dict[str, Any]]:
    schema: dict[str, Any] = {"type": "string"} if example else {"type": "string", "format": "binary"}
    content: dict[str, Any] = {"schema": schema, **({"example": example} if example else {})}
    return {200: {"description": description, "content": {kind: content}}, **_ERRORS}


_CHECKPOINT: Final = _answers("The signed note, with the cosignatures that have come in.", "text/plain", _NOTE)
_TILE: Final = _answers("The hashes, 32 bytes each.", "application/octet-stream")
_CONSISTENCY: Final = _answers("The proof, in the form that a witness is asked.", "text/plain", f"old 12\n\n{_NOTE}")

Epoch: TypeAlias = Annotated[int, Path(ge=2, le=2**31 - 1)]
TilePath: TypeAlias = Annotated[str, Path(description="`<N>` or `<N>.p/<W>`, as C2SP tlog-tiles writes it.")]
Level: TypeAlias = Annotated[str, Path(pattern=r"^[0-9]{1,2}$")]
Older: TypeAlias = Annotated[int, Query(alias="from", ge=0, le=MAX_SIZE, description="The older size.")]
Newer: TypeAlias = Annotated[
    int | None, Query(alias="to", ge=0, le=MAX_SIZE, description="The size of a checkpoint; else the newest.")
]


@router.get("/{log_id}/checkpoint", response_class=Response, responses=_CHECKPOINT, summary="The newest checkpoint")
def checkpoint(guest: Guest, log_id: UUID) -> Response:
    """A C2SP checkpoint of the log's first epoch."""
    return _checkpoint(guest, log_id, FIRST_EPOCH)


@router.get(
    "/{log_id}/{epoch}/checkpoint", response_class=Response, responses=_CHECKPOINT, summary="That of a later epoch"
)
def checkpoint_of_epoch(guest: Guest, log_id: UUID, epoch: Epoch) -> Response:
    """A C2SP checkpoint."""
    return _checkpoint(guest, log_id, epoch)


@router.get("/{log_id}/tile/{level}/{path:path}", response_class=Response, responses=_TILE, summary="A hash tile")
def tile(guest: Guest, log_id: UUID, level: Level, path: TilePath) -> Response:
    """Full or partial, as far as a checkpoint reaches."""
    return _tile(guest, log_id, FIRST_EPOCH, f"tile/{level}/{path}")


@router.get(
    "/{log_id}/{epoch}/tile/{level}/{path:path}", response_class=Response, responses=_TILE,
    summary="A hash tile of a later epoch",
)  # fmt: skip
def tile_of_epoch(guest: Guest, log_id: UUID, epoch: Epoch, level: Level, path: TilePath) -> Response:
    """Full or partial, as far as a checkpoint reaches."""
    return _tile(guest, log_id, epoch, f"tile/{level}/{path}")


@router.get(
    "/{log_id}/consistency", response_class=Response, responses=_CONSISTENCY, summary="A log begins with an older one"
)
def consistency(guest: Guest, log_id: UUID, old: Older, new: Newer = None) -> Response:
    """The proof from an older size to a checkpoint."""
    return _consistency(guest, log_id, FIRST_EPOCH, old, new)


@router.get(
    "/{log_id}/{epoch}/consistency", response_class=Response, responses=_CONSISTENCY, summary="That of a later epoch"
)
def consistency_of_epoch(guest: Guest, log_id: UUID, epoch: Epoch, old: Older, new: Newer = None) -> Response:
    """The proof from an older size to a checkpoint."""
    return _consistency(guest, log_id, epoch, old, new)


def _checkpoint(guest: Visit, log_id: UUID, epoch: int) -> Response:
    _enter(guest, log_id)
    with guest.log.database.reading(log_id) as connection:
        found = Tree(connection, log_id, epoch).newest()
    if found is None:
        raise _nothing("there is no checkpoint of this log yet")
    return _text(found.note)


def _tile(guest: Visit, log_id: UUID, epoch: int, path: str) -> Response:
    _enter(guest, log_id)
    try:
        wanted = Tile.parse(path)
    except Malformed:
        raise _nothing("there is no such tile") from None
    with guest.log.database.reading(log_id) as connection:
        hashes = Tree(connection, log_id, epoch).tile(wanted)
    if hashes is None:
        raise _nothing("there is no such tile")
    # What a tile holds never changes, nor do the first hashes of one that grows.
    scope = "public" if guest.desk.public_logs else "private"
    headers = {"Cache-Control": f"{scope}, max-age=31536000, immutable"}
    return Response(hashes, media_type="application/octet-stream", headers=headers)


def _consistency(guest: Visit, log_id: UUID, epoch: int, old: int, new: int | None) -> Response:
    _enter(guest, log_id)
    with guest.log.database.reading(log_id) as connection:
        try:
            proof = prove_consistency(connection, log_id, epoch, old, new)
        except Malformed:
            raise invalid("from", "is larger than the checkpoint") from None
    if proof is None:
        raise _nothing("there is no checkpoint of this size")
    return _text(proof.to_bytes())


def _enter(guest: Visit, log_id: UUID) -> None:
    if not guest.desk.public_logs:
        guest.admit_to(log_id, FOLLOWING)


def _text(data: bytes) -> Response:
    return Response(data, media_type="text/plain; charset=utf-8")


def _nothing(detail: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, detail)
