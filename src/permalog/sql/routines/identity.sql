-- Identities: personal data beside the log, bound to it by a commitment.

-- commitment = SHA-256(0x02 || salt || JCS(identity)). The keys are ASCII and in order, the values are strings, and
-- to_json escapes strings as RFC 8785 does. Same bytes as permalog.identity.Identity.commitment.
CREATE OR REPLACE FUNCTION permalog.commitment(
    salt bytea, kind text, actor_id text, email text, name text, ip_address text, user_agent text, value text
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256('\x02'::bytea || salt || convert_to('{' || concat_ws(',',
        '"actor_id":' || to_json(actor_id)::text,
        '"email":' || to_json(email)::text,
        '"ip_address":' || to_json(ip_address)::text,
        '"kind":' || to_json(kind)::text,
        '"name":' || to_json(name)::text,
        '"user_agent":' || to_json(user_agent)::text,
        '"value":' || to_json(value)::text) || '}', 'UTF8'))
$$;

-- The commitment of a committed, visible identity of exactly this content, or null. It tells a writer that one exists
-- and nothing else, so that writers need no right to read personal data. Staff identities are never found: two events
-- by the same member of staff must not be linked.
CREATE OR REPLACE FUNCTION permalog.known_identity(
    log uuid, kind text, actor_id text, email text, name text, ip_address text, user_agent text
) RETURNS bytea LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.commitment FROM permalog.identity AS i
    WHERE i.actor_id = known_identity.actor_id AND i.log_id = known_identity.log AND i.kind = known_identity.kind
      AND i.kind <> 'staff' AND i.erased_at IS NULL AND i.value IS NULL
      AND (i.email, i.name, i.ip_address, i.user_agent) IS NOT DISTINCT FROM
          (known_identity.email, known_identity.name, known_identity.ip_address, known_identity.user_agent)
    LIMIT 1
$$;

-- Writes a new identity and returns its commitment. The salt is 128 random bits. `acted_by`: whoever acted, for a personal
-- value, which arrives blank where they were erased; the trigger blank_erased does not keep it.
CREATE OR REPLACE FUNCTION permalog.new_identity(
    log uuid, kind text, actor_id text, email text, name text, ip_address text, user_agent text, value text,
    acted_by text DEFAULT NULL
) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    salt constant bytea := substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16);
    made constant bytea := permalog.commitment(salt, kind, actor_id, email, name, ip_address, user_agent, value);
BEGIN
    INSERT INTO permalog.identity (log_id, commitment, kind, actor_id, email, name, ip_address, user_agent, value, salt)
    VALUES (log, made, kind, coalesce(actor_id, acted_by), email, name, ip_address, user_agent, value, salt);
    RETURN made;
END
$$;

-- Replaces every {"$personal": {"kind", "value"}} inside a payload by {"$identity": "<commitment>"} with a row of its
-- own, at any depth; `acted_by` is whoever acted. Without a log it writes nothing and leaves the commitments empty, as
-- content_digest does. That each has this form was seen to by payload_fault.
CREATE OR REPLACE FUNCTION permalog.take_personal(log uuid, payload jsonb, acted_by text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    person constant jsonb := payload -> '$personal';
BEGIN
    IF position('"$personal"' IN payload::text) = 0 THEN
        RETURN payload;
    ELSIF jsonb_typeof(payload) = 'array' THEN
        RETURN (SELECT jsonb_agg(permalog.take_personal(log, v, acted_by) ORDER BY n) FROM jsonb_array_elements(payload) WITH ORDINALITY AS e (v, n));
    ELSIF jsonb_typeof(payload) <> 'object' THEN
        RETURN payload;
    ELSIF person IS NULL THEN
        RETURN (SELECT jsonb_object_agg(k, permalog.take_personal(log, v, acted_by)) FROM jsonb_each(payload) AS e (k, v));
    ELSIF log IS NULL THEN
        RETURN '{"$identity": ""}';
    END IF;
    RETURN jsonb_build_object('$identity', encode(
        permalog.new_identity(log, person ->> 'kind', NULL, NULL, NULL, NULL, NULL, person ->> 'value', acted_by), 'hex'));
END
$$;
