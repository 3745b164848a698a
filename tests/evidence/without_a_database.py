"""Verifies bundles where neither a database nor a network can be had: run with ``python -I``, a key, and files."""

import json
import sys
from pathlib import Path

FORBIDDEN = {"psycopg", "psycopg_pool", "psycopg_c", "psycopg_binary", "pgserver", "httpx"}


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Ends the process where one is reached for."""
    if event.startswith("socket.") or (event == "import" and str(arguments[0]).partition(".")[0] in FORBIDDEN):
        raise RuntimeError(event, arguments)


sys.addaudithook(refuse)

from permalog.evidence.verifier import verify_bundle  # noqa: E402
from permalog.tlog.note import VerifierKey  # noqa: E402

key = VerifierKey.parse(sys.argv[1])
for name in sys.argv[2:]:
    with Path(name).open("rb") as file:
        sys.stdout.write(json.dumps(verify_bundle(file, [key]).as_json()) + "\n")
assert not FORBIDDEN & sys.modules.keys()
