"""Clients as browsers without scripts: they keep a session, and send what forms send."""

import re

import httpx

from permalog_server.sessions import csrf_of
from service import Site

SESSION = "permalog_session"


def visitor(site: Site) -> httpx.Client:
    """A browser that nobody is signed in with."""
    found = site.client()
    found.headers["accept"] = "text/html"
    return found


def signed_in(site: Site, user_id: str) -> httpx.Client:
    """A browser that somebody has signed in with, by a link."""
    client = visitor(site)
    secret = site.app.state.desk.sessions.make_link(user_id)
    answer = client.post("/sign-in/link", data={"secret": secret})
    assert answer.status_code == 303, answer.text
    assert SESSION in client.cookies
    return client


def csrf(client: httpx.Client) -> str:
    """What proves that a form comes from a page of the session."""
    return csrf_of(client.cookies[SESSION])


def csrf_in(page: str) -> str:
    """The same, as a page has it."""
    (found,) = set(re.findall(r'name="csrf" value="([^"]+)"', page))
    return found
