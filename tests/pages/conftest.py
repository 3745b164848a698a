"""The service of a module, the people who use it, and browsers without a screen or scripts."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from service import Site
from signed_in import signed_in
from sites import folder, make_database, people, quiet, site

__all__ = ["folder", "make_database", "people", "quiet", "site"]


@pytest.fixture
def sign_in(site: Site) -> Iterator[Callable[[str], httpx.Client]]:
    """Signs somebody in by a link; the client holds the session, and follows no redirect."""
    clients: list[httpx.Client] = []

    def make(user_id: str) -> httpx.Client:
        clients.append(signed_in(site, user_id))
        return clients[-1]

    yield make
    for one in clients:
        one.close()
