"""Deadlines: by when a finding is to be dealt with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity: TypeAlias = Literal["critical", "high", "medium", "low"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low")


class Policy(NamedTuple):
    """Days from first detection, by severity; each 1 to 365."""

    critical: int = 15
    high: int = 30
    medium: int = 45
    low: int = 90

    @classmethod
    def of(cls, days: Mapping[Severity, int]) -> Policy:
        """From days by severity."""
        return cls(**{severity: days[severity] for severity in SEVERITIES})


def deadline(severity: Severity, first_detected: datetime, policy: Policy) -> datetime:
    """By when a finding of this severity is to be dealt with, in UTC: whole days of 24 hours after first detection.

    It is given once, when the finding is first seen; a later change of policy or severity does not move it.
    """
    return first_detected.astimezone(UTC) + timedelta(days=getattr(policy, severity))
