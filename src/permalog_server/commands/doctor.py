"""``permalog doctor``."""

from __future__ import annotations

from permalog.postgres.health import examine
from permalog.recording.spool_health import examine_spools
from permalog_server.commands.options import Json
from permalog_server.output import print_json
from permalog_server.sealing_checks import sealing
from permalog_server.sql import steps
from permalog_server.vouching import witnesses
from permalog_server.wiring import ACTIONS, open_database, spool_settings


def doctor(*, as_json: Json = False) -> int:
    """Say what is wrong with this installation, and what to do about it.

    Exit code 1 if anything is wrong; `less` marks what works but guards less than it could (migrate --single-role).
    """
    with open_database(migrated=False) as place:
        checks = examine(place.url, ACTIONS, further=steps())
        if checks[-1].name != "database":  # it can be reached
            checks += [*examine_spools(place.url, spool_settings(place)), *sealing(place), *witnesses(place.url)]
    healthy = all(check.status != "wrong" for check in checks)
    if as_json:
        print_json({"healthy": healthy, "checks": [check._asdict() for check in checks]})
        return 0 if healthy else 1
    for check in checks:
        print(f"{check.status:5} {check.name}: {check.found}")
        if check.remedy is not None:
            print(f"      {check.remedy}")
    return 0 if healthy else 1
