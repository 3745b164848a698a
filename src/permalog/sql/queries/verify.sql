-- What verifying reads. It runs as permalog_verifier, which sees all logs and writes nothing.

-- name: begin
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: next_log
-- The first log behind one, wherever there is a row of it. `min` knows no UUIDs before PostgreSQL 18.
SELECT log_id FROM (
    (SELECT log_id FROM permalog.log WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.event WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.head WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.tile WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.checkpoint WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.cosignature WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.identity WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.activity WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.event_key WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
    UNION ALL (SELECT log_id FROM permalog.unsealed WHERE log_id > %(after)s ORDER BY log_id LIMIT 1)
) AS next ORDER BY log_id LIMIT 1;

-- name: snapshot
SELECT pg_export_snapshot();

-- name: log
SELECT organization_id, user_id, erased_at IS NOT NULL FROM permalog.log WHERE log_id = %(log)s;

-- name: epochs
-- Every epoch of which there is a row, and its head.
SELECT e.epoch, h.size, h.frontier, extract(epoch FROM clock_timestamp() - h.sealed_at)::float8 FROM (
    SELECT epoch FROM permalog.head WHERE log_id = %(log)s
    UNION SELECT epoch FROM permalog.tile WHERE log_id = %(log)s
    UNION SELECT epoch FROM permalog.checkpoint WHERE log_id = %(log)s
    UNION SELECT epoch FROM permalog.cosignature WHERE log_id = %(log)s
) AS e LEFT JOIN permalog.head AS h ON h.log_id = %(log)s AND h.epoch = e.epoch ORDER BY e.epoch;

-- name: resumptions
-- The epochs that begin with a checkpoint and the event of their resumption.
SELECT t.epoch, substr(t.hashes, 1, 32), e.metadata::text
FROM permalog.tile AS t JOIN permalog.event AS e ON e.log_id = t.log_id AND e.id = t.event_ids[2]
WHERE t.log_id = %(log)s AND t.level = 0 AND t.index = 0 AND t.event_ids[1] IS NULL AND e.log_id = %(log)s
  AND e.action = 'security.log.resumed'
ORDER BY t.epoch;

-- name: leaf_tiles
-- Others look for an event by its subscript: a list that does not begin with 1 would lead them to another leaf.
SELECT index, hashes, CASE WHEN array_lower(event_ids, 1) = 1 AND array_ndims(event_ids) = 1 THEN event_ids::text[] END,
       first_id::text, last_id::text FROM permalog.tile
WHERE log_id = %(log)s AND epoch = %(epoch)s AND level = 0 AND index >= %(first)s AND index < %(end)s ORDER BY index;

-- name: tile
SELECT hashes, first_id::text, last_id::text FROM permalog.tile
WHERE log_id = %(log)s AND epoch = %(epoch)s AND level = %(level)s AND index = %(index)s;

-- name: misshapen_tiles
-- Tiles that are not as wide as they are in a tree of this size, which may be not at all.
SELECT level, index, octet_length(hashes) / 32 AS width, greatest(least(256, (%(size)s::bigint >> 8 * level) - index * 256), 0) AS expected
FROM permalog.tile WHERE log_id = %(log)s AND epoch = %(epoch)s
  AND octet_length(hashes) <> greatest(least(256, (%(size)s::bigint >> 8 * level) - index * 256), 0) * 32
ORDER BY level, index;

-- name: in_range
-- How many events lie between two ids, counted no further than is of interest.
SELECT count(*) FROM (
    SELECT FROM permalog.event WHERE log_id = %(log)s AND id BETWEEN %(low)s AND %(high)s LIMIT %(most)s
) AS found;

-- name: rows_of_range
SELECT log_id::text, id::text,
       to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       recorded_by, action, outcome, actor_type, actor_id, identity, resource_type, resource_id, correlation_id, source,
       schema_version, before_state::text, after_state::text, metadata::text
FROM permalog.event WHERE log_id = %(log)s AND id BETWEEN %(low)s AND %(high)s;

-- name: rows_of_ids
SELECT log_id::text, id::text,
       to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       recorded_by, action, outcome, actor_type, actor_id, identity, resource_type, resource_id, correlation_id, source,
       schema_version, before_state::text, after_state::text, metadata::text
FROM permalog.event WHERE log_id = %(log)s AND id BETWEEN %(low)s AND %(high)s AND id = ANY (%(ids)s::uuid[]);

-- name: checkpoints
SELECT size, root, note FROM permalog.checkpoint
WHERE log_id = %(log)s AND epoch = %(epoch)s AND size >= %(first)s AND size <= %(last)s ORDER BY size;

-- name: newest_checkpoint
SELECT size, root, note FROM permalog.checkpoint
WHERE log_id = %(log)s AND epoch = %(epoch)s ORDER BY size DESC LIMIT 1;

-- name: first_uncovered
-- How long ago the event of a leaf was recorded, in seconds.
SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float8
FROM permalog.tile AS t JOIN permalog.event AS e ON e.log_id = t.log_id AND e.id = t.event_ids[%(subscript)s]
WHERE t.log_id = %(log)s AND t.epoch = %(epoch)s AND t.level = 0 AND t.index = %(index)s;

-- name: cosignatures
SELECT c.size, c.witness, c.line, k.note FROM permalog.cosignature AS c LEFT JOIN permalog.checkpoint AS k USING (log_id, epoch, size)
WHERE c.log_id = %(log)s AND c.epoch = %(epoch)s ORDER BY c.size, c.witness;

-- name: misplaced
-- Every event has one leaf or waits for one, and neither leaf nor waiting is without its event.
SELECT id, sum(event)::bigint, sum(leaf)::bigint, sum(waiting)::bigint FROM (
    SELECT id, 1 AS event, 0 AS leaf, 0 AS waiting FROM permalog.event WHERE log_id = %(log)s
    UNION ALL SELECT unnest(event_ids), 0, 1, 0 FROM permalog.tile WHERE log_id = %(log)s AND level = 0
    UNION ALL SELECT id, 0, 0, 1 FROM permalog.unsealed WHERE log_id = %(log)s
) AS place WHERE id IS NOT NULL GROUP BY id HAVING NOT (sum(event) = 1 AND sum(leaf) + sum(waiting) = 1);

-- name: waiting
-- Events that wait for sealing, and how long the longest has waited, in seconds.
SELECT count(*), extract(epoch FROM clock_timestamp() - min(e.recorded_at))::float8
FROM permalog.unsealed AS u JOIN permalog.event AS e USING (log_id, id) WHERE u.log_id = %(log)s;

-- name: identities
SELECT commitment, salt, erased_at IS NOT NULL, kind, actor_id, email, name, ip_address, user_agent, value FROM permalog.identity
WHERE log_id = %(log)s;

-- name: wrong_identities
-- Events whose identity is not there, or is not that of their actor. What is erased tells its kind only.
SELECT e.id, i.commitment IS NULL FROM permalog.event AS e
LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
WHERE e.log_id = %(log)s AND e.identity IS NOT NULL
  AND (i.commitment IS NULL OR i.kind <> CASE e.actor_type WHEN 'staff' THEN 'staff' ELSE 'actor' END
       OR (i.erased_at IS NULL AND e.actor_type <> 'staff' AND i.actor_id IS DISTINCT FROM e.actor_id));

-- name: unknown_commitments
SELECT c FROM unnest(%(commitments)s::bytea[]) AS c
WHERE NOT EXISTS (SELECT FROM permalog.identity AS i WHERE i.log_id = %(log)s AND i.commitment = c);

-- name: wrong_keys
-- Idempotency keys whose event is not there, or has another digest, with and without its time.
SELECT k.event_id, e.id IS NULL FROM permalog.event_key AS k
LEFT JOIN permalog.event AS e ON e.log_id = k.log_id AND e.id = k.event_id
WHERE k.log_id = %(log)s AND (e.id IS NULL OR k.digest NOT IN (
    permalog.content_digest(e.occurred_at, e.action, e.outcome, e.actor_type, e.actor_id, e.resource_type,
        e.resource_id, e.correlation_id, e.source, e.before_state, e.after_state, e.metadata),
    permalog.content_digest(NULL, e.action, e.outcome, e.actor_type, e.actor_id, e.resource_type,
        e.resource_id, e.correlation_id, e.source, e.before_state, e.after_state, e.metadata)));

-- name: wrong_counts
-- The counts that sealing keeps, and those of the events that have a leaf.
WITH base AS MATERIALIZED (
    SELECT action, actor_type, coalesce(actor_id, '') AS actor_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, count(*) AS events,
           min(id::text COLLATE "C") AS first_id, max(id::text COLLATE "C") AS last_id
    FROM permalog.event AS e WHERE e.log_id = %(log)s
      AND NOT EXISTS (SELECT FROM permalog.unsealed AS u WHERE u.log_id = %(log)s AND u.id = e.id)
    GROUP BY 1, 2, 3, 4
), part AS (
    SELECT 'all' AS part, '-infinity'::date AS day, '' AS action, '' AS actor_type, '' AS actor_id, events, first_id, last_id FROM base
    UNION ALL SELECT 'action', '-infinity', action, '', '', events, first_id, last_id FROM base
    UNION ALL SELECT 'actor', '-infinity', '', actor_type, actor_id, events, first_id, last_id FROM base
    UNION ALL SELECT 'day', day, '', '', '', events, first_id, last_id FROM base
    UNION ALL SELECT 'day_action', day, action, '', '', events, first_id, last_id FROM base
), counted AS (
    SELECT part, day, action, actor_type, actor_id, sum(events)::bigint AS events, min(first_id)::uuid AS first_id, max(last_id)::uuid AS last_id
    FROM part GROUP BY 1, 2, 3, 4, 5
)
SELECT part, c.events, a.events FROM counted AS c
FULL JOIN (SELECT * FROM permalog.activity WHERE log_id = %(log)s) AS a USING (part, day, action, actor_type, actor_id)
WHERE (c.events, c.first_id, c.last_id) IS DISTINCT FROM (a.events, a.first_id, a.last_id) ORDER BY part LIMIT 100;

-- name: remains
-- What an erased log must not hold any more.
SELECT (SELECT count(*) FROM permalog.event WHERE log_id = %(log)s), (SELECT count(*) FROM permalog.identity WHERE log_id = %(log)s),
       (SELECT count(*) FROM permalog.tile WHERE log_id = %(log)s), (SELECT count(*) FROM permalog.activity WHERE log_id = %(log)s),
       (SELECT count(*) FROM permalog.event_key WHERE log_id = %(log)s), (SELECT count(*) FROM permalog.unsealed WHERE log_id = %(log)s);
