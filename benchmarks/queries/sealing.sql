-- name: open
INSERT INTO permalog.log (log_id, organization_id) VALUES (%(log)s, %(organization)s) ON CONFLICT DO NOTHING;

-- name: people
-- An identity of each.
INSERT INTO permalog.identity (log_id, commitment, kind, actor_id, email, name, salt)
SELECT %(log)s, permalog.commitment(salt, 'actor', 'u_' || n, n || '@tests.example', 'Person ' || n, NULL, NULL, NULL),
       'actor', 'u_' || n, n || '@tests.example', 'Person ' || n, salt
FROM generate_series(0, %(actors)s - 1) AS n CROSS JOIN LATERAL (SELECT decode(md5('salt' || n), 'hex')) AS s (salt)
ON CONFLICT DO NOTHING;

-- name: fill
-- Events of a few hundred bytes, as if of the last year, as they come in batches of all actors.
INSERT INTO permalog.event (log_id, id, occurred_at, action, actor_type, actor_id, identity, resource_type, resource_id,
                            correlation_id, source, before_state, after_state, metadata)
SELECT %(log)s, permalog.new_id(t), t, (ARRAY['security.finding.dismissed', 'security.finding.created'])[1 + mod(n, 2)],
       'user', i.actor_id, i.commitment, 'security_finding', 'fnd_' || n, 'op_' || n / 3, 'web',
       jsonb_build_object('status', 'open'), jsonb_build_object('status', 'ignored'),
       jsonb_build_object('reason', 'tolerable_risk', 'package', 'widget-' || mod(n, 50), 'advisory', 'GHSA-8v9w-p43c-r885',
                          'note', 'some words, "quoted" at times ' || n)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
CROSS JOIN LATERAL (SELECT %(newest)s::timestamptz - (%(total)s::bigint - n) * (interval '365 days' / %(total)s::bigint)) AS time (t)
JOIN permalog.identity AS i ON i.log_id = %(log)s AND i.actor_id = 'u_' || mod(n, %(actors)s);

-- name: recorded
-- When the database took each event, in the order of their leaves.
SELECT extract(epoch FROM e.recorded_at)::float8
FROM permalog.tile AS t CROSS JOIN LATERAL unnest(t.event_ids) WITH ORDINALITY AS u (id, place)
JOIN permalog.event AS e ON e.log_id = t.log_id AND e.id = u.id
WHERE t.log_id = %(log)s AND t.level = 0 ORDER BY t.index, u.place;

-- name: bytes
-- What integrity keeps, with its indexes.
SELECT t.name, pg_total_relation_size(('permalog.' || t.name)::regclass)
FROM unnest('{tile,head,checkpoint,activity}'::text[]) AS t (name);
