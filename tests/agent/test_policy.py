"""What may be dismissed automatically, whatever a model says and an alert's text asks for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.subjects import INJECTION, subject, subjects
from security_agent.extraction import Exploitable, Extracted, Result, SuggestedAction
from security_agent.policy import AutoDismissal, decide
from security_agent.triage import rules
from security_agent.triage.subject import Subject
from security_agent.triage.verdict import Confidence, Suggestion, Verdict

ON = AutoDismissal(enabled=True)
LOOSE = AutoDismissal(enabled=True, threshold=Confidence.LOW)
DEVELOPMENT = subject(scope="development", severity="low")

verdicts = st.builds(
    Verdict,
    needs_sandbox=st.booleans(),
    suggestion=st.sampled_from(Suggestion),
    confidence=st.sampled_from(Confidence),
    reason=st.just("because"),
    engine=st.sampled_from(["rules", "llm"]),
)
results = st.builds(
    Extracted,
    result=st.builds(
        Result,
        exploitable=st.sampled_from(Exploitable),
        reasoning=st.just(""),
        suggested_action=st.sampled_from(SuggestedAction),
        summary=st.just(""),
    ),
    extractor=st.sampled_from(["runner", "report", "llm"]),
)
wishes = st.builds(AutoDismissal, enabled=st.booleans(), threshold=st.sampled_from(Confidence))


def dismissing(engine: str = "llm", confidence: Confidence = Confidence.HIGH) -> Verdict:
    """A verdict that could not be worse."""
    return Verdict(
        needs_sandbox=False, suggestion=Suggestion.DISMISS, confidence=confidence, reason="safe", engine=engine  # type: ignore[arg-type]
    )  # fmt: skip


def analysed(exploitable: str, action: str, extractor: str = "runner") -> Extracted:
    result = Result(
        exploitable=Exploitable(exploitable), reasoning="", suggested_action=SuggestedAction(action), summary=""
    )
    return Extracted(result=result, extractor=extractor)  # type: ignore[arg-type]


@given(subjects, st.none() | verdicts, st.none() | results)
def test_nothing_is_dismissed_while_it_is_off(drawn: Subject, verdict: Verdict | None, found: Extracted | None) -> None:
    assert not decide(drawn, AutoDismissal(), verdict, found).dismiss


@given(subjects, wishes, st.none() | verdicts, results)
def test_an_analysis_is_authoritative(
    drawn: Subject, wished: AutoDismissal, verdict: Verdict | None, found: Extracted
) -> None:
    decision = decide(drawn, wished, verdict, found)
    assert decision == decide(drawn, wished, None, found)
    safe = found.result.exploitable is Exploitable.NO and found.result.suggested_action is SuggestedAction.DISMISS
    by_model = found.extractor == "llm" and drawn.is_grave_at_runtime
    assert decision.dismiss is (wished.enabled and safe and not by_model)
    assert decision.ground == ("sandbox" if decision.dismiss else None)


@given(subjects, wishes, verdicts)
def test_triage_counts_only_where_all_of_its_conditions_hold(
    drawn: Subject, wished: AutoDismissal, verdict: Verdict
) -> None:
    decision = decide(drawn, wished, verdict, None)
    if decision.dismiss:
        assert wished.enabled
        assert not verdict.needs_sandbox
        assert verdict.suggestion is Suggestion.DISMISS
        assert verdict.confidence.meets(wished.threshold)
        assert drawn.severity != "critical"
        assert not drawn.is_grave_at_runtime
        assert (decision.ground, decision.confidence) == ("triage", verdict.confidence)


@given(subjects, wishes, verdicts, st.none() | results)
def test_an_alerts_texts_decide_nothing(
    drawn: Subject, wished: AutoDismissal, verdict: Verdict, found: Extracted | None
) -> None:
    silent = replace(drawn, title="", description="")
    shouting = replace(drawn, title=INJECTION, description=INJECTION)
    assert decide(silent, wished, verdict, found) == decide(shouting, wished, verdict, found)


@given(subjects)
def test_a_model_that_is_persuaded_dismisses_nothing_that_the_rules_would_call_grave(drawn: Subject) -> None:
    """The worst that an injected text can do: a model that says exactly what the text wants."""
    if decide(drawn, LOOSE, dismissing(), None).dismiss:
        assert drawn.is_development
        assert drawn.severity in {"low", "medium"}


@pytest.mark.parametrize("severity", ["high", "critical"])
@pytest.mark.parametrize("scope", ["runtime", None])
def test_prompt_injection_cannot_dismiss(severity: str, scope: str | None) -> None:
    grave = subject(severity=severity, scope=scope, title=INJECTION, description=INJECTION)
    assert not decide(grave, LOOSE, dismissing(), None).dismiss
    assert not decide(grave, LOOSE, None, analysed("no", "dismiss", "llm")).dismiss
    assert not decide(grave, LOOSE, None, analysed("no", "dismiss", "report")).dismiss
    assert not decide(grave, LOOSE, rules.triage(grave), None).dismiss


@pytest.mark.parametrize(
    ("threshold", "confidence", "dismissed"),
    [("high", "high", True), ("high", "medium", False), ("medium", "medium", True), ("medium", "low", False),
     ("low", "low", True)],
)  # fmt: skip
def test_the_threshold_is_met_or_not(threshold: str, confidence: str, dismissed: bool) -> None:  # noqa: FBT001
    wished = AutoDismissal(enabled=True, threshold=Confidence(threshold))
    decision = decide(DEVELOPMENT, wished, dismissing("rules", Confidence(confidence)), None)
    assert decision.dismiss is dismissed


def test_what_has_not_been_analysed_is_not_dismissed() -> None:
    assert not decide(DEVELOPMENT, ON, None, None).dismiss


def test_a_verdict_of_the_rules_dismisses_in_development() -> None:
    assert decide(DEVELOPMENT, ON, rules.triage(DEVELOPMENT), None).dismiss


@pytest.mark.parametrize(
    ("severity", "scope"),
    [("critical", "development"), ("critical", "runtime"), ("critical", None), ("high", "runtime"), ("high", None)],
)
@pytest.mark.parametrize("engine", ["rules", "llm"])
def test_triage_alone_never_dismisses_what_is_grave(severity: str, scope: str | None, engine: str) -> None:
    grave = subject(severity=severity, scope=scope)
    assert not decide(grave, LOOSE, dismissing(engine), None).dismiss
    assert decide(grave, LOOSE, dismissing(engine), analysed("no", "dismiss")).dismiss  # the code may
