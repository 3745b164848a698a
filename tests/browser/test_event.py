"""An event in a browser: opened beside the list, followed, exported, and what arrives meanwhile."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from chromium import Watched, tab
from permalog import Actor, Event, Resource
from sampled import SECRETS, Filled, seal

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()


def opened(tabbed: Watched, text: str) -> None:
    tabbed.page.locator("a.what", has_text=text).first.click()
    expect(tabbed.page.locator("#event h1")).to_be_focused()


def test_an_event_opens_beside_the_list_and_leads_on(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        tabbed.open(f"{filled.path}?search=lodash")
        opened(tabbed, "completed the analysis of")
        expect(page).to_have_url(re.compile(r"/events/[0-9a-f-]{36}\?search=lodash$"))
        panel = page.locator("#panel")
        expect(panel.get_by_text("The same operation")).to_be_visible()
        panel.locator(".few a", has_text="started an analysis").first.click()
        expect(panel.locator("h1")).to_contain_text("started an analysis of")
        address = page.url
        page.keyboard.press("Escape")
        expect(panel.locator("#event")).to_have_count(0)
        expect(page).to_have_url(f"{filled.site.url}{filled.path}?search=lodash")
        expect(page.locator("a.what", has_text="completed the analysis of").first).to_be_focused()
        page.goto(address)  # the link shows the same to somebody else
        expect(page.locator("h1")).to_contain_text("started an analysis of")
        page.get_by_role("link", name="Back to the events").click()
        expect(page).to_have_url(f"{filled.site.url}{filled.path}?search=lodash")


def test_an_event_is_opened_and_closed_by_the_keyboard(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        for _ in range(3):
            page.keyboard.press("ArrowDown")
        expect(page.locator("a.what").nth(2)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#event h1")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("a.what").nth(2)).to_be_focused()


@pytest.mark.parametrize("form", ["csv", "json", "ndjson"])
def test_the_file_holds_what_the_screen_shows(browser: Browser, filled: Filled, form: str, tmp_path: Path) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        page.get_by_label("Search").fill("lodash")
        expect(page).to_have_url(re.compile("search=lodash"))
        addresses = [one.get_attribute("href") or "" for one in page.locator("a.what").all()]
        shown = [re.findall(r"/events/([0-9a-f-]{36})", address)[0] for address in addresses]
        page.locator("#export summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=form.upper(), exact=True).click()
        file = tmp_path / "file"
        download.value.save_as(file)
        assert shown == ids_in(file, form)


def ids_in(file: Path, form: str) -> list[str]:
    with file.open(newline="", encoding="utf-8") as text:
        if form == "csv":
            return [row["id"] for row in csv.DictReader(text)]
        rows: list[dict[str, Any]] = json.load(text) if form == "json" else [json.loads(line) for line in text]
        return [row["id"] for row in rows]


def test_what_arrives_is_told_and_moves_nothing(browser: Browser, filled: Filled, folder: Path) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        with page.expect_response(re.compile("/tail")) as following:
            page.reload()
        assert following.value.ok
        page.wait_for_selector(".histogram")
        page.locator("a.what").nth(20).scroll_into_view_if_needed()
        before = page.locator("a.what").nth(20).bounding_box()
        for number in range(2):
            event = Event(
                owner=filled.owner, action="security.sync.triggered", actor=Actor.system("tests"),
                resource=Resource("agent_config", str(number)), metadata={"trigger": "manual", "scope": "all"},
            )  # fmt: skip
            filled.site.log.record(event)
        assert filled.site.log.flush()
        seal(filled.site, folder)
        note = page.locator("#fresh a")
        expect(note).to_be_visible()
        expect(note).to_have_text(re.compile(r"\d+ new events?"))
        assert page.locator("a.what").nth(20).bounding_box() == before
        note.click()
        expect(page.locator(".event").first).to_contain_text("started a sync of all repositories")


def test_a_customer_s_browser_never_gets_who_of_the_staff_it_was(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        bodies: list[tuple[str, bytes]] = []
        page.on("requestfinished", lambda request: bodies.append((request.url, content_of(request))))
        for query in ("", "?action=security.config.updated", "?search=agent_config"):
            tabbed.open(filled.path + query)
        page.goto(f"{filled.site.url}{filled.path}?action=security.config.updated&outcome=success")
        opened(tabbed, "updated the configuration")
        expect(page.locator("#event h1")).to_contain_text("Support")
        page.get_by_role("link", name="as JSON").click()
        page.wait_for_load_state("networkidle")
        page.go_back()
        assert len(bodies) > 8
        for secret in SECRETS:
            assert [url for url, body in bodies if secret.encode() in body] == []


def content_of(request: Any) -> bytes:
    response = request.response()
    if response is None or response.status in {204, 303} or "/tail" in request.url:
        return b""
    found: bytes = response.body()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nobody_is_kept_out(browser: Browser, filled: Filled, width: int, scheme: str) -> None:
    """axe-core finds no serious violation; it is let in beside the policy, which would keep it out, too."""
    view = {"width": width, "height": 900}
    with tab(browser, filled.site, filled.user("owner"), viewport=view, color_scheme=scheme, bypass_csp=True) as tabbed:
        page = tabbed.page
        event = page.locator("a.what", has_text="updated the configuration").first.get_attribute("href") or ""
        for path in (filled.path, f"{filled.path}?search=nothing", event, "/sign-in", "/sign-in/link/x", "/"):
            tabbed.open(path)
            page.evaluate("for (const menu of document.querySelectorAll('details')) menu.open = true")
            page.evaluate(AXE)
            found = page.evaluate("axe.run().then(r => r.violations)")
            serious = [one for one in found if one["impact"] in {"serious", "critical"}]
            assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious] == [], path
