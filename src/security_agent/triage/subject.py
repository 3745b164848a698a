"""The subject of a triage: the facts of one finding, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["critical", "high", "medium", "low"]
Scope: TypeAlias = Literal["runtime", "development"]

GRAVE: Final[frozenset[Severity]] = frozenset({"critical", "high"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What GitHub says of a vulnerability. The texts are somebody else's: data, never instructions."""

    package: str
    """As its registry names it."""
    ecosystem: str
    """As GitHub names it: ``npm``, ``pip``, ``rubygems``, ``rust``, ``go``, …"""
    severity: Severity
    scope: Scope | None
    """None where GitHub does not know: it is then treated like ``runtime``."""
    title: str
    description: str = ""
    cwe_ids: tuple[str, ...] = ()
    """``CWE-79`` and the like."""
    cvss_score: float | None = None
    """0.0 to 10.0; None where nobody has scored it."""
    ghsa_id: str | None = None
    cve_id: str | None = None
    vulnerable_range: str | None = None
    patched_version: str | None = None
    manifest_path: str | None = None

    @property
    def is_development(self) -> bool:
        """Whether it is known to be used in development only."""
        return self.scope == "development"

    @property
    def is_grave_at_runtime(self) -> bool:
        """High or critical, in what runs: never dismissed by a model's word, whatever the alert's text says."""
        return self.severity in GRAVE and not self.is_development
