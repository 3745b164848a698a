"""The log's page in a browser, as the people who use it do."""

import re

import pytest
from playwright.sync_api import Browser, expect

from chromium import Watched, tab
from sampled import HOSTILE, Filled

ROWS = ".event"


def results(tabbed: Watched) -> int:
    return tabbed.page.locator(ROWS).count()


def test_one_signs_in_searches_filters_and_pages(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        expect(page).to_have_url(filled.site.url + filled.path)
        expect(page.locator(ROWS)).to_have_count(50)
        page.get_by_label("Search").press_sequentially("lodash", delay=10)
        expect(page).to_have_url(re.compile(r"\?search=lodash$"))
        expect(page.locator(ROWS).first).to_contain_text("lodash")
        found = results(tabbed)
        assert 0 < found < 50
        expect(page.locator("#chips")).to_contain_text("lodash")
        page.locator("#actions summary").click()
        page.get_by_label("Finding created", exact=True).check()
        expect(page).to_have_url(re.compile(r"action=security\.finding\.created"))
        expect(page.locator(ROWS)).not_to_have_count(found)
        page.keyboard.press("Escape")
        page.locator(".chip", has_text="lodash").click()
        expect(page).to_have_url(re.compile(r"audit-log\?action=security\.finding\.created$"))
        expect(page.get_by_label("Search")).to_have_value("")
        page.go_back()
        expect(page).to_have_url(re.compile(r"search=lodash&action="))
        expect(page.get_by_label("Search")).to_have_value("lodash")
        tabbed.open(filled.path)
        first = page.locator(f"{ROWS} a.what").first.get_attribute("href")
        page.get_by_role("link", name="Older →").click()
        expect(page.locator(f"{ROWS} a.what").first).not_to_have_attribute("href", first or "")
        page.get_by_role("link", name="← Newer").click()
        expect(page.locator(ROWS)).to_have_count(50)


def test_one_clicks_what_one_sees_to_filter_by_it(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        page.get_by_role("link", name="Developer", exact=True).first.click()
        expect(page).to_have_url(re.compile("actor_id=sample_northwind_developer"))
        assert {one.inner_text() for one in page.locator(".who").all()} == {"Developer"}
        tabbed.open(filled.path)
        page.locator(".histogram a").first.click(force=True)
        expect(page).to_have_url(re.compile(r"start=\d{4}-\d\d-\d\d&end="))
        tabbed.open(filled.path)
        page.get_by_text("Dates", exact=True).click()
        page.get_by_role("link", name="7 days").click()
        expect(page).to_have_url(re.compile(r"\?start="))


def test_times_are_those_of_the_reader_and_of_utc(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        time = tabbed.page.locator(f"{ROWS} time").last
        moment = time.get_attribute("datetime") or ""
        expect(time).to_contain_text(f"{moment[11:19]} UTC")
        shown = time.inner_text().split()[1]
        assert shown != moment[11:19]  # Berlin is never on UTC


def test_everything_is_within_reach_of_the_keyboard(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        page.keyboard.press("/")
        expect(page.get_by_label("Search")).to_be_focused()
        page.keyboard.type("lodash")
        expect(page).to_have_url(re.compile("search=lodash"))
        page.keyboard.press("ArrowDown")
        expect(page.locator(f"{ROWS} a.what").first).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(page.locator(f"{ROWS} a.what").nth(1)).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.locator(f"{ROWS} a.what").first).to_be_focused()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        menu = page.locator("#more summary")
        menu.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_label("Operation")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_label("Operation")).to_be_hidden()
        expect(menu).to_be_focused()


def test_it_can_be_read_without_scripts(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner"), java_script_enabled=False) as tabbed:
        page = tabbed.page
        page.locator("#search").fill("lodash")
        page.get_by_role("button", name="Search").click()
        assert page.url.endswith("?search=lodash")
        assert 0 < results(tabbed) < 50
        page.get_by_role("link", name="How much happened, over time").click()
        assert page.locator(".histogram").is_visible()
        page.get_by_role("link", name="Back to the events").click()
        page.locator("header summary").last.click()
        page.get_by_role("button", name="Sign out").click()
        assert page.url == f"{filled.site.url}/sign-in"
        page.goto(filled.site.url + filled.path)
        assert "/sign-in?next=" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
def test_it_fits_whatever_it_is_looked_at_with(browser: Browser, filled: Filled, width: int, scheme: str) -> None:
    view = {"width": width, "height": 800}
    with tab(browser, filled.site, filled.user("owner"), viewport=view, color_scheme=scheme) as tabbed:
        page = tabbed.page
        for query in ("", "?search=lodash", "?outcome=perhaps", "?search=nothing"):
            tabbed.page.goto(filled.site.url + filled.path + query)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        tabbed.said = [line for line in tabbed.said if "422" not in line]  # the browser tells of the status itself


def test_hostile_text_stays_text(browser: Browser, filled: Filled) -> None:
    with tab(browser, filled.site, filled.user("owner")) as tabbed:
        page = tabbed.page
        for text in HOSTILE:
            page.get_by_label("Search").fill(text)
            row = page.locator(ROWS).filter(has=page.locator(".what em", has_text=text.split("\u2028")[0]))
            expect(row.first).to_be_visible()
            assert page.evaluate("'hit' in window") is False
