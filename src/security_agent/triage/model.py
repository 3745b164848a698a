"""The engine that asks a language model; where that fails, it says so, and the code is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

from security_agent.llm import ModelFailed
from security_agent.triage.verdict import Confidence, Suggestion, Verdict

if TYPE_CHECKING:
    from security_agent.llm import Model
    from security_agent.triage.subject import Subject

LONGEST_DESCRIPTION: Final = 16_000
"""Characters of an advisory's description that a model is shown: GitHub's own have up to 13,000."""

_TASK: Final = (
    "You triage one security alert about a dependency. Decide from its facts alone whether the repository's code"
    " must be searched for uses of the package (`needs_sandbox`), and suggest `dismiss`, `analyze_codebase` or"
    " `manual_review`."
    " Suggest `dismiss` only for what cannot matter: development dependencies of low or medium severity, or a denial of"
    " service that only the user of a command-line tool can bring upon themselves. Runtime dependencies of high or"
    " critical severity, remote code execution, injection, authentication bypass and core frameworks need the code."
    " Critical severity in development, and whatever is unclear, is for a person. `reason` is one or two sentences."
)


class _Answer(BaseModel):
    """A verdict in a model's words."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    needs_sandbox: bool
    suggestion: Suggestion
    confidence: Confidence
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


def triage(subject: Subject, model: Model) -> Verdict:
    """A model's verdict; ``analyze_codebase`` with low confidence where it gives none, saying why.

    Raises:
        OutOfCredit: the endpoint answers 402.
    """
    try:
        answer = model.ask(_TASK, _facts(subject), _Answer)
    except ModelFailed as error:
        return Verdict(
            needs_sandbox=True,
            suggestion=Suggestion.ANALYZE_CODEBASE,
            confidence=Confidence.LOW,
            reason=f"{error}; so the code is looked at",
            engine="llm",
            model=model.name,
            fallback=error.trouble.value,
        )
    return Verdict(
        # An answer that would look at the code needs the sandbox, whatever it says besides.
        needs_sandbox=answer.needs_sandbox or answer.suggestion is Suggestion.ANALYZE_CODEBASE,
        suggestion=answer.suggestion,
        confidence=answer.confidence,
        reason=answer.reason,
        engine="llm",
        model=model.name,
    )


def _facts(subject: Subject) -> dict[str, object]:
    return {
        "package": subject.package, "ecosystem": subject.ecosystem, "severity": subject.severity,
        "scope": subject.scope or "unknown", "title": subject.title,
        "description": subject.description[:LONGEST_DESCRIPTION], "cwe_ids": list(subject.cwe_ids),
        "cvss_score": subject.cvss_score, "ghsa_id": subject.ghsa_id, "cve_id": subject.cve_id,
        "vulnerable_range": subject.vulnerable_range, "patched_version": subject.patched_version,
        "manifest_path": subject.manifest_path,
    }  # fmt: skip
