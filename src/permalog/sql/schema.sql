-- The tables of Permalog as they are now: the truth that the migrations are proved equal to.
-- log_id stands in every primary key, foreign key and index, so that the schema can be distributed;
-- the exceptions are the small shared tables and the two indexes that find one person in all logs.

-- What has been applied here. `digest` is the SHA-256 of the file, so that an edited one is noticed.
CREATE TABLE permalog.migration (
    name       text        PRIMARY KEY,
    digest     bytea       NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The closed vocabulary of actions. A name is never removed: retired ones stay readable.
CREATE TABLE permalog.catalogue (
    action        text    PRIMARY KEY CHECK (action ~ '^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)+$' AND length(action) <= 100),
    resource_type text    NOT NULL CHECK (length(resource_type) BETWEEN 1 AND 100),
    label         text    NOT NULL CHECK (length(label) BETWEEN 1 AND 100),
    retired       boolean NOT NULL DEFAULT false
);

-- One log per owner: an organisation or a user, never both.
CREATE TABLE permalog.log (
    log_id          uuid        PRIMARY KEY,
    organization_id uuid,
    user_id         text        CHECK (length(user_id) BETWEEN 1 AND 255),
    opened_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_at       timestamptz,
    retention       interval,   -- null: kept for ever
    hold            boolean     NOT NULL DEFAULT false,
    CONSTRAINT log_one_owner CHECK (num_nonnulls(organization_id, user_id) = 1),
    CONSTRAINT log_id_is_the_owners CHECK (log_id = permalog.log_id_of(organization_id, user_id))
);

-- One immutable record. Allowed values are text with CHECK, not enums: under row-level security an enum's `=` is
-- not leakproof and switches the index off, and a new enum value cannot be used in the transaction that adds it.
CREATE TABLE permalog.event (
    log_id         uuid        NOT NULL,
    id             uuid        NOT NULL,            -- UUIDv7 of occurred_at: identity, order, cursor, partition
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),   -- the database's clock; no writer may set it
    recorded_by    text        NOT NULL DEFAULT permalog.recorder(),
    action         text        NOT NULL,
    outcome        text        NOT NULL DEFAULT 'success',
    actor_type     text        NOT NULL,
    actor_id       text,                            -- null for staff: theirs is in the identity
    identity       bytea,                           -- commitment; null for system
    resource_type  text        NOT NULL,
    resource_id    text        NOT NULL,
    correlation_id text,                            -- one operation, several events
    source         text,
    schema_version smallint    NOT NULL DEFAULT 1,
    before_state   jsonb,
    after_state    jsonb,
    metadata       jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (log_id, id),
    -- migrate replaces this one whenever the catalogue grows, as NOT VALID: neither scan nor rewrite.
    CONSTRAINT event_action CHECK (action = ANY ('{}'::text[])),
    CONSTRAINT event_outcome CHECK (outcome IN ('success', 'failure', 'denied')),
    CONSTRAINT event_actor CHECK (CASE actor_type
        WHEN 'user'    THEN actor_id IS NOT NULL AND identity IS NOT NULL
        WHEN 'api_key' THEN actor_id IS NOT NULL AND identity IS NOT NULL
        WHEN 'staff'   THEN actor_id IS NULL AND identity IS NOT NULL
        WHEN 'system'  THEN identity IS NULL
        ELSE false END),
    CONSTRAINT event_source CHECK (source IN ('web', 'api', 'worker', 'cron', 'callback', 'webhook', 'cli', 'import')),
    -- The id's time bits are the time, and its variant is RFC 9562's; else date ranges would lie.
    CONSTRAINT event_id CHECK (substr(uuid_send(id), 1, 8) = permalog.id_prefix(occurred_at)
                               AND get_byte(uuid_send(id), 8) BETWEEN 128 AND 191),
    CONSTRAINT event_time CHECK (occurred_at >= timestamptz '1970-01-01 00:00:00+00'),
    CONSTRAINT event_sizes CHECK (octet_length(identity) = 32
                                  AND length(actor_id) BETWEEN 1 AND 255
                                  AND length(resource_type) BETWEEN 1 AND 100
                                  AND length(resource_id) BETWEEN 1 AND 512
                                  AND length(correlation_id) BETWEEN 1 AND 255),
    CONSTRAINT event_payloads CHECK (jsonb_typeof(before_state) = 'object' AND jsonb_typeof(after_state) = 'object'
                                     AND jsonb_typeof(metadata) = 'object')
) PARTITION BY RANGE (id);

