-- Forgetting. Run by a login that is granted permalog_privacy.

-- name: bar_user
SELECT permalog.bar_user(%(user)s);

-- name: bar_organization
SELECT permalog.bar_organization(%(organization)s);

-- name: alone
SELECT permalog.erase_alone();

-- name: writers
-- The transactions that have written events or identities, and by which process: they hold this lock until they end. But for
-- erasures, which take turns.
SELECT w.virtualtransaction, w.pid FROM pg_locks AS w
WHERE w.locktype = 'relation' AND w.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND w.relation IN ('permalog.event'::regclass, 'permalog.identity'::regclass) AND w.mode = 'RowExclusiveLock' AND w.granted
  AND w.pid IS DISTINCT FROM pg_backend_pid()
  AND NOT EXISTS (SELECT FROM pg_locks AS e WHERE e.virtualtransaction = w.virtualtransaction AND e.granted
                  AND e.locktype = 'advisory' AND (e.classid, e.objid, e.objsubid) = (1885696621, 1, 2));

-- name: user
SELECT log_id, organization_id, user_id, identities, removed
FROM permalog.erase_user(%(user)s, %(actor)s::json, %(dry_run)s, %(also)s, %(staff)s);

-- name: organization
SELECT log_id, organization_id, user_id, identities, removed FROM permalog.erase_organization(%(organization)s, %(dry_run)s);

-- name: told_by
SELECT DISTINCT email, name FROM permalog.identity WHERE log_id = %(log)s AND actor_id = %(user)s;
