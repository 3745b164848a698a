-- Identifiers that writers and readers can compute by themselves, without a look-up. Tables check what is written by these
-- functions. They are parsed here and now (RETURN), and not with the search_path of whoever writes, who could put functions
-- and operators of their own in the place of PostgreSQL's; that costs nothing, while SET search_path would cost 2 us a row.

-- The id of an owner's log: a UUIDv8 whose 122 free bits are the first bits of a SHA-256 over
-- "permalog/log/organization/<uuid>" or "permalog/log/user/<id>". Same bytes as permalog.ids.log_id_of.
CREATE OR REPLACE FUNCTION permalog.log_id_of(organization_id uuid, user_id text) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (
    SELECT encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
    FROM (SELECT substr(sha256(convert_to(coalesce('permalog/log/organization/' || organization_id,
                                                   'permalog/log/user/' || user_id), 'UTF8')), 1, 16)) AS hash (h)
    );

-- The first 8 of an event id's 16 bytes, all of them given by its time: 48 bits of Unix milliseconds, the
-- version 7, and the microseconds within the millisecond in 12 bits (RFC 9562, section 6.2, method 3).
CREATE OR REPLACE FUNCTION permalog.id_prefix(occurred_at timestamptz) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    -- One expression, so that PostgreSQL can put it in the place of the call: it is checked for each row.
    RETURN int8send((((extract(epoch FROM occurred_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint / 1000) << 16)
                    | 28672 | ((extract(epoch FROM occurred_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint % 1000));

-- The smallest id that an event of this moment can have: `id >= id_floor(t)` is `occurred_at >= t`.
CREATE OR REPLACE FUNCTION permalog.id_floor(occurred_at timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(permalog.id_prefix(occurred_at) || '\x0000000000000000'::bytea, 'hex')::uuid;

-- A new event id for a writer that has no generator of its own (SQL): the prefix and 62 random bits.
CREATE OR REPLACE FUNCTION permalog.new_id(occurred_at timestamptz) RETURNS uuid
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN encode(permalog.id_prefix(occurred_at) || substr(uuid_send(gen_random_uuid()), 9, 8), 'hex')::uuid;

-- The time that an id carries, exactly.
CREATE OR REPLACE FUNCTION permalog.id_time(id uuid) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (
    -- Seconds apart from the rest: an interval is multiplied as a double, which loses microseconds from the year 2255 on.
    SELECT timestamptz '1970-01-01 00:00:00+00' + ms / 1000 * interval '1 second' + (ms % 1000 * 1000 + us) * interval '1 microsecond'
    FROM (SELECT ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint,
                 ('x' || substr(replace(id::text, '-', ''), 14, 3))::bit(12)::integer) AS part (ms, us)
    );

-- Who writes a row: the database's session user, or, where that is the service, the token that it acts for. No writer sets
-- recorded_by, and only a login that is granted permalog_service can name a token (in the setting permalog.recorded_by).
CREATE OR REPLACE FUNCTION permalog.recorder() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN nullif(current_setting('permalog.recorded_by', true), '') IS NULL THEN session_user::text
                WHEN to_regrole('permalog_service') IS NULL OR pg_has_role(session_user, to_regrole('permalog_service'), 'USAGE')
                    THEN current_setting('permalog.recorded_by', true)
                ELSE session_user::text END;

-- The words of a personal value, by which an index finds those that tell of a person: in lower case and one normal form
-- (NFKC), parted by whatever is no letter, digit or sign inside an address or a name; a possessive's s does not count.
CREATE OR REPLACE FUNCTION permalog.words_in(value text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_remove(string_to_array(
        regexp_replace(
            regexp_replace(
                regexp_replace(lower(normalize(value, NFKC)), '''s\M|’s\M', ' ', 'g'),
                '[^[:alnum:]@._%+''’-]+', ' ', 'g'),
            '(^| )[@._%+''’-]+|[@._%+''’-]+(?= |$)', '\1', 'g'),
        ' '), '');
