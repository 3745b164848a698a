-- Counting what a selection holds: one scan, whose rows go into all four groupings at once.

-- name: counts
-- `grouping` tells them apart: 0 bits for the columns that a row is grouped by. A day is one of UTC. max(uuid) is new in
-- PostgreSQL 18; an id's text sorts as the id does, under "C".
SELECT grouping(e.action, e.actor_type, e.day), e.action, e.actor_type, e.actor_id, to_char(e.day, 'YYYY-MM-DD'), count(*),
       min(e.id::text COLLATE "C"), max(e.id::text COLLATE "C")
FROM (SELECT e.id, e.action, e.actor_type, e.actor_id, (e.occurred_at AT TIME ZONE 'UTC')::date AS day
      FROM permalog.event AS e WHERE {where}) AS e
GROUP BY GROUPING SETS ((), (e.action), (e.actor_type, e.actor_id), (e.day))

-- name: identities_of_events
SELECT e.id::text, e.identity FROM permalog.event AS e WHERE e.log_id = %(log_id)s AND e.id = ANY (%(ids)s)
