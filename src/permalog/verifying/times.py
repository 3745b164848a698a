"""The times of events: their ids carry them, and what comes late by its own account is told. Pure, like `rules`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

from permalog.tlog.canonical import EventRow
from permalog.tlog.findings import Report, VerifyCode
from permalog.verifying.rules import Place

LATE_AFTER: Final = 7 * 86_400
"""Seconds between the time that an event gives and its recording, after which it counts as late: what only an importer
may write."""
BEHIND_AFTER: Final = 3_600
"""Seconds: longer than any transaction of an application should stand open."""
_MOMENTS_KEPT: Final = 4096


class _Near(dict[str, bool]):
    """Of two days, written one after the other, whether no moment of the second is late after one of the first."""

    def __missing__(self, days: str) -> bool:
        if len(self) >= _MOMENTS_KEPT:
            self.clear()
        first, second = (date.fromisoformat(day) for day in (days[:10], days[10:]))
        found = self[days] = ((second - first).days + 1) * 86_400 <= LATE_AFTER
        return found


class Times:
    """Holds the times of events to their ids, and counts those that come late.

    Attributes:
        late: events whose recording came more than `LATE_AFTER` seconds after their own time.
        first_late: the leaf index and id of the first of them.
        behind: events that say they were recorded more than `BEHIND_AFTER` seconds before one with a lower leaf index.
        first_behind: the leaf index and id of the first of them.
    """

    def __init__(self, place: Place, report: Report) -> None:
        self._place = place
        self._report = report
        self._seconds: dict[str, int] = {}
        self._near = _Near()
        self._newest = ""
        self.late = 0
        self.first_late: tuple[int, str] | None = None
        self.behind = 0
        self.first_behind: tuple[int, str] | None = None

    def check(self, leaf_index: int, row: EventRow) -> None:
        """The id carries `occurred_at`, to the microsecond."""
        occurred, recorded, written = row.occurred_at, row.recorded_at, row.id
        seconds, micros = self._seconds.get(occurred[:-8]) or self._second(occurred), occurred[-7:-1]
        milliseconds = seconds * 1000 + int(micros[:3])
        if int(written[:8] + written[9:13], 16) != milliseconds or int(written[15:18], 16) != int(micros[3:]):
            self._report(
                self._place.found(
                    VerifyCode.EVENT_TIME, "the id does not carry the time of the event",
                    leaf_index=leaf_index, event_id=row.id,
                )
            )  # fmt: skip
        if not self._near[occurred[:10] + recorded[:10]] and self._second(recorded) - seconds > LATE_AFTER:
            self.late += 1
            self.first_late = self.first_late or (leaf_index, row.id)

    def check_order(self, recorded: Iterable[tuple[int, str, str]]) -> None:
        """No event was recorded long before one with a lower leaf index.

        Args:
            recorded: leaf index, `recorded_at` and id of the next leaves, in their order.
        """
        newest = self._newest
        for leaf_index, at, event_id in recorded:
            # Times of one form compare as text.
            if at >= newest:
                newest = at
            elif at[:13] != newest[:13] and self._second(newest) - self._second(at) > BEHIND_AFTER:
                self.behind += 1
                self.first_behind = self.first_behind or (leaf_index, event_id)
        self._newest = newest

    def finish(self) -> None:
        """One notice for all late events: an import has millions."""
        if self.first_late is not None:
            days = LATE_AFTER // 86_400
            message = f"{self.late} event(s) were recorded more than {days} days after their own time; here the first"
            self._notice(VerifyCode.LATE, message, *self.first_late)
        if self.first_behind is not None:
            message = (
                f"{self.behind} event(s) say that they were recorded long before others that have a lower leaf index"
            )
            self._notice(VerifyCode.SEALED_LATE, f"{message}; here the first", *self.first_behind)

    def _notice(self, code: VerifyCode, message: str, leaf_index: int, event_id: str) -> None:
        self._report(self._place.found(code, message, leaf_index=leaf_index, event_id=event_id))

    def _second(self, time: str) -> int:
        """Unix seconds of a time in RFC 3339, without its decimals. Events of one second stand together."""
        until = time[:-8]
        found = self._seconds.get(until)
        if found is None:
            if len(self._seconds) >= _MOMENTS_KEPT:
                self._seconds.clear()
            found = self._seconds[until] = int(datetime.fromisoformat(until + "+00:00").timestamp())
        return found
