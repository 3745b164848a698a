-- Sealing. Run as permalog_sealer, one log at a time.

-- name: may_seal
-- Whether this login may become the sealer; null without roles.
SELECT pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END)
FROM pg_roles AS r WHERE r.rolname = 'permalog_sealer';

-- name: settle
-- What is noted outside as signed must not be lost here by a crash.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';

-- name: waiting
-- The logs behind `after` that have unsealed events, one step in the index for each.
WITH RECURSIVE waiting (log_id) AS (
    (SELECT u.log_id FROM permalog.unsealed AS u WHERE u.log_id > %(after)s ORDER BY u.log_id LIMIT 1)
    UNION ALL
    SELECT (SELECT u.log_id FROM permalog.unsealed AS u WHERE u.log_id > w.log_id ORDER BY u.log_id LIMIT 1)
    FROM waiting AS w WHERE w.log_id IS NOT NULL
)
SELECT w.log_id FROM waiting AS w WHERE w.log_id IS NOT NULL LIMIT %(most)s;

-- name: unsigned
-- The logs whose tree has grown since it was signed.
SELECT h.log_id FROM permalog.head AS h JOIN permalog.log AS l ON l.log_id = h.log_id
WHERE h.size > 0 AND l.erased_at IS NULL
  AND NOT EXISTS (SELECT FROM permalog.head AS n WHERE n.log_id = h.log_id AND n.epoch > h.epoch)
  AND NOT EXISTS (SELECT FROM permalog.checkpoint AS c WHERE c.log_id = h.log_id AND c.epoch = h.epoch AND c.size = h.size);

-- name: overdue
-- How many of these there are that have not grown for two minutes: whoever signs looks every minute.
SELECT count(*) FROM permalog.head AS h JOIN permalog.log AS l ON l.log_id = h.log_id
WHERE h.size > 0 AND l.erased_at IS NULL AND h.sealed_at < clock_timestamp() - interval '2 minutes'
  AND NOT EXISTS (SELECT FROM permalog.head AS n WHERE n.log_id = h.log_id AND n.epoch > h.epoch)
  AND NOT EXISTS (SELECT FROM permalog.checkpoint AS c WHERE c.log_id = h.log_id AND c.epoch = h.epoch AND c.size = h.size);

-- name: begin_head
INSERT INTO permalog.head (log_id, epoch, size, frontier)
SELECT l.log_id, 1, 0, int8send(0) FROM permalog.log AS l WHERE l.log_id = %(log_id)s AND l.erased_at IS NULL
  AND NOT EXISTS (SELECT FROM permalog.head AS h WHERE h.log_id = l.log_id)
ON CONFLICT DO NOTHING;

-- name: lock_head
-- Nothing where another sealer is at work.
SELECT h.epoch, h.frontier, h.sealed_at FROM permalog.head AS h
WHERE h.log_id = %(log_id)s AND h.epoch = (SELECT max(epoch) FROM permalog.head WHERE log_id = %(log_id)s)
FOR UPDATE SKIP LOCKED;

-- name: await_head
SELECT h.epoch, h.frontier, h.sealed_at FROM permalog.head AS h
WHERE h.log_id = %(log_id)s AND h.epoch = (SELECT max(epoch) FROM permalog.head WHERE log_id = %(log_id)s)
FOR UPDATE;

-- name: is_open
-- Asked once the head is locked: what an erasure or a resumption has committed before is seen here.
SELECT l.erased_at IS NULL AND %(epoch)s = (SELECT max(h.epoch) FROM permalog.head AS h WHERE h.log_id = %(log_id)s)
FROM permalog.log AS l WHERE l.log_id = %(log_id)s;

-- name: logs
-- The logs behind `after` whose owners are not erased.
SELECT l.log_id, l.organization_id, l.user_id FROM permalog.log AS l
WHERE l.log_id > %(after)s AND l.erased_at IS NULL ORDER BY l.log_id LIMIT %(most)s;

