"""Permalog: an audit log on PostgreSQL that nobody can quietly alter.

What is named here is loaded when it is first used, so that a verifier (`permalog.tlog`,
`permalog.verifying.rules`) loads neither a database driver nor anything else that it does not stand on.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from permalog.catalogue import Action, Catalogue, Payload
    from permalog.client import Permalog
    from permalog.errors import PermalogError
    from permalog.event import Actor, Event, Owner, Resource, acting_as
    from permalog.payload import Personal
    from permalog.postgres.database import Connection
    from permalog.postgres.migrate import Step, file_steps
    from permalog.sql import Queries

__all__ = [
    "Action",
    "Actor",
    "Catalogue",
    "Connection",
    "Event",
    "Owner",
    "Payload",
    "Permalog",
    "PermalogError",
    "Personal",
    "Queries",
    "Resource",
    "Step",
    "acting_as",
    "file_steps",
]

_HOMES = {
    "Action": "catalogue",
    "Actor": "event",
    "Catalogue": "catalogue",
    "Connection": "postgres.database",
    "Event": "event",
    "Owner": "event",
    "Payload": "catalogue",
    "Permalog": "client",
    "PermalogError": "errors",
    "Personal": "payload",
    "Queries": "sql",
    "Resource": "event",
    "Step": "postgres.migrate",
    "acting_as": "event",
    "file_steps": "postgres.migrate",
}


def __getattr__(name: str) -> object:
    """Loads what is asked for (PEP 562), and keeps it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"permalog.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The names, loaded or not."""
    return sorted({*globals(), *__all__})
