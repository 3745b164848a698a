-- Writing: logs, keys, events and identities, in batches. Run as permalog_writer or permalog_importer.

-- name: installed
-- Whether this database was migrated with roles (then row-level security is on), and whether the login may use it. Asked of
-- the catalogue, since to_regclass fails without a right on the schema.
SELECT c.relrowsecurity, has_schema_privilege(n.oid, 'USAGE')
FROM pg_namespace AS n JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'event' WHERE n.nspname = 'permalog';

-- name: create_incoming
-- The staging tables of one session, emptied at each commit. COPY straight into a table with row-level security is
-- refused; staging costs nothing measurable.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    place integer, log_id uuid, id uuid, occurred_at timestamptz, action text, outcome text, actor_type text, actor_id text, identity bytea,
    resource_type text, resource_id text, correlation_id text, source text, before_state jsonb, after_state jsonb, metadata jsonb,
    key text, dated boolean
) ON COMMIT DELETE ROWS;

-- name: create_incoming_identity
-- event_id: the one event that a personal value belongs to; null for actors, whom several events may share. A personal value
-- travels with the id of whoever acted: where they were erased, it arrives blank.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_identity (
    log_id uuid, commitment bytea, kind text, actor_id text, email text, name text, ip_address text, user_agent text, value text,
    salt bytea, event_id uuid
) ON COMMIT DELETE ROWS;

-- name: copy_incoming
COPY incoming FROM STDIN;

-- name: copy_incoming_identity
COPY incoming_identity FROM STDIN;

-- name: open_logs
-- In a transaction of its own, in one order, so that writers neither wait long nor for each other.
INSERT INTO permalog.log (log_id, organization_id, user_id)
SELECT * FROM unnest(%(log_ids)s::uuid[], %(organization_ids)s::uuid[], %(user_ids)s::text[]) AS o ORDER BY 1
ON CONFLICT DO NOTHING;

-- name: store_incoming
-- Three steps in one statement: the keys that are new, in one order, so that two batches with the same keys wait for each
-- other instead of deadlocking; the events whose key that gained, or that have none; and then the identities that these
-- refer to: none is left behind by a duplicate. Nothing is joined with a table of the log, whose size must not count.
-- RETURNING is counted, since a distributed table reports a wrong number of rows for ON CONFLICT DO NOTHING.
WITH claimed AS (
    INSERT INTO permalog.event_key (log_id, key, event_id, digest)
    SELECT log_id, key, id, permalog.content_digest(CASE WHEN dated THEN occurred_at END, action, outcome, actor_type, actor_id,
        resource_type, resource_id, correlation_id, source, before_state, after_state, metadata)
    FROM incoming WHERE key IS NOT NULL ORDER BY log_id, key, place
    ON CONFLICT DO NOTHING
    RETURNING log_id, event_id
), stored AS (
    INSERT INTO permalog.event (log_id, id, occurred_at, action, outcome, actor_type, actor_id, identity, resource_type, resource_id,
                                correlation_id, source, before_state, after_state, metadata)
    SELECT i.log_id, i.id, i.occurred_at, i.action, i.outcome, i.actor_type, i.actor_id, i.identity, i.resource_type, i.resource_id,
           i.correlation_id, i.source, i.before_state, i.after_state, i.metadata
    FROM incoming AS i
    WHERE i.key IS NULL OR (i.log_id, i.id) IN (SELECT log_id, event_id FROM claimed)
    ORDER BY i.log_id, i.id   -- neighbours in the indexes: a tenth quicker
    ON CONFLICT DO NOTHING
    RETURNING log_id, id, identity
), identified AS (
    INSERT INTO permalog.identity (log_id, commitment, kind, actor_id, email, name, ip_address, user_agent, value, salt)
    SELECT n.log_id, n.commitment, n.kind, n.actor_id, n.email, n.name, n.ip_address, n.user_agent, n.value, n.salt
    FROM incoming_identity AS n
    WHERE CASE WHEN n.event_id IS NULL THEN (n.log_id, n.commitment) IN (SELECT log_id, identity FROM stored)
               ELSE (n.log_id, n.event_id) IN (SELECT log_id, id FROM stored) END
    ON CONFLICT DO NOTHING   -- an identity travels with each event of a spool until it is known to be here
)
SELECT CASE WHEN count(*) < (SELECT count(*) FROM incoming) THEN array_agg(id) END, count(*) FROM stored;

-- name: judge_incoming
-- Of the events that were not stored: the event that stands in their place, and whether its content is the same. By the key
-- where that is another event's, else by the id. The key is looked up one by one (LIMIT keeps the planner to that).
SELECT i.place, j.event_id, j.same, j.event_id <> i.id AS by_key
FROM incoming AS i
LEFT JOIN LATERAL (
    SELECT event_id, digest FROM permalog.event_key WHERE log_id = i.log_id AND key = i.key AND event_id <> i.id LIMIT 1
) AS k ON true
CROSS JOIN LATERAL (
    SELECT coalesce(k.event_id, i.id) AS event_id,
           coalesce(k.digest, permalog.stored_digest(i.log_id, i.id)) = permalog.content_digest(
               -- The id carries the time: what comes again with it after an outage has the same one, given or not.
               CASE WHEN i.dated OR k.digest IS NULL THEN i.occurred_at END, i.action, i.outcome, i.actor_type, i.actor_id, i.resource_type,
               i.resource_id, i.correlation_id, i.source, i.before_state, i.after_state, i.metadata) AS same
) AS j
WHERE i.id NOT IN (SELECT unnest(%(stored)s::uuid[]));
