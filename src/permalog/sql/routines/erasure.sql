-- Forgetting people, not facts. These functions belong to permalog_eraser, the one role that the append-only triggers
-- exempt; they touch no event of an organisation, and write their own record. EXECUTE: permalog_privacy only.

-- Whose identities go when `person` is forgotten: those of the actor, and personal values in payloads that repeat the
-- person's addresses or names (such as the filter of an export). Text searched for may hold an address among other words.
CREATE OR REPLACE FUNCTION permalog.identities_of(person text)
    RETURNS TABLE (log_id uuid, commitment bytea) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH own AS MATERIALIZED (
        SELECT i.log_id, i.commitment, i.email, i.name FROM permalog.identity AS i WHERE i.actor_id = person
    ), words AS MATERIALIZED (
        SELECT lower(email) AS word FROM own WHERE email IS NOT NULL
        UNION SELECT lower(name) FROM own WHERE length(name) >= 3
    )
    SELECT own.log_id, own.commitment FROM own
    UNION
    SELECT i.log_id, i.commitment FROM permalog.identity AS i
    WHERE i.value IS NOT NULL AND EXISTS (SELECT FROM words WHERE strpos(lower(i.value), words.word) > 0)
$$;

-- Removes a log as a whole: events, identities, keys. What stays is its row, a tombstone, which refuses new events.
CREATE OR REPLACE FUNCTION permalog.remove_log(log uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    UPDATE permalog.log SET erased_at = clock_timestamp() WHERE log_id = log AND erased_at IS NULL;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM permalog.unsealed WHERE log_id = log;
    DELETE FROM permalog.event_key WHERE log_id = log;
    DELETE FROM permalog.identity WHERE log_id = log;
    DELETE FROM permalog.event WHERE log_id = log;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;

-- What erasing a person would take, or took: a row a log. `removed` counts the events of the person's own log.
-- Erasing records security.log.user_erased in every organisation's log that it touched, by `actor` (JSON, as in an event).
CREATE OR REPLACE FUNCTION permalog.erase_user(person text, actor json, dry_run boolean DEFAULT false)
    RETURNS TABLE (log_id uuid, organization_id uuid, user_id text, identities bigint, removed bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own_log constant uuid := permalog.log_id_of(NULL, person);
    place record;
BEGIN
    IF NOT dry_run THEN
        INSERT INTO permalog.erased_actor (actor_id) VALUES (person) ON CONFLICT DO NOTHING;
    END IF;
    FOR place IN
        SELECT l.log_id, l.organization_id, l.user_id, array_agg(f.commitment) AS commitments
        FROM permalog.identities_of(person) AS f JOIN permalog.log AS l ON l.log_id = f.log_id
        WHERE l.log_id <> own_log GROUP BY l.log_id ORDER BY l.log_id
    LOOP
        log_id := place.log_id; organization_id := place.organization_id; user_id := place.user_id;
        identities := cardinality(place.commitments); removed := 0;
        IF NOT dry_run THEN
            UPDATE permalog.identity AS i
            SET actor_id = NULL, email = NULL, name = NULL, ip_address = NULL, user_agent = NULL, value = NULL, salt = NULL,
                erased_at = clock_timestamp()
            WHERE i.log_id = place.log_id AND i.commitment = ANY (place.commitments);
            IF place.organization_id IS NOT NULL THEN
                PERFORM permalog.append(json_build_object(
                    'owner', json_build_object('organization_id', place.organization_id), 'action', 'security.log.user_erased',
                    'actor', actor, 'resource', json_build_object('type', 'audit_log', 'id', place.log_id),
                    'metadata', json_build_object('user_id', person, 'identities', identities)));
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    SELECT l.log_id, NULL::uuid, l.user_id INTO log_id, organization_id, user_id
    FROM permalog.log AS l WHERE l.log_id = own_log AND l.erased_at IS NULL;
    IF FOUND THEN
        SELECT count(*) INTO identities FROM permalog.identity AS i WHERE i.log_id = own_log;
        IF dry_run THEN
            SELECT count(*) INTO removed FROM permalog.event AS e WHERE e.log_id = own_log;
        ELSE
            removed := permalog.remove_log(own_log);
        END IF;
        RETURN NEXT;
    END IF;
END
$$;

-- What erasing an organisation would take, or took: its log as a whole.
CREATE OR REPLACE FUNCTION permalog.erase_organization(organization uuid, dry_run boolean DEFAULT false)
    RETURNS TABLE (log_id uuid, organization_id uuid, user_id text, identities bigint, removed bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT l.log_id, l.organization_id, NULL::text INTO log_id, organization_id, user_id
    FROM permalog.log AS l WHERE l.log_id = permalog.log_id_of(organization, NULL) AND l.erased_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT count(*) INTO identities FROM permalog.identity AS i WHERE i.log_id = erase_organization.log_id;
    IF dry_run THEN
        SELECT count(*) INTO removed FROM permalog.event AS e WHERE e.log_id = erase_organization.log_id;
    ELSE
        removed := permalog.remove_log(log_id);
    END IF;
    RETURN NEXT;
END
$$;
