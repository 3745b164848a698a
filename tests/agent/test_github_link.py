"""The ``Link`` header: followed where it leads on, and nowhere else."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security_agent.github import BadAnswer
from security_agent.github.link import MOST, next_page, same_server

ASKED = "https://api.github.com/repos/northwind/shop/dependabot/alerts?per_page=100"
NEXT = "https://api.github.com/repositories/1/dependabot/alerts?per_page=100&after=Y3Vyc29yOnYx"


@pytest.mark.parametrize(
    "header",
    [
        f'<{NEXT}>; rel="next"',
        f"<{NEXT}>; rel=next",
        f'<{NEXT}>;rel="next"',
        f'<{NEXT}> ; rel = "next"',
        f'<https://api.github.com/x>; rel="prev", <{NEXT}>; rel="next"',
        f'<https://api.github.com/x>; rel="prev",<{NEXT}>; title="a, b; c"; rel="next last"',
        f'<{NEXT}>; REL="Next"',
        f"<{urlsplit(NEXT).path}?{urlsplit(NEXT).query}>; rel=next",
    ],
)
def test_the_next_page_is_found_however_it_is_written(header: str) -> None:
    assert next_page(header, ASKED) == NEXT


@pytest.mark.parametrize(
    "header",
    [None, "", "nonsense", '<https://api.github.com/x>; rel="prev"', f'<{NEXT}>; title="rel=next"', f"{NEXT}; rel=next",
     f'<{NEXT}>; rel="nextish"', f'<{NEXT}>; xrel="next"', '<>; title="next"'],
)  # fmt: skip
def test_there_is_no_next_page_where_none_is_named(header: str | None) -> None:
    assert next_page(header, ASKED) is None


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/repos",
        "http://api.github.com/repos",
        "https://api.github.com:8443/repos",
        "https://api.github.com.evil.example/",
        "https://api.github.com@evil.example/",
        "https://someone:secret@api.github.com/",
        "//evil.example/repos",
        "https://[api.github.com/",
        "file:///etc/passwd",
        "https://api.github.com\\@evil.example/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_a_link_to_another_server_is_not_followed(target: str) -> None:
    with pytest.raises(BadAnswer) as refused:
        next_page(f'<{target}>; rel="next"', ASKED)
    assert "secret" not in str(refused.value)


def test_the_same_server_may_be_written_otherwise() -> None:
    assert same_server("https://API.github.com:443/x", ASKED) == "https://API.github.com:443/x"


@given(st.text(max_size=300))
def test_no_header_leads_to_another_server(header: str) -> None:
    check(header)


PIECES = [
    "<", ">", ";", ",", " ", "rel=", 'rel="next"', "next", '"', "https://api.github.com/x", "https://evil.example/x",
    "@", "//evil.example", "\\", "\t",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_no_header_made_of_its_own_parts_leads_to_another_server(header: str) -> None:
    check(header)


def check(header: str) -> None:
    try:
        found = next_page(header, ASKED)
    except BadAnswer:
        return
    assert found is None or urlsplit(found)[:2] == ("https", "api.github.com")


@given(st.integers(1, 200), st.text("abc012=&%+", max_size=80))
def test_what_was_written_is_read(page: int, cursor: str) -> None:
    url = f"https://api.github.com/repositories/{page}/dependabot/alerts?after={cursor}"
    header = f'<https://api.github.com/first>; rel="first", <{url}>; rel="next"'
    assert next_page(header, ASKED) == url


def test_a_header_without_end_takes_no_time() -> None:
    assert next_page("<x>;" * 100_000, ASKED) is None
    assert next_page("<a>; rel=" + '"' * 1_000_000, ASKED) is None
    assert len(f'<{NEXT}>; rel="next"') < MOST
