"""The deterministic engine: no network, the same verdict for the same facts, and each rule in its order.

A text of the alert may call for more attention, never for less: the one rule that dismisses by a text (denial of
service on the command line) also asks for the alert's CWE ids, and is of medium confidence, which the default threshold
for automatic dismissal does not accept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from security_agent.triage.verdict import Confidence, Suggestion, Verdict

if TYPE_CHECKING:
    from security_agent.triage.subject import Subject

EXECUTION: Final = frozenset(
    {"CWE-77", "CWE-78", "CWE-94", "CWE-95", "CWE-96", "CWE-98", "CWE-470", "CWE-502", "CWE-1336"}
)
INJECTION: Final = frozenset(
    {"CWE-74", "CWE-79", "CWE-80", "CWE-88", "CWE-89", "CWE-90", "CWE-91", "CWE-93", "CWE-113", "CWE-564", "CWE-611",
     "CWE-643", "CWE-917", "CWE-943"}
)  # fmt: skip
AUTHENTICATION: Final = frozenset(
    {"CWE-287", "CWE-288", "CWE-289", "CWE-290", "CWE-294", "CWE-302", "CWE-303", "CWE-304", "CWE-305", "CWE-306",
     "CWE-345", "CWE-347", "CWE-384", "CWE-862", "CWE-863"}
)  # fmt: skip
EXHAUSTION: Final = frozenset({"CWE-400", "CWE-404", "CWE-407", "CWE-409", "CWE-674", "CWE-730", "CWE-770", "CWE-776",
                               "CWE-834", "CWE-835", "CWE-1333"})  # fmt: skip
"""Denial of service: what costs time or memory, and nothing else."""

_EXECUTION: Final = re.compile(
    r"\b(?:remote|arbitrary)\s+(?:code|command)s?\b|\bcode\s+execution\b|\bRCE\b|\bdeseriali[sz]ation\b", re.IGNORECASE
)
_INJECTION: Final = re.compile(r"\binjection\b|\bcross[- ]site\s+scripting\b|\bXSS\b|\bSQLi\b|\bXXE\b", re.IGNORECASE)
_AUTHENTICATION: Final = re.compile(
    r"\b(?:authentication|authori[sz]ation|access\s+control)\s+(?:bypass|flaw)|\bbypass\w*\s+(?:of\s+)?(?:the\s+)?auth"
    r"|\bimproper\s+(?:authentication|authori[sz]ation|access\s+control)\b|\bprivilege\s+escalation\b",
    re.IGNORECASE,
)
_COMMAND_LINE: Final = re.compile(r"\bcommand[- ]line\b|\bCLI\b", re.IGNORECASE)
_SERVED: Final = re.compile(r"\b(?:server|remote|network|request|HTTP|web|API|client|user[- ]supplied)", re.IGNORECASE)

FRAMEWORKS: Final[dict[str, frozenset[str]]] = {
    "npm": frozenset(
        {"@angular/core", "@nestjs/core", "@remix-run/react", "@sveltejs/kit", "angular", "express", "fastify", "hapi",
         "koa", "next", "nuxt", "react", "react-dom", "svelte", "vue"}
    ),
    "pip": frozenset(
        {"aiohttp", "django", "fastapi", "flask", "pyramid", "sanic", "starlette", "tornado", "twisted", "uvicorn",
         "werkzeug"}
    ),
    "rubygems": frozenset(
        {"actionpack", "actionview", "activerecord", "activesupport", "puma", "rack", "rails", "sinatra"}
    ),
    "rust": frozenset({"actix-web", "axum", "hyper", "rocket", "tokio", "tower", "warp"}),
}  # fmt: skip
"""Core frameworks: what an application is built upon is reached by it."""


def triage(subject: Subject) -> Verdict:
    """The verdict of the first rule that applies."""
    if (danger := _danger(subject)) is not None and not (subject.is_development and subject.severity == "critical"):
        return _look(f"{danger}: whether it can be reached, only the code can tell")
    if subject.is_development:
        return _of_development(subject)
    if subject.is_grave_at_runtime:
        return _look(f"a vulnerability of {subject.severity} severity in what runs: only the code can tell")
    if _is_framework(subject):
        return _look("a core framework, which an application reaches: only the code can tell")
    if _only_exhausts_the_command_line(subject):
        return _verdict(
            Suggestion.DISMISS,
            Confidence.MEDIUM,
            "a denial of service of a command-line tool, which only who runs it can bring about",
        )
    return _verdict(
        Suggestion.MANUAL_REVIEW,
        Confidence.LOW,
        "nothing in the alert tells how grave it is here: a person should look",
    )


def _of_development(subject: Subject) -> Verdict:
    if subject.severity in {"low", "medium"}:
        return _verdict(
            Suggestion.DISMISS,
            Confidence.HIGH,
            f"of {subject.severity} severity, in development only, and nothing executes, injects or bypasses",
        )
    return _verdict(
        Suggestion.MANUAL_REVIEW,
        Confidence.MEDIUM,
        f"of {subject.severity} severity, in development only: whether build machines are at risk, a person should say",
    )


def _danger(subject: Subject) -> str | None:
    """Which kind of attack it is, where it is one that must be looked at.

    In development the description does not count, only what stands in the CWE ids and the title: a description names
    kinds of attack in passing.
    """
    text = subject.title if subject.is_development else f"{subject.title}\n{subject.description}"
    ids = frozenset(identifier.upper() for identifier in subject.cwe_ids)
    for name, known, words in (
        ("execution of code", EXECUTION, _EXECUTION),
        ("an injection", INJECTION, _INJECTION),
        ("a bypass of authentication", AUTHENTICATION, _AUTHENTICATION),
    ):
        if known & ids or words.search(text):
            return name
    return None


def _is_framework(subject: Subject) -> bool:
    return subject.package.lower() in FRAMEWORKS.get(subject.ecosystem.lower(), ())


def _only_exhausts_the_command_line(subject: Subject) -> bool:
    ids = frozenset(identifier.upper() for identifier in subject.cwe_ids)
    text = f"{subject.title}\n{subject.description}"
    return bool(ids) and ids <= EXHAUSTION and bool(_COMMAND_LINE.search(text)) and not _SERVED.search(text)


def _look(reason: str) -> Verdict:
    return Verdict(
        needs_sandbox=True,
        suggestion=Suggestion.ANALYZE_CODEBASE,
        confidence=Confidence.HIGH,
        reason=reason,
        engine="rules",
    )


def _verdict(suggestion: Suggestion, confidence: Confidence, reason: str) -> Verdict:
    return Verdict(needs_sandbox=False, suggestion=suggestion, confidence=confidence, reason=reason, engine="rules")
