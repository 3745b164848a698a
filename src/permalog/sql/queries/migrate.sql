-- What migrations ask, and what stands around them. {rows} and {patience} are filled with quoted literals, since a script
-- for a DBA has no parameters.

-- name: settings
-- Quiet; functions may name what comes after them; and never in a queue behind a long transaction, with others behind us.
SET LOCAL client_min_messages = warning;
SET LOCAL check_function_bodies = off;
SET LOCAL lock_timeout = {patience};

-- name: become_owner
SET LOCAL ROLE permalog_owner;

-- name: create_schema
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA permalog AUTHORIZATION permalog_owner;

-- name: create_schema_single_role
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA permalog;

-- name: make_partitions
SELECT permalog.make_partitions();

-- name: admit
INSERT INTO permalog.catalogue (action, resource_type, label, retired) VALUES {rows}
ON CONFLICT (action) DO UPDATE
SET resource_type = excluded.resource_type, label = excluded.label, retired = excluded.retired;
SELECT permalog.admit_actions();

-- name: admit_nothing
SELECT permalog.admit_actions();

-- name: note_applied
INSERT INTO permalog.migration (name, digest) VALUES {rows}
ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = clock_timestamp();

-- name: has_schema
SELECT to_regclass('permalog.migration') IS NOT NULL;

-- name: applied
SELECT name, digest FROM permalog.migration;

-- name: known_actions
SELECT action, resource_type, label, retired FROM permalog.catalogue;

-- name: partitions_missing
-- The last month of the twelve ahead: make_partitions fills gaps before it, too.
SELECT to_regclass('permalog.event_' || to_char((now() AT TIME ZONE 'UTC') + interval '12 months', 'YYYYMM')) IS NULL;

-- name: suitability
-- Whether lower() knows more than ASCII is tried, too: from PostgreSQL 17 on the provider may be another than libc.
SELECT pg_encoding_to_char(encoding), datctype, lower(chr(196)) = chr(228) FROM pg_database WHERE datname = current_database();
