"""How much happened over time, by action: a picture that the server makes, and the same as words."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from permalog.reading.activity import Activity
    from permalog_server.pages.wanted import Wanted

WIDTH: Final = 960
HEIGHT: Final = 96
BARS: Final = 92
"""At most; further back, a bar is several days, a week, a month."""
KINDS: Final = 5
"""Actions that have a shade of their own; the others share one."""
_STEPS: Final = (1, 2, 7, 14, 28, 56, 91, 182, 364)
_GAP: Final = 0.15
"""Of a bar's width."""


class Part(NamedTuple):
    """A piece of a bar."""

    y: float
    height: float
    shade: int
    """0 to `KINDS`; the last is that of all other actions."""


class Bar(NamedTuple):
    """Some days."""

    x: float
    width: float
    parts: list[Part]
    title: str
    href: str
    """The log within these days."""


class Kind(NamedTuple):
    """What a shade stands for."""

    label: str
    shade: int
    events: int
    href: str | None


class Histogram(NamedTuple):
    """A picture, `WIDTH` by `HEIGHT`."""

    bars: list[Bar]
    kinds: list[Kind]
    total: int
    first: str
    last: str
    most: int
    """Events of the highest bar."""
    days: int
    """That one bar stands for."""


def histogram(counts: list[Activity], wanted: Wanted, labels: Mapping[str, str], today: date) -> Histogram | None:
    """The picture of what the filters select; None where there is nothing."""
    if not counts:
        return None
    totals = Counter[str]()
    for one in counts:
        totals[one.action] += one.events
    shades = {action: shade for shade, (action, _) in enumerate(totals.most_common(KINDS))}
    first, last = date.fromisoformat(counts[0].day), date.fromisoformat(counts[-1].day)
    if not wanted.value("end"):
        last = max(last, min(today, last + timedelta(days=_STEPS[-1])))
    step = _step((last - first).days + 1)
    columns = ((last - first).days + step) // step
    piles: list[Counter[int]] = [Counter() for _ in range(columns)]
    for one in counts:
        piles[(date.fromisoformat(one.day) - first).days // step][shades.get(one.action, KINDS)] += one.events
    most = max(sum(pile.values()) for pile in piles)
    width = WIDTH / columns
    bars = [
        _bar(pile, index * width, width, most, first + timedelta(days=index * step), step, wanted)
        for index, pile in enumerate(piles)
        if pile
    ]
    kinds = [
        Kind(labels.get(action, action), shade, totals[action], wanted.with_(action=action))
        for action, shade in shades.items()
    ]
    rest = totals.total() - sum(kind.events for kind in kinds)
    if rest:
        kinds.append(Kind(f"{len(totals) - len(shades)} other actions", KINDS, rest, None))
    return Histogram(bars, kinds, totals.total(), first.isoformat(), last.isoformat(), most, step)


def _bar(  # noqa: PLR0913, PLR0917  where it stands, and what it stands for
    pile: Counter[int], x: float, width: float, most: int, first: date, days: int, wanted: Wanted
) -> Bar:
    parts: list[Part] = []
    top = float(HEIGHT)
    for shade in sorted(pile):
        height = round(pile[shade] / most * HEIGHT, 2)
        top -= height
        parts.append(Part(round(top, 2), height, shade))
    after = first + timedelta(days=days)
    span = first.isoformat() if days == 1 else f"{first} to {after - timedelta(days=1)}"
    href = wanted.with_(start=first.isoformat(), end=after.isoformat())
    gap = width * _GAP
    return Bar(round(x + gap / 2, 2), round(width - gap, 2), parts, f"{span}: {pile.total():,}", href)


def _step(days: int) -> int:
    return next((step for step in _STEPS if days <= step * BARS), -(-days // BARS))
