-- An owner's configuration.

-- name: ensure
INSERT INTO security_agent.owner (log_id, organization_id, user_id) VALUES (%(log)s, %(organization)s, %(user)s) ON CONFLICT DO NOTHING;

-- name: hold
-- Whoever erases the owner locks the row, and waits.
SELECT erased_at FROM security_agent.owner WHERE log_id = %(log)s FOR KEY SHARE;

-- name: read
SELECT revision, enabled, sla_critical_days, sla_high_days, sla_medium_days, sla_low_days, automatic_sync, repository_selection,
       selected_repository_ids, model, auto_dismiss, auto_dismiss_confidence, updated_at
FROM security_agent.owner WHERE log_id = %(log)s;

-- name: read_to_change
-- Whoever saves waits for who saves at the same moment, and then sees their revision.
SELECT revision, enabled, sla_critical_days, sla_high_days, sla_medium_days, sla_low_days, automatic_sync, repository_selection,
       selected_repository_ids, model, auto_dismiss, auto_dismiss_confidence, updated_at
FROM security_agent.owner WHERE log_id = %(log)s FOR NO KEY UPDATE;

-- name: policy
-- Findings that are created have the deadlines of the policy that is in force; it changes before them or after them.
SELECT sla_critical_days, sla_high_days, sla_medium_days, sla_low_days FROM security_agent.owner WHERE log_id = %(log)s FOR SHARE;

-- name: save
UPDATE security_agent.owner
SET revision = %(revision)s, enabled = %(enabled)s, sla_critical_days = %(sla_critical_days)s, sla_high_days = %(sla_high_days)s,
    sla_medium_days = %(sla_medium_days)s, sla_low_days = %(sla_low_days)s, automatic_sync = %(automatic_sync)s,
    repository_selection = %(repository_selection)s, selected_repository_ids = %(selected_repository_ids)s, model = %(model)s,
    auto_dismiss = %(auto_dismiss)s, auto_dismiss_confidence = %(auto_dismiss_confidence)s,
    updated_by = %(updated_by)s, updated_at = %(updated_at)s
WHERE log_id = %(log)s;

-- name: unknown_repositories
-- Which of these the owner has no repository of.
SELECT id FROM unnest(%(ids)s::bigint[]) AS id
WHERE NOT EXISTS (SELECT FROM security_agent.repository AS r WHERE r.log_id = %(log)s AND r.repository_id = id)
ORDER BY id;
