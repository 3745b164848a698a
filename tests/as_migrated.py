"""What migrations make. ``PYTHONPATH=src:tests python tests/as_migrated.py`` writes ``sql/as_migrated.tsv`` anew."""

import sys
import tempfile
from pathlib import Path

import psycopg

from permalog.catalogue import BUILT_IN
from permalog.postgres import embedded
from permalog.postgres.migrate import migrate
from permalog.sql import query
from permalog.verifying.schema import EXPECTED, Guard, read_guards


def guards(connection: psycopg.Connection) -> set[Guard]:
    """Every guard of a database, those of all partitions under one name."""
    connection.execute(query("verify_schema", "settings"))
    shared, parts = read_guards(connection)
    return shared.union(*parts.values())


def text(found: set[Guard]) -> str:
    """A line each."""
    return "".join("\t".join(guard) + "\n" for guard in sorted(found))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="permalog-guards-") as home:
        Path(home).chmod(0o755)
        with embedded.start(Path(home) / "data") as server:
            migrate(server.url, BUILT_IN)
            with psycopg.connect(server.url) as connected:
                written = text(guards(connected))
    Path(str(EXPECTED)).write_text(written, encoding="utf-8")
    sys.stdout.write(f"{EXPECTED}: {len(written.splitlines())} lines\n")
