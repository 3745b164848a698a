"""The ``Link`` header (RFC 8288), as far as paging needs it.

    Link: <https://api.github.com/repositories/1/dependabot/alerts?after=Y3Vyc29yOnYx>; rel="next"

An answer decides where the next request goes, with a token in it: so a link counts only on the server that was asked.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urljoin, urlsplit

from security_agent.github.errors import BadAnswer

MOST: Final = 8192
"""Characters of a header that are looked at: GitHub's have some hundred, and the patterns below stay cheap."""

_LINK: Final = re.compile(r"<([^<>\s]*)>((?:\s*;\s*[!-~]+?\s*=\s*(?:\"[^\"]*\"|[^\s\",;]+))*)")
_PARAMETER: Final = re.compile(r";\s*([!-~]+?)\s*=\s*(?:\"([^\"]*)\"|([^\s\",;]+))")
_PORTS: Final = {"http": 80, "https": 443}


def next_page(header: str | None, asked: str) -> str | None:
    """Where the next page is; None: this was the last.

    Args:
        header: the value of ``Link``; several headers joined with commas.
        asked: the absolute address that was answered.

    Raises:
        BadAnswer: the link leads to another server.
    """
    for target, parameters in _LINK.findall((header or "")[:MOST]):
        relations = {
            relation.lower()
            for name, quoted, plain in _PARAMETER.findall(parameters)
            if name.lower() == "rel"
            for relation in (quoted or plain).split()
        }
        if "next" in relations:
            return same_server(target, asked)
    return None


def same_server(target: str, asked: str) -> str:
    """The target, absolute, if it is on the server that was asked: same scheme, host and port, and no login in it.

    Raises:
        BadAnswer: it is not.
    """
    try:
        absolute = urljoin(asked, target)
        if _origin(absolute) == _origin(asked):
            return absolute
    except ValueError as error:
        raise BadAnswer("a link that is no address") from error
    raise BadAnswer("a link to another server, which is not followed")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise BadAnswer("a link with a login in it, which is not followed")
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
