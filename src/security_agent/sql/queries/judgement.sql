-- name: owner_of
SELECT organization_id, user_id FROM security_agent.owner WHERE log_id = %(log_id)s;

-- name: lock_finding
-- Everything that changes a finding begins with this.
SELECT 1 FROM security_agent.finding WHERE log_id = %(log_id)s AND id = %(finding_id)s FOR UPDATE;

-- name: case
SELECT f.id, o.organization_id, o.user_id, f.repository, f.source, f.source_id, f.status, f.severity, f.scope,
    f.package, f.ecosystem, f.title, f.description, f.cwe_ids, f.cvss_score, f.ghsa_id, f.cve_id, f.vulnerable_range,
    f.patched_version, f.manifest_path, f.first_detected_at, f.deadline, f.analysis_status, f.analysis_id,
    o.enabled AND o.auto_dismiss, o.auto_dismiss_confidence, o.model,
    CASE WHEN i.removed_at IS NULL THEN i.installation_id END, coalesce(i.permissions, '{}'),
    coalesce(i.suspended_at, i.unauthorized_at) IS NOT NULL
FROM security_agent.finding f
JOIN security_agent.owner o ON o.log_id = f.log_id
LEFT JOIN security_agent.integration i ON i.log_id = f.log_id
WHERE f.log_id = %(log_id)s AND f.id = %(finding_id)s;

-- name: log_of_finding
-- For a runner that knows the finding only; the ids are random, and no two owners share one.
SELECT f.log_id FROM security_agent.owner o
JOIN security_agent.finding f ON f.log_id = o.log_id AND f.id = %(finding_id)s;

-- name: ignore_finding
UPDATE security_agent.finding
SET status = 'ignored', ignored_at = clock_timestamp(), ignored_reason = %(reason)s, ignored_comment = %(comment)s,
    ignored_by = %(by)s, ignored_by_type = %(by_type)s, source_state = coalesce(%(source_state)s, source_state),
    source_updated_at = greatest(source_updated_at, %(source_updated_at)s::timestamptz)
WHERE log_id = %(log_id)s AND id = %(finding_id)s;

-- name: see_source
UPDATE security_agent.finding
SET source_state = %(source_state)s, source_updated_at = greatest(source_updated_at, %(source_updated_at)s::timestamptz)
WHERE log_id = %(log_id)s AND id = %(finding_id)s;

-- name: add_write_back
INSERT INTO security_agent.write_back (log_id, finding_id, reason, comment, correlation_id)
VALUES (%(log_id)s, %(finding_id)s, %(reason)s, %(comment)s, %(correlation_id)s)
ON CONFLICT (log_id, finding_id) WHERE state = 'pending' DO NOTHING
RETURNING id;

-- name: write_back
SELECT finding_id, reason, comment, state, attempts, correlation_id
FROM security_agent.write_back WHERE log_id = %(log_id)s AND id = %(id)s;

-- name: pending_write_backs
SELECT id FROM security_agent.write_back WHERE log_id = %(log_id)s AND state = 'pending' ORDER BY requested_at, id;

-- name: count_write_back
UPDATE security_agent.write_back
SET attempts = attempts + 1, error = %(error)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE log_id = %(log_id)s AND id = %(id)s AND state = 'pending';

-- name: end_write_back
UPDATE security_agent.write_back
SET state = %(state)s, attempts = attempts + 1, error = %(error)s, finished_at = clock_timestamp()
WHERE log_id = %(log_id)s AND id = %(id)s AND state = 'pending'
RETURNING attempts;

-- name: stranded
-- Due, and no job waits for them: theirs was given up, or is lost. Of all owners.
SELECT w.log_id, w.id FROM security_agent.write_back w
WHERE w.state = 'pending' AND w.next_attempt_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (SELECT 1 FROM jobs.procrastinate_jobs j
                    WHERE j.status IN ('todo', 'doing') AND j.task_name = %(task)s AND j.args ->> 'id' = w.id::text)
ORDER BY w.next_attempt_at LIMIT 1000;

-- name: candidates
-- Open findings with a completed analysis: what may be dismissed of them, the policy decides, one by one.
SELECT f.id FROM security_agent.finding f
WHERE f.log_id = %(log_id)s AND f.status = 'open'
    AND EXISTS (SELECT 1 FROM security_agent.analysis a
                WHERE a.log_id = f.log_id AND a.finding_id = f.id AND a.status = 'completed')
ORDER BY f.id;

-- name: wishes
SELECT enabled AND auto_dismiss, auto_dismiss_confidence FROM security_agent.owner WHERE log_id = %(log_id)s;
