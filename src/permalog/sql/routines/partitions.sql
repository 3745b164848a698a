-- The parts of the event table: made ahead, cut by volume, and indexed for search once they are closed.
--
-- Each step is one transaction, done by one session at a time, and none waits for a lock for longer than a writer may be kept
-- waiting behind it. They are the owner's (DDL is), take nothing that could do harm, and are called as permalog_sealer.

-- Every partition, where its ids begin (null: at the beginning of time) and which id is beyond it. is_searchable: whether its
-- search index is there and was built by the rules of today. From PostgreSQL's catalogues, so that it is always so.
CREATE OR REPLACE FUNCTION permalog.partitions() RETURNS TABLE (name text, first_id uuid, next_id uuid, is_searchable boolean)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH stamp AS MATERIALIZED (SELECT permalog.search_stamp() AS now)
    SELECT c.relname::text, substring(b.text FROM 'FROM [(]''([0-9a-f-]{36})''[)]')::uuid, substring(b.text FROM 'TO [(]''([0-9a-f-]{36})''[)]')::uuid,
           coalesce(obj_description(to_regclass('permalog.' || quote_ident(c.relname || '_search')), 'pg_class') = stamp.now, false)
    FROM stamp CROSS JOIN pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (text)
    WHERE i.inhparent = to_regclass('permalog.event')
$$;

-- Makes the months that are missing ahead; how many were made, null where another session is at it.
CREATE OR REPLACE FUNCTION permalog.add_partitions() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1500ms' AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(1885696609, 1) THEN
        RETURN NULL;
    ELSIF to_regclass('permalog.event_' || to_char((clock_timestamp() AT TIME ZONE 'UTC') + interval '12 months', 'YYYYMM')) IS NOT NULL THEN
        RETURN 0;
    END IF;
    RETURN permalog.make_partitions();
END
$$;

-- Cuts the partition of the present in two, a moment from now, once it holds `largest` events of one log or `total` of all:
-- what is before the cut is closed then, and can be indexed. The name of the new one; null where there is nothing to do.
--
-- Events are neither moved nor seen to be gone: the partition leaves and joins again in one transaction, whose lock lasts as
-- long as it takes to read through it once.
CREATE OR REPLACE FUNCTION permalog.cut_partition(largest bigint DEFAULT 100000, total bigint DEFAULT 1000000) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '1500ms' AS $$
DECLARE
    part   record;
    counts record;
    newest uuid;
    cut    uuid;
    made   text;
BEGIN
    largest := greatest(largest, 1000);   -- whoever calls this cannot make partitions at will
    total := greatest(total, 1000);
    IF NOT pg_try_advisory_xact_lock(1885696609, 1) THEN
        RETURN NULL;
    END IF;
    SELECT p.* INTO part FROM permalog.partitions() AS p
    WHERE p.first_id <= permalog.id_floor(clock_timestamp()) AND p.next_id > permalog.id_floor(clock_timestamp());
    -- No event is smaller than a hundred bytes: a look at the file spares counting, mostly.
    IF NOT FOUND OR pg_relation_size(to_regclass('permalog.' || quote_ident(part.name))) < 100 * least(largest, total) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT max(l.events) AS one, sum(l.events) AS every FROM (SELECT count(*) AS events FROM permalog.%I GROUP BY log_id) AS l',
                   part.name) INTO counts;
    IF coalesce(counts.one, 0) < largest AND coalesce(counts.every, 0) < total THEN
        RETURN NULL;
    END IF;
    LOCK TABLE ONLY permalog.event IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('SELECT id FROM permalog.%I ORDER BY id DESC LIMIT 1', part.name) INTO newest;
    -- Behind the newest event there is, whose clock may be ahead.
    cut := permalog.id_floor(date_trunc('second', greatest(clock_timestamp(), permalog.id_time(newest))) + interval '1 second');
    IF cut >= part.next_id THEN
        RETURN NULL;   -- its end is near anyway
    END IF;
    SELECT left(part.name, 12) || '_' || lpad((count(*) + 1)::text, greatest(2, length((count(*) + 1)::text)), '0') INTO made
    FROM permalog.partitions() AS p WHERE left(p.name, 12) = left(part.name, 12);
    EXECUTE format('ALTER TABLE permalog.event DETACH PARTITION permalog.%I', part.name);
    EXECUTE format('ALTER TABLE permalog.event ATTACH PARTITION permalog.%I FOR VALUES FROM (%L) TO (%L)', part.name, part.first_id, cut);
    EXECUTE format('CREATE TABLE permalog.%I PARTITION OF permalog.event FOR VALUES FROM (%L) TO (%L)', made, cut, part.next_id);
    PERFORM permalog.guard_partition(('permalog.' || quote_ident(made))::regclass);
    RETURN made;
END
$$;

-- Builds the search index of a closed partition, or builds it anew where the rules have changed since (permalog.search_stamp).
-- Whoever writes to the partition meanwhile, with an event from before its end, waits. False where there is nothing to do, or
-- another session is at it.
CREATE OR REPLACE FUNCTION permalog.index_partition(partition text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1500ms' SET client_min_messages = warning AS $$
DECLARE
    -- Of the extension itself: an operator class of this name in somebody's schema must not run as the owner.
    class constant text := (SELECT format('%I.%I', n.nspname, o.opcname)
        FROM pg_opclass AS o JOIN pg_namespace AS n ON n.oid = o.opcnamespace
        JOIN pg_depend AS d ON d.classid = 'pg_opclass'::regclass AND d.objid = o.oid AND d.deptype = 'e'
        JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pg_trgm'
        WHERE o.opcname = 'gin_trgm_ops');
BEGIN
    IF NOT pg_try_advisory_xact_lock(1885696609, 2) OR NOT EXISTS (
        SELECT FROM permalog.partitions() AS p
        WHERE p.name = partition AND NOT p.is_searchable AND p.next_id <= permalog.id_floor(clock_timestamp())
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP INDEX IF EXISTS permalog.%I', partition || '_search');
    EXECUTE format('CREATE INDEX %I ON permalog.%I USING gin (permalog.searchable(log_id, resource_type, resource_id, correlation_id, metadata) %s)',
                   partition || '_search', partition, class);
    EXECUTE format('COMMENT ON INDEX permalog.%I IS %L', partition || '_search', permalog.search_stamp());
    RETURN true;
END
$$;

-- By which rules a search index is built: it would miss what another PostgreSQL, another locale or another permalog.searchable
-- makes of the same text.
CREATE OR REPLACE FUNCTION permalog.search_stamp() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s %s %s %s %s', current_setting('server_version_num')::integer / 10000, d.datctype, d.datlocprovider,
                  coalesce(pg_database_collation_actual_version(d.oid), '-'),
                  left(md5(pg_get_functiondef('permalog.searchable(uuid,text,text,text,jsonb)'::regprocedure)), 8))
    FROM pg_database AS d WHERE d.datname = current_database()
$$;
