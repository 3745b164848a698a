"""Permalog: an audit log on PostgreSQL that nobody can quietly alter."""

from permalog.catalogue import Action, Catalogue, Payload
from permalog.client import Permalog
from permalog.errors import PermalogError
from permalog.event import Actor, Event, Owner, Resource, acting_as
from permalog.payload import Personal

__all__ = [
    "Action",
    "Actor",
    "Catalogue",
    "Event",
    "Owner",
    "Payload",
    "Permalog",
    "PermalogError",
    "Personal",
    "Resource",
    "acting_as",
]
