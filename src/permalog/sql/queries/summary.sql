-- Counting what a selection holds: one scan, whose rows go into all four groupings at once.

-- name: counts
-- `grouping` tells them apart: 0 bits for the columns that a row is grouped by. A day is one of UTC. max(uuid) is new in
-- PostgreSQL 18; an id's text sorts as the id does, under "C".
SELECT grouping(e.action, e.actor_type, e.day), e.action, e.actor_type, e.actor_id, to_char(e.day, 'YYYY-MM-DD'), count(*),
       min(e.id::text COLLATE "C"), max(e.id::text COLLATE "C")
FROM (SELECT e.id, e.action, e.actor_type, e.actor_id, (e.occurred_at AT TIME ZONE 'UTC')::date AS day
      FROM permalog.event AS e WHERE {where}) AS e
GROUP BY GROUPING SETS ((), (e.action), (e.actor_type, e.actor_id), (e.day))

-- name: all_counts
-- The same for all events of a log: what the sealer has counted, and the events that wait for it.
SELECT a.grouping, a.action, a.actor_type, a.actor_id, a.day, sum(a.events)::bigint,
       min(a.first_id COLLATE "C"), max(a.last_id COLLATE "C")
FROM (
    SELECT CASE c.part WHEN 'all' THEN 7 WHEN 'action' THEN 3 WHEN 'actor' THEN 5 ELSE 6 END AS grouping, nullif(c.action, '') AS action,
           nullif(c.actor_type, '') AS actor_type, nullif(c.actor_id, '') AS actor_id,
           CASE WHEN c.part = 'day' THEN to_char(c.day, 'YYYY-MM-DD') END AS day, c.events, c.first_id::text, c.last_id::text
    FROM permalog.activity AS c WHERE c.log_id = %(log_id)s AND c.part IN ('all', 'action', 'actor', 'day')
    UNION ALL
    SELECT grouping(e.action, e.actor_type, e.day), e.action, e.actor_type, e.actor_id, to_char(e.day, 'YYYY-MM-DD'), count(*),
           min(e.id::text COLLATE "C"), max(e.id::text COLLATE "C")
    FROM (SELECT e.id, e.action, e.actor_type, e.actor_id, (e.occurred_at AT TIME ZONE 'UTC')::date AS day
          FROM permalog.unsealed AS u JOIN permalog.event AS e ON e.id = u.id
          WHERE u.log_id = %(log_id)s AND e.log_id = %(log_id)s) AS e
    GROUP BY GROUPING SETS ((), (e.action), (e.actor_type, e.actor_id), (e.day))
) AS a
GROUP BY a.grouping, a.action, a.actor_type, a.actor_id, a.day

-- name: waiting
-- The events that wait for sealing, in the order of their ids.
SELECT u.id::text FROM permalog.unsealed AS u WHERE u.log_id = %(log_id)s ORDER BY u.id LIMIT %(most)s

-- name: counted
-- What the sealer has counted: no row is added to another.
SELECT CASE c.part WHEN 'all' THEN 7 WHEN 'action' THEN 3 WHEN 'actor' THEN 5 ELSE 6 END, nullif(c.action, ''), nullif(c.actor_type, ''),
       nullif(c.actor_id, ''), CASE WHEN c.part = 'day' THEN c.day::text END, c.events, c.first_id::text, c.last_id::text
FROM permalog.activity AS c WHERE c.log_id = %(log_id)s AND c.part IN ('all', 'action', 'actor', 'day')

-- name: counts_of_waiting
-- In one grouping, from which the four are added up. The bounds are for the partitions.
SELECT e.action, e.actor_type, e.actor_id, (e.occurred_at AT TIME ZONE 'UTC')::date::text, count(*),
       min(e.id::text COLLATE "C"), max(e.id::text COLLATE "C")
FROM permalog.event AS e
WHERE e.log_id = %(log_id)s AND e.id = ANY (%(ids)s::uuid[]) AND e.id BETWEEN %(first)s::uuid AND %(last)s::uuid
GROUP BY e.action, e.actor_type, e.actor_id, (e.occurred_at AT TIME ZONE 'UTC')::date

-- name: names
-- What the actors of events were called then. The identities one by one, each by its key.
SELECT e.id::text, i.name
FROM permalog.event AS e
CROSS JOIN LATERAL (
    SELECT i.name FROM permalog.identity AS i
    WHERE i.log_id = %(log_id)s AND i.commitment = e.identity
      AND (i.kind <> 'staff' OR current_setting('permalog.viewer', true) = 'staff')   -- masked, whatever the policies say
    LIMIT 1
) AS i
WHERE e.log_id = %(log_id)s AND e.id = ANY (%(ids)s::uuid[]) AND e.id BETWEEN %(first)s::uuid AND %(last)s::uuid
