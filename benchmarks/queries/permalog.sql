-- What the benchmark asks about Permalog's own tables, as the server's superuser.

-- name: now
SELECT clock_timestamp();

-- name: largest
-- The largest log of an organisation.
SELECT l.organization_id, count(*) FROM permalog.event AS e JOIN permalog.log AS l USING (log_id)
WHERE l.organization_id IS NOT NULL GROUP BY 1 ORDER BY 2 DESC LIMIT 1;

-- name: owners
SELECT coalesce('org:' || organization_id, 'user:' || user_id) FROM permalog.log ORDER BY 1;

-- name: middle
SELECT id, occurred_at FROM permalog.event WHERE log_id = %(log)s ORDER BY id DESC OFFSET %(half)s LIMIT 1;

-- name: examples
-- Values to filter by: the most frequent of each, which are the most work.
SELECT mode() WITHIN GROUP (ORDER BY action), mode() WITHIN GROUP (ORDER BY actor_id) FILTER (WHERE actor_type = 'user'),
       mode() WITHIN GROUP (ORDER BY resource_type), mode() WITHIN GROUP (ORDER BY resource_id),
       mode() WITHIN GROUP (ORDER BY correlation_id), mode() WITHIN GROUP (ORDER BY source)
FROM permalog.event WHERE log_id = %(log)s;

-- name: address
SELECT i.email FROM permalog.identity AS i WHERE i.log_id = %(log)s AND i.actor_id = %(actor)s AND i.email IS NOT NULL LIMIT 1;

-- name: sizes
-- Bytes by part: tables without their indexes, out-of-line values included, and each index over all partitions.
SELECT coalesce(parent.relname, c.relname) AS part, sum(pg_table_size(c.oid))::bigint
FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
WHERE c.relnamespace = {schema}::regnamespace AND c.relkind IN ('r', 'i') GROUP BY 1 ORDER BY 2 DESC;

-- name: rows
-- Events in the columns of permalog.canonical.EventRow.
SELECT log_id::text, id::text, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), recorded_by, action, outcome, actor_type,
       actor_id, identity, resource_type, resource_id, correlation_id, source, schema_version, before_state::text,
       after_state::text, metadata::text
FROM permalog.event LIMIT %(most)s;
