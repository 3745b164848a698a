"""Signing in by an OpenID provider, and what does not let anybody in."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from openid import CLIENT, SECRET, Bend, OpenIdProvider, provider
from permalog_server.pages.provider import Provider
from permalog_server.sessions import NoSignIn
from permalog_server.settings import OpenId
from service import Site, running
from service import client as client_of
from signed_in import SESSION, visitor


class World(NamedTuple):
    """The service, and the provider that it trusts."""

    site: Site
    provider: OpenIdProvider


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def openids() -> Iterator[OpenIdProvider]:
    with provider() as found:
        yield found


@pytest.fixture(scope="module")
def world_of_module(make_database: Callable[[], str], folder: Path, openids: OpenIdProvider) -> Iterator[World]:
    with running(make_database(), folder, openid=OpenId(openids.url, CLIENT, SECRET)) as site:
        site.app.state.base_url = site.url  # only known once it listens
        yield World(site, openids)


@pytest.fixture
def world(world_of_module: World) -> World:
    openids = world_of_module.provider
    openids.person, openids.bend, openids.sign, openids.about = {}, dict, None, {}
    world_of_module.site.app.state.provider = None
    return world_of_module


def to_provider(client: httpx.Client, target: str = "/audit-log") -> str:
    """Begins, and returns where the provider sends the browser back to."""
    begun = client.get("/sign-in/provider", params={"next": target})
    assert begun.status_code == 303, begun.text
    address = begun.headers["location"]
    with client_of(address, None) as elsewhere:  # another origin: our cookie does not go there
        answer = elsewhere.get(address)
    parts = urlsplit(answer.headers["location"])
    return f"{parts.path}?{parts.query}"


def come_back(client: httpx.Client) -> httpx.Response:
    return client.get(to_provider(client))


def test_whom_the_provider_vouches_for_is_signed_in(world: World) -> None:
    world.provider.person = {"sub": "u_ada", "email": "ada@tests.example", "email_verified": True, "name": "Ada"}
    with visitor(world.site) as client:
        assert "/sign-in/provider" in client.get("/sign-in").text
        answer = client.get(to_provider(client, "/audit-log?search=x"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/audit-log?search=x")
        assert "Ada" in client.get("/audit-log").text
    standing = world.site.accounts.standing("u_ada", None)
    assert standing is not None
    assert (standing.email, standing.name, standing.staff) == ("ada@tests.example", "Ada", False)


def test_an_address_that_is_not_verified_is_not_taken_over(world: World) -> None:
    world.provider.person = {"sub": "u_eve", "email": "ada@tests.example", "email_verified": False}
    with visitor(world.site) as client:
        assert come_back(client).status_code == 303
    standing = world.site.accounts.standing("u_eve", None)
    assert standing is not None
    assert standing.email is None


def without(name: str) -> Bend:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


BENT: dict[str, Bend] = {
    "for another client": lambda claims: {**claims, "aud": "another"},
    "for us and another, to another": lambda claims: {**claims, "aud": [CLIENT, "another"], "azp": "another"},
    "of another provider": lambda claims: {**claims, "iss": "https://evil.example"},
    "expired": lambda claims: {**claims, "exp": claims["iat"] - 120, "iat": claims["iat"] - 600},
    "not yet": lambda claims: {**claims, "nbf": claims["iat"] + 600},
    "for another attempt": lambda claims: {**claims, "nonce": "another"},
    "for no attempt": without("nonce"),
    "of nobody": without("sub"),
    "of a number": lambda claims: {**claims, "sub": 4711},
    "of an endless id": lambda claims: {**claims, "sub": "u" * 300},
    "without an end": without("exp"),
}


@pytest.mark.parametrize("how", BENT)
def test_a_token_that_is_not_for_this_lets_nobody_in(world: World, how: str) -> None:
    world.provider.bend = BENT[how]
    with visitor(world.site) as client:
        answer = come_back(client)
        assert (answer.status_code, SESSION in client.cookies) == (403, False)


@pytest.mark.parametrize("how", ["signed_by_a_shared_secret", "signed_by_nobody", "signed_by_another"])
def test_a_token_that_the_provider_has_not_signed_lets_nobody_in(world: World, how: str) -> None:
    world.provider.sign = getattr(world.provider, how)
    with visitor(world.site) as client:
        assert come_back(client).status_code == 403
        assert SESSION not in client.cookies


def test_an_answer_is_taken_once_and_only_from_the_browser_that_began(world: World) -> None:
    with visitor(world.site) as client, visitor(world.site) as other:
        address = to_provider(client)
        assert other.get(address).status_code == 403  # somebody was made to follow the link of somebody else
        other.get("/sign-in/provider")
        assert other.get(address).status_code == 403
        assert client.get(address).status_code == 303
        assert client.get(address).status_code == 403


@pytest.mark.parametrize("query", ["", "code=x", "state=x", "error=access_denied&state=x", "code=x&state=" + "y" * 300])
def test_an_answer_that_is_none_lets_nobody_in(world: World, query: str) -> None:
    with visitor(world.site) as client:
        client.get("/sign-in/provider")
        assert client.get(f"/sign-in/callback?{query}").status_code in {403, 422}
        assert SESSION not in client.cookies


def test_who_was_deleted_does_not_come_back(world: World) -> None:
    world.provider.person = {"sub": "u_gone"}
    with visitor(world.site) as client:
        assert come_back(client).status_code == 303
        with world.site.log.database.shared() as connection, connection.transaction():
            world.site.accounts.forget_person("u_gone", connection)
        assert client.get("/audit-log").status_code == 303
        assert come_back(client).status_code == 403


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_provider_that_says_it_is_another_is_not_asked(world: World, about: dict[str, Any]) -> None:
    world.provider.about = about
    with visitor(world.site) as client:
        assert client.get("/sign-in/provider").status_code == 403


def test_a_provider_that_does_not_answer_is_said(world: World) -> None:
    openid = OpenId(f"http://127.0.0.1:{free_port()}", CLIENT, SECRET)
    with pytest.raises(NoSignIn, match="cannot be reached"):
        Provider(openid, world.site.url).address("a" * 43)


@pytest.mark.parametrize("address", ["http://login.example", "ftp://login.example", "login.example", "https://"])
def test_a_provider_is_asked_by_https_only(address: str) -> None:
    with pytest.raises(NoSignIn, match="https"):
        Provider(OpenId(address, CLIENT, SECRET), "https://audit.example")


def test_another_claim_may_be_the_id(world: World) -> None:
    openid = replace(OpenId(world.provider.url, CLIENT, SECRET), user_claim="employee")
    world.site.app.state.provider = Provider(openid, world.site.url)
    world.provider.person = {"employee": "u_4711"}
    with visitor(world.site) as client:
        assert come_back(client).status_code == 303
    assert world.site.accounts.standing("u_4711", None) is not None
