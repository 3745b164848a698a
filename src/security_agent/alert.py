"""A Dependabot alert, read strictly: what the agent needs of what GitHub sends, or a reason why it cannot be taken.

The form is that of GitHub's REST API, ``GET /repos/{owner}/{repo}/dependabot/alerts``, and of the webhook
``dependabot_alert``. Members that the agent does not read may be anything.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from typing_extensions import TypedDict

from security_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

    from security_agent.deadline import Severity

Status: TypeAlias = Literal["open", "fixed", "ignored"]
State: TypeAlias = Literal["open", "fixed", "dismissed", "auto_dismissed"]

SOURCE: Final = "dependabot"
STATUS: Final[dict[State, Status]] = {
    "open": "open",
    "fixed": "fixed",
    "dismissed": "ignored",
    "auto_dismissed": "ignored",
}
PEOPLE: Final = ("dismissed_by", "dismissed_comment", "dismissal_request", "assignees")
"""The members that tell of persons: kept apart, so that forgetting somebody finds them."""


class UnreadableAlert(AgentError):
    """An alert that is not of GitHub's form.

    Attributes:
        field: the member that is wrong, such as ``security_advisory.severity``; ``alert`` as a whole.
        reason: what is wrong with it, without its value.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"alert: {field}: {reason}")
        self.field = field
        self.reason = reason


def _read_time(value: object) -> datetime:
    """GitHub writes RFC 3339 with an offset; a time without one, or a number, is none."""
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time")  # noqa: TRY004  pydantic collects ValueErrors
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("must have an offset")
    return moment.astimezone(UTC)


Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=4096, strict=True)]
Time: TypeAlias = Annotated[datetime, BeforeValidator(_read_time)]


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")


class _Package(_Part):
    ecosystem: Text
    name: Text


class _Dependency(_Part):
    package: _Package
    manifest_path: Text
    scope: Literal["runtime", "development"] | None = None


class _Score(_Part):
    vector_string: Text | None = None
    score: Annotated[float, Field(ge=0, le=10)] | None = None


class _Severities(_Part):
    cvss_v4: _Score | None = None
    cvss_v3: _Score | None = None


class _Weakness(_Part):
    cwe_id: Text


class _Advisory(_Part):
    ghsa_id: Annotated[str, StringConstraints(pattern=r"^GHSA(-[0-9A-Za-z]{4}){3}$", strict=True)]
    cve_id: Text | None = None
    summary: Text
    description: Annotated[str, StringConstraints(max_length=1_000_000, strict=True)]
    severity: Literal["critical", "high", "medium", "low"]
    cwes: list[_Weakness] = []
    cvss: _Score | None = None
    cvss_severities: _Severities | None = None


class _Patched(_Part):
    identifier: Text


class _Vulnerability(_Part):
    vulnerable_version_range: Text
    first_patched_version: _Patched | None = None


class _Login(_Part):
    login: Text


class _Form(_Part):
    number: Annotated[int, Field(gt=0, lt=10**15, strict=True)]
    state: State
    dependency: _Dependency
    security_advisory: _Advisory
    security_vulnerability: _Vulnerability
    html_url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=4096, strict=True)]
    created_at: Time
    updated_at: Time
    fixed_at: Time | None = None
    dismissed_at: Time | None = None
    auto_dismissed_at: Time | None = None
    dismissed_by: _Login | None = None
    dismissed_reason: Text | None = None
    dismissed_comment: Annotated[str, StringConstraints(max_length=65_536, strict=True)] | None = None


class AlertFacts(TypedDict):
    """What is kept of an alert; the names are those of the columns of ``security_agent.finding``."""

    source_id: str
    source_state: State
    source_updated_at: datetime
    status: Status
    severity: Severity
    ghsa_id: str
    cve_id: str | None
    package: str
    ecosystem: str
    vulnerable_range: str
    patched_version: str | None
    manifest_path: str
    title: str
    description: str
    cwe_ids: list[str]
    cvss_score: float | None
    cvss_vector: str | None
    scope: str | None
    url: str
    raw: dict[str, Any]
    raw_people: dict[str, Any]
    digest: str
    """SHA-256 of `raw`, in the form ``\\x…``. Whatever changes in an alert changes ``updated_at``, too; and nobody can
    find out from it whether an alert told of a certain person."""
    first_detected_at: datetime
    fixed_at: datetime | None
    ignored_at: datetime | None
    ignored_reason: str | None
    ignored_comment: str | None
    ignored_by: str | None
    """A GitHub login."""


def read_alert(raw: Mapping[str, Any]) -> AlertFacts:
    """Reads one alert.

    Raises:
        UnreadableAlert: a member is missing or not of GitHub's form, or holds a character that cannot be stored.
    """
    _check_storable(raw)
    impersonal = {name: value for name, value in raw.items() if name not in PEOPLE}
    try:
        form = _Form.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableAlert(".".join(map(str, first["loc"])), str(first["msg"])) from None
    advisory, vulnerability = form.security_advisory, form.security_vulnerability
    score, vector = _cvss(advisory)
    is_dismissed = form.state in {"dismissed", "auto_dismissed"}
    by_hand = form.state == "dismissed"
    return AlertFacts(
        source_id=str(form.number),
        source_state=form.state,
        source_updated_at=form.updated_at,
        status=STATUS[form.state],
        severity=advisory.severity,
        ghsa_id=advisory.ghsa_id,
        cve_id=advisory.cve_id,
        package=form.dependency.package.name,
        ecosystem=form.dependency.package.ecosystem,
        vulnerable_range=vulnerability.vulnerable_version_range,
        patched_version=vulnerability.first_patched_version and vulnerability.first_patched_version.identifier,
        manifest_path=form.dependency.manifest_path,
        title=advisory.summary,
        description=advisory.description,
        cwe_ids=[weakness.cwe_id for weakness in advisory.cwes],
        cvss_score=score,
        cvss_vector=vector,
        scope=form.dependency.scope,
        url=form.html_url,
        raw=impersonal,
        raw_people={name: raw[name] for name in PEOPLE if name in raw},
        digest="\\x" + hashlib.sha256(orjson.dumps(impersonal, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        first_detected_at=form.created_at,
        fixed_at=(form.fixed_at or form.updated_at) if form.state == "fixed" else None,
        ignored_at=(form.dismissed_at or form.auto_dismissed_at or form.updated_at) if is_dismissed else None,
        ignored_reason=(form.dismissed_reason if by_hand else form.state) if is_dismissed else None,
        ignored_comment=form.dismissed_comment if by_hand else None,
        ignored_by=form.dismissed_by.login if by_hand and form.dismissed_by else None,
    )


def _check_storable(raw: Mapping[str, Any]) -> None:
    try:
        whole = orjson.dumps(raw)
    except orjson.JSONEncodeError as error:
        raise UnreadableAlert("alert", f"is no JSON: {error}") from None
    if b"\\u0000" in whole and _has_nul(raw):
        raise UnreadableAlert("alert", "holds a NUL character, which cannot be stored")


def _has_nul(value: object) -> bool:
    """Told from a backslash that stands before ``u0000`` in a text."""
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_has_nul(part) for pair in value.items() for part in pair)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list():
            return any(_has_nul(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return False


def _cvss(advisory: _Advisory) -> tuple[float | None, str | None]:
    """The score and its vector. GitHub writes 0.0 without a vector where there is none."""
    newer = advisory.cvss_severities
    for one in (advisory.cvss, newer and newer.cvss_v4, newer and newer.cvss_v3):
        if one is not None and one.score:
            return one.score, one.vector_string
    return None, None
