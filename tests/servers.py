"""What the fixtures hand to tests about a server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Server:
    """A PostgreSQL for tests."""

    # "18" or "15".
    version: str
    # As its superuser, of a database to connect to for making others.
    url: str
