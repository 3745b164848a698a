"""A finding as events hold it, so that the evidence outlives the finding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from security_agent.alert import Status
    from security_agent.deadline import Severity

_ADDRESS: Final = re.compile(r"([^\s@<>\"])@(?=[^\s@<>\"]+\.[^\s@<>\"])")
_LONGEST: Final = 500


class Snapshot(NamedTuple):
    """What every event about a finding tells of it; the query ``snapshot`` gives these columns in this order."""

    id: UUID
    repository: str
    source: str
    source_id: str
    ghsa_id: str
    cve_id: str | None
    title: str
    package: str
    ecosystem: str
    severity: Severity
    status: Status
    first_detected: datetime
    deadline: datetime | None

    def as_payload(self) -> dict[str, Any]:
        """For an event's metadata, under ``finding``."""
        return {**self._asdict(), "title": plain(self.title), "package": plain(self.package)}


def plain(text: str) -> str:
    """A text of somebody else's, as an event may hold it: not endless, and without what reads as an e-mail address.

    ``lodash@4.17.20`` reads as one, too: it becomes ``lodash[at]4.17.20``.
    """
    return _ADDRESS.sub(r"\1[at]", text[:_LONGEST])
