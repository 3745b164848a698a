-- Syncs: what runs, what ran, and whose turn it is.

-- name: begin
INSERT INTO security_agent.sync (log_id, id, trigger, repository, started_at, alive_at)
VALUES (%(log)s, %(id)s, %(trigger)s, %(repository)s, %(now)s, %(now)s);

-- name: alive
UPDATE security_agent.sync SET alive_at = %(now)s WHERE log_id = %(log)s AND id = %(id)s;

-- name: finish
-- Once: whoever declared it interrupted was quicker, or was not.
UPDATE security_agent.sync SET finished_at = %(now)s, outcome = %(outcome)s, result = %(result)s::jsonb
WHERE log_id = %(log)s AND id = %(id)s AND finished_at IS NULL RETURNING true;

-- name: lost
-- Those that give no sign of life any more: their process has died.
SELECT id, trigger, repository, started_at, alive_at FROM security_agent.sync
WHERE log_id = %(log)s AND finished_at IS NULL AND alive_at < %(now)s - interval '30 minutes';

-- name: owners_with_lost
SELECT DISTINCT o.organization_id, o.user_id FROM security_agent.sync AS s JOIN security_agent.owner AS o ON o.log_id = s.log_id
WHERE s.finished_at IS NULL AND s.alive_at < %(now)s - interval '30 minutes';

-- name: clear
DELETE FROM security_agent.sync WHERE log_id = %(log)s AND finished_at < %(now)s - interval '90 days';

-- name: latest
SELECT id, trigger, repository, started_at, finished_at, outcome, result FROM security_agent.sync
WHERE log_id = %(log)s ORDER BY started_at DESC, id LIMIT 1;

-- name: one
SELECT id, trigger, repository, started_at, finished_at, outcome, result FROM security_agent.sync
WHERE log_id = %(log)s AND id = %(id)s;

-- name: claim
-- The owner whose turn it is: the one that has waited longest. Two schedulers never get the same.
UPDATE security_agent.owner SET scheduled_at = %(now)s
WHERE log_id = (
    SELECT o.log_id FROM security_agent.owner AS o JOIN security_agent.integration AS i ON i.log_id = o.log_id
    WHERE o.enabled AND o.automatic_sync AND o.erased_at IS NULL AND num_nonnulls(i.suspended_at, i.removed_at, i.unauthorized_at) = 0
      AND (o.scheduled_at IS NULL OR o.scheduled_at <= %(before)s)
    ORDER BY o.scheduled_at NULLS FIRST, o.log_id LIMIT 1 FOR NO KEY UPDATE OF o SKIP LOCKED)
RETURNING organization_id, user_id;
