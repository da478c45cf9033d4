-- Many groups with a queue each, templates, what people change of jobs and hosts, and which sources offer what.

CREATE TABLE job_groups (
    id          TEXT   NOT NULL PRIMARY KEY,
    kind        TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT,
    -- As JSON, when it was last in the configuration.
    labels      TEXT   NOT NULL,
    paused      BIGINT NOT NULL,
    draining    BIGINT NOT NULL,
    in_config   BIGINT NOT NULL,
    -- Its place in the configuration.
    place       BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);

CREATE TABLE templates (
    id         TEXT   NOT NULL PRIMARY KEY,
    grp        TEXT   NOT NULL,
    -- As JSON.
    definition TEXT   NOT NULL,
    in_config  BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL
);
CREATE INDEX templates_grp ON templates (grp, id);

-- "group" is a word of SQL.
ALTER TABLE jobs ADD COLUMN grp TEXT NOT NULL DEFAULT 'session';
ALTER TABLE jobs ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN created BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET created = since;
ALTER TABLE jobs ADD COLUMN created_by TEXT;
-- The source that queued it; none where a person did.
ALTER TABLE jobs ADD COLUMN source TEXT;
UPDATE jobs SET source = 'session';
ALTER TABLE jobs ADD COLUMN template TEXT;
-- As JSON.
ALTER TABLE jobs ADD COLUMN inputs TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN required_labels TEXT NOT NULL DEFAULT '[]';
-- The label that it was spread to.
ALTER TABLE jobs ADD COLUMN pin TEXT;
ALTER TABLE jobs ADD COLUMN not_before BIGINT;
ALTER TABLE jobs ADD COLUMN dedupe_key TEXT;
ALTER TABLE jobs ADD COLUMN retries BIGINT;
ALTER TABLE jobs ADD COLUMN paused BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN auto_requeue BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN requeue_limit BIGINT;
ALTER TABLE jobs ADD COLUMN requeue_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN errors_in_row BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0;
-- The queue of a group, in its order, and its history, the latest first.
CREATE INDEX jobs_open ON jobs (grp, priority DESC, position, id) WHERE state IN ('queued', 'active');
CREATE INDEX jobs_open_template ON jobs (grp, template, priority DESC, position, id)
    WHERE state IN ('queued', 'active');
CREATE INDEX jobs_over ON jobs (grp, since DESC, id DESC) WHERE state IN ('done', 'cancelled') AND deleted = 0;
CREATE INDEX jobs_position ON jobs (grp, position);
CREATE INDEX jobs_active ON jobs (grp) WHERE state = 'active';
CREATE INDEX jobs_workload ON jobs (workload, state);
CREATE INDEX jobs_created ON jobs (created DESC, id DESC);
CREATE UNIQUE INDEX jobs_dedupe ON jobs (grp, dedupe_key)
    WHERE dedupe_key IS NOT NULL AND state IN ('queued', 'active');

-- What people call jobs by, for filters.
CREATE TABLE job_labels (
    job   TEXT NOT NULL REFERENCES jobs (id),
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (job, name)
);
CREATE INDEX job_labels_name ON job_labels (name, value);

ALTER TABLE workloads ADD COLUMN source TEXT NOT NULL DEFAULT 'session';
ALTER TABLE workloads ADD COLUMN grp TEXT NOT NULL DEFAULT 'session';
-- Its source offers it, as far as is known.
ALTER TABLE workloads ADD COLUMN offered BIGINT NOT NULL DEFAULT 1;
-- The labels that its source has queued it for, as JSON.
ALTER TABLE workloads ADD COLUMN queued_for TEXT NOT NULL DEFAULT '[]';
ALTER TABLE workloads ADD COLUMN first_seen BIGINT NOT NULL DEFAULT 0;
UPDATE workloads SET first_seen = modified;
-- Which workflow of GitHub Actions, as JSON.
ALTER TABLE workloads ADD COLUMN workflow TEXT;
CREATE INDEX workloads_source ON workloads (source, name);
CREATE INDEX workloads_grp ON workloads (grp, offered, name);

-- The id that a person gave it.
ALTER TABLE hosts ADD COLUMN host_key TEXT;
CREATE UNIQUE INDEX hosts_key ON hosts (host_key);
ALTER TABLE hosts ADD COLUMN title TEXT;
ALTER TABLE hosts ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
ALTER TABLE hosts ADD COLUMN accepted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN paused BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

CREATE INDEX runs_active ON runs (job) WHERE active = 1;
CREATE INDEX runs_created ON runs (created DESC, id DESC);

ALTER TABLE events ADD COLUMN grp TEXT;
CREATE INDEX events_grp ON events (grp, seq);
CREATE INDEX events_job ON events (job, seq);
CREATE INDEX events_host ON events (host, seq);

-- What was answered to requests that carried an idempotency key.
CREATE TABLE answers (
    -- Who asked: keys of different people are different keys.
    who         TEXT   NOT NULL,
    request_key TEXT   NOT NULL,
    -- SHA-256 of the request.
    fingerprint TEXT   NOT NULL,
    -- As JSON.
    answer      TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (who, request_key)
);
CREATE INDEX answers_at ON answers (at);
