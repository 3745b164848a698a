"""What the stand-in for GitHub holds in `permalog demo`: two repositories of a sample organisation, with their alerts.

The advisories are real ones; titles and descriptions are ours. It is the same for the same day, so that a second run of
the demo finds what the first one left.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from permalog_server.standin import StandIn, World
from permalog_server.standin.documents import Advisory, alert

if TYPE_CHECKING:
    from collections.abc import Generator

INSTALLATION: Final = 5301
SHOP, API = "northwind/shop", "northwind/api"

_DJANGO: Final = Advisory(
    "GHSA-2gwj-7jmv-h26r", "CVE-2022-28346", "pip", "django", "high", "SQL can be injected by names of columns",
    "Aliases that are taken from a dictionary reach the statement as they are.",
    ">= 4.0, < 4.0.4", "4.0.4", (("CWE-89", "SQL Injection"),),
)  # fmt: skip
_PILLOW: Final = Advisory(
    "GHSA-57h3-9rgr-c24m", "CVE-2021-25289", "pip", "pillow", "critical", "A crafted TIFF writes beyond its buffer",
    "Decoding tiles of a size that the file lies about overflows the heap.",
    "< 8.1.1", "8.1.1", (("CWE-787", "Out-of-bounds Write"),), 9.8, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
)  # fmt: skip
_JINJA: Final = Advisory(
    "GHSA-462w-v97r-4m45", "CVE-2019-10906", "pip", "jinja2", "medium", "Templates can leave the sandbox",
    "Inside the sandbox, `str.format_map` reaches attributes that it should not.", "< 2.10.1", "2.10.1",
)  # fmt: skip
_URLLIB: Final = Advisory(
    "GHSA-g4mx-q9vg-27p4", "CVE-2023-45803", "pip", "urllib3", "medium", "The body of a request follows a redirect",
    "Redirected from POST to GET, the library sends the body once more.",
    ">= 2.0.0, < 2.0.7", "2.0.7", (("CWE-200", "Exposure of Sensitive Information"),),
)  # fmt: skip
_PYGMENTS: Final = Advisory(
    "GHSA-9w8r-397f-prfh", "CVE-2021-20270", "pip", "pygments", "medium", "Colouring Standard ML may never end",
    "A text with one word in a certain place keeps the lexer going for ever.",
    ">= 1.5, < 2.7.4", "2.7.4", (("CWE-835", "Infinite Loop"),),
)  # fmt: skip
_PY: Final = Advisory(
    "GHSA-hj5v-574p-mj7c", "CVE-2020-29651", "pip", "py", "low", "Annotations of Subversion take long to read",
    "Its regular expression goes back and forth over a line that is made for it.",
    "< 1.10.0", "1.10.0", (("CWE-400", "Uncontrolled Resource Consumption"),),
)  # fmt: skip
_RACK_HEADERS: Final = Advisory(
    "GHSA-54rr-7fvw-6x8f", "CVE-2024-26146", "rubygems", "rack", "medium", "Some headers take long to read",
    "Lists of accepted types and forwarded addresses are read in time that grows with their square.",
    "< 2.0.9.4", "2.0.9.4", (("CWE-1333", "Inefficient Regular Expression Complexity"),),
)  # fmt: skip
_REXML: Final = Advisory(
    "GHSA-2rxp-v6pw-ch6m", "CVE-2024-49761", "rubygems", "rexml", "high", "Some character references take long to read",
    "Many digits in a hexadecimal reference keep the reader busy.",
    "< 3.3.9", "3.3.9", (("CWE-1333", "Inefficient Regular Expression Complexity"),), 7.5,
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
)  # fmt: skip
_RUBOCOP: Final = Advisory(
    "GHSA-wmjf-jpjj-9f3j", "CVE-2017-8418", "rubygems", "rubocop", "low", "Its cache lies where others may write",
    "Files below /tmp have names that another account of the machine can foresee.",
    "< 0.49.0", "0.49.0", (("CWE-377", "Insecure Temporary File"),),
)  # fmt: skip
_RACK_RANGES: Final = Advisory(
    "GHSA-xj5v-6v4g-jfw6", "CVE-2024-26141", "rubygems", "rack", "medium", "Asking for many ranges makes answers large",
    "A client that asks for the same bytes many times gets them as often.",
    ">= 1.3.0, < 2.2.8.1", "2.2.8.1", (("CWE-400", "Uncontrolled Resource Consumption"),),
)  # fmt: skip


class Found(NamedTuple):
    """An alert, and how many days before the last day of the sample it was made."""

    repository: str
    number: int
    advisory: Advisory
    days: int
    scope: str = "runtime"


ALERTS: Final = (
    Found(SHOP, 1, _DJANGO, 20),
    Found(SHOP, 2, _PILLOW, 9),
    Found(SHOP, 3, _JINJA, 41),
    Found(SHOP, 4, _URLLIB, 33),
    Found(SHOP, 6, _PYGMENTS, 12, "development"),
    Found(SHOP, 7, _PY, 2, "development"),
    Found(API, 1, _RACK_HEADERS, 24),
    Found(API, 2, _REXML, 8),
    Found(API, 3, _RUBOCOP, 3, "development"),
)
LATE: Final = Found(API, 4, _RACK_RANGES, 0)
"""Comes after the first sync."""


@contextmanager
def sample_github(last_day: date) -> Generator[StandIn]:
    """The stand-in, running, as it is for a sample that ends on a day."""
    world = World()
    world.install("northwind", [SHOP, API], id=INSTALLATION)
    for found in ALERTS:
        put(world, found, last_day)
    with StandIn(world) as running:
        yield running


def put(world: World, found: Found, last_day: date) -> None:
    """Adds an alert."""
    moment = datetime.combine(last_day - timedelta(days=found.days), time(7, found.number), UTC)
    created_at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.put(found.repository, alert(found.repository, found.number, found.advisory, created_at, scope=found.scope))
