-- permalog.append: one event from any language, in the caller's transaction.

-- One member of an object in the event's JSON as text; null where it is absent. Refused unless a string of 1 to `most`
-- characters.
CREATE OR REPLACE FUNCTION permalog.text_member(object json, member text, field text, most integer) RETURNS text
    LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    value constant text := object ->> member;
BEGIN
    IF value IS NULL THEN
        RETURN NULL;
    ELSIF json_typeof(object -> member) <> 'string' THEN
        RAISE EXCEPTION '%: must be a string', field USING ERRCODE = 'PL422';
    ELSIF length(value) NOT BETWEEN 1 AND most THEN
        RAISE EXCEPTION '%: must have 1 to % characters', field, most USING ERRCODE = 'PL422';
    END IF;
    RETURN value;
END
$$;

-- Refuses what is no object, has a member that is not in the list, or has one twice.
CREATE OR REPLACE FUNCTION permalog.check_members(object json, members text[], field text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    prefix constant text := CASE field WHEN 'event' THEN '' ELSE field || '.' END;
    found record;
BEGIN
    IF coalesce(json_typeof(object), 'null') <> 'object' THEN
        RAISE EXCEPTION '%: must be an object', field USING ERRCODE = 'PL422';
    END IF;
    FOR found IN SELECT k AS name, count(*) AS times FROM json_object_keys(object) AS k GROUP BY k LOOP
        IF found.name <> ALL (members) THEN
            RAISE EXCEPTION '%: unknown member', prefix || found.name USING ERRCODE = 'PL422';
        ELSIF found.times > 1 THEN
            RAISE EXCEPTION '%: given twice', prefix || found.name USING ERRCODE = 'PL422';
        END IF;
    END LOOP;
END
$$;

-- Refuses \u0000, which text cannot hold, and halves of surrogate pairs, which are no characters: json holds both until it
-- is read, and cannot be read then, so that the member is looked for with a mark in their place.
CREATE OR REPLACE FUNCTION permalog.check_characters(event json) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    mark constant text := '<no character>';
    marked text;
    place text;
BEGIN
    IF event::text !~* '\\u(0000|d[89a-f])' THEN
        RETURN;
    END IF;
    -- Escaped backslashes and whole pairs are set aside.
    marked := regexp_replace(event::text, '\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', ' ', 'g');
    IF marked !~* '\\u(0000|d[89a-f])' THEN
        RETURN;
    END IF;
    marked := regexp_replace(marked, '\\u(0000|d[89a-f][0-9a-f]{2})', mark, 'gi');
    SELECT o.key || coalesce('.' || (SELECT i.key FROM json_each(CASE WHEN o.key IN ('owner', 'actor', 'resource') AND json_typeof(o.value) = 'object'
                                                                THEN o.value ELSE '{}' END) AS i
                                     WHERE position(mark IN i.value::text) > 0 LIMIT 1), '')
    INTO place
    FROM json_each(CASE json_typeof(marked::json) WHEN 'object' THEN marked::json ELSE '{}' END) AS o
    WHERE position(mark IN o.value::text) > 0 LIMIT 1;
    RAISE EXCEPTION '%: holds a NUL character or a lone surrogate, which cannot be stored', coalesce(place, 'event') USING ERRCODE = 'PL422';
END
$$;

-- When the event happened: as given, or as its id says, or now. RFC 3339 with an offset, at most microseconds.
CREATE OR REPLACE FUNCTION permalog.event_time(given text, id uuid) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    IF id IS NOT NULL AND (get_byte(uuid_send(id), 6) >> 4 <> 7 OR get_byte(uuid_send(id), 8) NOT BETWEEN 128 AND 191
                           OR (get_byte(uuid_send(id), 6) & 15) * 256 + get_byte(uuid_send(id), 7) >= 1000) THEN
        RAISE EXCEPTION 'id: must be a UUIDv7 made from the event''s time' USING ERRCODE = 'PL422';
    END IF;
    IF given IS NOT NULL THEN
        -- PostgreSQL alone would take 24:00 and the 60th second, which Python does not.
        IF given !~ '^\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d([.]\d{1,6})?([Zz]|[+-](0\d|1[0-5]):[0-5]\d)$' THEN
            RAISE EXCEPTION 'occurred_at: must be an RFC 3339 time with an offset and at most six decimals' USING ERRCODE = 'PL422';
        END IF;
        BEGIN
            moment := given::timestamptz;
        EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
            RAISE EXCEPTION 'occurred_at: is no date' USING ERRCODE = 'PL422';
        END;
    ELSIF id IS NOT NULL THEN
        moment := permalog.id_time(id);
    END IF;
    IF moment < timestamptz '1970-01-01 00:00:00+00' THEN
        RAISE EXCEPTION 'occurred_at: is before 1970' USING ERRCODE = 'PL422';
    ELSIF moment > clock_timestamp() + interval '5 minutes' THEN
        RAISE EXCEPTION 'occurred_at: is more than 5 minutes ahead of the database''s clock' USING ERRCODE = 'PL422';
    ELSIF moment < clock_timestamp() - interval '7 days' AND NOT permalog.may_import() THEN
        RAISE EXCEPTION 'occurred_at: is more than 7 days ago, which needs the right to import' USING ERRCODE = 'PL403';
    ELSIF id IS NOT NULL AND substr(uuid_send(id), 1, 8) <> permalog.id_prefix(moment) THEN
        RAISE EXCEPTION 'id: its time is not occurred_at' USING ERRCODE = 'PL422';
    END IF;
    RETURN moment;
END
$$;

-- Whether the session may write events of more than 7 days ago. Where roles could not be made (and so no policies, though
-- another database of the server may have brought the roles), whoever may write may.
CREATE OR REPLACE FUNCTION permalog.may_import() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT (SELECT relrowsecurity FROM pg_class WHERE oid = 'permalog.event'::regclass)
           OR coalesce((SELECT pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = 'permalog_importer'), false)
$$;

-- The commitment of whoever acted: an identity that is known already, or a new one. Null for the system.
CREATE OR REPLACE FUNCTION permalog.take_actor(log uuid, actor json) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    kind constant text := CASE actor ->> 'type' WHEN 'staff' THEN 'staff' ELSE 'actor' END;
    id constant text := permalog.text_member(actor, 'id', 'actor.id', 255);
    email constant text := permalog.text_member(actor, 'email', 'actor.email', 320);
    name constant text := permalog.text_member(actor, 'name', 'actor.name', 255);
    ip constant text := permalog.text_member(actor, 'ip_address', 'actor.ip_address', 45);
    agent constant text := permalog.text_member(actor, 'user_agent', 'actor.user_agent', 2048);
BEGIN
    IF actor ->> 'type' = 'system' THEN
        IF num_nonnulls(email, name, ip, agent) > 0 THEN
            RAISE EXCEPTION 'actor: a system actor has no e-mail, name, address or user agent' USING ERRCODE = 'PL422';
        END IF;
        RETURN NULL;
    ELSIF id IS NULL AND kind <> 'staff' THEN   -- staff come without one from an export for customers
        RAISE EXCEPTION 'actor.id: is required' USING ERRCODE = 'PL422';
    END IF;
    RETURN coalesce(permalog.known_identity(log, kind, id, email, name, ip, agent),
                    permalog.new_identity(log, kind, id, email, name, ip, agent, NULL));
END
$$;

-- Whose log it is; opened here where it is new (within the caller's transaction: the library opens logs beforehand).
CREATE OR REPLACE FUNCTION permalog.take_owner(owner json) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    organization text;
    person text;
    log uuid;
BEGIN
    PERFORM permalog.check_members(owner, '{organization_id,user_id}', 'owner');
    organization := permalog.text_member(owner, 'organization_id', 'owner.organization_id', 36);
    person := permalog.text_member(owner, 'user_id', 'owner.user_id', 255);
    IF num_nonnulls(organization, person) <> 1 THEN
        RAISE EXCEPTION 'owner: exactly one of organization_id and user_id is required' USING ERRCODE = 'PL422';
    ELSIF organization !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        RAISE EXCEPTION 'owner.organization_id: must be a UUID' USING ERRCODE = 'PL422';
    END IF;
    log := permalog.log_id_of(organization::uuid, person);
    IF NOT EXISTS (SELECT FROM permalog.log AS l WHERE l.log_id = log) THEN
        INSERT INTO permalog.log (log_id, organization_id, user_id) VALUES (log, organization::uuid, person) ON CONFLICT DO NOTHING;
    END IF;
    RETURN log;
END
$$;

-- The envelope's own checks, in the order of its members. The row comes back without log, identity and payloads.
CREATE OR REPLACE FUNCTION permalog.take_envelope(event json) RETURNS permalog.event LANGUAGE plpgsql STABLE AS $$
DECLARE
    row permalog.event;
    field text;
    fault text;
BEGIN
    PERFORM permalog.check_characters(event);
    PERFORM permalog.check_members(event, '{owner,action,outcome,actor,resource,occurred_at,before_state,after_state,metadata,correlation_id,source,event_key,id,recorded_at,recorded_by,leaf_index,epoch}', 'event');
    PERFORM permalog.check_members(event -> 'actor', '{type,id,email,name,ip_address,user_agent}', 'actor');
    PERFORM permalog.check_members(event -> 'resource', '{type,id}', 'resource');
    row.action := permalog.text_member(event, 'action', 'action', 100);
    IF NOT EXISTS (SELECT FROM permalog.catalogue AS c WHERE c.action = row.action) THEN
        RAISE EXCEPTION 'action: % is not in the catalogue', coalesce(row.action, 'null') USING ERRCODE = 'PL422';
    END IF;
    row.outcome := coalesce(permalog.text_member(event, 'outcome', 'outcome', 100), 'success');
    IF row.outcome NOT IN ('success', 'failure', 'denied') THEN
        RAISE EXCEPTION 'outcome: must be success, failure or denied' USING ERRCODE = 'PL422';
    END IF;
    row.actor_type := permalog.text_member(event -> 'actor', 'type', 'actor.type', 100);
    IF coalesce(row.actor_type, '') NOT IN ('user', 'staff', 'api_key', 'system') THEN
        RAISE EXCEPTION 'actor.type: must be user, staff, api_key or system' USING ERRCODE = 'PL422';
    ELSIF row.actor_type <> 'staff' THEN
        row.actor_id := permalog.text_member(event -> 'actor', 'id', 'actor.id', 255);
    END IF;
    row.resource_type := permalog.text_member(event -> 'resource', 'type', 'resource.type', 100);
    row.resource_id := permalog.text_member(event -> 'resource', 'id', 'resource.id', 512);
    IF num_nulls(row.resource_type, row.resource_id) > 0 THEN
        RAISE EXCEPTION 'resource.%: is required', CASE WHEN row.resource_type IS NULL THEN 'type' ELSE 'id' END USING ERRCODE = 'PL422';
    END IF;
    row.correlation_id := permalog.text_member(event, 'correlation_id', 'correlation_id', 255);
    row.source := permalog.text_member(event, 'source', 'source', 100);
    IF row.source NOT IN ('web', 'api', 'worker', 'cron', 'callback', 'webhook', 'cli', 'import') THEN
        RAISE EXCEPTION 'source: must be web, api, worker, cron, callback, webhook, cli or import' USING ERRCODE = 'PL422';
    END IF;
    FOREACH field IN ARRAY '{before_state,after_state,metadata}'::text[] LOOP
        fault := CASE WHEN json_typeof(event -> field) <> 'null' THEN permalog.payload_fault(event -> field) END;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION '%: %', field, fault USING ERRCODE = 'PL422';
        END IF;
    END LOOP;
    IF permalog.text_member(event, 'id', 'id', 36) !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        RAISE EXCEPTION 'id: must be a UUID' USING ERRCODE = 'PL422';
    END IF;
    row.id := (event ->> 'id')::uuid;
    row.occurred_at := permalog.event_time(permalog.text_member(event, 'occurred_at', 'occurred_at', 40), row.id);
    row.id := coalesce(row.id, permalog.new_id(row.occurred_at));
    row.schema_version := 1;
    RETURN row;
END
$$;

-- Appends one event, given in the NDJSON form of docs/record-format.md. Returns its id and 'created', or the id of the
-- event that was stored before and 'duplicate', where the same key or id comes again with the same content. Nothing
-- is written, identities included, before both are known to be new.
-- SQLSTATE: PL422 invalid, PL409 same key or id with other content, PL403 no right to import.
CREATE OR REPLACE FUNCTION permalog.append(event json, OUT event_id uuid, OUT status text) LANGUAGE plpgsql AS $$
<<given>>
DECLARE
    row permalog.event := permalog.take_envelope(event);
    key constant text := permalog.text_member(event, 'event_key', 'event_key', 255);
    dated constant boolean := coalesce(event ->> 'occurred_at', event ->> 'id') IS NOT NULL;
    acted_by constant text := event -> 'actor' ->> 'id';
    before_state constant jsonb := nullif((event -> 'before_state')::jsonb, 'null');
    after_state constant jsonb := nullif((event -> 'after_state')::jsonb, 'null');
    metadata constant jsonb := coalesce(nullif((event -> 'metadata')::jsonb, 'null'), '{}');
    digest constant bytea := permalog.content_digest(
        CASE WHEN dated THEN row.occurred_at END, row.action, row.outcome, row.actor_type, row.actor_id, row.resource_type,
        row.resource_id, row.correlation_id, row.source, permalog.take_personal(NULL, before_state, NULL),
        permalog.take_personal(NULL, after_state, NULL), permalog.take_personal(NULL, metadata, NULL));
    stored bytea;
BEGIN
    row.log_id := permalog.take_owner(event -> 'owner');
    event_id := row.id;
    status := 'duplicate';
    IF key IS NOT NULL THEN
        INSERT INTO permalog.event_key (log_id, key, event_id, digest) VALUES (row.log_id, key, row.id, digest) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT k.event_id, k.digest INTO STRICT event_id, stored FROM permalog.event_key AS k
            WHERE k.log_id = row.log_id AND k.key = given.key;
            IF stored <> digest THEN
                RAISE EXCEPTION 'event_key: % was used before with other content', key USING ERRCODE = 'PL409';
            END IF;
            RETURN;
        END IF;
    END IF;
    IF event ->> 'id' IS NOT NULL THEN
        stored := permalog.stored_digest(row.log_id, row.id);
        IF stored <> digest THEN
            RAISE EXCEPTION 'id: % exists with other content', row.id USING ERRCODE = 'PL409';
        ELSIF stored = digest THEN
            RETURN;
        END IF;
    END IF;
    status := 'created';
    INSERT INTO permalog.event (log_id, id, occurred_at, action, outcome, actor_type, actor_id, identity, resource_type, resource_id,
                                correlation_id, source, schema_version, before_state, after_state, metadata)
    VALUES (row.log_id, row.id, row.occurred_at, row.action, row.outcome, row.actor_type, row.actor_id,
            permalog.take_actor(row.log_id, event -> 'actor'), row.resource_type, row.resource_id, row.correlation_id, row.source,
            row.schema_version, permalog.take_personal(row.log_id, before_state, acted_by), permalog.take_personal(row.log_id, after_state, acted_by),
            permalog.take_personal(row.log_id, metadata, acted_by));
END
$$;
