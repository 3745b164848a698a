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
