-- Webhooks that came: GitHub sends some twice.

-- name: is_taken
SELECT true FROM security_agent.delivery WHERE delivery_id = %(delivery)s;

-- name: note
-- Those of a month ago are forgotten in the same breath: GitHub sends nothing again that is older than three days.
WITH old AS (DELETE FROM security_agent.delivery WHERE received_at < %(now)s - interval '30 days')
INSERT INTO security_agent.delivery (delivery_id, received_at) VALUES (%(delivery)s, %(now)s) ON CONFLICT DO NOTHING;
