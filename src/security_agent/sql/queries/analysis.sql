-- name: take_slot
-- Waits for whoever is taking the same slot at this moment; no row: it is taken.
INSERT INTO security_agent.analysis
    (log_id, id, finding_id, status, slot, forced, model, triggered_by, triggered_by_type, correlation_id)
VALUES (%(log_id)s, %(id)s, %(finding_id)s, 'pending', %(slot)s, %(forced)s, %(model)s, %(triggered_by)s,
    %(triggered_by_type)s, %(correlation_id)s)
ON CONFLICT (log_id, slot) WHERE slot IS NOT NULL DO NOTHING
RETURNING id;

-- name: set_status
UPDATE security_agent.finding SET analysis_status = %(status)s, analysis_id = %(id)s
WHERE log_id = %(log_id)s AND id = %(finding_id)s;

-- name: attempt
SELECT log_id, id, finding_id, status, tier, forced, model, triage, result, failure_code, token_digest, triggered_by,
    triggered_by_type, correlation_id, requested_at, started_at, finished_at
FROM security_agent.analysis WHERE log_id = %(log_id)s AND id = %(id)s;

-- name: lock_attempt
SELECT 1 FROM security_agent.analysis
WHERE log_id = %(log_id)s AND id = %(id)s AND slot IS NOT NULL FOR UPDATE;

-- name: note_triage
UPDATE security_agent.analysis
SET triage = %(triage)s, model = %(model)s, status = %(status)s, tier = %(tier)s, started_at = clock_timestamp()
WHERE log_id = %(log_id)s AND id = %(id)s;

-- name: hand_out_token
UPDATE security_agent.analysis SET token_digest = %(digest)s
WHERE log_id = %(log_id)s AND id = %(id)s AND slot IS NOT NULL
RETURNING id;

-- name: finish
UPDATE security_agent.analysis
SET status = %(status)s, slot = NULL, tier = %(tier)s, result = %(result)s, failure_code = %(failure_code)s,
    started_at = coalesce(started_at, requested_at), finished_at = clock_timestamp()
WHERE log_id = %(log_id)s AND id = %(id)s;

-- name: stale
-- One owner's, or all owners'.
SELECT a.log_id, a.id FROM security_agent.analysis a
WHERE a.slot IS NOT NULL AND (%(log_id)s::uuid IS NULL OR a.log_id = %(log_id)s)
    AND a.requested_at < clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY a.requested_at LIMIT 1000;

-- name: list
SELECT log_id, id, finding_id, status, tier, forced, model, triage, result, failure_code, token_digest, triggered_by,
    triggered_by_type, correlation_id, requested_at, started_at, finished_at
FROM security_agent.analysis
WHERE log_id = %(log_id)s AND (%(finding_id)s::uuid IS NULL OR finding_id = %(finding_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY requested_at DESC, id LIMIT %(limit)s OFFSET %(offset)s;

-- name: count
SELECT count(*) FROM security_agent.analysis
WHERE log_id = %(log_id)s AND (%(finding_id)s::uuid IS NULL OR finding_id = %(finding_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s);

-- name: latest_completed
SELECT triage, result, id FROM security_agent.analysis
WHERE log_id = %(log_id)s AND finding_id = %(finding_id)s AND status = 'completed'
ORDER BY requested_at DESC, id LIMIT 1;
