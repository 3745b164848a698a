"""The closed vocabulary of actions: what may be recorded, and what an application promises to put into it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from permalog.errors import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LONGEST: Final = 100  # that of the database's CHECK
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_ADDRESS: Final = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+\.[^\s@<>\"]+")
_SECRET: Final = re.compile(
    r"(?:^|[_-])(?:passwords?|passwd|passphrase|secrets?|tokens?|authorization|cookies?|credentials?|api[_-]?keys?"
    r"|private[_-]?keys?|apikey)$",
    re.IGNORECASE,
)


class Payload(BaseModel):
    """What the three payloads of an action hold: a subclass declares a model for each that it uses.

    Unknown members are errors. Nothing in them may look like a secret, by its key (password, token, cookie,
    authorization, …) at any depth, and no string may be or hold a plain e-mail address: people go through the actor or
    through `permalog.Personal`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of event."""

    name: str
    """At least two lower-case words with dots between them, such as ``security.finding.dismissed``."""
    resource_type: str
    """What kind of thing it happens to, such as ``security_finding``."""
    label: str
    """What a person reads: a past participle with its object, such as “Finding dismissed”."""
    payload: type[Payload] | None = None
    """Checked when this process records the action; None: any payload."""
    retired: bool = False
    """No longer recorded, still readable: a name is never removed."""

    def __post_init__(self) -> None:
        """Holds the names to what the database accepts.

        Raises:
            ValueError: the name is no dotted lower-case name, or a text is empty or longer than 100 characters.
        """
        if not _NAME.fullmatch(self.name) or any(
            not 1 <= len(t) <= _LONGEST for t in (self.name, self.resource_type, self.label)
        ):
            message = f"{self.name!r}: an action has a dotted lower-case name, a resource type and a label"
            raise ValueError(message)

    def check(self, before: dict[str, Any] | None, after: dict[str, Any] | None, metadata: dict[str, Any]) -> None:
        """Holds an event's payloads to the declared model.

        Raises:
            InvalidEvent: names the member that breaks a rule.
        """
        if self.payload is None:
            return
        given = {"before_state": before, "after_state": after, "metadata": metadata or None}
        _refuse_private(given, "")
        try:
            self.payload.model_validate({k: v for k, v in given.items() if v is not None})
        except ValidationError as error:
            raise InvalidEvent.of(error) from None


class Catalogue:
    """A set of actions, by name; ``a | b`` joins two.

    Raises:
        ValueError: two actions have the same name and differ.
    """

    def __init__(self, actions: Iterable[Action] = ()) -> None:
        """Takes the actions in any order."""
        self._actions: dict[str, Action] = {}
        for action in actions:
            if self._actions.setdefault(action.name, action) != action:
                message = f"{action.name} is declared twice, differently"
                raise ValueError(message)

    def __iter__(self) -> Iterator[Action]:
        """The actions by name."""
        return iter(sorted(self._actions.values(), key=lambda action: action.name))

    def __len__(self) -> int:
        """How many there are, retired ones included."""
        return len(self._actions)

    def __contains__(self, name: object) -> bool:
        """Whether an action of this name is declared."""
        return name in self._actions

    def __or__(self, other: Catalogue) -> Catalogue:
        """Both sets of actions."""
        return Catalogue([*self, *other])

    def get(self, name: str) -> Action | None:
        """The action of this name, or None."""
        return self._actions.get(name)


def _refuse_private(value: object, path: str) -> None:
    match value:
        case dict():
            for key, inside in value.items():  # pyright: ignore[reportUnknownVariableType]
                place = f"{path}.{key}" if path else str(key)  # pyright: ignore[reportUnknownArgumentType]
                if _SECRET.search(str(key)) and inside is not None:  # pyright: ignore[reportUnknownArgumentType]
                    raise InvalidEvent(place, "looks like a secret, which a log must not hold")
                _refuse_private(inside, place)  # pyright: ignore[reportUnknownArgumentType]
        case list():
            for index, inside in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                _refuse_private(inside, f"{path}[{index}]")  # pyright: ignore[reportUnknownArgumentType]
        case str() if "@" in value and _ADDRESS.search(value):
            raise InvalidEvent(path, "holds an e-mail address: use the actor, or Personal(kind, value)")
        case _:
            pass


BUILT_IN: Final = Catalogue(
    [
        Action("security.audit_log.exported", "audit_log", "Audit log exported"),
        Action("security.audit_log.viewed", "audit_log", "Audit log viewed by support"),
        Action("security.audit_log.evidence_created", "audit_log", "Evidence bundle created"),
        Action("security.access.token_created", "audit_log", "Access token created"),
        Action("security.access.token_revoked", "audit_log", "Access token revoked"),
        Action("security.access.role_changed", "audit_log", "Role changed"),
        Action("security.access.signed_in", "audit_log", "Signed in"),
        Action("security.access.denied", "audit_log", "Access denied"),
        Action("security.log.key_rotated", "audit_log", "Signing key rotated"),
        Action("security.log.hold_placed", "audit_log", "Legal hold placed"),
        Action("security.log.hold_released", "audit_log", "Legal hold released"),
        Action("security.log.retention_applied", "audit_log", "Retention applied"),
        Action("security.log.user_erased", "audit_log", "User erased"),
        Action("security.log.resumed", "audit_log", "Log resumed after a restore"),
    ],
)
"""What the library itself records."""
