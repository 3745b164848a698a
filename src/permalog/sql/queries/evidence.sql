-- Evidence bundles. Run as permalog_auditor (a reader that sees the salts, too), inside one log. {where}: permalog.selection.

-- name: log
-- Whether the log is there, and whether its owner was erased; the moment of this snapshot.
SELECT l.erased_at IS NOT NULL, to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM permalog.log AS l WHERE l.log_id = %(log_id)s

-- name: checkpoint
-- The newest one, of one epoch or of the present one.
SELECT c.epoch, c.size, c.note FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND (%(epoch)s::integer IS NULL OR c.epoch = %(epoch)s)
ORDER BY c.epoch DESC, c.size DESC LIMIT 1

-- name: cosignatures
SELECT c.line FROM permalog.cosignature AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s AND c.size = %(size)s ORDER BY c.witness

-- name: reach
-- How many events are selected, how many of them have leaves below the checkpoint, and from which leaf to which.
SELECT count(*), count(placed.leaf), min(placed.leaf), max(placed.leaf)
FROM permalog.event AS e
LEFT JOIN (
    SELECT t.index * 256 + u.n - 1 AS leaf, u.id
    FROM permalog.tile AS t CROSS JOIN LATERAL unnest(t.event_ids) WITH ORDINALITY AS u (id, n)
    WHERE t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = 0 AND t.index * 256 + u.n <= %(size)s
      AND (%(start)s::uuid IS NULL OR t.last_id >= %(start)s) AND (%(end)s::uuid IS NULL OR t.first_id < %(end)s)
) AS placed ON placed.id = e.id
WHERE {where}

-- name: tile
SELECT t.hashes FROM permalog.tile AS t
WHERE t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = %(level)s AND t.index = %(index)s

-- name: leaves
-- The leaves of some tiles, with the events that stand behind them.
SELECT t.index, t.hashes, t.event_ids FROM permalog.tile AS t
WHERE t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = 0 AND t.index BETWEEN %(first)s AND %(last)s ORDER BY t.index

-- name: events
-- Those of these events that are selected, in the order of their leaves; the columns are permalog.canonical.EventRow's.
SELECT p.n, e.log_id::text, e.id::text,
    to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    e.recorded_by, e.action, e.outcome, e.actor_type, e.actor_id, e.identity, e.resource_type, e.resource_id, e.correlation_id,
    e.source, e.schema_version, e.before_state::text, e.after_state::text, e.metadata::text
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS p (id, n) JOIN permalog.event AS e ON e.id = p.id
WHERE {where} ORDER BY p.n

-- name: openings
-- What opens commitments, as far as the reader may see it and it is not erased.
SELECT i.commitment, i.salt, i.kind, i.actor_id, i.email, i.name, i.ip_address, i.user_agent, i.value
FROM unnest(%(commitments)s::bytea[]) AS wanted (commitment)
CROSS JOIN LATERAL (
    SELECT i.* FROM permalog.identity AS i
    WHERE i.log_id = %(log_id)s AND i.commitment = wanted.commitment AND i.erased_at IS NULL
      AND (i.kind <> 'staff' OR current_setting('permalog.viewer', true) = 'staff')   -- masked, whatever the policies say
    LIMIT 1
) AS i
ORDER BY i.commitment
