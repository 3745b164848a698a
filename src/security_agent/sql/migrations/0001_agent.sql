-- The security agent: whom it works for, what it may reach, what it found, and what it did about it.
-- Every table has the log of its owner in every key; `delivery` alone is small, shared, and holds no data of an owner.
-- Columns that may tell of a person are marked PERSON: those, and no others, are what forgetting somebody clears.

CREATE SCHEMA security_agent;

-- An owner's configuration. Its revision goes up with every saving, which names the one that it saw.
CREATE TABLE security_agent.owner (
    log_id                  uuid        PRIMARY KEY,
    organization_id         uuid,
    user_id                 text        CHECK (length(user_id) BETWEEN 1 AND 255),
    revision                integer     NOT NULL DEFAULT 0,
    enabled                 boolean     NOT NULL DEFAULT false,
    sla_critical_days       integer     NOT NULL DEFAULT 15 CHECK (sla_critical_days BETWEEN 1 AND 365),
    sla_high_days           integer     NOT NULL DEFAULT 30 CHECK (sla_high_days BETWEEN 1 AND 365),
    sla_medium_days         integer     NOT NULL DEFAULT 45 CHECK (sla_medium_days BETWEEN 1 AND 365),
    sla_low_days            integer     NOT NULL DEFAULT 90 CHECK (sla_low_days BETWEEN 1 AND 365),
    automatic_sync          boolean     NOT NULL DEFAULT true,
    repository_selection    text        NOT NULL DEFAULT 'all' CHECK (repository_selection IN ('all', 'selected')),
    selected_repository_ids bigint[]    NOT NULL DEFAULT '{}' CHECK (cardinality(selected_repository_ids) <= 10000),
    model                   text        CHECK (length(model) BETWEEN 1 AND 255),   -- null: that of the installation
    auto_dismiss            boolean     NOT NULL DEFAULT false,
    auto_dismiss_confidence text        NOT NULL DEFAULT 'high' CHECK (auto_dismiss_confidence IN ('high', 'medium', 'low')),
    updated_by              text,                                                  -- PERSON: a user's id
    updated_at              timestamptz,
    scheduled_at            timestamptz,                                           -- when its last scheduled sync began
    erased_at               timestamptz,                                           -- forgotten: nothing comes in any more
    CONSTRAINT owner_is_one CHECK (num_nonnulls(organization_id, user_id) = 1)
);

-- The GitHub App installation that an owner has bound. Two owners may bind the same one.
CREATE TABLE security_agent.integration (
    log_id               uuid        PRIMARY KEY REFERENCES security_agent.owner ON DELETE CASCADE,
    installation_id      bigint      NOT NULL CHECK (installation_id > 0),
    account              text        NOT NULL,              -- PERSON where it is a user's: a GitHub login
    account_type         text        NOT NULL DEFAULT 'Organization',
    permissions          jsonb       NOT NULL DEFAULT '{}',
    repository_selection text        NOT NULL DEFAULT 'all' CHECK (repository_selection IN ('all', 'selected')),
    connected_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    suspended_at         timestamptz,
    removed_at           timestamptz,
    unauthorized_at      timestamptz                        -- GitHub answered 401: not asked again before it is put right
);

CREATE INDEX integration_by_installation ON security_agent.integration (installation_id, log_id);

-- Links to GitHub's set-up page that wait for somebody to come back: SHA-256 of what the link carries.
CREATE TABLE security_agent.connecting (
    log_id     uuid        NOT NULL REFERENCES security_agent.owner ON DELETE CASCADE,
    digest     bytea       NOT NULL CHECK (octet_length(digest) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, digest)
);

CREATE TABLE security_agent.repository (
    log_id         uuid        NOT NULL REFERENCES security_agent.owner ON DELETE CASCADE,
    repository_id  bigint      NOT NULL CHECK (repository_id > 0),   -- GitHub's: it stays when the repository is renamed
    full_name      text        NOT NULL,                             -- owner/name
    private        boolean     NOT NULL DEFAULT true,
    state          text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'alerts_disabled', 'stale')),
    error          text,                                             -- of the last sync: a code, no message of GitHub's
    last_synced_at timestamptz,
    PRIMARY KEY (log_id, repository_id)
);

