"""The tables of the queue of jobs: those of the installed procrastinate, in the schema ``jobs``.

They are made once. What later versions of procrastinate bring, their migration files, become steps of ours, which a
database that is made with them already passes over. A last step fixes the functions' search path, so that they can be
called within any transaction, and grants rights.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from permalog import Step

FIRST: Final = "03.04.00_50_post_add_retry_failed_job_procedure.sql"
"""The newest migration in the schema that the first installations were made with (procrastinate 3.10)."""
_CREATE: Final = """\
CREATE SCHEMA IF NOT EXISTS jobs;
SET LOCAL search_path = jobs, pg_catalog;
{schema}
SET LOCAL search_path = DEFAULT;
"""
_UPGRADE: Final = """\
DO $permalog$
BEGIN
    -- A schema that this transaction has made holds it already.
    IF (SELECT xmin::text FROM pg_namespace WHERE nspname = 'jobs') <> pg_current_xact_id()::xid::text THEN
        SET LOCAL search_path = jobs, pg_catalog;
        EXECUTE $migration$
{migration}
$migration$;
        SET LOCAL search_path = DEFAULT;
    END IF;
END
$permalog$;
"""
_FUNCTIONS: Final = """\
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'jobs'::regnamespace AND p.prokind = 'f' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = jobs, pg_temp', one);
    END LOOP;
END
$$;
"""
_ACCESS: Final = """\
REVOKE ALL ON SCHEMA jobs FROM PUBLIC;
GRANT USAGE ON SCHEMA jobs TO permalog_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobs TO permalog_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA jobs TO permalog_service;
"""


def steps() -> list[Step]:
    """What brings the queue into a database; nothing where the extra ``agent`` is not installed."""
    spec = find_spec("procrastinate")  # found, not imported: a migration does not need it
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "sql"
    schema = folder.joinpath("schema.sql").read_text(encoding="utf-8")
    later = [file for file in sorted(folder.joinpath("migrations").glob("*.sql")) if file.name > FIRST]
    upgrades = [
        _step(f"jobs/migrations/{file.name}", _UPGRADE.format(migration=file.read_text(encoding="utf-8")))
        for file in later
    ]
    newest = f"-- up to {later[-1].name if later else FIRST}\n"
    return [
        # Remembered by its name: a later procrastinate's schema has another text, and is no reason to apply it again.
        Step("jobs/schema.sql", _CREATE.format(schema=schema), hashlib.sha256(b"jobs/schema.sql").digest()),
        *upgrades,
        _step("jobs/functions.sql", newest + _FUNCTIONS),
        _step("jobs/access.sql", newest + _ACCESS),
    ]


def _step(name: str, text: str) -> Step:
    return Step(name, text, hashlib.sha256(text.encode()).digest())
