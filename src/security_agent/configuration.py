"""An owner's configuration: read, saved in part by compare-and-set on its revision, enabled and disabled."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from permalog import Event, Resource
from security_agent.actions import CONFIG
from security_agent.agent import Acting, Agent, owner_id
from security_agent.deadline import Policy
from security_agent.errors import Conflict, Invalid
from security_agent.payloads import Confidence, Days
from security_agent.sql import query

if TYPE_CHECKING:
    from permalog import Connection, Owner

_UPDATED: Final = "security.config.updated"


class Settings(BaseModel):
    """What an owner may set. Each member may be left out when saving, and then stays as it is.

    Raises:
        ValidationError: a member is unknown or of the wrong kind.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)

    enabled: bool = False
    sla_critical_days: Days = 15
    sla_high_days: Days = 30
    sla_medium_days: Days = 45
    sla_low_days: Days = 90
    automatic_sync: bool = True
    repository_selection: Literal["all", "selected"] = "all"
    selected_repository_ids: Annotated[list[Annotated[int, Field(gt=0, lt=2**53)]], Field(max_length=10_000)] = []
    """GitHub's numbers of repositories, in order, each once."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x20@]+$")] | None = None
    """Which model analyses; None: that of the installation."""
    auto_dismiss: bool = False
    auto_dismiss_confidence: Confidence = "high"


class Configuration(Settings):
    """The settings as they are saved."""

    revision: int = 0
    """Goes up with every saving; 0: never saved."""
    updated_at: datetime | None = None

    @classmethod
    def of(cls, row: tuple[Any, ...] | None) -> Self:
        """From a row of the query ``read``; None: the defaults."""
        return cls() if row is None else cls.model_construct(**dict(zip(_COLUMNS, row, strict=True)))

    @property
    def policy(self) -> Policy:
        """Days from first detection, by severity."""
        return Policy(self.sla_critical_days, self.sla_high_days, self.sla_medium_days, self.sla_low_days)

    def settings(self) -> dict[str, Any]:
        """What an owner may set, as it is."""
        return self.model_dump(include=set(Settings.model_fields))

    def state(self) -> dict[str, Any]:
        """The whole configuration, as events hold it."""
        return {"revision": self.revision, **self.settings()}

    def as_json(self) -> dict[str, Any]:
        """As the API and the command line give it."""
        return {**self.state(), "updated_at": self.updated_at}


_COLUMNS: Final = ("revision", *Settings.model_fields, "updated_at")


def read(agent: Agent, owner: Owner) -> Configuration:
    """The configuration; the defaults where nothing was saved yet."""
    with agent.looking() as connection:
        return Configuration.of(connection.execute(query("configuration", "read"), {"log": owner.log_id}).fetchone())


def save(agent: Agent, owner: Owner, revision: int | None, changes: dict[str, Any], acting: Acting) -> Configuration:
    """Saves what is given, and leaves the rest as it is. What changes nothing leaves no event and the same revision.

    Args:
        agent: the agent.
        owner: whose configuration.
        revision: the one that the caller saw; None: whatever it is now.
        changes: members of `Settings`.
        acting: who saves.

    Raises:
        Conflict: the revision is another by now.
        Invalid: a member is unknown, of the wrong kind, or names a repository that the owner does not have.
    """
    checked = _checked(changes)
    with agent.changing(owner) as connection:
        before = read_to_change(connection, owner)
        if revision is not None and revision != before.revision:
            raise Conflict(
                f"the configuration was changed meanwhile: its revision is {before.revision}; read it, and save again"
            )
        if "selected_repository_ids" in checked:
            _check_repositories(connection, owner, checked["selected_repository_ids"])
        return change(agent, connection, owner, before, checked, acting)


def set_enabled(
    agent: Agent, owner: Owner, acting: Acting, *, enabled: bool, changes: dict[str, Any] | None = None
) -> Configuration:
    """Enables or disables the agent, and saves further members in the same change."""
    return save(agent, owner, None, {**(changes or {}), "enabled": enabled}, acting)


def read_to_change(connection: Connection, owner: Owner) -> Configuration:
    """The configuration, locked until the end of the transaction, of an owner that has a row."""
    return Configuration.of(
        connection.execute(query("configuration", "read_to_change"), {"log": owner.log_id}).fetchone()
    )


def change(  # noqa: PLR0913, PLR0917  a change and all that its event tells
    agent: Agent,
    connection: Connection,
    owner: Owner,
    before: Configuration,
    changes: dict[str, Any],
    acting: Acting,
    metadata: dict[str, Any] | None = None,
    correlation_id: str | None = None,
) -> Configuration:
    """Saves checked members of a locked configuration, with the event, in the connection's transaction."""
    wanted = {**before.settings(), **changes}
    if wanted == before.settings():
        return before
    after = before.model_copy(update={**wanted, "revision": before.revision + 1, "updated_at": agent.clock()})
    connection.execute(
        query("configuration", "save"),
        {**after.as_json(), "log": owner.log_id, "updated_by": acting.actor.id},
    )
    event = Event(
        owner=owner, action=_action(before, after), actor=acting.actor, source=acting.source,
        resource=Resource(CONFIG, owner_id(owner)), before_state=before.state(), after_state=after.state(),
        metadata=metadata or {}, correlation_id=correlation_id,
    )  # fmt: skip
    agent.log.record(event, connection)
    return after


def prune(  # noqa: PLR0913, PLR0917  a change and all that its event tells
    agent: Agent,
    connection: Connection,
    owner: Owner,
    gone: set[int],
    acting: Acting,
    trigger: Literal["setup", "webhook", "sync"],
    correlation_id: str | None = None,
) -> None:
    """Takes repositories out of the selection that are not there any more, in the connection's transaction."""
    if not gone:
        return
    before = read_to_change(connection, owner)
    pruned = sorted(gone & set(before.selected_repository_ids))
    if pruned:
        kept = [one for one in before.selected_repository_ids if one not in gone]
        change(
            agent, connection, owner, before, {"selected_repository_ids": kept}, acting,
            {"trigger": trigger, "pruned_repository_ids": pruned}, correlation_id,
        )  # fmt: skip


def _action(before: Configuration, after: Configuration) -> str:
    if before.enabled == after.enabled:
        return _UPDATED
    return "security.config.enabled" if after.enabled else "security.config.disabled"


def _checked(changes: dict[str, Any]) -> dict[str, Any]:
    try:
        checked = Settings.model_validate(changes).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        unknown = first["type"] == "extra_forbidden"
        raise Invalid(field, "unknown member" if unknown else str(first["msg"])) from None
    if "selected_repository_ids" in checked:
        checked["selected_repository_ids"] = sorted(set(checked["selected_repository_ids"]))
    return checked


def _check_repositories(connection: Connection, owner: Owner, wanted: list[int]) -> None:
    unknown = connection.execute(
        query("configuration", "unknown_repositories"), {"log": owner.log_id, "ids": wanted}
    ).fetchone()
    if unknown:
        raise Invalid("selected_repository_ids", f"{unknown[0]} is no repository that the installation reaches")
