-- The trigger functions that keep the log append-only and complete, and the partitions that carry them.
--
-- Triggers run with whatever search_path the writer has set, and two of these with the owner's rights: each has a path of its
-- own, else a writer who makes an operator in a schema of theirs would have it run as the owner.

-- Rows are written once. Only permalog_eraser, which nobody logs in as, is exempt: its functions erase
-- and retire by a recorded act.
CREATE OR REPLACE FUNCTION permalog.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_user = 'permalog_eraser' THEN
        IF TG_LEVEL = 'STATEMENT' THEN RETURN NULL; END IF;
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Record a further event instead; erasure and retention have functions of their own.';
END
$$;

-- What sealing keeps only grows: a tile gains hashes behind those that it has, a tree leaves, a count events. Nothing goes.
CREATE OR REPLACE FUNCTION permalog.refuse_loss() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grows boolean := false;
BEGIN
    IF current_user = 'permalog_eraser' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'tile' THEN
        grows := (NEW.log_id, NEW.epoch, NEW.level, NEW.index) = (OLD.log_id, OLD.epoch, OLD.level, OLD.index)
            AND octet_length(NEW.hashes) > octet_length(OLD.hashes)
            AND substr(NEW.hashes, 1, octet_length(OLD.hashes)) = OLD.hashes
            AND NEW.event_ids[1:cardinality(OLD.event_ids)] IS NOT DISTINCT FROM OLD.event_ids
            AND (NEW.first_id <= OLD.first_id AND NEW.last_id >= OLD.last_id) IS NOT FALSE;
    ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'head' THEN
        grows := (NEW.log_id, NEW.epoch) = (OLD.log_id, OLD.epoch) AND NEW.size > OLD.size;
    ELSIF TG_OP = 'UPDATE' THEN
        grows := (NEW.log_id, NEW.part, NEW.day, NEW.action, NEW.actor_type, NEW.actor_id)
                    = (OLD.log_id, OLD.part, OLD.day, OLD.action, OLD.actor_type, OLD.actor_id)
            AND NEW.events > OLD.events AND NEW.first_id <= OLD.first_id AND NEW.last_id >= OLD.last_id;
    END IF;
    IF NOT grows THEN
        RAISE EXCEPTION '%.% only grows: this % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

-- A row trigger, since a statement trigger on the parent is bypassed by an insert into a partition. SECURITY DEFINER,
-- since writers have no right on unsealed. It is also where an event finds out that its log is not open: erased, or
-- never opened. A transaction that sees the database as it was (REPEATABLE READ) asks for the row itself, as it is now.
CREATE OR REPLACE FUNCTION permalog.note_unsealed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The path costs 2 to 3 us of the 31 us that a row takes (15, 18; CPU time of 100,000 rows). Without it, the `=` here would be
    -- the caller's, run with the owner's rights.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM FROM permalog.log AS l WHERE l.log_id = NEW.log_id FOR SHARE;
    END IF;
    INSERT INTO permalog.unsealed SELECT l.log_id, NEW.id FROM permalog.log AS l WHERE l.log_id = NEW.log_id AND l.erased_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'owner: this log was erased, or never opened' USING ERRCODE = 'PL410';
    END IF;
    RETURN NULL;
END
$$;

-- An identity of an erased person arrives blank, whoever writes it and however late. So does every personal value of an
-- event by such a person: it comes with the id of whoever acted, which is looked at here and not kept.
CREATE OR REPLACE FUNCTION permalog.blank_erased() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased boolean;
BEGIN
    IF NEW.actor_id IS NULL THEN
        RETURN NEW;
    ELSIF current_setting('transaction_isolation') = 'read committed' THEN
        erased := EXISTS (SELECT FROM permalog.erased_actor AS e WHERE e.actor_id = NEW.actor_id);
    ELSE
        -- This transaction does not see who was erased since it began; a primary key does.
        BEGIN
            INSERT INTO permalog.erased_actor (actor_id) VALUES (NEW.actor_id);
            RAISE SQLSTATE 'PL000';
        EXCEPTION
            WHEN unique_violation THEN erased := true;
            WHEN SQLSTATE 'PL000' THEN erased := false;
        END;
    END IF;
    IF erased THEN
        NEW.email := NULL; NEW.name := NULL; NEW.ip_address := NULL; NEW.user_agent := NULL; NEW.value := NULL; NEW.salt := NULL;
        NEW.erased_at := pg_catalog.clock_timestamp();
    END IF;
    IF erased OR (NEW.kind <> 'actor' AND NEW.kind <> 'staff') THEN
        NEW.actor_id := NULL;
    END IF;
    RETURN NEW;
END
$$;

-- Puts on one partition what it does not inherit: the trigger that refuses TRUNCATE.
CREATE OR REPLACE FUNCTION permalog.guard_partition(partition regclass) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_truncate', partition);
END
$$;

-- Makes the partitions that are missing: once, a catch-all up to `first_month`, then every month until `ahead` months
-- after the present one. No DEFAULT partition: one that holds rows would block the next. Returns how many were made.
CREATE OR REPLACE FUNCTION permalog.make_partitions(first_month date DEFAULT NULL, ahead integer DEFAULT 12) RETURNS integer
    LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    this_month constant date := date_trunc('month', clock_timestamp())::date;
    month date;
    name text;
    made integer := 0;
BEGIN
    IF to_regclass('permalog.event_before') IS NULL THEN
        first_month := least(date_trunc('month', first_month)::date, this_month);   -- least() leaves nulls out
        EXECUTE format('CREATE TABLE permalog.event_before PARTITION OF permalog.event FOR VALUES FROM (MINVALUE) TO (%L)',
                       permalog.id_floor(first_month::timestamptz));
        PERFORM permalog.guard_partition('permalog.event_before');
        made := 1;
    ELSE
        -- Where the months begin was settled when the catch-all was made.
        SELECT min(to_date(right(c.relname, 6), 'YYYYMM')) INTO first_month
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'permalog.event'::regclass AND c.relname ~ '^event_[0-9]{6}$';
        first_month := least(first_month, this_month);   -- the present month, even where all before it are gone
    END IF;
    FOR month IN SELECT generate_series(first_month, this_month + make_interval(months => ahead), '1 month')::date LOOP
        name := 'event_' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass('permalog.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE permalog.%I PARTITION OF permalog.event FOR VALUES FROM (%L) TO (%L)', name,
                       permalog.id_floor(month::timestamptz),
                       permalog.id_floor((month + interval '1 month')::timestamptz));
        PERFORM permalog.guard_partition(('permalog.' || quote_ident(name))::regclass);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Lets the catalogue's actions, and no others, into the event table. The new CHECK is NOT VALID, so that rows
-- are not scanned; the old one goes in the same transaction. Does nothing where the list is the same already.
CREATE OR REPLACE FUNCTION permalog.admit_actions() RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    wanted constant text := (SELECT format('CHECK ((action = ANY (%L::text[]))) NOT VALID', coalesce(array_agg(action ORDER BY action COLLATE "C"), '{}'))
                             FROM permalog.catalogue);
    present constant text := (SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
                              WHERE conrelid = 'permalog.event'::regclass AND conname = 'event_action');
BEGIN
    IF present IS NOT DISTINCT FROM wanted THEN
        RETURN false;
    END IF;
    ALTER TABLE permalog.event DROP CONSTRAINT event_action;
    EXECUTE 'ALTER TABLE permalog.event ADD CONSTRAINT event_action ' || wanted;
    EXECUTE format('COMMENT ON CONSTRAINT event_action ON permalog.event IS %L', wanted);
    RETURN true;
END
$$;