CREATE INDEX event_by_action ON permalog.event (log_id, action, id);
CREATE INDEX event_by_actor ON permalog.event (log_id, actor_id, id);
CREATE INDEX event_by_resource ON permalog.event (log_id, resource_id, id);
CREATE INDEX event_by_operation ON permalog.event (log_id, correlation_id, id);
-- Failures and denials are few and looked for often.
CREATE INDEX event_not_success ON permalog.event (log_id, outcome, id) WHERE outcome <> 'success';

-- Personal data as it was at that moment. commitment = SHA-256(0x02 || salt || JCS(identity)).
-- Erasing clears everything but the commitment; no uniqueness over content, which would make writers wait.
CREATE TABLE permalog.identity (
    log_id     uuid   NOT NULL,
    commitment bytea  NOT NULL CHECK (octet_length(commitment) = 32),
    kind       text   NOT NULL CHECK (length(kind) BETWEEN 1 AND 100),   -- 'actor', 'staff', or that of a Personal value
    actor_id   text   CHECK (length(actor_id) BETWEEN 1 AND 255),
    email      text   CHECK (length(email) BETWEEN 1 AND 320),
    name       text   CHECK (length(name) BETWEEN 1 AND 255),
    ip_address text   CHECK (length(ip_address) BETWEEN 1 AND 45),
    user_agent text   CHECK (length(user_agent) BETWEEN 1 AND 2048),
    value      text   CHECK (length(value) BETWEEN 1 AND 2048),          -- that of a Personal value
    salt       bytea  CHECK (octet_length(salt) = 16),
    erased_at  timestamptz,
    PRIMARY KEY (log_id, commitment),
    CONSTRAINT identity_erased_is_blank CHECK (
        CASE WHEN erased_at IS NULL THEN salt IS NOT NULL
             ELSE num_nonnulls(actor_id, email, name, ip_address, user_agent, value, salt) = 0 END)
);

CREATE INDEX identity_by_person ON permalog.identity (actor_id, log_id);
CREATE INDEX identity_by_email ON permalog.identity (log_id, lower(email));
-- Finds the personal values that tell of a person who is erased; across all logs, like the first.
CREATE INDEX identity_by_words ON permalog.identity USING gin (permalog.words_in(value)) WHERE value IS NOT NULL;
-- What is erased here must not live on in the planner's statistics.
ALTER TABLE permalog.identity ALTER email SET STATISTICS 0, ALTER name SET STATISTICS 0, ALTER ip_address SET STATISTICS 0,
    ALTER user_agent SET STATISTICS 0, ALTER value SET STATISTICS 0, ALTER salt SET STATISTICS 0;
ALTER INDEX permalog.identity_by_email ALTER 2 SET STATISTICS 0;
ALTER INDEX permalog.identity_by_words ALTER 1 SET STATISTICS 0;

-- People whose identities arrive blank from now on (spools, imports and restores bring late ones).
CREATE TABLE permalog.erased_actor (
    actor_id  text        PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Events that have no place in their log's tree yet; filled by a trigger, emptied by the sealer.
CREATE TABLE permalog.unsealed (
    log_id uuid NOT NULL,
    id     uuid NOT NULL,
    PRIMARY KEY (log_id, id)
);

-- Idempotency keys. `digest` is that of the content, without personal data: see permalog.content_digest.
CREATE TABLE permalog.event_key (
    log_id   uuid  NOT NULL,
    key      text  NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    event_id uuid  NOT NULL,
    digest   bytea NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (log_id, key)
);

-- The tree of a log as far as it has grown; the row that a sealer locks. A log goes on in a new epoch, with a tree of its own,
-- after its database was restored: the highest epoch is the present one. `frontier`: permalog.merkle.Frontier.to_bytes.
CREATE TABLE permalog.head (
    log_id    uuid        NOT NULL,
    epoch     integer     NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    size      bigint      NOT NULL CHECK (size >= 0),
    frontier  bytea       NOT NULL CHECK (substr(frontier, 1, 8) = int8send(size)),
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, epoch)
);

