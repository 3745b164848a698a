-- Reading events, newest first. Run as permalog_reader, inside one log. {where} is put together from filters.sql; {search},
-- where it is parted from the rest, too. LIMIT comes first, so that identities are fetched for the rows of a page only.

-- name: row
-- What permalog.stored.Row holds, in its order. Everything as text: payloads and times go out as they come.
e.id::text,
to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
e.recorded_by, e.action, e.outcome, e.actor_type, CASE e.actor_type WHEN 'staff' THEN i.actor_id ELSE e.actor_id END,
i.email, i.name, i.ip_address, i.user_agent, e.resource_type, e.resource_id,
e.before_state::text, e.after_state::text, e.metadata::text, e.correlation_id, e.source, NULL::bigint

-- name: older
SELECT {row}
FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT %(rows)s) AS e
LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
ORDER BY e.id DESC

-- name: newer
-- The nearest newer ones.
SELECT {row}
FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT %(rows)s) AS e
LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
ORDER BY e.id DESC

-- name: is_older
SELECT EXISTS (SELECT FROM permalog.event AS e WHERE {where} AND e.id < %(position)s)

-- name: is_newer
SELECT EXISTS (SELECT FROM permalog.event AS e WHERE {where} AND e.id > %(position)s)

-- name: older_within
-- For a search that no index helps: only among the next `bound` events.
SELECT {row}
FROM (SELECT * FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT %(bound)s) AS e
      WHERE {search} ORDER BY e.id DESC LIMIT %(rows)s) AS e
LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
ORDER BY e.id DESC

-- name: newer_within
SELECT {row}
FROM (SELECT * FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT %(bound)s) AS e
      WHERE {search} ORDER BY e.id LIMIT %(rows)s) AS e
LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
ORDER BY e.id DESC

-- name: is_older_within
SELECT EXISTS (SELECT FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC LIMIT %(bound)s) AS e
               WHERE {search})

-- name: is_newer_within
SELECT EXISTS (SELECT FROM (SELECT * FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id LIMIT %(bound)s) AS e
               WHERE {search})

-- name: older_bound
-- The last event within the bound, where there is a further one behind it.
SELECT last.id FROM (SELECT e.id FROM permalog.event AS e WHERE {where} AND e.id < %(position)s ORDER BY e.id DESC
                     OFFSET %(bound)s - 1 LIMIT 2) AS last ORDER BY last.id DESC

-- name: newer_bound
SELECT last.id FROM (SELECT e.id FROM permalog.event AS e WHERE {where} AND e.id > %(position)s ORDER BY e.id
                     OFFSET %(bound)s - 1 LIMIT 2) AS last ORDER BY last.id

-- name: one
SELECT {row}
FROM permalog.event AS e
LEFT JOIN permalog.identity AS i ON i.log_id = e.log_id AND i.commitment = e.identity
WHERE e.log_id = %(log_id)s AND e.id = %(id)s

-- name: newest
SELECT e.id FROM permalog.event AS e WHERE e.log_id = %(log_id)s ORDER BY e.id DESC LIMIT 1

-- name: personal
-- Personal values of payloads, by the commitments that stand there; the value is null once erased.
SELECT encode(commitment, 'hex'), kind, value FROM permalog.identity
WHERE log_id = %(log_id)s AND commitment = ANY (%(commitments)s)