-- name: begin_epoch
-- A tree without a leaf for each epoch up to this one that has none.
INSERT INTO permalog.head (log_id, epoch, size, frontier)
SELECT %(log_id)s, e.epoch, 0, int8send(0) FROM generate_series(1, %(epoch)s::integer) AS e (epoch)
ON CONFLICT (log_id, epoch) DO NOTHING;

-- name: unsealed_ids
SELECT u.id::text FROM permalog.unsealed AS u
WHERE u.log_id = %(log_id)s AND NOT u.id = ANY (%(passed)s) ORDER BY u.id LIMIT %(rows)s;

-- name: rows
-- Events as they are stored, as permalog.canonical.EventRow takes them, in the order of their ids.
SELECT e.log_id::text, e.id::text,
       to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       e.recorded_by, e.action, e.outcome, e.actor_type, e.actor_id, e.identity, e.resource_type, e.resource_id, e.correlation_id, e.source,
       e.schema_version, e.before_state::text, e.after_state::text, e.metadata::text
FROM permalog.event AS e
WHERE e.log_id = %(log_id)s AND e.id = ANY (%(ids)s::uuid[]) AND e.id BETWEEN %(first)s::uuid AND %(last)s::uuid ORDER BY e.id;

-- name: grow_tiles
-- Each tile as it is afterwards has `width` hashes; `had` of these it had before. RETURNING tells whether it was so.
INSERT INTO permalog.tile AS t (log_id, epoch, level, index, hashes, event_ids, first_id, last_id)
SELECT %(log_id)s, %(epoch)s, n.level, n.number, n.hashes, CASE WHEN n.level = 0 THEN (%(ids)s::uuid[])[n.low:n.high] END, n.first_id, n.last_id
FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(hashes)s::bytea[], %(lows)s::integer[], %(highs)s::integer[],
            %(firsts)s::uuid[], %(lasts)s::uuid[]) AS n (level, number, hashes, low, high, first_id, last_id)
ON CONFLICT (log_id, epoch, level, index) DO UPDATE
SET hashes = t.hashes || excluded.hashes, event_ids = t.event_ids || excluded.event_ids,
    first_id = least(t.first_id, excluded.first_id), last_id = greatest(t.last_id, excluded.last_id)
RETURNING t.level, t.index, octet_length(t.hashes) / 32;

-- name: grow_head
UPDATE permalog.head SET size = %(size)s, frontier = %(frontier)s, sealed_at = clock_timestamp()
WHERE log_id = %(log_id)s AND epoch = %(epoch)s;

-- name: count
INSERT INTO permalog.activity AS a (log_id, part, day, action, actor_type, actor_id, events, first_id, last_id)
SELECT %(log_id)s, n.* FROM unnest(%(parts)s::text[], %(days)s::date[], %(actions)s::text[], %(actor_types)s::text[], %(actor_ids)s::text[],
                                   %(events)s::bigint[], %(firsts)s::uuid[], %(lasts)s::uuid[]) AS n
ON CONFLICT (log_id, part, day, action, actor_type, actor_id) DO UPDATE
SET events = a.events + excluded.events, first_id = least(a.first_id, excluded.first_id), last_id = greatest(a.last_id, excluded.last_id);

-- name: take_off
DELETE FROM permalog.unsealed WHERE log_id = %(log_id)s AND id = ANY (%(ids)s::uuid[]);

-- name: store_checkpoint
INSERT INTO permalog.checkpoint (log_id, epoch, size, root, note) VALUES (%(log_id)s, %(epoch)s, %(size)s, %(root)s, %(note)s)
ON CONFLICT DO NOTHING;

-- name: backlog
-- How many events wait (up to `most`), and since when the oldest of them does.
SELECT count(*), min(e.recorded_at)
FROM (SELECT u.log_id, u.id FROM permalog.unsealed AS u LIMIT %(most)s) AS u
LEFT JOIN permalog.event AS e ON e.log_id = u.log_id AND e.id = u.id;

-- name: tell
-- Wakes whoever tails the log, once this is committed.
SELECT pg_notify('permalog_sealed', %(log_id)s::text)
