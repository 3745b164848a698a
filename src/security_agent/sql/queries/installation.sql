-- GitHub App installations, and the repositories that they reach.

-- name: read
SELECT installation_id, account, account_type, permissions, repository_selection, connected_at, suspended_at, removed_at, unauthorized_at
FROM security_agent.integration WHERE log_id = %(log)s;

-- name: read_to_change
SELECT installation_id, account, account_type, permissions, repository_selection, connected_at, suspended_at, removed_at, unauthorized_at
FROM security_agent.integration WHERE log_id = %(log)s FOR NO KEY UPDATE;

-- name: save
-- What was asked for before the row was last written changes nothing, and gives no row back.
INSERT INTO security_agent.integration AS i
    (log_id, installation_id, account, account_type, permissions, repository_selection, connected_at, suspended_at, told_at)
VALUES (%(log)s, %(installation_id)s, %(account)s, %(account_type)s, %(permissions)s::jsonb, %(repository_selection)s, %(now)s, %(suspended_at)s,
        %(asked_at)s)
ON CONFLICT (log_id) DO UPDATE
SET installation_id = excluded.installation_id, account = excluded.account, account_type = excluded.account_type,
    permissions = excluded.permissions, repository_selection = excluded.repository_selection,
    connected_at = CASE WHEN i.installation_id = excluded.installation_id AND i.removed_at IS NULL THEN i.connected_at ELSE excluded.connected_at END,
    suspended_at = excluded.suspended_at, removed_at = NULL, unauthorized_at = NULL, told_at = excluded.told_at
WHERE i.told_at IS NULL OR i.told_at <= excluded.told_at
RETURNING true;

-- name: mark
-- Each stays as it is where nothing is given; the first time of a mark is kept.
UPDATE security_agent.integration
SET suspended_at = CASE WHEN %(suspended)s THEN coalesce(suspended_at, %(now)s) ELSE suspended_at END,
    removed_at = CASE WHEN %(removed)s THEN coalesce(removed_at, %(now)s) ELSE removed_at END,
    told_at = greatest(told_at, %(now)s)
WHERE log_id = %(log)s;

-- name: unauthorized
UPDATE security_agent.integration SET unauthorized_at = CASE WHEN %(unauthorized)s THEN coalesce(unauthorized_at, %(now)s) END
WHERE log_id = %(log)s AND (unauthorized_at IS NOT NULL) <> %(unauthorized)s;

-- name: owners_of
-- Of a webhook, which names an installation only: the one statement that looks through all owners' rows.
SELECT o.organization_id, o.user_id FROM security_agent.integration AS i JOIN security_agent.owner AS o ON o.log_id = i.log_id
WHERE i.installation_id = %(installation_id)s AND (i.removed_at IS NULL OR %(removed)s) ORDER BY o.log_id;

-- name: add_link
INSERT INTO security_agent.connecting (log_id, digest, created_at) VALUES (%(log)s, %(digest)s, %(now)s);

-- name: clear_links
DELETE FROM security_agent.connecting WHERE log_id = %(log)s AND created_at < %(now)s - interval '1 hour';

-- name: take_link
DELETE FROM security_agent.connecting WHERE log_id = %(log)s AND digest = %(digest)s AND created_at > %(now)s - interval '1 hour'
RETURNING created_at;
