"""Debian's Chromium, driven by Playwright; what it loads, says and refuses is kept for the tests."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from service import Site

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
# As root it starts only without its sandbox; the others keep it from asking after things that are not here.
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
]  # fmt: skip


@contextmanager
def started() -> Generator[Browser]:
    """A running Chromium."""
    assert PROGRAM is not None, "Chromium is missing: apt-get install chromium"
    # Node, which drives it, would warn of the tests' own settings.
    os.environ.setdefault("NODE_NO_WARNINGS", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A tab, and what went on in it."""

    page: Page
    site: Site
    said: list[str] = field(default_factory=list)
    """Messages of the console, errors of scripts, and what a policy refused."""
    asked: list[str] = field(default_factory=list)
    """Addresses of all requests."""
    got: list[str] = field(default_factory=list)
    """What was answered, as text."""

    def open(self, path: str) -> None:
        """Goes there, and waits until the parts that are fetched later are there, too."""
        self.page.goto(self.site.url + path)
        self.page.wait_for_load_state("networkidle")

    def check(self) -> None:
        """Nothing went wrong, and nothing was asked of anybody else."""
        assert self.said == []
        assert [address for address in self.asked if not address.startswith(self.site.url + "/")] == []


@contextmanager
def tab(browser: Browser, site: Site, user_id: str | None, **options: Any) -> Generator[Watched]:
    """A tab of a browser of its own, in which somebody has signed in by a link; checked at its end."""
    context = browser.new_context(timezone_id="Europe/Berlin", locale="en-GB", **options)
    try:
        page = context.new_page()
        page.set_default_timeout(15_000)
        watched = Watched(page, site)
        page.on("console", lambda message: watched.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: watched.said.append(f"error: {error}"))
        page.on("request", lambda request: watched.asked.append(request.url))
        if user_id is not None:
            page.goto(f"{site.url}/sign-in/link/{site.app.state.desk.sessions.make_link(user_id)}")
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_load_state("networkidle")
        yield watched
        watched.check()
    finally:
        context.close()
