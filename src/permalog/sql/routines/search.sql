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
