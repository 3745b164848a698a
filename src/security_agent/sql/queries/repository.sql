-- Repositories that an installation reaches, or reached.

-- name: put
-- What the installation reaches now. Nothing is written of those that are as they were.
INSERT INTO security_agent.repository AS r (log_id, repository_id, full_name, private)
SELECT %(log)s, g.id, g.full_name, g.private
FROM jsonb_to_recordset(%(repositories)s::text::jsonb) AS g (id bigint, full_name text, private boolean) ORDER BY g.id
ON CONFLICT (log_id, repository_id) DO UPDATE
SET full_name = excluded.full_name, private = excluded.private,
    state = CASE WHEN r.state = 'stale' THEN 'active' ELSE r.state END, error = CASE WHEN r.state = 'stale' THEN NULL ELSE r.error END
WHERE (r.full_name, r.private) IS DISTINCT FROM (excluded.full_name, excluded.private) OR r.state = 'stale';

-- name: forsake
-- Those that the installation does not reach any more: all but these, or exactly these.
UPDATE security_agent.repository SET state = 'stale', error = 'not_found'
WHERE log_id = %(log)s AND state <> 'stale' AND (repository_id = ANY(%(ids)s)) = %(these)s
RETURNING repository_id, full_name;

-- name: to_sync
-- Those that are selected and not stale, by name; the one of a name, selected or not.
SELECT r.repository_id, r.full_name FROM security_agent.repository AS r JOIN security_agent.owner AS o ON o.log_id = r.log_id
WHERE r.log_id = %(log)s AND r.state <> 'stale'
  AND CASE WHEN %(repository)s::text IS NOT NULL THEN lower(r.full_name) = lower(%(repository)s)
           ELSE o.repository_selection = 'all' OR r.repository_id = ANY(o.selected_repository_ids) END
ORDER BY lower(r.full_name);

-- name: by_name
SELECT repository_id, full_name, state FROM security_agent.repository
WHERE log_id = %(log)s AND lower(full_name) = lower(%(repository)s) ORDER BY state = 'stale', repository_id LIMIT 1;

-- name: note
UPDATE security_agent.repository
SET state = coalesce(%(state)s, state), error = %(error)s, last_synced_at = CASE WHEN %(synced)s THEN %(now)s ELSE last_synced_at END
WHERE log_id = %(log)s AND repository_id = %(repository_id)s;

-- name: all
SELECT r.repository_id, r.full_name, r.private, r.state, r.error, r.last_synced_at,
       r.state <> 'stale' AND (o.repository_selection = 'all' OR r.repository_id = ANY(o.selected_repository_ids)) AS selected,
       coalesce(f.open, 0) AS open, coalesce(f.total, 0) AS total
FROM security_agent.repository AS r JOIN security_agent.owner AS o ON o.log_id = r.log_id
LEFT JOIN (SELECT repository_id, count(*) FILTER (WHERE status = 'open') AS open, count(*) AS total FROM security_agent.finding
           WHERE log_id = %(log)s GROUP BY repository_id) AS f ON f.repository_id = r.repository_id
WHERE r.log_id = %(log)s ORDER BY lower(r.full_name), r.repository_id;

-- name: orphaned
-- Names of which there are findings, and that no repository has that the installation reaches.
SELECT f.repository, count(*) FILTER (WHERE f.status = 'open') AS open, count(*) AS total, max(f.last_synced_at)
FROM security_agent.finding AS f
WHERE f.log_id = %(log)s AND NOT EXISTS (
    SELECT FROM security_agent.repository AS r WHERE r.log_id = f.log_id AND r.repository_id = f.repository_id AND r.state <> 'stale')
GROUP BY f.repository ORDER BY lower(f.repository);

-- name: active
SELECT repository_id, full_name FROM security_agent.repository WHERE log_id = %(log)s AND state <> 'stale' ORDER BY lower(full_name);

-- name: count
SELECT count(*) FROM security_agent.repository WHERE log_id = %(log)s AND state <> 'stale';
