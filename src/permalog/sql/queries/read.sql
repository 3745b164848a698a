-- Reading events, newest first. Run as permalog_reader, inside one log. {where} is put together from filters.sql; {search},
-- where it is parted from the rest, too. Nothing is joined: identities are fetched for the rows of a page, once they are known.

-- name: row
-- What permalog.stored.Stored holds, in its order. Payloads and times as text: they go out as they come.
e.id::text,
to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
e.recorded_by, e.action, e.outcome, e.actor_type, e.actor_id, e.identity, e.resource_type, e.resource_id,
e.before_state::text, e.after_state::text, e.metadata::text, e.correlation_id, e.source

-- name: older
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT %(rows)s

-- name: newer
-- The nearest newer ones, the nearest first.
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT %(rows)s

-- name: is_older
-- Whether there is one. In order and limited instead of EXISTS, which would take any index that begins with the log.
SELECT true FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT 1

-- name: is_newer
SELECT true FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT 1

-- name: older_within
-- For a search that no index helps: only among the next `bound` events.
SELECT {row}
FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT %(bound)s) AS e
WHERE {search} ORDER BY e.id DESC LIMIT %(rows)s

-- name: newer_within
SELECT {row}
FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT %(bound)s) AS e
WHERE {search} ORDER BY e.id LIMIT %(rows)s

-- name: is_older_within
SELECT true
FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT %(bound)s) AS e
WHERE {search} LIMIT 1

-- name: is_newer_within
SELECT true
FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT %(bound)s) AS e
WHERE {search} LIMIT 1

-- name: older_bound
-- The last event within the bound, where there is a further one behind it.
SELECT last.id FROM (SELECT e.id FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC
                     OFFSET %(bound)s - 1 LIMIT 2) AS last ORDER BY last.id DESC

-- name: newer_bound
SELECT last.id FROM (SELECT e.id FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id
                     OFFSET %(bound)s - 1 LIMIT 2) AS last ORDER BY last.id

-- name: partitions
SELECT name, first_id, next_id, is_searchable FROM permalog.partitions() ORDER BY next_id DESC

-- name: span
-- Every event of a log is counted by the sealer or waits for it: the two together know its ends.
SELECT least(a.first_id, (SELECT u.id FROM permalog.unsealed AS u WHERE u.log_id = %(log_id)s ORDER BY u.id LIMIT 1)),
       greatest(a.last_id, (SELECT u.id FROM permalog.unsealed AS u WHERE u.log_id = %(log_id)s ORDER BY u.id DESC LIMIT 1))
FROM (VALUES (1)) AS one LEFT JOIN permalog.activity AS a ON a.log_id = %(log_id)s AND a.part = 'all'

-- name: plan_for_all
SET LOCAL plan_cache_mode = force_generic_plan

-- name: plan_for_values
-- Bounds on the id then prune partitions while planning, however many there are; the order stays an index's.
SET LOCAL plan_cache_mode = force_custom_plan

-- name: older_between
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id > %(above)s AND e.id < %(below)s ORDER BY e.id DESC LIMIT %(rows)s

-- name: newer_between
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id > %(above)s AND e.id < %(below)s ORDER BY e.id LIMIT %(rows)s

-- name: older_glance
-- The id behind which so many further events lie, if there are as many.
SELECT e.id FROM permalog.event AS e WHERE {where} AND e.id > %(above)s AND e.id < %(below)s
ORDER BY e.id DESC OFFSET %(bound)s LIMIT 1

-- name: newer_glance
SELECT e.id FROM permalog.event AS e WHERE {where} AND e.id > %(above)s AND e.id < %(below)s
ORDER BY e.id OFFSET %(bound)s LIMIT 1

-- name: candidates
SELECT permalog.search(%(partition)s, %(pattern)s, %(above)s, %(below)s, %(newest_first)s, %(most)s)

-- name: older_among
-- Of some events of one partition, all between two ids, those that are selected.
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id = ANY (%(ids)s) AND e.id > %(above)s AND e.id < %(below)s
ORDER BY e.id DESC LIMIT %(rows)s

-- name: newer_among
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id = ANY (%(ids)s) AND e.id > %(above)s AND e.id < %(below)s
ORDER BY e.id LIMIT %(rows)s

-- name: one
SELECT {row} FROM permalog.event AS e WHERE e.log_id = %(log_id)s AND e.id = %(id)s

-- name: newest
SELECT e.id FROM permalog.event AS e WHERE e.log_id = %(log_id)s ORDER BY e.id DESC LIMIT 1

-- name: plan_anew
-- From here on, plans are made for the log at hand, and may scan and sort.
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_sort = on; SET LOCAL enable_bitmapscan = on

-- name: leaves
-- Where the leaves of a few events are, one by one: of the tiles whose ids reach around an event's, in the order of the index,
-- mostly the first has it, since the leaves of a log are almost in the order of their ids.
SELECT w.id::text, t.leaf_index, t.epoch
FROM unnest(%(ids)s::uuid[]) AS w (id)
CROSS JOIN LATERAL (
    SELECT t.index * 256 + array_position(t.event_ids, w.id) - 1 AS leaf_index, t.epoch FROM permalog.tile AS t
    WHERE t.log_id = %(log_id)s AND t.level = 0 AND t.last_id >= w.id AND t.first_id <= w.id AND w.id = ANY (t.event_ids)
    ORDER BY t.last_id LIMIT 1
) AS t

-- name: tiles_between
-- How many tiles have ids between two, at most `most`: read from the index alone.
SELECT count(*) FROM (
    SELECT FROM permalog.tile AS t
    WHERE t.log_id = %(log_id)s AND t.level = 0 AND t.last_id >= %(first)s AND t.first_id <= %(last)s
    ORDER BY t.last_id LIMIT %(most)s) AS t

-- name: leaves_between
-- The same as `leaves`, for events that are so near to each other that few tiles have them all: each tile is read once.
SELECT u.id::text, t.index * 256 + u.place - 1, t.epoch
FROM (SELECT t.index, t.epoch, t.event_ids FROM permalog.tile AS t
      WHERE t.log_id = %(log_id)s AND t.level = 0 AND t.last_id >= %(first)s AND t.first_id <= %(last)s ORDER BY t.last_id) AS t
CROSS JOIN LATERAL unnest(t.event_ids) WITH ORDINALITY AS u (id, place)
WHERE u.id = ANY (%(ids)s)

-- name: identities
-- One by one, each by its key, so that one plan serves every log: a list of them, planned for an average log, would be looked
-- for among all identities of the log.
SELECT i.*
FROM unnest(%(commitments)s::bytea[]) AS wanted (commitment)
CROSS JOIN LATERAL (
    SELECT i.commitment, i.kind, i.actor_id, i.email, i.name, i.ip_address, i.user_agent, i.value FROM permalog.identity AS i
    WHERE i.log_id = %(log_id)s AND i.commitment = wanted.commitment
      AND (i.kind <> 'staff' OR current_setting('permalog.viewer', true) = 'staff')   -- masked, whatever the policies say
    LIMIT 1
) AS i