-- The tree's hashes as C2SP tlog-tiles lays them out: the tile `index` of a level has the hashes from index * 256 on. A tile
-- that is not full grows in place. event_ids: of level 0 the events of its leaves, in their order; null in the place of a leaf
-- that is no event. first_id and last_id: the smallest and the largest id of an event below the tile (null if there is none).
CREATE TABLE permalog.tile (
    log_id    uuid     NOT NULL,
    epoch     integer  NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    level     smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index     bigint   NOT NULL CHECK (index >= 0),
    hashes    bytea    NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    event_ids uuid[],
    first_id  uuid,
    last_id   uuid,
    PRIMARY KEY (log_id, epoch, level, index),
    CONSTRAINT tile_event_ids CHECK (CASE level WHEN 0 THEN cardinality(event_ids) IS NOT DISTINCT FROM octet_length(hashes) / 32
                                                ELSE event_ids IS NULL END)
);
-- Hashes do not compress; trying would cost time whenever a tile grows.
ALTER TABLE permalog.tile ALTER hashes SET STORAGE EXTERNAL, ALTER event_ids SET STORAGE EXTERNAL;
-- From an event's id to the tile that has its leaf.
CREATE INDEX tile_by_event ON permalog.tile (log_id, last_id, first_id, epoch, index) WHERE level = 0;

-- What was signed: a C2SP signed note of each. root: that of the tree's first `size` leaves.
CREATE TABLE permalog.checkpoint (
    log_id    uuid        NOT NULL,
    epoch     integer     NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    size      bigint      NOT NULL CHECK (size >= 0),
    root      bytea       NOT NULL CHECK (octet_length(root) = 32),
    note      text        NOT NULL CHECK (length(note) BETWEEN 1 AND 1000000),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, epoch, size)
);

-- Witnesses' signatures of checkpoints: each one line of a signed note, without its newline.
CREATE TABLE permalog.cosignature (
    log_id      uuid        NOT NULL,
    epoch       integer     NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    size        bigint      NOT NULL CHECK (size >= 0),
    witness     text        NOT NULL CHECK (length(witness) BETWEEN 1 AND 255),
    line        text        NOT NULL CHECK (length(line) BETWEEN 1 AND 10000),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, epoch, size, witness)
);

-- How many sealed events, by parts: 'all' (one row), 'action', 'actor' (type and id), 'day' (of UTC), 'day_action'. What a part
-- is not counted by is empty ('-infinity' for the day); so is the id of an actor without one. first_id and last_id are the
-- smallest and largest id of the events counted.
CREATE TABLE permalog.activity (
    log_id     uuid   NOT NULL,
    part       text   NOT NULL CHECK (part IN ('all', 'action', 'actor', 'day', 'day_action')),
    day        date   NOT NULL DEFAULT '-infinity',
    action     text   NOT NULL DEFAULT '',
    actor_type text   NOT NULL DEFAULT '',
    actor_id   text   NOT NULL DEFAULT '',
    events     bigint NOT NULL CHECK (events > 0),
    first_id   uuid   NOT NULL,
    last_id    uuid   NOT NULL,
    PRIMARY KEY (log_id, part, day, action, actor_type, actor_id)
);

-- The anchor log: the checkpoints of all logs in one more tree, published outside the database.
-- What was published, step by step: the anchor log grew from `start` to `size` leaves, these ones, and was signed. One of all
-- logs, as the catalogue is. `frontier`: that of the grown tree (permalog.merkle.Frontier.to_bytes). The database was
-- restored: a new epoch.
CREATE TABLE permalog.anchor (
    epoch    integer     NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    start    bigint      NOT NULL CHECK (start >= 0),
    size     bigint      NOT NULL CHECK (size > start),
    leaves   bytea       NOT NULL CHECK (octet_length(leaves) = 32 * (size - start)),
    frontier bytea       NOT NULL CHECK (substr(frontier, 1, 8) = int8send(size)),
    note     text        NOT NULL CHECK (length(note) BETWEEN 1 AND 1000000),
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (epoch, start)   -- of two that make the same step, one finds out
);
ALTER TABLE permalog.anchor ALTER leaves SET STORAGE EXTERNAL;

