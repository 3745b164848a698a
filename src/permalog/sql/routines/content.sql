-- What counts as the same content, and what a payload may hold.

-- The digest by which the same key or id with other content is recognised. Personal data is left out (the actor's
-- e-mail, name and addresses; commitments, which are random, by their place only), so that it tells nothing about a
-- person after erasure. `occurred_at` is null where the writer gave no time, and a retry has another.
CREATE OR REPLACE FUNCTION permalog.content_digest(
    occurred_at timestamptz, action text, outcome text, actor_type text, actor_id text, resource_type text,
    resource_id text, correlation_id text, source text, before_state jsonb, after_state jsonb, metadata jsonb
) RETURNS bytea LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    -- A row's text is unambiguous: it quotes what needs it, and tells null from empty.
    content text := ROW(extract(epoch FROM occurred_at), action, outcome, actor_type, actor_id, resource_type,
                        resource_id, correlation_id, source, before_state, after_state, metadata)::text;
BEGIN
    IF position('$identity' IN content) > 0 THEN
        content := regexp_replace(content, '""[$]identity"": ""[0-9a-f]{64}""', '""$identity"": """"', 'g');
    END IF;
    RETURN sha256(convert_to(content, 'UTF8'));
END
$$;

-- The same digest of an event as it is stored; null where there is none. It tells a writer whether a repeated id
-- has the same content, without a right to read the log.
CREATE OR REPLACE FUNCTION permalog.stored_digest(log uuid, event uuid) RETURNS bytea
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT permalog.content_digest(e.occurred_at, e.action, e.outcome, e.actor_type, e.actor_id, e.resource_type,
        e.resource_id, e.correlation_id, e.source, e.before_state, e.after_state, e.metadata)
    FROM permalog.event AS e WHERE e.log_id = stored_digest.log AND e.id = stored_digest.event
$$;

-- Why a payload may not be stored, or null: not an object, too large, too deep, a duplicate key, a reserved key, or a
-- number that JSON (RFC 8259 with IEEE 754 doubles, as RFC 8785 requires) does not carry exactly.
-- The limits are those of permalog.payload.
CREATE OR REPLACE FUNCTION permalog.payload_fault(payload json) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE value (v, depth, key, n) AS (
        SELECT payload, 1, NULL::text, 1::bigint
        UNION ALL
        SELECT inside.v, value.depth + 1, inside.key, inside.n
        FROM value CROSS JOIN LATERAL (
            SELECT o.value, o.key, count(*) OVER (PARTITION BY o.key) FROM json_each(CASE json_typeof(value.v) WHEN 'object' THEN value.v ELSE '{}' END) AS o
            UNION ALL
            SELECT a.value, NULL, 1 FROM json_array_elements(CASE json_typeof(value.v) WHEN 'array' THEN value.v ELSE '[]' END) AS a
        ) AS inside (v, key, n)
        WHERE value.depth <= 17
    )
    SELECT CASE WHEN json_typeof(payload) <> 'object' THEN 'must be an object'
                WHEN octet_length(payload::text) > 65536 THEN 'is larger than 65536 bytes'
                ELSE (SELECT CASE
                    WHEN n > 1 THEN format('has the key %s twice', to_json(key)::text)
                    WHEN depth > 17 THEN 'is nested more than 16 deep'
                    WHEN length(key) > 255 THEN 'has a key of more than 255 characters'
                    WHEN key = '$identity' THEN 'has the key "$identity", which is reserved'
                    ELSE format('has the number %s, which a double does not carry exactly', v::text) END
                FROM value
                WHERE n > 1 OR depth > 17 OR length(key) > 255 OR key = '$identity'
                   OR (json_typeof(v) = 'number' AND NOT permalog.is_exact_number(v::text))
                ORDER BY depth LIMIT 1) END
$$;

-- Whether a JSON number survives the way through a double: integers up to 2^53 - 1, and decimals whose exact value is
-- that of the double's shortest form.
CREATE OR REPLACE FUNCTION permalog.is_exact_number(number text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF number ~ '^-?[0-9]+$' THEN
        RETURN abs(number::numeric) <= 9007199254740991;
    END IF;
    RETURN number::numeric = number::float8::text::numeric;
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN false;
END
$$;
