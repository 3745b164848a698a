-- Who is signed in to the pages, and how they come in.

ALTER TABLE accounts.organization ADD COLUMN name text CHECK (length(name) BETWEEN 1 AND 255);

-- As with tokens, only SHA-256 of 256 random bits is kept. The row goes when the session ends.
CREATE TABLE accounts.session (
    session_id   uuid        PRIMARY KEY,
    user_id      text        NOT NULL REFERENCES accounts.person,
    digest       bytea       NOT NULL CHECK (octet_length(digest) = 32),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),   -- to the minute
    expires_at   timestamptz NOT NULL
);

CREATE INDEX session_by_user ON accounts.session (user_id);

-- Links that sign somebody in, once: the row goes with its use.
CREATE TABLE accounts.sign_in_link (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    user_id    text        NOT NULL REFERENCES accounts.person,
    expires_at timestamptz NOT NULL
);

CREATE INDEX sign_in_link_by_user ON accounts.sign_in_link (user_id);
