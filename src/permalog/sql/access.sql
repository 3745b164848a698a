-- Grants and row-level security: the least that each role needs. Applied whole, at each migration.

REVOKE ALL ON SCHEMA permalog FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA permalog FROM PUBLIC, permalog_writer, permalog_importer, permalog_reader,
    permalog_sealer, permalog_verifier, permalog_privacy, permalog_eraser, permalog_service, permalog_auditor;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA permalog FROM PUBLIC, permalog_writer, permalog_importer, permalog_reader,
    permalog_sealer, permalog_verifier, permalog_privacy, permalog_service;
GRANT USAGE ON SCHEMA permalog TO permalog_writer, permalog_importer, permalog_reader,
    permalog_sealer, permalog_verifier, permalog_privacy, permalog_eraser, permalog_service;

-- Shared by all: names of actions, and how ids are made.
GRANT SELECT ON permalog.catalogue, permalog.migration TO permalog_writer, permalog_reader, permalog_sealer, permalog_verifier, permalog_privacy;
GRANT EXECUTE ON FUNCTION permalog.log_id_of, permalog.id_prefix, permalog.id_floor, permalog.id_time, permalog.new_id
    TO permalog_writer, permalog_reader, permalog_sealer, permalog_privacy;

-- Writers: INSERT on the parent, by column, without recorded_at and recorded_by. What they may read tells whether an
-- event is there, and nothing of what it says.
GRANT INSERT (log_id, id, occurred_at, action, outcome, actor_type, actor_id, identity, resource_type, resource_id,
              correlation_id, source, schema_version, before_state, after_state, metadata) ON permalog.event TO permalog_writer;
GRANT SELECT (log_id, id, identity) ON permalog.event TO permalog_writer;
GRANT INSERT (log_id, commitment, kind, actor_id, email, name, ip_address, user_agent, value, salt) ON permalog.identity TO permalog_writer;
GRANT INSERT (log_id, organization_id, user_id), SELECT (log_id) ON permalog.log TO permalog_writer;
GRANT INSERT (log_id, key, event_id, digest), SELECT (log_id, key, event_id, digest) ON permalog.event_key TO permalog_writer;
GRANT EXECUTE ON FUNCTION permalog.append, permalog.take_envelope, permalog.take_owner, permalog.take_actor, permalog.take_personal,
    permalog.recorder,
    permalog.event_time, permalog.may_import, permalog.text_member, permalog.check_members, permalog.check_characters,
    permalog.payload_fault, permalog.is_personal, permalog.is_exact_number, permalog.content_digest, permalog.stored_digest, permalog.commitment, permalog.known_identity,
    permalog.new_identity TO permalog_writer;

-- Readers: the events, identities and the tree of one log, without the salts.
GRANT SELECT ON permalog.event, permalog.log, permalog.unsealed, permalog.head, permalog.tile, permalog.checkpoint, permalog.cosignature,
    permalog.activity, permalog.anchor_leaf TO permalog_reader;
GRANT SELECT (log_id, commitment, kind, actor_id, email, name, ip_address, user_agent, value, erased_at) ON permalog.identity TO permalog_reader;
GRANT EXECUTE ON FUNCTION permalog.mentions(jsonb, text, text, text, text), permalog.people_of_email, permalog.partitions,
    permalog.search_stamp, permalog.search_pattern, permalog.search TO permalog_reader;
-- Whoever writes to an indexed partition computes what stands in the index. And whoever reads one: where a session has planned
-- something as a role without this right, PostgreSQL keeps the index's expression in a form that no search in it matches.
-- The eraser comes first, as its right stays when the others are revoked above: so a second migration changes nothing.
GRANT EXECUTE ON FUNCTION permalog.searchable TO permalog_eraser, permalog_writer, permalog_reader, permalog_sealer,
    permalog_verifier, permalog_privacy;

-- Auditors are readers who see the salts, too, of those identities that they may see: what evidence bundles open.
GRANT USAGE ON SCHEMA permalog TO permalog_auditor;
GRANT SELECT ON permalog.identity TO permalog_auditor;

-- The sealer reads everything as it is stored, makes the trees grow, signs, and takes events off the list.
GRANT SELECT ON permalog.event, permalog.identity, permalog.log TO permalog_sealer;
GRANT SELECT, DELETE ON permalog.unsealed TO permalog_sealer;
GRANT SELECT, INSERT, UPDATE ON permalog.head, permalog.tile, permalog.activity TO permalog_sealer;
GRANT SELECT, INSERT ON permalog.checkpoint, permalog.cosignature TO permalog_sealer;
GRANT SELECT, INSERT ON permalog.anchor, permalog.anchor_leaf, permalog.anchor_publication TO permalog_sealer;
-- It also keeps the partitions, by functions that run as the owner.
GRANT EXECUTE ON FUNCTION permalog.partitions, permalog.search_stamp, permalog.add_partitions, permalog.cut_partition,
    permalog.index_partition TO permalog_sealer;

