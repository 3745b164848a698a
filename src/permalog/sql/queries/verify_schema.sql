-- The guards of the database as they are, line by line: kind, object, text. as_migrated.tsv has them as migrations make them.
-- Catalogues of PostgreSQL that every login may read. What a partition has is told of `event_*`, whichever month it is.

-- name: settings
-- Names are written with their schema only where the path does not lead to them.
SET LOCAL search_path = pg_catalog; SET LOCAL extra_float_digits = 1; SET LOCAL quote_all_identifiers = off;

-- name: guards
WITH rel AS (
    SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
           CASE WHEN c.relispartition THEN c.relname ELSE '' END AS partition,
           CASE WHEN c.relispartition THEN 'event_*' ELSE c.relname END AS shown
    FROM pg_class AS c WHERE c.relkind NOT IN ('i', 'I', 't') AND (c.relnamespace = 'permalog'::regnamespace
        OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'permalog.event'::regclass))
), line (kind, object, partition, text) AS (
    SELECT 'table', shown, partition, format('%s %s', relkind, relpersistence) FROM rel
    -- The rows of a child are read with its parent's, and have neither its keys nor its triggers.
    UNION ALL SELECT 'table', format('%s of %s', i.inhrelid::regclass, rel.relname), '', 'inherits'
        FROM rel JOIN pg_inherits AS i ON i.inhparent = rel.oid JOIN pg_class AS c ON c.oid = i.inhrelid WHERE NOT c.relispartition
    UNION ALL SELECT 'owner', shown, partition, pg_get_userbyid(relowner) FROM rel
    UNION ALL SELECT 'owner', 'schema', '', pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'permalog'
    UNION ALL SELECT 'owner', p.oid::regprocedure::text, '', pg_get_userbyid(p.proowner) FROM pg_proc AS p WHERE p.pronamespace = 'permalog'::regnamespace
    UNION ALL SELECT 'policy', shown, partition, format('row security %s, forced %s', relrowsecurity, relforcerowsecurity) FROM rel WHERE relkind IN ('r', 'p')
    UNION ALL SELECT 'policy', shown || '.' || p.polname, partition, format('%s permissive %s to %s using %s check %s', p.polcmd, p.polpermissive,
            (SELECT string_agg(coalesce(r.rolname, 'PUBLIC'), ', ' ORDER BY r.rolname) FROM unnest(p.polroles) AS o LEFT JOIN pg_roles AS r ON r.oid = o),
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        FROM rel JOIN pg_policy AS p ON p.polrelid = rel.oid
    UNION ALL SELECT 'column', shown || '.' || a.attname, partition, format('%s%s %s', format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN ' not null' END, coalesce(pg_get_expr(d.adbin, d.adrelid), ''))
        FROM rel JOIN pg_attribute AS a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL SELECT 'constraint', shown || '.' || regexp_replace(c.conname, '^event_(before|[0-9]{6}(_[0-9]+)?)_', 'event_*_'), partition,
            CASE c.conname WHEN 'event_action' THEN 'as the catalogue' ELSE pg_get_constraintdef(c.oid) || ' ' || c.convalidated END
        FROM rel JOIN pg_constraint AS c ON c.conrelid = rel.oid AND c.contype NOT IN ('n', 't')
    UNION ALL SELECT 'index', regexp_replace(i.relname, '^event_(before|[0-9]{6}(_[0-9]+)?)_', 'event_*_'), partition,
            regexp_replace(pg_get_indexdef(x.indexrelid), 'event_(before|[0-9]{6}(_[0-9]+)?)', 'event_*', 'g') || CASE WHEN x.indisvalid AND x.indisready THEN '' ELSE ' invalid' END
        FROM rel JOIN pg_index AS x ON x.indrelid = rel.oid JOIN pg_class AS i ON i.oid = x.indexrelid
    UNION ALL SELECT 'trigger', shown || '.' || t.tgname, partition, t.tgenabled::text || ' ' || replace(pg_get_triggerdef(t.oid), 'permalog.' || relname, 'permalog.' || shown)
        FROM rel JOIN pg_trigger AS t ON t.tgrelid = rel.oid AND NOT t.tgisinternal
    UNION ALL SELECT 'rule', shown || '.' || r.rulename, partition, format('%s %s', r.ev_type, r.ev_enabled)
        FROM rel JOIN pg_rewrite AS r ON r.ev_class = rel.oid
    UNION ALL SELECT 'function', p.oid::regprocedure::text, '', format('%s %s %s %s %s%s%s %s %s %s %s', l.lanname, p.prokind, p.provolatile, p.proparallel,
            CASE WHEN p.proisstrict THEN 'strict ' END, CASE WHEN p.proleakproof THEN 'leakproof ' END, format_type(p.prorettype, NULL), coalesce(pg_get_expr(p.proargdefaults, 0), ''),
            CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END, p.proconfig::text, encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), 'UTF8')), 'hex'))
        FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang WHERE p.pronamespace = 'permalog'::regnamespace
    UNION ALL SELECT 'grant', 'schema', '', format('%s %s%s', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END, g.privilege_type, CASE WHEN g.is_grantable THEN ' grantable' END)
        FROM pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS g WHERE n.nspname = 'permalog'
    UNION ALL SELECT 'grant', shown, partition, format('%s %s%s', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END, g.privilege_type, CASE WHEN g.is_grantable THEN ' grantable' END)
        FROM rel, aclexplode(coalesce(rel.relacl, acldefault('r', rel.relowner))) AS g
        WHERE NOT (g.grantee = rel.relowner AND g.privilege_type = 'MAINTAIN')   -- from PostgreSQL 17 on
    UNION ALL SELECT 'grant', shown || '.' || a.attname, partition, format('%s %s%s', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END, g.privilege_type, CASE WHEN g.is_grantable THEN ' grantable' END)
        FROM rel JOIN pg_attribute AS a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped, aclexplode(a.attacl) AS g
    UNION ALL SELECT 'grant', p.oid::regprocedure::text, '', format('%s %s%s', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END, g.privilege_type, CASE WHEN g.is_grantable THEN ' grantable' END)
        FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS g WHERE p.pronamespace = 'permalog'::regnamespace
    UNION ALL SELECT 'grant', 'by default', '', format('%s %s', d.defaclobjtype, g::text)
        FROM pg_default_acl AS d, unnest(d.defaclacl) AS g WHERE d.defaclnamespace = 'permalog'::regnamespace
    UNION ALL SELECT 'role', rolname, '', format('login %s, superuser %s, bypasses row security %s', rolcanlogin, rolsuper, rolbypassrls)
        FROM pg_roles WHERE rolname ~ '^permalog_'
    -- Who may become the eraser, or one of these another of them. A member that can only grant the role is none.
    UNION ALL SELECT 'role', r.rolname || ' of ' || m.rolname, '', 'member'
        FROM pg_auth_members AS a JOIN pg_roles AS r ON r.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
        WHERE r.rolname ~ '^permalog_' AND (r.rolname = 'permalog_eraser' OR m.rolname ~ '^permalog_')
          AND (coalesce((to_jsonb(a) ->> 'set_option')::boolean, true) OR coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, true))
)
SELECT DISTINCT kind, object, partition, text FROM line;

-- name: partitions
-- The parts of the events, and where each begins and ends; those that are none any more have no bounds.
SELECT c.relname, coalesce(pg_get_expr(c.relpartbound, c.oid), '') FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
WHERE i.inhparent = 'permalog.event'::regclass
   OR (c.relnamespace = 'permalog'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname ~ '^event_(before|[0-9]{6}(_[0-9]+)?)$')
ORDER BY 1;

-- name: now
-- The smallest id of this millisecond.
SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid::text;
