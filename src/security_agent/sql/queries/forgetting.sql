-- Forgetting: every column that migrations/0001_agent.sql marks PERSON.

-- name: forget_person
-- `texts`: addresses and names of theirs. What they dismissed stays dismissed; who did it, and their words, go.
WITH saved AS (UPDATE security_agent.owner SET updated_by = NULL WHERE updated_by = %(user)s RETURNING 1),
     dismissed AS (
         UPDATE security_agent.finding
         SET ignored_comment = NULL,
             ignored_by = CASE WHEN (ignored_by = %(user)s AND ignored_by_type <> 'github') OR ignored_by = ANY(%(texts)s) THEN NULL ELSE ignored_by END
         WHERE (ignored_by = %(user)s AND ignored_by_type <> 'github') OR ignored_by = ANY(%(texts)s)
            OR EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS t WHERE position(lower(t) IN lower(ignored_comment)) > 0)
         RETURNING 1),
     started AS (UPDATE security_agent.analysis SET triggered_by = NULL WHERE triggered_by = %(user)s RETURNING 1),
     written AS (
         UPDATE security_agent.write_back SET comment = NULL, requested_by = NULL
         WHERE requested_by = %(user)s OR EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS t WHERE position(lower(t) IN lower(comment)) > 0)
         RETURNING 1)
SELECT (SELECT count(*) FROM saved) + (SELECT count(*) FROM dismissed) + (SELECT count(*) FROM started) + (SELECT count(*) FROM written);

-- name: forget_in_alerts
-- What GitHub told of people, where it holds one of the texts.
UPDATE security_agent.finding SET raw_people = '{}'
WHERE raw_people <> '{}' AND EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS t WHERE position(lower(t) IN lower(raw_people::text)) > 0);

-- name: wait_for_owner
SELECT FROM security_agent.owner WHERE log_id = %(log)s FOR UPDATE;

-- name: forget_owner
WITH findings AS (DELETE FROM security_agent.finding WHERE log_id = %(log)s),
     repositories AS (DELETE FROM security_agent.repository WHERE log_id = %(log)s),
     integrations AS (DELETE FROM security_agent.integration WHERE log_id = %(log)s),
     deliveries AS (DELETE FROM security_agent.delivery WHERE log_id = %(log)s),
     links AS (DELETE FROM security_agent.connecting WHERE log_id = %(log)s),
     syncs AS (DELETE FROM security_agent.sync WHERE log_id = %(log)s)
INSERT INTO security_agent.owner AS o (log_id, organization_id, user_id, erased_at)
VALUES (%(log)s, %(organization)s, %(user)s, clock_timestamp())
ON CONFLICT (log_id) DO UPDATE
SET erased_at = coalesce(o.erased_at, excluded.erased_at), enabled = false, updated_by = NULL, model = NULL, selected_repository_ids = '{}';
