-- The roles, of the whole server. Nobody logs in as one of them; an application's login is granted what it needs:
--     GRANT permalog_writer, permalog_reader TO my_application;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{permalog_owner,permalog_eraser,permalog_migrator,permalog_writer,permalog_importer,permalog_reader,permalog_auditor,permalog_sealer,permalog_verifier,permalog_privacy,permalog_service}'::text[] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;   -- another database of this server was migrated at the same moment: the role is there, as wanted
        END;
    END LOOP;
    -- Whoever may migrate becomes the owner to do so; whoever may import may also write.
    IF NOT pg_has_role('permalog_migrator', 'permalog_owner', 'MEMBER') THEN
        GRANT permalog_owner TO permalog_migrator;
    END IF;
    -- The owner hands the erasing functions to the eraser.
    IF NOT pg_has_role('permalog_owner', 'permalog_eraser', 'MEMBER') THEN
        GRANT permalog_eraser TO permalog_owner;
    END IF;
    -- The erasing functions append their own record.
    IF NOT pg_has_role('permalog_eraser', 'permalog_writer', 'MEMBER') THEN
        GRANT permalog_writer TO permalog_eraser;
    END IF;
    IF NOT pg_has_role('permalog_importer', 'permalog_writer', 'MEMBER') THEN
        GRANT permalog_writer TO permalog_importer;
    END IF;
    -- Whoever may make evidence bundles reads.
    IF NOT pg_has_role('permalog_auditor', 'permalog_reader', 'MEMBER') THEN
        GRANT permalog_reader TO permalog_auditor;
    END IF;
    -- The service reads one log at a time, makes bundles, writes, imports, and forgets.
    IF NOT pg_has_role('permalog_service', 'permalog_privacy', 'MEMBER') THEN
        GRANT permalog_reader, permalog_importer, permalog_privacy TO permalog_service;
    END IF;
    IF NOT pg_has_role('permalog_service', 'permalog_auditor', 'MEMBER') THEN
        GRANT permalog_auditor TO permalog_service;
    END IF;
    -- What builds on the log (accounts, the agent) has schemas of its own.
    IF NOT has_database_privilege('permalog_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO permalog_owner', current_database());
    END IF;
    -- From 16 on, who makes a role is a member that may grant it, and need not be one that may become it.
    IF NOT pg_has_role(current_user, 'permalog_owner', CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE format('GRANT permalog_owner TO %I', current_user);
    END IF;
END
$$;
