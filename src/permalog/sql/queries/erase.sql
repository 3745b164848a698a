-- Forgetting. Run by a login that is granted permalog_privacy.

-- name: user
SELECT log_id, organization_id, user_id, identities, removed FROM permalog.erase_user(%(user)s, %(actor)s::json, %(dry_run)s);

-- name: organization
SELECT log_id, organization_id, user_id, identities, removed FROM permalog.erase_organization(%(organization)s, %(dry_run)s);
