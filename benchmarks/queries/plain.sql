-- The plain table: what one writes by hand. One table, five B-tree indexes beside the primary key, offsets by time.

-- name: create
CREATE TABLE audit_log (
    id              uuid        PRIMARY KEY,
    organization_id uuid,
    user_id         text,
    action          text        NOT NULL,
    outcome         text        NOT NULL,
    actor_type      text        NOT NULL,
    actor_id        text,
    actor_email     text,
    actor_name      text,
    ip_address      text,
    resource_type   text        NOT NULL,
    resource_id     text        NOT NULL,
    before_state    jsonb,
    after_state     jsonb,
    metadata        jsonb,
    correlation_id  text,
    source          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(organization_id, user_id) = 1)
);
CREATE INDEX audit_log_created_at ON audit_log (created_at);
CREATE INDEX audit_log_owner ON audit_log (organization_id, created_at);
CREATE INDEX audit_log_actor ON audit_log (actor_id);
CREATE INDEX audit_log_action ON audit_log (action);
CREATE INDEX audit_log_resource ON audit_log (resource_type, resource_id);

-- name: insert
INSERT INTO audit_log VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);

-- name: copy
COPY audit_log FROM STDIN;

-- name: page
SELECT id, action, outcome, actor_type, actor_id, actor_email, actor_name, resource_type, resource_id, before_state, after_state,
       metadata, correlation_id, source, created_at
FROM audit_log WHERE organization_id = %(owner)s AND {where} ORDER BY created_at DESC LIMIT %(rows)s;

-- name: summary_total
SELECT count(*), min(created_at), max(created_at) FROM audit_log WHERE organization_id = %(owner)s;

-- name: summary_actions
SELECT action, count(*) FROM audit_log WHERE organization_id = %(owner)s GROUP BY action ORDER BY 2 DESC;

-- name: summary_actors
SELECT actor_type, actor_id, max(actor_name), count(*) FROM audit_log WHERE organization_id = %(owner)s GROUP BY 1, 2 ORDER BY 4 DESC;

-- name: summary_days
SELECT created_at::date, count(*) FROM audit_log WHERE organization_id = %(owner)s GROUP BY 1 ORDER BY 1;