CREATE INDEX repository_by_name ON security_agent.repository (log_id, lower(full_name));

-- Syncs, running and done. One that was not finished and gives no sign of life any more was interrupted.
CREATE TABLE security_agent.sync (
    log_id        uuid        NOT NULL REFERENCES security_agent.owner ON DELETE CASCADE,
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),   -- the correlation id of its events
    trigger       text        NOT NULL CHECK (trigger IN ('manual', 'scheduled')),
    repository    text,                                             -- null: all that are selected
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    outcome       text        CHECK (outcome IN ('success', 'failure')),
    result        jsonb,                                            -- what the event sync.completed holds
    PRIMARY KEY (log_id, id)
);

CREATE INDEX sync_by_start ON security_agent.sync (log_id, started_at DESC);

CREATE TABLE security_agent.finding (
    log_id            uuid         NOT NULL REFERENCES security_agent.owner ON DELETE CASCADE,
    id                uuid         NOT NULL DEFAULT gen_random_uuid(),
    repository_id     bigint       NOT NULL,
    repository        text         NOT NULL,                     -- owner/name, as it was when last seen
    source            text         NOT NULL CHECK (source IN ('dependabot')),
    source_id         text         NOT NULL,                     -- the alert's number
    source_state      text         NOT NULL,                     -- in GitHub's words
    source_updated_at timestamptz  NOT NULL,                     -- by GitHub's clock: what is older changes nothing
    status            text         NOT NULL CHECK (status IN ('open', 'fixed', 'ignored')),
    severity          text         NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    ghsa_id           text         NOT NULL,
    cve_id            text,
    package           text         NOT NULL,
    ecosystem         text         NOT NULL,
    vulnerable_range  text         NOT NULL,
    patched_version   text,
    manifest_path     text         NOT NULL,
    title             text         NOT NULL,
    description       text         NOT NULL,
    cwe_ids           text[]       NOT NULL DEFAULT '{}',
    cvss_score        numeric(3,1) CHECK (cvss_score BETWEEN 0 AND 10),
    cvss_vector       text,
    scope             text         CHECK (scope IN ('runtime', 'development')),
    url               text         NOT NULL,
    raw               jsonb        NOT NULL,                     -- the alert, without the members that `raw_people` holds
    raw_people        jsonb        NOT NULL DEFAULT '{}',        -- PERSON: dismissed_by, dismissed_comment, assignees, …
    digest            bytea        NOT NULL CHECK (octet_length(digest) = 32),   -- of `raw`: the same again is no change
    first_detected_at timestamptz  NOT NULL,
    deadline          timestamptz,                               -- kept as it was given, whatever the policy becomes
    fixed_at          timestamptz,
    last_synced_at    timestamptz  NOT NULL,
    ignored_at        timestamptz,
    ignored_reason    text,
    ignored_comment   text,                                      -- PERSON
    ignored_by        text,                                      -- PERSON: a user's id, or a GitHub login
    ignored_by_type   text         CHECK (ignored_by_type IN ('user', 'staff', 'api_key', 'system', 'github')),
    analysis_status   text         NOT NULL DEFAULT 'none' CHECK (analysis_status IN ('none', 'pending', 'running', 'completed', 'failed')),
    analysis_id       uuid,                                      -- the latest attempt
    PRIMARY KEY (log_id, id),
    CONSTRAINT finding_by_source UNIQUE (log_id, repository_id, source, source_id)
);

CREATE INDEX finding_by_detection ON security_agent.finding (log_id, first_detected_at DESC, id);
CREATE INDEX finding_by_repository ON security_agent.finding (log_id, lower(repository));

