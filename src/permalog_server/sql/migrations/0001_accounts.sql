-- Who may use the service: users, organisations, roles, tokens.

CREATE SCHEMA accounts;

CREATE TABLE accounts.person (
    user_id    text        PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 255),
    email      text        CHECK (length(email) BETWEEN 1 AND 320),
    name       text        CHECK (length(name) BETWEEN 1 AND 255),
    staff      boolean     NOT NULL DEFAULT false,   -- the product's own people
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz,                          -- erased: the row stays, blank, so that the id is not given again
    CONSTRAINT person_deleted_is_blank CHECK (deleted_at IS NULL OR num_nonnulls(email, name) = 0)
);

-- What is erased here must not live on in the planner's statistics.
ALTER TABLE accounts.person ALTER email SET STATISTICS 0, ALTER name SET STATISTICS 0;

CREATE TABLE accounts.organization (
    organization_id uuid        PRIMARY KEY,
    operator        boolean     NOT NULL DEFAULT false,   -- whose log the installation's own changes go to
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at      timestamptz
);

CREATE UNIQUE INDEX organization_one_operator ON accounts.organization (operator) WHERE operator;

INSERT INTO accounts.organization (organization_id, operator) VALUES (gen_random_uuid(), true);

CREATE TABLE accounts.membership (
    organization_id uuid NOT NULL REFERENCES accounts.organization,
    user_id         text NOT NULL REFERENCES accounts.person,
    role            text NOT NULL CHECK (role IN ('owner', 'admin', 'billing_manager', 'member')),
    PRIMARY KEY (organization_id, user_id)
);

CREATE INDEX membership_by_user ON accounts.membership (user_id);

-- Only SHA-256 of a token's 256 random bits is kept: nothing in the database lets anybody in.
CREATE TABLE accounts.token (
    token_id        uuid        PRIMARY KEY,
    user_id         text        NOT NULL REFERENCES accounts.person,
    organization_id uuid        REFERENCES accounts.organization,   -- a service's token writes events for this one only
    scopes          text[]      NOT NULL,
    digest          bytea       NOT NULL CHECK (octet_length(digest) = 32),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz,
    last_used_at    timestamptz,                                    -- to the minute
    revoked_at      timestamptz
);

CREATE INDEX token_by_user ON accounts.token (user_id);

-- Requests that processes have set aside for a token in a minute; lost in a crash, which does no harm.
CREATE UNLOGGED TABLE accounts.allowance (
    token_id uuid        NOT NULL,
    minute   timestamptz NOT NULL,
    taken    integer     NOT NULL,
    PRIMARY KEY (token_id, minute)
);

-- What is recorded only once in a while (a member of staff viewing a log, a stranger knocking): SHA-256 of who, what and where.
CREATE TABLE accounts.notice (
    digest bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    until  timestamptz NOT NULL
);
