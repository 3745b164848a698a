"""What stands in GitHub's addresses, taken strictly: nothing that a caller gives can reach another path."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from security_agent.github.errors import BadName

# Logins have letters, digits and single hyphens; those of managed users an underscore too.
_OWNER: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,99})"
_FULL_NAME: Final = re.compile(rf"({_OWNER})/([A-Za-z0-9._-]{{1,100}})", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class FullName(NamedTuple):
    """A repository's name with its owner's."""

    owner: str
    name: str

    @classmethod
    def parse(cls, text: str) -> FullName:
        """Takes ``owner/name`` apart.

        Raises:
            BadName: it has more or fewer parts, or characters that GitHub does not allow in them.
        """
        match = _FULL_NAME.fullmatch(text)
        if match is None or match[2] in {".", ".."}:
            raise BadName("a repository is named owner/name, with letters, digits, '-', '_' and '.'")
        return cls(match[1], match[2])


def number(value: int | str, what: str = "an alert's number") -> int:
    """A positive whole number, as an integer or in plain decimal digits.

    Raises:
        BadName: it is anything else: ``42junk``, ``+1``, ``01``, ``0``, True.
    """
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        raise BadName(f"{what} is a whole number from 1")
    return int(value)
