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
-- has the same content, without a right to read the log. One plan for all calls: to plan over all partitions for each
-- call took twice as long as all the rest.
CREATE OR REPLACE FUNCTION permalog.stored_digest(log uuid, event uuid) RETURNS bytea
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (SELECT permalog.content_digest(e.occurred_at, e.action, e.outcome, e.actor_type, e.actor_id, e.resource_type,
        e.resource_id, e.correlation_id, e.source, e.before_state, e.after_state, e.metadata)
    FROM permalog.event AS e WHERE e.log_id = stored_digest.log AND e.id = stored_digest.event);
END
$$;

-- Why a payload may not be stored, or null: not an object, too large, too deep, a duplicate key, a reserved key, or a
-- number that JSON (RFC 8259 with IEEE 754 doubles, as RFC 8785 requires) does not carry exactly.
-- The limits are those of permalog.payload; the size is that of the text as given, white space included.
CREATE OR REPLACE FUNCTION permalog.payload_fault(payload json) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE value (v, depth, key, n, members) AS (
        SELECT payload, 1, NULL::text, 1::bigint, 1::bigint
        UNION ALL
        SELECT inside.v, value.depth + 1, inside.key, inside.n, inside.members
        FROM value CROSS JOIN LATERAL (
            SELECT o.value, o.key, count(*) OVER (PARTITION BY o.key), count(*) OVER ()
            FROM json_each(CASE json_typeof(value.v) WHEN 'object' THEN value.v ELSE '{}' END) AS o
            UNION ALL
            SELECT a.value, NULL, 1, 1 FROM json_array_elements(CASE json_typeof(value.v) WHEN 'array' THEN value.v ELSE '[]' END) AS a
        ) AS inside (v, key, n, members)
        WHERE value.depth <= 16
    ), fault AS (
        -- A personal value is one level, as it is stored; and no payload by itself.
        SELECT *, key = '$personal' AND NOT (members = 1 AND depth > 2 AND permalog.is_personal(v)) AS impersonal,
               depth > 16 AND json_typeof(v) IN ('object', 'array') AND key IS DISTINCT FROM '$personal' AS deep,
               json_typeof(v) = 'number' AND NOT permalog.is_exact_number(v::text) AS inexact
        FROM value
    )
    SELECT CASE WHEN json_typeof(payload) <> 'object' THEN 'must be an object'
                WHEN octet_length(payload::text) > 65536 THEN 'is larger than 65536 bytes'
                ELSE (SELECT CASE
                    WHEN n > 1 THEN format('has the key %s twice', to_json(key)::text)
                    WHEN deep THEN 'is nested more than 16 deep'
                    WHEN length(key) > 255 THEN 'has a key of more than 255 characters'
                    WHEN key = '$identity' THEN 'has the key "$identity", which is reserved'
                    WHEN impersonal THEN 'has a personal value that is not {"$personal": {"kind": "...", "value": "..."}} and nothing else'
                    ELSE format('has the number %s, which a double does not carry exactly', v::text) END
                FROM fault WHERE n > 1 OR deep OR length(key) > 255 OR key = '$identity' OR impersonal OR inexact
                ORDER BY depth LIMIT 1) END
$$;

-- Whether this is what stands behind "$personal": a kind and a value, or null for a value that was erased.
CREATE OR REPLACE FUNCTION permalog.is_personal(v json) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN json_typeof(v) = 'object'
           AND (SELECT array_agg(k ORDER BY k COLLATE "C") = '{kind,value}' FROM json_object_keys(v) AS k)
           AND json_typeof(v -> 'kind') = 'string' AND json_typeof(v -> 'value') IN ('string', 'null')
           AND length(v ->> 'kind') BETWEEN 1 AND 100 AND v ->> 'kind' NOT IN ('actor', 'staff')
           AND coalesce(length(v ->> 'value') BETWEEN 1 AND 2048, true);
END
$$;

-- Whether a JSON number survives the way through a double: integers up to 2^53 - 1, and decimals whose exact value is
-- that of the double's shortest form. PostgreSQL shows that form (in a session that has not chosen fewer digits), but for
-- what lies exactly between two doubles, where it takes a digit more: there, fewer digits that lead to the same double are it.
CREATE OR REPLACE FUNCTION permalog.is_exact_number(number text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET extra_float_digits = 1 AS $$
DECLARE
    shown numeric;
BEGIN
    IF number ~ '^-?[0-9]+$' THEN
        RETURN abs(number::numeric) <= 9007199254740991;
    END IF;
    shown := number::float8::text::numeric;
    RETURN shown = number::numeric
           OR length(trim('0' FROM translate(number::numeric::text, '-.', ''))) < length(trim('0' FROM translate(shown::text, '-.', '')));
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN false;
END
$$;
