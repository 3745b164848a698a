-- The embedded server.

-- name: others_connected
-- Whether anybody but this session is connected.
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid());
