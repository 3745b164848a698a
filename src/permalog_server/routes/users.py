"""Forgetting a person, over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from permalog_server.accounts import FORGET
from permalog_server.documents import ErasureDocument
from permalog_server.entry import Guest, Need
from permalog_server.problem import Problem, described

FORGETTING: Final = Need(frozenset({FORGET}), frozenset(), "security.access.denied")
router: Final = APIRouter(tags=["users"])


@router.delete(
    "/users/{user_id:path}", response_model=ErasureDocument, responses=described(401, 403, 404, 422, 503),
    summary="Delete a user: their personal data goes, the record stays",
)  # fmt: skip
def delete_user(
    guest: Guest,
    user_id: Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[^\x00]*$")],
    dry_run: Annotated[bool, Query(description="Only say what would be erased.")] = False,  # noqa: FBT002  a query parameter
) -> Response:
    """Anybody may delete themselves; staff may delete anybody."""
    entry = guest.admit(FORGETTING)
    if not entry.holder.staff and entry.holder.user_id != user_id:
        raise guest.denied(entry.holder, FORGETTING, "only staff may delete somebody else")
    erased = guest.desk.office.forget_user(user_id, entry.actor, dry_run=dry_run)
    if erased is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such user, or they were deleted already")
    return Response(orjson.dumps(erased.as_json()), media_type="application/json")
