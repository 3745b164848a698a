"""Policy: what may be dismissed automatically. A pure function, outside of every model and every text of an alert.

    1. Automatic dismissal is on, and the finding is open.
    2. A result of the code's analysis is authoritative: exploitable is ``no`` and the suggested action ``dismiss``.
       Triage then counts for nothing, neither for nor against.
    3. Without one, triage counts: it needs no analysis, suggests ``dismiss``, and its confidence meets the threshold.
    4. Whatever triage says, it never dismisses what is critical, nor what is high and runs.
    5. Words of a model, as triage or as the reader of a report, and a block in a report, which may be somebody else's
       that it quotes, never dismiss what is high or critical and runs; as triage, nothing that is not in development
       only, and of low or medium severity.

Rules 4 and 5 rest on facts that GitHub gives in fields of their own, so that an alert whose text persuades a model
dismisses nothing that the rules engine would not offer for dismissal, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from security_agent.extraction import Exploitable, SuggestedAction
from security_agent.triage.verdict import Confidence, Suggestion

if TYPE_CHECKING:
    from security_agent.extraction import Extracted
    from security_agent.triage.subject import Subject
    from security_agent.triage.verdict import Verdict

Ground: TypeAlias = Literal["triage", "sandbox"]


@dataclass(frozen=True, slots=True)
class AutoDismissal:
    """An owner's wishes."""

    enabled: bool = False
    threshold: Confidence = Confidence.HIGH


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to dismiss, on which ground, and why (not)."""

    dismiss: bool
    reason: str
    ground: Ground | None = None
    confidence: Confidence | None = None
    """Of the triage, where that is the ground."""


def decide(subject: Subject, wishes: AutoDismissal, verdict: Verdict | None, extracted: Extracted | None) -> Decision:
    """What follows from a triage and an analysis.

    Args:
        subject: the finding's facts; only its fields count, never its texts.
        wishes: the owner's.
        verdict: of the triage, if there was one.
        extracted: the result of the code's analysis, if there was one.
    """
    if not wishes.enabled:
        return Decision(dismiss=False, reason="automatic dismissal is off")
    if extracted is not None:
        return _by_sandbox(subject, extracted)
    if verdict is not None:
        return _by_triage(subject, wishes, verdict)
    return Decision(dismiss=False, reason="nothing has been analysed")


def _by_sandbox(subject: Subject, extracted: Extracted) -> Decision:
    result = extracted.result
    if result.exploitable is not Exploitable.NO or result.suggested_action is not SuggestedAction.DISMISS:
        return Decision(
            dismiss=False,
            reason=f"the analysis found exploitable {result.exploitable} and suggests {result.suggested_action}",
        )
    if extracted.extractor != "runner" and subject.is_grave_at_runtime:
        return Decision(
            dismiss=False,
            reason=f"what was read from a report does not dismiss {subject.severity} severity in what runs",
        )
    return Decision(dismiss=True, reason="the analysis found that it cannot be exploited", ground="sandbox")


def _by_triage(subject: Subject, wishes: AutoDismissal, verdict: Verdict) -> Decision:
    if verdict.needs_sandbox or verdict.suggestion is not Suggestion.DISMISS:
        return Decision(dismiss=False, reason=f"triage suggests {verdict.suggestion}")
    if not verdict.confidence.meets(wishes.threshold):
        return Decision(
            dismiss=False, reason=f"triage is of {verdict.confidence} confidence, and {wishes.threshold} is asked for"
        )
    if subject.severity == "critical" or subject.is_grave_at_runtime:
        return Decision(dismiss=False, reason=f"triage alone does not dismiss {subject.severity} severity here")
    if verdict.engine == "llm" and not (subject.is_development and subject.severity in {"low", "medium"}):
        return Decision(
            dismiss=False, reason="a model alone dismisses low and medium severity in development only, nothing else"
        )
    return Decision(dismiss=True, reason="triage found no risk", ground="triage", confidence=verdict.confidence)