-- The verifier reads everything as it is stored, salts included, and changes nothing.
GRANT SELECT ON permalog.event, permalog.identity, permalog.log, permalog.unsealed, permalog.event_key, permalog.head, permalog.tile,
    permalog.checkpoint, permalog.cosignature, permalog.activity, permalog.anchor, permalog.anchor_leaf, permalog.anchor_publication,
    permalog.catalogue, permalog.migration TO permalog_verifier;
GRANT EXECUTE ON FUNCTION permalog.content_digest TO permalog_verifier;

-- The eraser is nobody's login: it owns the functions that forget, which privacy may call. They append their own record.
GRANT CREATE ON SCHEMA permalog TO permalog_eraser;
GRANT SELECT, UPDATE, DELETE ON permalog.identity TO permalog_eraser;
GRANT SELECT, DELETE ON permalog.event, permalog.event_key, permalog.unsealed, permalog.tile, permalog.activity TO permalog_eraser;
GRANT SELECT, UPDATE ON permalog.log, permalog.head TO permalog_eraser;
GRANT EXECUTE ON FUNCTION permalog.words_in TO permalog_eraser, permalog_writer;   -- writers, since an index calls it
GRANT SELECT, INSERT ON permalog.erased_actor TO permalog_eraser;
ALTER FUNCTION permalog.identities_of OWNER TO permalog_eraser;
ALTER FUNCTION permalog.bar_user OWNER TO permalog_eraser;
ALTER FUNCTION permalog.bar_organization OWNER TO permalog_eraser;
ALTER FUNCTION permalog.erase_alone OWNER TO permalog_eraser;
ALTER FUNCTION permalog.size_of OWNER TO permalog_eraser;
ALTER FUNCTION permalog.remove_log OWNER TO permalog_eraser;
ALTER FUNCTION permalog.erase_user OWNER TO permalog_eraser;
ALTER FUNCTION permalog.erase_organization OWNER TO permalog_eraser;
GRANT EXECUTE ON FUNCTION permalog.bar_user, permalog.bar_organization, permalog.erase_alone, permalog.erase_user,
    permalog.erase_organization TO permalog_privacy;

ALTER TABLE permalog.event ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.identity ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.log ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.event_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.unsealed ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.head ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.tile ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.checkpoint ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.cosignature ENABLE ROW LEVEL SECURITY;
ALTER TABLE permalog.activity ENABLE ROW LEVEL SECURITY;

-- One log a transaction, named by the setting permalog.log_id. nullif: after a transaction that set it with SET LOCAL,
-- the setting is an empty string for the rest of the session, and must let nothing be seen.
DROP POLICY IF EXISTS one_log ON permalog.event;
DROP POLICY IF EXISTS one_log ON permalog.identity;
DROP POLICY IF EXISTS one_log ON permalog.log;
CREATE POLICY one_log ON permalog.event FOR SELECT TO permalog_reader
    USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
-- Staff stay unnamed to everybody but staff: whoever does not say `permalog.viewer = 'staff'` does not see their rows at all,
-- so that masking comes before every filter, search and count.
CREATE POLICY one_log ON permalog.identity FOR SELECT TO permalog_reader
    USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid
           AND (kind <> 'staff' OR current_setting('permalog.viewer', true) = 'staff'));
CREATE POLICY one_log ON permalog.log FOR SELECT TO permalog_reader
    USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);

DROP POLICY IF EXISTS one_log ON permalog.unsealed;
DROP POLICY IF EXISTS one_log ON permalog.head;
DROP POLICY IF EXISTS one_log ON permalog.tile;
DROP POLICY IF EXISTS one_log ON permalog.checkpoint;
DROP POLICY IF EXISTS one_log ON permalog.cosignature;
DROP POLICY IF EXISTS one_log ON permalog.activity;
CREATE POLICY one_log ON permalog.unsealed FOR SELECT TO permalog_reader USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
CREATE POLICY one_log ON permalog.head FOR SELECT TO permalog_reader USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
CREATE POLICY one_log ON permalog.tile FOR SELECT TO permalog_reader USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
CREATE POLICY one_log ON permalog.checkpoint FOR SELECT TO permalog_reader USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
CREATE POLICY one_log ON permalog.cosignature FOR SELECT TO permalog_reader USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
CREATE POLICY one_log ON permalog.activity FOR SELECT TO permalog_reader USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);

-- The sealer sees all logs, by name and not by membership: a login that may seal must not read through all logs for that.
DROP POLICY IF EXISTS seal_all ON permalog.event;
DROP POLICY IF EXISTS seal_all ON permalog.identity;
DROP POLICY IF EXISTS seal_all ON permalog.log;
DROP POLICY IF EXISTS seal_all ON permalog.unsealed;
DROP POLICY IF EXISTS seal_all ON permalog.head;
DROP POLICY IF EXISTS seal_all ON permalog.tile;
DROP POLICY IF EXISTS seal_all ON permalog.checkpoint;
DROP POLICY IF EXISTS seal_all ON permalog.cosignature;
DROP POLICY IF EXISTS seal_all ON permalog.activity;
CREATE POLICY seal_all ON permalog.event FOR SELECT TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.identity FOR SELECT TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.log FOR SELECT TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.unsealed TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.head TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.tile TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.checkpoint TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.cosignature TO permalog_sealer USING (current_user = 'permalog_sealer');
CREATE POLICY seal_all ON permalog.activity TO permalog_sealer USING (current_user = 'permalog_sealer');

