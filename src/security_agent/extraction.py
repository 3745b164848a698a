"""Extraction: what an analysis found, as a structured result; from a runner itself, or by a model from markdown."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from security_agent.errors import AgentError

if TYPE_CHECKING:
    from security_agent.llm import Model
    from security_agent.triage.subject import Subject

LONGEST_MARKDOWN: Final = 256 * 1024
"""Characters; bounds what an external runner can make a model read."""
_FENCED: Final = re.compile(r"```json\s*\n(.*?)\n\s*```", re.DOTALL)

Extractor: TypeAlias = Literal["runner", "report", "llm"]
"""The runner itself, in this form; a block of its report, which anybody whom it quotes may have written; a model."""


class Exploitable(StrEnum):
    """Whether the vulnerability can be reached in this repository."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class SuggestedAction(StrEnum):
    """What to do about it."""

    DISMISS = "dismiss"
    OPEN_PR = "open_pr"
    MANUAL_REVIEW = "manual_review"
    MONITOR = "monitor"


def _text(longest: int) -> Any:  # noqa: ANN401  as pydantic's own
    return StringConstraints(max_length=longest, pattern=r"^[^\x00]*$")


class Result(BaseModel):
    """A structured result. Lengths are in characters; longer ones are refused, not cut."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    exploitable: Exploitable
    reasoning: Annotated[str, _text(8000)]
    usage_locations: Annotated[tuple[Annotated[str, _text(1000)], ...], Field(max_length=200)] = ()
    """``path:line`` within the repository."""
    suggested_fix: Annotated[str, _text(4000)] | None = None
    suggested_action: SuggestedAction
    summary: Annotated[str, _text(2000)]


class Extracted(BaseModel):
    """A result, and who brought it into this form."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    result: Result
    extractor: Extractor


class NotExtracted(AgentError):
    """No structured result could be made of what a runner handed over.

    Attributes:
        code: ``result_invalid``, ``result_too_large``, ``no_model``, or a code of `security_agent.llm.Trouble`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def structured(given: object, extractor: Extractor = "runner") -> Extracted:
    """The result that a runner hands over in this form already.

    Raises:
        NotExtracted: it is none; says which member, and nothing of its value.
    """
    try:
        return Extracted(result=Result.model_validate(given), extractor=extractor)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "result"
        raise NotExtracted("result_invalid", f"{where}: {fault['msg']}") from None


def from_markdown(text: str, subject: Subject, model: Model | None) -> Extracted:
    """The result that a report in markdown tells of.

    A fenced block of JSON that is a whole result is taken as it is, unless the report only quotes the alert with it;
    everything else is a model's to read.

    Raises:
        NotExtracted: there is no model, or it did not give a valid answer.
        OutOfCredit: the model's endpoint asks for payment.
    """
    if len(text) > LONGEST_MARKDOWN:
        raise NotExtracted("result_too_large", f"the report is longer than {LONGEST_MARKDOWN} characters")
    if (own := _fenced(text, subject)) is not None:
        return own
    if model is None:
        raise NotExtracted("no_model", "a report in markdown needs a model to be read: set PERMALOG_LLM_BASE_URL")
    from security_agent.llm import ModelFailed  # noqa: PLC0415  only where a model is asked

    facts = {
        "package": subject.package, "ecosystem": subject.ecosystem, "severity": subject.severity,
        "identifier": subject.ghsa_id or subject.cve_id, "report": text,
    }  # fmt: skip
    try:
        return Extracted(result=model.ask(_TASK, facts, Result), extractor="llm")
    except ModelFailed as error:
        raise NotExtracted(error.trouble.value, str(error)) from error


def _fenced(text: str, subject: Subject) -> Extracted | None:
    """The only whole result in the report; of two that differ, nobody knows which one holds."""
    found: list[Extracted] = []
    told = "".join(f"{subject.title}{subject.description}".split())
    for block in _FENCED.findall(text):
        if "".join(block.split()) in told:
            continue  # words of the alert
        try:
            found.append(structured(orjson.loads(block), "report"))
        except (orjson.JSONDecodeError, NotExtracted):
            continue
    return found[0] if found and all(one == found[0] for one in found) else None


_TASK: Final = (
    "You turn a report about the use of a vulnerable package in a repository into a structured result. Report only what"
    " the report shows. `exploitable` is `no` only where the report shows, by looking at the code, that the vulnerable"
    " part cannot be reached; otherwise `yes` or `unknown`. `usage_locations` are `path:line`."
)
