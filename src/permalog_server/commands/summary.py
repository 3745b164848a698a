"""``permalog summary``."""

from __future__ import annotations

from permalog.reading.filters import FilterArguments
from permalog_server.commands.options import As, Format, Json, OwnerText, Shape, filtered, owner_of
from permalog_server.event_tables import print_summary
from permalog_server.output import print_json
from permalog_server.standing import reader_of
from permalog_server.wiring import open_log


@filtered
def summary(
    *,
    owner: OwnerText,
    whom: As = None,
    shape: Format = Shape.TABLE,
    as_json: Json = False,
    filters: FilterArguments,
) -> None:
    """Count events by action, by actor and by day."""
    whose = owner_of(owner)
    with open_log() as log:
        counted = log.summary(whose, viewer=reader_of(log, whom, whose).viewer, **filters)
    if as_json or shape is Shape.JSON:
        print_json(counted.as_json())
    else:
        print_summary(counted.as_json())
