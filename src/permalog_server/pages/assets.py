"""What pages load beside themselves: a style sheet and two scripts, from this server, named by their content."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from permalog_server.problem import Problem

router: Final = APIRouter(include_in_schema=False)

HERE: Final = files("permalog_server.pages")
_TYPES: Final = {
    "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml",
}  # fmt: skip
_FOR_EVER: Final = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """One file."""

    content: bytes
    packed: bytes
    """By gzip: it holds no secret that its length could tell."""
    media_type: str
    version: str
    """Of its content: a new file has a new address, so that browsers may keep the old one for ever."""


def _read() -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for entry in HERE.joinpath("static").iterdir():
        kind = _TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            content = entry.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:12]
            found[entry.name] = Asset(content, gzip.compress(content, mtime=0), kind, version)
    return found


ASSETS: Final = _read()


def address_of(name: str) -> str:
    """Where a page finds an asset."""
    return f"/static/{ASSETS[name].version}/{name}"


@router.get("/static/{version}/{name}")
async def asset(request: Request, version: str, name: str) -> Response:
    """One file; of an older version there is none."""
    found = ASSETS.get(name)
    if found is None or found.version != version:
        raise Problem(404, "there is no such file")
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)
