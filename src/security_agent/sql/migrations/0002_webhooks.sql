-- Webhooks are taken once by each owner whom they concern, in the transaction of what they change.
-- Nothing has written deliveries before, so that nothing is lost with the table, and no client misses it.
-- squawk-ignore ban-drop-table
DROP TABLE security_agent.delivery;
CREATE TABLE security_agent.delivery (
    log_id      uuid        NOT NULL REFERENCES security_agent.owner ON DELETE CASCADE,
    delivery_id text        NOT NULL CHECK (length(delivery_id) BETWEEN 1 AND 64),   -- GitHub's: the same when it is sent again
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, delivery_id)
);

CREATE INDEX delivery_by_time ON security_agent.delivery (log_id, received_at);

-- When GitHub was asked for what the row says: of two who ask at once, the later one is right.
ALTER TABLE security_agent.integration ADD told_at timestamptz;
