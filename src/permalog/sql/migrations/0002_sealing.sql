-- The Merkle tree of each log, what was signed of it, and the counts that sealing keeps.

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
