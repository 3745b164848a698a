"""What a triage comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

Engine: TypeAlias = Literal["rules", "llm"]


class Suggestion(StrEnum):
    """What triage would do."""

    DISMISS = "dismiss"
    """Nothing speaks for a risk."""
    ANALYZE_CODEBASE = "analyze_codebase"
    """Only the code can tell."""
    MANUAL_REVIEW = "manual_review"
    """A person should decide."""


class Confidence(StrEnum):
    """How sure of it."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    def meets(self, threshold: Confidence) -> bool:
        """Whether it is at least as sure as a threshold asks for."""
        return _ORDER.index(self) >= _ORDER.index(threshold)


_ORDER = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A triage's result."""

    needs_sandbox: bool
    suggestion: Suggestion
    confidence: Confidence
    reason: str
    """A sentence for people. A model's own words, where the engine is one."""
    engine: Engine
    """Who came to it; ``llm`` also where the model failed and this is what is assumed instead."""
    model: str | None = None
    """The model's name."""
    fallback: str | None = None
    """Why the model's answer could not be used, as a code of `security_agent.llm.Trouble`; None: it could."""
