"""Taking events out: exports and evidence bundles as answers, by the API and by pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from permalog.errors import NoEvidence
from permalog_server.streaming import Stream

if TYPE_CHECKING:
    from permalog.event import Source
    from permalog.reading.export_formats import ExportFormat
    from permalog_server.entry import Desk, Entry

_MEDIA: Final[dict[ExportFormat, str]] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
}


def export(desk: Desk, entry: Entry, form: ExportFormat, through: Source, filters: dict[str, Any]) -> Stream:
    """An export whose first record is committed.

    Raises:
        InvalidQuery: a filter breaks a rule.
        Problem: 429, too many exports at once.
    """
    pieces = desk.log.export_stream(
        entry.owner, form, actor=entry.actor, through=through, viewer=entry.viewer, **filters
    )
    held = desk.exports.hold(entry.holder.token_id, pieces)
    name = f'attachment; filename="audit-log.{form}"'
    return Stream(next(held), held, desk.exporting, _MEDIA[form], {"Content-Disposition": name})


def evidence(desk: Desk, entry: Entry, through: Source, filters: dict[str, Any], *, epoch: int | None = None) -> Stream:
    """A bundle that is made, and of which the record is committed.

    Raises:
        InvalidQuery: a filter breaks a rule.
        NoEvidence: nothing is sealed here.
        Problem: 429, too many exports at once.
    """
    if desk.keys is None:
        raise NoEvidence("this service has no signing key, so that nothing is sealed here")
    pieces = desk.log.evidence_stream(
        entry.owner, keys=desk.keys, actor=entry.actor, through=through, viewer=entry.viewer, epoch=epoch, **filters
    )
    held = desk.exports.hold(entry.holder.token_id, pieces)
    name = {"Content-Disposition": 'attachment; filename="audit-log-evidence.zip"'}
    return Stream(next(held), held, desk.exporting, "application/zip", name)
