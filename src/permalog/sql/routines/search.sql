-- Finding events and people in the log that the transaction is set to.

-- Search: a substring, taken literally, of any one string or number value at any depth of the metadata, or of the resource
-- type, the resource id or the correlation id; by lower() on both sides, of which `needle` is one. Numbers are as jsonb prints
-- them. Keys and the text between values do not count; nor do the commitments that stand for personal data.
CREATE OR REPLACE FUNCTION permalog.mentions(
    metadata jsonb, resource_type text, resource_id text, correlation_id text, needle text
) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF strpos(lower(resource_id), needle) > 0 OR strpos(lower(correlation_id), needle) > 0 OR strpos(lower(resource_type), needle) > 0 THEN
        RETURN true;
    ELSIF strpos(metadata::text, '"$identity"') > 0 THEN
        metadata := regexp_replace(metadata::text, '"[$]identity": "[0-9a-f]{64}"', '"": null', 'g')::jsonb;
    END IF;
    RETURN EXISTS (
        SELECT FROM jsonb_path_query(metadata, 'strict $.** ? (@.type() == "string" || @.type() == "number")') AS v
        WHERE strpos(lower(v #>> '{}'), needle) > 0);
END
$$;

-- The people who had an address when they acted, with the identities that say so; staff as one row without an id.
-- SECURITY DEFINER, since lower() is not leakproof: behind row-level security it would switch the index off. It sees
-- the one log that the reader sees, and returns nothing that they could not read. Erased people have no address.
CREATE OR REPLACE FUNCTION permalog.people_of_email(address text) RETURNS TABLE (actor_id text, commitments bytea[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN i.kind <> 'staff' THEN i.actor_id END, array_agg(i.commitment)
    FROM permalog.identity AS i
    WHERE i.log_id = nullif(current_setting('permalog.log_id', true), '')::uuid AND lower(i.email) = lower(address)
      AND (i.kind <> 'staff' OR current_setting('permalog.viewer', true) = 'staff')
    GROUP BY 1
$$;

-- Two characters that stand for a log in what is indexed: one letter each for any locale that knows more than ASCII, and hardly
-- in any text side by side. By them an index of all logs finds the events of one.
CREATE OR REPLACE FUNCTION permalog.search_mark(log_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN chr(19968 + (('x' || substr(log_id::text, 1, 4))::bit(16)::integer & 8191))
        || chr(19968 + (('x' || substr(log_id::text, 5, 4))::bit(16)::integer & 8191));

-- What the search index of a closed partition is made of: all that a search can be about, and the keys of what lies deeper,
-- which cost little and are sorted out later. One expression, so that PostgreSQL can put it in the place of the call.
CREATE OR REPLACE FUNCTION permalog.searchable(log_id uuid, resource_type text, resource_id text, correlation_id text, metadata jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN chr(19968 + (('x' || substr(log_id::text, 1, 4))::bit(16)::integer & 8191))
        || chr(19968 + (('x' || substr(log_id::text, 5, 4))::bit(16)::integer & 8191))
        || lower(E'\n' || resource_type || E'\n' || resource_id || E'\n' || coalesce(correlation_id, '') || E'\n'
                 || jsonb_path_query_array(metadata, '$.*')::text);

-- What permalog.searchable is LIKE where a value holds the needle. It may be like it elsewhere, too, and never misses: what
-- JSON escapes may stand for anything, and so may a Greek sigma, whose lower case depends on its neighbours.
CREATE OR REPLACE FUNCTION permalog.search_pattern(needle text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '%' || replace(translate(
        regexp_replace(translate(regexp_replace(needle, '[\x01-\x1f"\\]', chr(1), 'g'), 'Σσς', chr(2) || chr(2) || chr(2)), '([%_])', '\\\1', 'g'),
        chr(2), '_'), chr(1), '%') || '%';

-- Of a partition that has a search index, the first events between two ids, newest or oldest first, of which permalog.searchable
-- is like a pattern: candidates, to be looked at as the reader. One null where the index is not there (any more): then they
-- must be looked for otherwise. SECURITY DEFINER, since neither LIKE nor lower() is leakproof: behind row-level security no index
-- would be used. It sees the one log that the reader sees, and tells of its events no more than their ids.
CREATE OR REPLACE FUNCTION permalog.search(partition text, pattern text, above uuid, below uuid, newest_first boolean, most integer)
    RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan SET enable_bitmapscan = on SET enable_sort = on
    SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off AS $$
DECLARE
    log_id constant uuid := nullif(current_setting('permalog.log_id', true), '')::uuid;
BEGIN
    IF partition !~ '^event_(before|[0-9]{6}(_[0-9]+)?)$'
        OR obj_description(to_regclass('permalog.' || partition || '_search'), 'pg_class') IS DISTINCT FROM permalog.search_stamp() THEN
        RETURN NEXT NULL;
        RETURN;
    END IF;
    -- The log and the ids stand where no other index helps: this is a question for one.
    RETURN QUERY EXECUTE format(
        'SELECT e.id FROM permalog.%I AS e'
        ' WHERE permalog.searchable(e.log_id, e.resource_type, e.resource_id, e.correlation_id, e.metadata) LIKE $1'
        ' AND permalog.searchable(e.log_id, e.resource_type, e.resource_id, e.correlation_id, e.metadata) LIKE $2'
        ' AND e.log_id IS NOT DISTINCT FROM $3 AND (e.id > $4 AND e.id < $5) IS TRUE ORDER BY e.id %s LIMIT $6',
        partition, CASE WHEN newest_first THEN 'DESC' ELSE 'ASC' END)
    USING '%' || permalog.search_mark(log_id) || '%', pattern, log_id, above, below, most;
END
$$;
