-- Accounts: who somebody is, and what they may do.

-- name: admit
-- Everything that a request's admission needs, in one round trip: the token, its holder, and the holder's role in the
-- organisation of the route (null: a personal route, or not a member).
SELECT t.digest, t.user_id, p.email, p.name, p.staff, t.scopes, t.organization_id, t.expires_at <= clock_timestamp() AS expired,
       t.revoked_at IS NOT NULL OR p.deleted_at IS NOT NULL AS revoked,
       coalesce(t.last_used_at < clock_timestamp() - interval '1 minute', true) AS stale, m.role, o.organization_id IS NOT NULL AS organization_exists
FROM accounts.token AS t
JOIN accounts.person AS p ON p.user_id = t.user_id
LEFT JOIN accounts.organization AS o ON o.organization_id = %(organization)s AND o.deleted_at IS NULL
LEFT JOIN accounts.membership AS m ON m.organization_id = o.organization_id AND m.user_id = t.user_id
WHERE t.token_id = %(token)s;

-- name: touch
-- Who waited for another that did the same finds nothing left to do.
UPDATE accounts.token SET last_used_at = date_trunc('minute', clock_timestamp())
WHERE token_id = %(token)s AND coalesce(last_used_at < date_trunc('minute', clock_timestamp()), true);

-- name: set_aside
-- Takes `wanted` requests of a minute's allowance (minutes since 1970, by the service's clock: it also says when to ask again);
-- returns how many had been taken before.
INSERT INTO accounts.allowance AS a (token_id, minute, taken) VALUES (%(token)s, to_timestamp(%(minute)s::bigint * 60), %(wanted)s)
ON CONFLICT (token_id, minute) DO UPDATE SET taken = a.taken + excluded.taken
RETURNING taken - %(wanted)s;

-- name: clear_allowances
DELETE FROM accounts.allowance WHERE minute < to_timestamp((%(minute)s::bigint - 5) * 60);

-- name: ensure_person
-- What is given replaces what was known; what is not given stays.
INSERT INTO accounts.person AS p (user_id, email, name, staff) VALUES (%(user)s, %(email)s, %(name)s, %(staff)s)
ON CONFLICT (user_id) DO UPDATE
SET email = coalesce(excluded.email, p.email), name = coalesce(excluded.name, p.name), staff = p.staff OR excluded.staff
WHERE p.deleted_at IS NULL
RETURNING staff;

-- name: ensure_organization
INSERT INTO accounts.organization (organization_id) VALUES (%(organization)s) ON CONFLICT DO NOTHING;

-- name: organization_state
SELECT deleted_at IS NOT NULL FROM accounts.organization WHERE organization_id = %(organization)s;

-- name: ensure_membership
-- Returns whether the role is new or another than before.
INSERT INTO accounts.membership AS m (organization_id, user_id, role) VALUES (%(organization)s, %(user)s, %(role)s)
ON CONFLICT (organization_id, user_id) DO UPDATE SET role = excluded.role WHERE m.role <> excluded.role
RETURNING role;

-- name: add_token
INSERT INTO accounts.token (token_id, user_id, organization_id, scopes, digest, expires_at)
VALUES (%(token)s, %(user)s, %(organization)s, %(scopes)s, %(digest)s, %(expires)s);

-- name: standing
SELECT p.email, p.name, p.staff, m.role
FROM accounts.person AS p
LEFT JOIN accounts.membership AS m ON m.user_id = p.user_id AND m.organization_id = %(organization)s
WHERE p.user_id = %(user)s AND p.deleted_at IS NULL;

-- name: tokens
SELECT token_id, user_id, organization_id, scopes, created_at, expires_at, last_used_at, revoked_at
FROM accounts.token WHERE %(user)s::text IS NULL OR user_id = %(user)s ORDER BY created_at, token_id;

-- name: revoke
UPDATE accounts.token SET revoked_at = clock_timestamp() WHERE token_id = %(token)s AND revoked_at IS NULL RETURNING user_id, organization_id;

-- name: operator
SELECT organization_id FROM accounts.organization WHERE operator;

-- name: organization_exists
SELECT EXISTS (SELECT FROM accounts.organization WHERE organization_id = %(organization)s AND deleted_at IS NULL);

-- name: forget_person
WITH tokens AS (UPDATE accounts.token SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE user_id = %(user)s RETURNING 1),
     memberships AS (DELETE FROM accounts.membership WHERE user_id = %(user)s RETURNING 1),
     sessions AS (DELETE FROM accounts.session WHERE user_id = %(user)s RETURNING 1),
     links AS (DELETE FROM accounts.sign_in_link WHERE user_id = %(user)s RETURNING 1),
     person AS (INSERT INTO accounts.person AS p (user_id, deleted_at) VALUES (%(user)s, clock_timestamp())
                ON CONFLICT (user_id) DO UPDATE SET email = NULL, name = NULL, deleted_at = coalesce(p.deleted_at, clock_timestamp()) RETURNING 1)
SELECT (SELECT count(*) FROM tokens), (SELECT count(*) FROM memberships);

-- name: forget_organization
WITH tokens AS (UPDATE accounts.token SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE organization_id = %(organization)s RETURNING 1),
     memberships AS (DELETE FROM accounts.membership WHERE organization_id = %(organization)s RETURNING 1),
     organization AS (UPDATE accounts.organization SET deleted_at = coalesce(deleted_at, clock_timestamp()), name = NULL WHERE organization_id = %(organization)s RETURNING 1)
SELECT (SELECT count(*) FROM tokens), (SELECT count(*) FROM memberships);

-- name: is_noticed
-- Without a lock: most of what is noticed was noticed before.
SELECT true FROM accounts.notice WHERE digest = %(digest)s AND until > clock_timestamp();

-- name: notice
-- Whether this is the first time within the window that something is noticed.
INSERT INTO accounts.notice AS n (digest, until) VALUES (%(digest)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (digest) DO UPDATE SET until = excluded.until WHERE n.until <= clock_timestamp()
RETURNING true;

-- name: clear_notices
DELETE FROM accounts.notice WHERE until < clock_timestamp() - interval '1 hour';

-- name: account_of
-- What erasing somebody has to know of their account, whether or not there is one.
SELECT p.user_id IS NOT NULL, array_remove(ARRAY[p.email, p.name], NULL), coalesce(p.staff, false),
       (SELECT count(*) FROM accounts.token WHERE user_id = %(user)s AND revoked_at IS NULL),
       ARRAY(SELECT organization_id FROM accounts.membership WHERE user_id = %(user)s)
FROM (SELECT) AS one LEFT JOIN accounts.person AS p ON p.user_id = %(user)s AND p.deleted_at IS NULL;

-- name: organization_counts
SELECT EXISTS (SELECT FROM accounts.organization WHERE organization_id = %(organization)s AND deleted_at IS NULL),
       (SELECT count(*) FROM accounts.token WHERE organization_id = %(organization)s AND revoked_at IS NULL),
       (SELECT count(*) FROM accounts.membership WHERE organization_id = %(organization)s);
