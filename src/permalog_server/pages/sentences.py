"""What an event says, as a sentence without its subject: “dismissed lodash in acme/web: tolerable risk”.

Everything comes from payloads that anybody may have written: it is looked at, never trusted, and stands as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from permalog.reading.stored import StoredEvent

_LONGEST: Final = 160
_CHANGES: Final = 3
"""Settings that a sentence names; the rest is in the event."""


class Sentence(NamedTuple):
    """What happened: ``verb`` *what* ``in`` where: why."""

    verb: str
    what: str | None = None
    where: str | None = None
    why: str | None = None

    def text(self) -> str:
        """The sentence as plain text."""
        parts = [self.verb, self.what, self.where and f"in {self.where}"]
        said = " ".join(part for part in parts if part)
        return f"{said}: {self.why}" if self.why else said


_FINDINGS: Final = {
    "created": "found",
    "status_change": "changed the status of",
    "severity_changed": "changed the severity of",
    "dismissed": "dismissed",
    "auto_dismissed": "automatically dismissed",
    "analysis_started": "started an analysis of",
    "analysis_completed": "completed the analysis of",
    "analysis_failed": "could not complete the analysis of",
    "deleted": "deleted the finding about",
    "write_back_completed": "wrote the dismissal back to the source of",
}
_PLAIN: Final = frozenset({"dismissed", "auto_dismissed", "analysis_started", "analysis_completed", "analysis_failed"})
"""Whose verb says already how the state changed."""
_OTHERS: Final = {
    "security.config.enabled": "enabled the security agent",
    "security.config.disabled": "disabled the security agent",
    "security.config.updated": "updated the configuration",
    "security.installation.connected": "connected an installation",
    "security.installation.suspended": "suspended an installation",
    "security.installation.removed": "removed an installation",
    "security.audit_log.exported": "exported the log",
    "security.audit_log.viewed": "looked at this log as support",
    "security.audit_log.evidence_created": "made an evidence bundle",
    "security.compliance_report.generated": "made the compliance report",
    "security.access.token_created": "made an access token",
    "security.access.token_revoked": "revoked an access token",
    "security.access.signed_in": "signed in",
    "security.log.key_rotated": "rotated the signing key",
    "security.log.hold_placed": "placed a legal hold",
    "security.log.hold_released": "released a legal hold",
    "security.log.retention_applied": "applied the retention period",
    "security.log.user_erased": "erased a user",
    "security.log.resumed": "resumed the log after a restore",
}
_FINDING: Final = "security.finding."


def sentence_of(event: StoredEvent, label: str) -> Sentence:
    """What an event says; `label` is its action's, for actions that we have no words for."""
    metadata = event.metadata
    if event.outcome == "denied":
        return Sentence("was refused", label, None, said(metadata.get("reason")) or said(metadata.get("route")))
    return _of_done(event, metadata, label)


def _of_done(event: StoredEvent, metadata: Mapping[str, Any], label: str) -> Sentence:
    before, after = event.before_state or {}, event.after_state or {}
    if event.action.startswith(_FINDING):
        return _of_finding(event, metadata, before, after, label)
    if event.action == "security.sync.completed":
        return _of_sync(metadata, failed=event.outcome == "failure")
    if event.action == "security.sync.triggered":
        return Sentence("started a sync of", said(metadata.get("repository")) or "all repositories")
    if event.action == "security.access.role_changed":
        return Sentence("gave a role to", event.resource_id, None, said(metadata.get("role")))
    verb = _OTHERS.get(event.action)
    why = _changed(before, after) or said(metadata.get("error")) or said(metadata.get("format"))
    if verb is None:
        return Sentence(f"{label}:", event.resource_id, None, why)
    return Sentence(verb, None, None, why)


def _of_finding(
    event: StoredEvent, metadata: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], label: str
) -> Sentence:
    snapshot: Any = metadata.get("finding")
    about = cast("Mapping[str, Any]", snapshot) if isinstance(snapshot, Mapping) else metadata
    what = said(about.get("package")) or said(about.get("title")) or said(metadata.get("title")) or event.resource_id
    where = said(about.get("repository")) or said(metadata.get("repository"))
    kind = event.action.removeprefix(_FINDING)
    if kind == "created":
        why = said(about.get("severity")) or said(after.get("severity"))
    elif kind == "analysis_completed" and said(metadata.get("exploitable")):
        why = f"exploitable: {said(metadata.get('exploitable'))}"
    else:
        why = (
            said(metadata.get("reason")) or said(after.get("reason")) or said(metadata.get("failure_code"))
            or said(metadata.get("error")) or (None if kind in _PLAIN else _changed(before, after))
        )  # fmt: skip
    return Sentence(_FINDINGS.get(kind, f"{label}:"), what, where, why and why.replace("_", " "))


def _of_sync(metadata: Mapping[str, Any], *, failed: bool) -> Sentence:
    counts = [
        f"{metadata[name]} {name}" for name in ("created", "updated", "errors")
        if isinstance(metadata.get(name), int) and metadata[name]
    ]  # fmt: skip
    where = said(metadata.get("repository"))
    number = metadata.get("repositories")
    what = where or (f"{number} repositories" if isinstance(number, int) and number != 1 else "the repository")
    verb = "could not sync" if failed else "synced"
    return Sentence(verb, what, None, ", ".join(counts) or said(metadata.get("error")) or "nothing new")


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Which members have another value, at most three of them."""
    if not before or not after:
        return None
    names = [name for name in after if name in before and before[name] != after[name] and name != "revision"]
    shown = [f"{name} {said(before[name]) or '…'} → {said(after[name]) or '…'}" for name in names[:_CHANGES]]
    more = f" and {len(names) - _CHANGES} more" if len(names) > _CHANGES else ""
    return ", ".join(shown) + more if shown else None


def said(value: object) -> str | None:
    """A value as words: text, a number, or a personal value; None for what has no short form."""
    match value:
        case bool():
            return "on" if value else "off"
        case str() if value.strip():
            return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
        case int() | float():
            return str(value)
        case {"$personal": {"value": str(inner)}}:
            return said(inner)
        case dict() if "$personal" in value:
            return "(withheld or erased)"
        case _:
            return None
