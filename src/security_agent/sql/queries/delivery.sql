-- Webhooks that an owner has taken: GitHub sends some twice.

-- name: is_taken
SELECT true FROM security_agent.delivery WHERE log_id = %(log)s AND delivery_id = %(delivery)s;

-- name: take
-- Whoever takes the same one at the same moment waits for the end of the transaction, and then gets no row. Those of a month
-- ago are forgotten in the same breath: GitHub sends nothing again that is older than three days.
WITH old AS (DELETE FROM security_agent.delivery WHERE log_id = %(log)s AND received_at < %(now)s - interval '30 days')
INSERT INTO security_agent.delivery (log_id, delivery_id, received_at) VALUES (%(log)s, %(delivery)s, %(now)s)
ON CONFLICT DO NOTHING RETURNING true;
