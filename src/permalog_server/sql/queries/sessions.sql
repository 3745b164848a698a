-- Sessions: who is signed in to the pages.

-- name: admit
-- The same columns as those of a token: see accounts.sql.
SELECT s.digest, s.user_id, p.email, p.name, p.staff, %(scopes)s::text[], NULL::uuid,
       s.expires_at <= clock_timestamp() OR s.last_used_at <= clock_timestamp() - make_interval(secs => %(idle)s) AS expired,
       p.deleted_at IS NOT NULL AS revoked, s.last_used_at < clock_timestamp() - interval '1 minute' AS stale,
       m.role, o.organization_id IS NOT NULL AS organization_exists
FROM accounts.session AS s
JOIN accounts.person AS p ON p.user_id = s.user_id
LEFT JOIN accounts.organization AS o ON o.organization_id = %(organization)s AND o.deleted_at IS NULL
LEFT JOIN accounts.membership AS m ON m.organization_id = o.organization_id AND m.user_id = s.user_id
WHERE s.session_id = %(token)s;

-- name: touch
UPDATE accounts.session SET last_used_at = date_trunc('minute', clock_timestamp())
WHERE session_id = %(token)s AND last_used_at < date_trunc('minute', clock_timestamp());

-- name: begin
-- Nobody who was deleted, or is not known.
INSERT INTO accounts.session (session_id, user_id, digest, expires_at)
SELECT %(session)s, user_id, %(digest)s, clock_timestamp() + make_interval(secs => %(seconds)s)
FROM accounts.person WHERE user_id = %(user)s AND deleted_at IS NULL
RETURNING expires_at;

-- name: end
DELETE FROM accounts.session WHERE session_id = %(session)s RETURNING user_id;

-- name: sweep
DELETE FROM accounts.session WHERE expires_at < clock_timestamp();

-- name: sweep_links
DELETE FROM accounts.sign_in_link WHERE expires_at < clock_timestamp();

-- name: add_link
INSERT INTO accounts.sign_in_link (digest, user_id, expires_at)
VALUES (%(digest)s, %(user)s, clock_timestamp() + make_interval(secs => %(seconds)s));

-- name: use_link
-- Whoever deletes the row has used it: nobody does so twice.
DELETE FROM accounts.sign_in_link WHERE digest = %(digest)s RETURNING user_id, expires_at > clock_timestamp();

-- name: organizations
-- Those that somebody may choose from: all for staff, else those of which they are a member.
SELECT o.organization_id, o.name, m.role
FROM accounts.organization AS o
LEFT JOIN accounts.membership AS m ON m.organization_id = o.organization_id AND m.user_id = %(user)s
WHERE o.deleted_at IS NULL AND (m.role IS NOT NULL OR %(staff)s)
ORDER BY o.name NULLS LAST, o.organization_id
LIMIT %(most)s;

-- name: name_organization
UPDATE accounts.organization SET name = %(name)s WHERE organization_id = %(organization)s AND deleted_at IS NULL;
