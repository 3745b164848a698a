-- Forgetting people, not facts. These functions belong to permalog_eraser, the one role that the append-only triggers
-- exempt; they touch no event of an organisation, and write their own record. EXECUTE: permalog_privacy only.
--
-- Erasing has two steps. Barring, committed by itself: from then on a person's identities arrive blank, and a log that goes
-- takes no events. Then, once every transaction that had written before has ended (permalog.erasure waits), erasing: nothing
-- can come in behind it.

-- Whose identities go when `person` is forgotten: those of the actor, and personal values in anybody's payloads that repeat
-- what they, or the texts in `also`, tell. An address (a word with an @) counts wherever it stands as a whole; a name where
-- it is the whole value, and, if it has several words, where these stand in a text that was searched for. A name inside a
-- longer value may well be another person's: docs/privacy.md.
CREATE OR REPLACE FUNCTION permalog.identities_of(person text, also text[])
    RETURNS TABLE (log_id uuid, commitment bytea, kind text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH own AS MATERIALIZED (
        SELECT i.log_id, i.commitment, i.kind, i.email, i.name FROM permalog.identity AS i WHERE i.actor_id = person
    ), told AS MATERIALIZED (
        SELECT DISTINCT permalog.words_in(t) AS words
        FROM (SELECT email FROM own UNION SELECT name FROM own UNION SELECT unnest(also)) AS texts (t) WHERE t IS NOT NULL
    ), sought AS MATERIALIZED (
        SELECT ARRAY[word] AS words, true AS is_address FROM told, unnest(told.words) AS word WHERE word LIKE '%@%'
        UNION
        SELECT told.words, false FROM told WHERE told.words <> '{}' AND array_to_string(told.words, ' ') NOT LIKE '%@%'
    )
    SELECT own.log_id, own.commitment, own.kind FROM own
    UNION
    SELECT found.log_id, found.commitment, found.kind
    FROM sought AS s CROSS JOIN LATERAL (
        SELECT i.log_id, i.commitment, i.kind, permalog.words_in(i.value) AS words FROM permalog.identity AS i
        WHERE i.value IS NOT NULL AND permalog.words_in(i.value) @> s.words
    ) AS found
    WHERE s.is_address OR found.words = s.words
       OR (found.kind = 'search' AND cardinality(s.words) > 1
           AND strpos(' ' || array_to_string(found.words, ' ') || ' ', ' ' || array_to_string(s.words, ' ') || ' ') > 0)
$$;

-- Bars a person: their identities arrive blank from now on, and their own log, opened or not, takes no events. Committed
-- before what is there is erased.
CREATE OR REPLACE FUNCTION permalog.bar_user(person text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own_log constant uuid := permalog.log_id_of(NULL, person);
BEGIN
    INSERT INTO permalog.erased_actor (actor_id) VALUES (person) ON CONFLICT DO NOTHING;
    INSERT INTO permalog.log (log_id, user_id) VALUES (own_log, person) ON CONFLICT DO NOTHING;
    UPDATE permalog.log SET erased_at = clock_timestamp() WHERE log_id = own_log AND erased_at IS NULL;
END
$$;

-- Bars an organisation's log, opened or not, from taking events.
CREATE OR REPLACE FUNCTION permalog.bar_organization(organization uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    its_log constant uuid := permalog.log_id_of(organization, NULL);
BEGIN
    INSERT INTO permalog.log (log_id, organization_id) VALUES (its_log, organization) ON CONFLICT DO NOTHING;
    UPDATE permalog.log SET erased_at = clock_timestamp() WHERE log_id = its_log AND erased_at IS NULL;
END
$$;

-- One erasure at a time: what two of them would clear may overlap. Held until the transaction ends. Refuses a transaction
-- that does not see what others have committed since it began.
CREATE OR REPLACE FUNCTION permalog.erase_alone() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'erasing needs a READ COMMITTED transaction' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock(1885696621, 1);   -- "perm" in ASCII
END
$$;

-- What a log that goes as a whole holds: how many identities and events.
CREATE OR REPLACE FUNCTION permalog.size_of(log uuid, OUT identities bigint, OUT events bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (SELECT count(*) FROM permalog.identity AS i WHERE i.log_id = size_of.log),
           (SELECT count(*) FROM permalog.event AS e WHERE e.log_id = size_of.log)
$$;

-- Removes what a barred log holds: events, identities, keys, counts, and the hashes with the events' ids. What stays is its row,
-- a tombstone, and what was signed: the head of its tree, checkpoints and cosignatures.
CREATE OR REPLACE FUNCTION permalog.remove_log(log uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM permalog.head AS h WHERE h.log_id = log FOR UPDATE;   -- a sealer that is at work ends first
    DELETE FROM permalog.unsealed WHERE log_id = log;
    DELETE FROM permalog.event_key WHERE log_id = log;
    DELETE FROM permalog.identity WHERE log_id = log;
    DELETE FROM permalog.event WHERE log_id = log;
    DELETE FROM permalog.activity WHERE log_id = log;
    DELETE FROM permalog.tile WHERE log_id = log;
END
$$;

-- What erasing a person would take, or took: a row a log. `removed` counts the events of the person's own log.
-- Erasing records security.log.user_erased in every organisation's log that it touched, by `actor` (JSON, as in an event);
-- but of staff (`staff`, or known as such from any log) only where they acted as a user: elsewhere the record would tell
-- a customer which member of staff had acted. `also`: further addresses and names of theirs, such as an account's.
CREATE OR REPLACE FUNCTION permalog.erase_user(
    person text, actor json, dry_run boolean DEFAULT false, also text[] DEFAULT '{}', staff boolean DEFAULT false
) RETURNS TABLE (log_id uuid, organization_id uuid, user_id text, identities bigint, removed bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own_log constant uuid := permalog.log_id_of(NULL, person);
    unnamed constant boolean := staff OR EXISTS (SELECT FROM permalog.identity AS i WHERE i.actor_id = person AND i.kind = 'staff');
    place record;
BEGIN
    IF NOT dry_run THEN
        PERFORM permalog.erase_alone();
        PERFORM permalog.bar_user(person);
    END IF;
    FOR place IN
        SELECT f.log_id, l.organization_id, l.user_id, array_agg(f.commitment) AS commitments,
               count(*) FILTER (WHERE f.kind = 'actor' OR NOT unnamed) AS told
        FROM permalog.identities_of(person, also) AS f LEFT JOIN permalog.log AS l ON l.log_id = f.log_id
        WHERE f.log_id <> own_log GROUP BY f.log_id, l.organization_id, l.user_id ORDER BY f.log_id
    LOOP
        log_id := place.log_id; organization_id := place.organization_id; user_id := place.user_id;
        identities := cardinality(place.commitments); removed := 0;
        IF NOT dry_run THEN
            UPDATE permalog.identity AS i
            SET actor_id = NULL, email = NULL, name = NULL, ip_address = NULL, user_agent = NULL, value = NULL, salt = NULL,
                erased_at = clock_timestamp()
            WHERE i.log_id = place.log_id AND i.commitment = ANY (place.commitments);
            IF place.organization_id IS NOT NULL AND place.told > 0 THEN
                PERFORM permalog.append(json_build_object(
                    'owner', json_build_object('organization_id', place.organization_id), 'action', 'security.log.user_erased',
                    'actor', actor, 'resource', json_build_object('type', 'audit_log', 'id', place.log_id),
                    'metadata', json_build_object('user_id', person, 'identities', place.told)));
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    SELECT own_log, NULL, person, s.identities, s.events INTO log_id, organization_id, user_id, identities, removed
    FROM permalog.size_of(own_log) AS s;
    IF identities + removed > 0 THEN
        RETURN NEXT;
    END IF;
    IF NOT dry_run THEN
        PERFORM permalog.remove_log(own_log);
    END IF;
END
$$;

-- What erasing an organisation would take, or took: its log as a whole.
CREATE OR REPLACE FUNCTION permalog.erase_organization(organization uuid, dry_run boolean DEFAULT false)
    RETURNS TABLE (log_id uuid, organization_id uuid, user_id text, identities bigint, removed bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT dry_run THEN
        PERFORM permalog.erase_alone();
        PERFORM permalog.bar_organization(organization);
    END IF;
    log_id := permalog.log_id_of(organization, NULL);
    organization_id := organization;
    SELECT s.identities, s.events INTO identities, removed FROM permalog.size_of(log_id) AS s;
    IF identities + removed > 0 THEN
        RETURN NEXT;
    END IF;
    IF NOT dry_run THEN
        PERFORM permalog.remove_log(log_id);
    END IF;
END
$$;