-- Which checkpoint an anchor leaf is of: it opens the leaf, which says nothing by itself.
CREATE TABLE permalog.anchor_leaf (
    log_id       uuid    NOT NULL,
    epoch        integer NOT NULL CHECK (epoch >= 1),           -- that of the log
    size         bigint  NOT NULL CHECK (size >= 0),
    anchor_epoch integer NOT NULL CHECK (anchor_epoch >= 1),
    leaf_index   bigint  NOT NULL CHECK (leaf_index >= 0),      -- in the anchor log
    PRIMARY KEY (log_id, epoch, size)
);

-- Which place has taken which step.
CREATE TABLE permalog.anchor_publication (
    epoch        integer     NOT NULL CHECK (epoch >= 1),
    place        text        NOT NULL CHECK (length(place) BETWEEN 1 AND 1000),
    size         bigint      NOT NULL CHECK (size > 0),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (epoch, place, size)
);

-- ENABLE ALWAYS: they hold under session_replication_role = replica, too.
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.event FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.event FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER note_unsealed AFTER INSERT ON permalog.event FOR EACH ROW EXECUTE FUNCTION permalog.note_unsealed();
ALTER TABLE permalog.event ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.event ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE permalog.event ENABLE ALWAYS TRIGGER note_unsealed;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.identity FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.identity FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER blank_erased BEFORE INSERT ON permalog.identity FOR EACH ROW EXECUTE FUNCTION permalog.blank_erased();
ALTER TABLE permalog.identity ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.identity ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE permalog.identity ENABLE ALWAYS TRIGGER blank_erased;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.event_key FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.event_key FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.event_key ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.event_key ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.log FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.log FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.log ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.log ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.unsealed FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.unsealed ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.erased_actor FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.erased_actor FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.erased_actor ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.erased_actor ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_delete BEFORE DELETE OR UPDATE OF action ON permalog.catalogue FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.catalogue FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.catalogue ENABLE ALWAYS TRIGGER refuse_delete;
ALTER TABLE permalog.catalogue ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER refuse_loss BEFORE UPDATE OR DELETE ON permalog.head FOR EACH ROW EXECUTE FUNCTION permalog.refuse_loss();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.head FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.head ENABLE ALWAYS TRIGGER refuse_loss;
ALTER TABLE permalog.head ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_loss BEFORE UPDATE OR DELETE ON permalog.tile FOR EACH ROW EXECUTE FUNCTION permalog.refuse_loss();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.tile FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.tile ENABLE ALWAYS TRIGGER refuse_loss;
ALTER TABLE permalog.tile ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_loss BEFORE UPDATE OR DELETE ON permalog.activity FOR EACH ROW EXECUTE FUNCTION permalog.refuse_loss();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.activity FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.activity ENABLE ALWAYS TRIGGER refuse_loss;
ALTER TABLE permalog.activity ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.checkpoint FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.checkpoint FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.checkpoint ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.checkpoint ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.cosignature FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.cosignature FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.cosignature ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.cosignature ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.anchor FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.anchor FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.anchor ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.anchor ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.anchor_leaf FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.anchor_leaf FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.anchor_leaf ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.anchor_leaf ENABLE ALWAYS TRIGGER refuse_truncate;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON permalog.anchor_publication FOR EACH ROW EXECUTE FUNCTION permalog.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON permalog.anchor_publication FOR EACH STATEMENT EXECUTE FUNCTION permalog.refuse_change();
ALTER TABLE permalog.anchor_publication ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE permalog.anchor_publication ENABLE ALWAYS TRIGGER refuse_truncate;
