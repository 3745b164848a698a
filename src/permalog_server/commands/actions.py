"""``permalog actions``."""

from __future__ import annotations

from typing import Final

from permalog_server.commands.options import Format, Json, Shape
from permalog_server.output import print_json, print_table
from permalog_server.wiring import open_log

_MEMBERS: Final = ("name", "label", "resource_type")


def actions(*, shape: Format = Shape.TABLE, as_json: Json = False) -> None:
    """List the actions that the log knows, retired ones included."""
    with open_log() as log:
        known = log.actions()
    if as_json or shape is Shape.JSON:
        print_json({"actions": [{name: action[name] for name in _MEMBERS} for action in known]})
    else:
        print_table(_MEMBERS, [[action[name] for name in _MEMBERS] for action in known])
