"""The members of GitHub's documents that the agent uses, and checks. What else they hold is GitHub's business."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from security_agent.github.model import Installation, Repository


class Shape(BaseModel):
    """A JSON object; errors about it quote no value, which may be secret."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Account(Shape):
    """Whose something is."""

    login: str = ""
    type: str = ""


class Numbered(Shape):
    """Anything with GitHub's number for it."""

    id: int = Field(strict=True, ge=1, lt=2**63)


class Facts(Shape):
    """An installation, but for its number."""

    account: Account | None = None
    permissions: dict[str, str] = Field(default_factory=dict)
    repository_selection: str = "all"
    suspended_at: datetime | None = None

    def installation(self, id: int) -> Installation:
        """The installation with this number."""
        account = self.account or Account()
        suspended = None if self.suspended_at is None else in_utc(self.suspended_at)
        return Installation(
            id, account.login, account.type, self.permissions, self.repository_selection, suspended
        )  # fmt: skip


class RepositoryShape(Numbered):
    """A repository."""

    full_name: str
    archived: bool = False
    private: bool = False
    owner: Account | None = None

    def repository(self) -> Repository:
        """What the agent knows of it."""
        return Repository(self.id, self.full_name, archived=self.archived, private=self.private)


class AlertShape(Shape):
    """What an alert has in any case: the whole of it is the sync's to read."""

    number: int = Field(strict=True, ge=1)
    state: str


def in_utc(time: datetime) -> datetime:
    """A time in UTC; one without an offset is taken as such."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def place_of(error: ValidationError) -> str:
    """Where a document breaks its shape: ``repositories.3.id``; never a value."""
    return fault_of(error)[0] or "as a whole"


def fault_of(error: ValidationError) -> tuple[str, str]:
    """The same, empty where it is the document itself, and what is wrong there, in small letters."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ".".join(str(part) for part in fault["loc"]), fault["msg"][:1].lower() + fault["msg"][1:]
