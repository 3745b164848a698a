-- name: open
INSERT INTO permalog.log (log_id, organization_id) VALUES (%(log)s, %(organization)s) ON CONFLICT DO NOTHING;

-- name: fill
-- Events of a few hundred bytes, two seconds apart, as if of the last weeks; a hundred people, an identity of each.
WITH who AS (
    SELECT n, decode(md5('salt' || n), 'hex') AS salt FROM generate_series(0, 99) AS n
), identity AS (
    INSERT INTO permalog.identity (log_id, commitment, kind, actor_id, email, name, salt)
    SELECT %(log)s, permalog.commitment(salt, 'actor', 'u_' || n, n || '@tests.example', 'Person ' || n, NULL, NULL, NULL),
           'actor', 'u_' || n, n || '@tests.example', 'Person ' || n, salt
    FROM who ON CONFLICT DO NOTHING RETURNING commitment, actor_id
), there AS (
    SELECT commitment, actor_id FROM identity
    UNION SELECT commitment, actor_id FROM permalog.identity WHERE log_id = %(log)s
)
INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, actor_id, identity, resource_type, resource_id,
                            correlation_id, source, before_state, after_state, metadata)
SELECT %(log)s, permalog.new_id(t), t, 'security.finding.dismissed', 'user', i.actor_id, i.commitment, 'security_finding',
       'fnd_' || n, 'op_' || n / 3, 'web', jsonb_build_object('status', 'open'), jsonb_build_object('status', 'ignored'),
       jsonb_build_object('reason', 'tolerable_risk', 'package', 'widget-' || mod(n, 50), 'advisory', 'GHSA-8v9w-p43c-r885',
                          'note', 'some words, "quoted" at times ' || n)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
CROSS JOIN LATERAL (SELECT %(newest)s::timestamptz - (%(total)s::bigint - n) * interval '2 seconds') AS time (t)
JOIN there AS i ON i.actor_id = 'u_' || mod(n, 100);
