-- What the doctor asks. Catalogues of PostgreSQL that every login may read, so that a weak login can be examined, too.

-- name: server
SELECT pg_encoding_to_char(encoding), datctype, to_regclass('permalog.event') IS NOT NULL,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm'), current_user
FROM pg_database WHERE datname = current_database();

-- name: months_ahead
-- How many whole months after this one have a partition.
SELECT count(*) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'permalog.event'::regclass AND c.relname ~ '^event_[0-9]{6}$'
  AND c.relname > 'event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM');

-- name: search_indexes
-- Of the closed partitions that hold something: how many there are, and how many wait for their search index.
SELECT count(*), count(*) FILTER (WHERE NOT p.is_searchable) FROM permalog.partitions() AS p
WHERE p.next_id <= permalog.id_floor(clock_timestamp()) AND pg_relation_size(to_regclass('permalog.' || quote_ident(p.name))) > 0;

-- name: roles
-- The roles that are missing, and those of which this login is no member.
SELECT coalesce(array_agg(name) FILTER (WHERE r.oid IS NULL), '{}'),
       coalesce(array_agg(name) FILTER (WHERE NOT pg_has_role(r.oid, 'MEMBER')), '{}')
FROM unnest(%(roles)s::text[]) AS name LEFT JOIN pg_roles AS r ON r.rolname = name;

-- name: owned_by_logins
-- Tables and functions whose owner can log in, and could therefore change them unseen.
SELECT r.rolname, count(*)
FROM (SELECT relowner AS owner FROM pg_class WHERE relnamespace = 'permalog'::regnamespace AND relkind IN ('r', 'p')
      UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'permalog'::regnamespace
      UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'permalog') AS o
JOIN pg_roles AS r ON r.oid = o.owner WHERE r.rolcanlogin GROUP BY 1 ORDER BY 1;

-- name: triggers_missing
-- Triggers that must be there and hold under session_replication_role = replica (tgenabled A), on every partition, too.
WITH guarded (tab, trig) AS (
    VALUES ('event', 'refuse_change'), ('event', 'refuse_truncate'), ('event', 'note_unsealed'),
           ('identity', 'refuse_change'), ('identity', 'refuse_truncate'), ('identity', 'blank_erased'),
           ('event_key', 'refuse_change'), ('event_key', 'refuse_truncate'), ('log', 'refuse_change'), ('log', 'refuse_truncate'),
           ('unsealed', 'refuse_truncate'), ('erased_actor', 'refuse_change'), ('erased_actor', 'refuse_truncate'),
           ('catalogue', 'refuse_delete'), ('catalogue', 'refuse_truncate'),
           ('head', 'refuse_loss'), ('head', 'refuse_truncate'), ('tile', 'refuse_loss'), ('tile', 'refuse_truncate'),
           ('activity', 'refuse_loss'), ('activity', 'refuse_truncate'), ('checkpoint', 'refuse_change'), ('checkpoint', 'refuse_truncate'),
           ('cosignature', 'refuse_change'), ('cosignature', 'refuse_truncate'), ('anchor', 'refuse_change'), ('anchor', 'refuse_truncate'),
           ('anchor_leaf', 'refuse_change'), ('anchor_leaf', 'refuse_truncate'),
           ('anchor_publication', 'refuse_change'), ('anchor_publication', 'refuse_truncate')
), expected AS (
    SELECT to_regclass('permalog.' || tab) AS rel, tab, trig FROM guarded
    UNION ALL
    SELECT c.oid, c.relname, g.trig FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    JOIN guarded AS g ON g.tab = 'event' WHERE i.inhparent = 'permalog.event'::regclass
)
SELECT e.tab || '.' || e.trig FROM expected AS e
LEFT JOIN pg_trigger AS t ON t.tgrelid = e.rel AND t.tgname = e.trig
WHERE t.tgenabled IS DISTINCT FROM 'A' ORDER BY 1;

-- name: tables_without_row_security
SELECT tab FROM unnest('{event,identity,log,event_key,unsealed,head,tile,checkpoint,cosignature,activity,anchor_leaf}'::text[]) AS tab
LEFT JOIN pg_class AS c ON c.oid = to_regclass('permalog.' || tab)
WHERE c.relrowsecurity IS NOT TRUE
   OR NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid) ORDER BY 1;

-- name: actions_not_admitted
-- Of the declared actions, those that the event table's CHECK refuses.
SELECT name FROM unnest(%(declared)s::text[]) AS name
EXCEPT
SELECT unnest(string_to_array(substring(pg_get_constraintdef(oid) FROM '[{](.*)[}]'), ',')) FROM pg_constraint
WHERE conrelid = 'permalog.event'::regclass AND conname = 'event_action'
ORDER BY 1;

-- name: now
SELECT clock_timestamp();
