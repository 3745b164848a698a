-- How much happened, of which action, on which days; and how far a log is sealed.

-- name: all_days
-- What the sealer has counted, and the events that wait for it.
SELECT to_char(a.day, 'YYYY-MM-DD') AS day, a.action, sum(a.events)::bigint
FROM (
    SELECT c.day, c.action, c.events FROM permalog.activity AS c WHERE c.log_id = %(log_id)s AND c.part = 'day_action'
    UNION ALL
    SELECT (e.occurred_at AT TIME ZONE 'UTC')::date, e.action, 1
    FROM permalog.unsealed AS u JOIN permalog.event AS e ON e.id = u.id
    WHERE u.log_id = %(log_id)s AND e.log_id = %(log_id)s
) AS a
GROUP BY a.day, a.action
ORDER BY a.day, a.action

-- name: days
SELECT to_char(e.day, 'YYYY-MM-DD') AS day, e.action, count(*)
FROM (SELECT e.action, (e.occurred_at AT TIME ZONE 'UTC')::date AS day FROM permalog.event AS e WHERE {where}) AS e
GROUP BY e.day, e.action
ORDER BY e.day, e.action

-- name: seal
-- The present tree and its newest checkpoint; since when the oldest of the events has waited that are next to be sealed.
SELECT h.epoch, h.size, h.sealed_at, c.size, c.signed_at,
       (SELECT min(e.recorded_at)
        FROM (SELECT u.id FROM permalog.unsealed AS u WHERE u.log_id = %(log_id)s ORDER BY u.id LIMIT %(most)s) AS w
        JOIN permalog.event AS e ON e.log_id = %(log_id)s AND e.id = w.id)
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT h.epoch, h.size, h.sealed_at FROM permalog.head AS h WHERE h.log_id = %(log_id)s ORDER BY h.epoch DESC LIMIT 1
) AS h ON true
LEFT JOIN LATERAL (
    SELECT c.size, c.signed_at FROM permalog.checkpoint AS c
    WHERE c.log_id = %(log_id)s AND c.epoch = h.epoch ORDER BY c.size DESC LIMIT 1
) AS c ON true