-- An attempt at analysing a finding. The database holds an owner to three at once: each pending or running one has a slot.
CREATE TABLE security_agent.analysis (
    log_id            uuid        NOT NULL,
    id                uuid        NOT NULL DEFAULT gen_random_uuid(),
    finding_id        uuid        NOT NULL,
    status            text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed')),
    slot              smallint    CHECK (slot BETWEEN 1 AND 3),
    tier              text        NOT NULL DEFAULT 'triage' CHECK (tier IN ('triage', 'sandbox', 'extraction')),   -- how far it has come
    forced            boolean     NOT NULL DEFAULT false,       -- the caller wants the sandbox, whatever triage says
    model             text,
    triage            jsonb,
    result            jsonb,                                    -- of the extraction
    failure_code      text,
    token_digest      bytea       CHECK (octet_length(token_digest) = 32),   -- SHA-256 of what an external runner calls back with
    triggered_by      text,                                     -- PERSON: a user's id
    triggered_by_type text        NOT NULL DEFAULT 'system' CHECK (triggered_by_type IN ('user', 'staff', 'api_key', 'system')),
    correlation_id    text,
    requested_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at        timestamptz,
    finished_at       timestamptz,
    PRIMARY KEY (log_id, id),
    FOREIGN KEY (log_id, finding_id) REFERENCES security_agent.finding ON DELETE CASCADE,
    CONSTRAINT analysis_slot_while_active CHECK ((slot IS NOT NULL) = (status IN ('pending', 'running'))),
    CONSTRAINT analysis_finished CHECK ((finished_at IS NULL) = (status IN ('pending', 'running')))
);

CREATE UNIQUE INDEX analysis_slots ON security_agent.analysis (log_id, slot) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX analysis_one_a_finding ON security_agent.analysis (log_id, finding_id) WHERE slot IS NOT NULL;
CREATE INDEX analysis_by_finding ON security_agent.analysis (log_id, finding_id, requested_at DESC);

-- A dismissal that GitHub has yet to be told of, or was.
CREATE TABLE security_agent.write_back (
    log_id          uuid        NOT NULL,
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    finding_id      uuid        NOT NULL,
    reason          text        NOT NULL CHECK (reason IN ('fix_started', 'inaccurate', 'no_bandwidth', 'not_used', 'tolerable_risk')),
    comment         text,                                       -- PERSON
    state           text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'completed', 'failed')),
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error           text,                                       -- of the latest attempt: a code
    requested_by    text,                                       -- PERSON: a user's id
    correlation_id  text,
    requested_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at     timestamptz,
    PRIMARY KEY (log_id, id),
    FOREIGN KEY (log_id, finding_id) REFERENCES security_agent.finding ON DELETE CASCADE
);

CREATE UNIQUE INDEX write_back_one_a_finding ON security_agent.write_back (log_id, finding_id) WHERE state = 'pending';
CREATE INDEX write_back_due ON security_agent.write_back (next_attempt_at, log_id) WHERE state = 'pending';
CREATE INDEX write_back_by_finding ON security_agent.write_back (log_id, finding_id, requested_at DESC);

-- Webhooks that came: GitHub sends some twice.
CREATE TABLE security_agent.delivery (
    delivery_id text        PRIMARY KEY CHECK (length(delivery_id) BETWEEN 1 AND 255),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX delivery_by_time ON security_agent.delivery (received_at);

-- What is erased here must not live on in the planner's statistics.
ALTER TABLE security_agent.owner ALTER updated_by SET STATISTICS 0, ALTER user_id SET STATISTICS 0;
ALTER TABLE security_agent.integration ALTER account SET STATISTICS 0;
ALTER TABLE security_agent.finding ALTER raw SET STATISTICS 0, ALTER raw_people SET STATISTICS 0, ALTER ignored_comment SET STATISTICS 0,
    ALTER ignored_by SET STATISTICS 0;
ALTER TABLE security_agent.analysis ALTER triggered_by SET STATISTICS 0;
ALTER TABLE security_agent.write_back ALTER comment SET STATISTICS 0, ALTER requested_by SET STATISTICS 0;
