"""The deterministic engine, rule by rule, and what holds for every alert."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.subjects import INJECTION, subject, subjects
from security_agent.triage.rules import triage
from security_agent.triage.subject import Subject
from security_agent.triage.verdict import Confidence, Suggestion

CLI = {"cwe_ids": ("CWE-400",), "title": "Denial of service in the command-line tool"}


@pytest.mark.parametrize(
    ("facts", "suggestion", "confidence"),
    [
        ({"scope": "development", "severity": "low"}, "dismiss", "high"),
        ({"scope": "development", "severity": "medium"}, "dismiss", "high"),
        ({"scope": "development", "severity": "high"}, "manual_review", "medium"),
        ({"scope": "development", "severity": "critical"}, "manual_review", "medium"),
        ({"scope": "development", "severity": "critical", "cwe_ids": ("CWE-94",)}, "manual_review", "medium"),
        ({"scope": "development", "severity": "low", "cwe_ids": ("CWE-89",)}, "analyze_codebase", "high"),
        ({"scope": "development", "severity": "low", "title": "Remote code execution"}, "analyze_codebase", "high"),
        ({"severity": "high"}, "analyze_codebase", "high"),
        ({"severity": "critical"}, "analyze_codebase", "high"),
        ({"severity": "critical", "scope": None}, "analyze_codebase", "high"),
        ({"severity": "low", "title": "Arbitrary code execution"}, "analyze_codebase", "high"),
        ({"severity": "low", "description": "allows SQL injection"}, "analyze_codebase", "high"),
        ({"severity": "medium", "title": "Authentication bypass"}, "analyze_codebase", "high"),
        ({"severity": "medium", "cwe_ids": ("CWE-287",)}, "analyze_codebase", "high"),
        ({"severity": "low", "package": "express"}, "analyze_codebase", "high"),
        ({"severity": "medium", "package": "Django", "ecosystem": "pip"}, "analyze_codebase", "high"),
        ({"severity": "medium"}, "manual_review", "low"),
        ({"severity": "medium", **CLI}, "dismiss", "medium"),
        ({"severity": "low", "scope": None, **CLI}, "dismiss", "medium"),
        ({"severity": "high", **CLI}, "analyze_codebase", "high"),
        ({"severity": "medium", **CLI, "cwe_ids": ()}, "manual_review", "low"),
        ({"severity": "medium", **CLI, "cwe_ids": ("CWE-400", "CWE-20")}, "manual_review", "low"),
        ({"severity": "medium", **CLI, "description": "or by a request to the server"}, "manual_review", "low"),
    ],
)
def test_each_rule_comes_to_its_verdict(facts: dict[str, Any], suggestion: str, confidence: str) -> None:
    verdict = triage(subject(**facts))
    assert (verdict.suggestion, verdict.confidence) == (suggestion, confidence)
    assert verdict.needs_sandbox is (suggestion == "analyze_codebase")
    assert (verdict.engine, verdict.model, verdict.fallback) == ("rules", None, None)
    assert verdict.reason


@given(subjects)
def test_the_same_facts_have_the_same_verdict(drawn: Subject) -> None:
    assert triage(drawn) == triage(replace(drawn))


@given(subjects)
def test_only_low_and_medium_severity_is_ever_a_candidate_for_dismissal(drawn: Subject) -> None:
    if triage(drawn).suggestion is Suggestion.DISMISS:
        assert drawn.severity in {"low", "medium"}


@given(subjects, st.text(max_size=200) | st.just(INJECTION))
def test_no_text_makes_a_dismissal_that_the_default_threshold_accepts(drawn: Subject, text: str) -> None:
    quiet = triage(replace(drawn, title="Something in it", description=""))
    told = triage(replace(drawn, title="Something in it", description=text))
    if told.suggestion is Suggestion.DISMISS and told.confidence is Confidence.HIGH:
        assert quiet == told