-- So does the verifier.
DROP POLICY IF EXISTS verify_all ON permalog.event;
DROP POLICY IF EXISTS verify_all ON permalog.identity;
DROP POLICY IF EXISTS verify_all ON permalog.log;
DROP POLICY IF EXISTS verify_all ON permalog.unsealed;
DROP POLICY IF EXISTS verify_all ON permalog.event_key;
DROP POLICY IF EXISTS verify_all ON permalog.head;
DROP POLICY IF EXISTS verify_all ON permalog.tile;
DROP POLICY IF EXISTS verify_all ON permalog.checkpoint;
DROP POLICY IF EXISTS verify_all ON permalog.cosignature;
DROP POLICY IF EXISTS verify_all ON permalog.activity;
DROP POLICY IF EXISTS verify_all ON permalog.anchor_leaf;
CREATE POLICY verify_all ON permalog.anchor_leaf FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.event FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.identity FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.log FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.unsealed FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.event_key FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.head FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.tile FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.checkpoint FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.cosignature FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');
CREATE POLICY verify_all ON permalog.activity FOR SELECT TO permalog_verifier USING (current_user = 'permalog_verifier');

-- Late events need the right to import; nobody writes from the future. A member's INSERT passes by either policy.
DROP POLICY IF EXISTS write_recent ON permalog.event;
DROP POLICY IF EXISTS write_old ON permalog.event;
CREATE POLICY write_recent ON permalog.event FOR INSERT TO permalog_writer
    WITH CHECK (occurred_at BETWEEN statement_timestamp() - interval '7 days' AND clock_timestamp() + interval '5 minutes');
CREATE POLICY write_old ON permalog.event FOR INSERT TO permalog_importer
    WITH CHECK (occurred_at <= clock_timestamp() + interval '5 minutes');

-- The drain reads back which rows it has inserted. By name, not by membership: a login that is granted both reading and
-- writing must not see through all logs by the sum of their policies.
DROP POLICY IF EXISTS see_written ON permalog.event;
CREATE POLICY see_written ON permalog.event FOR SELECT TO permalog_writer
    USING (current_user IN ('permalog_writer', 'permalog_importer'));

DROP POLICY IF EXISTS write_any ON permalog.identity;
DROP POLICY IF EXISTS open_any ON permalog.log;
DROP POLICY IF EXISTS see_open ON permalog.log;
DROP POLICY IF EXISTS write_any ON permalog.event_key;
DROP POLICY IF EXISTS see_any ON permalog.event_key;
CREATE POLICY write_any ON permalog.identity FOR INSERT TO permalog_writer WITH CHECK (true);
CREATE POLICY open_any ON permalog.log FOR INSERT TO permalog_writer WITH CHECK (true);
CREATE POLICY see_open ON permalog.log FOR SELECT TO permalog_writer
    USING (current_user IN ('permalog_writer', 'permalog_importer'));   -- by name, as above: it would show a reader all owners
CREATE POLICY write_any ON permalog.event_key FOR INSERT TO permalog_writer WITH CHECK (true);
CREATE POLICY see_any ON permalog.event_key FOR SELECT TO permalog_writer USING (true);

DROP POLICY IF EXISTS erase_any ON permalog.event;
DROP POLICY IF EXISTS erase_any ON permalog.identity;
DROP POLICY IF EXISTS erase_any ON permalog.log;
DROP POLICY IF EXISTS erase_any ON permalog.event_key;
CREATE POLICY erase_any ON permalog.event TO permalog_eraser USING (true);
CREATE POLICY erase_any ON permalog.identity TO permalog_eraser USING (true);
CREATE POLICY erase_any ON permalog.log TO permalog_eraser USING (true);
CREATE POLICY erase_any ON permalog.event_key TO permalog_eraser USING (true);
DROP POLICY IF EXISTS erase_any ON permalog.unsealed;
DROP POLICY IF EXISTS erase_any ON permalog.tile;
DROP POLICY IF EXISTS erase_any ON permalog.activity;
CREATE POLICY erase_any ON permalog.unsealed TO permalog_eraser USING (true);
CREATE POLICY erase_any ON permalog.tile TO permalog_eraser USING (true);
CREATE POLICY erase_any ON permalog.activity TO permalog_eraser USING (true);
DROP POLICY IF EXISTS erase_any ON permalog.head;
CREATE POLICY erase_any ON permalog.head TO permalog_eraser USING (true);

ALTER TABLE permalog.anchor_leaf ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS one_log ON permalog.anchor_leaf;
DROP POLICY IF EXISTS seal_all ON permalog.anchor_leaf;
CREATE POLICY one_log ON permalog.anchor_leaf FOR SELECT TO permalog_reader
    USING (log_id = nullif(current_setting('permalog.log_id', true), '')::uuid);
CREATE POLICY seal_all ON permalog.anchor_leaf TO permalog_sealer USING (current_user = 'permalog_sealer');
