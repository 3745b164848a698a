"""A browser, the service, and a log with something in it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from chromium import PROGRAM, started
from sampled import Filled, fill
from service import Site
from sites import folder, make_database, quiet, site

__all__ = ["folder", "make_database", "quiet", "site"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium: `make test` installs it where it can; CI has it, or fails.

    While it runs, its driver has an event loop in this thread, and no test elsewhere could begin one of its own.
    """
    if PROGRAM is None and "CI" not in os.environ:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def filled(site: Site, folder: Path) -> Filled:
    return fill(site, folder)
