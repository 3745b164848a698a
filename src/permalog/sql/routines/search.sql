-- Search: a substring, taken literally, of any one string or number value at any depth of the metadata, or of the resource
-- type, the resource id or the correlation id; by lower() on both sides. Keys and the text between values do not count.
--
-- `needle` is lower(what is searched for); `escaped` is the same as it stands inside jsonb's text, or null where lower()
-- depends on neighbours (the Greek sigma), and the quick first test on the whole text could then miss a value.
CREATE OR REPLACE FUNCTION permalog.mentions(
    metadata jsonb, resource_type text, resource_id text, correlation_id text, needle text, escaped text
) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF strpos(lower(resource_id), needle) > 0 OR strpos(lower(correlation_id), needle) > 0 OR strpos(lower(resource_type), needle) > 0 THEN
        RETURN true;
    ELSIF escaped IS NOT NULL AND strpos(lower(metadata::text), escaped) = 0 THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM jsonb_path_query(metadata, 'strict $.**') AS v
        WHERE jsonb_typeof(v) IN ('string', 'number') AND strpos(lower(v #>> '{}'), needle) > 0);
END
$$;
