-- Times are microseconds since 1970-01-01T00:00:00Z, booleans are 0 or 1, identifiers are UUIDs as text.
-- Portable between SQLite and PostgreSQL.

CREATE TABLE hosts (
    id         TEXT   NOT NULL PRIMARY KEY,
    mac        TEXT   UNIQUE,
    address    TEXT   NOT NULL,
    uuid       TEXT,
    -- Fencing epoch: how many leases this host has had.
    epoch      BIGINT NOT NULL,
    -- What it was told when there was no work for it, as JSON.
    idle       TEXT,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);
CREATE INDEX hosts_address ON hosts (address);

CREATE TABLE workloads (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    size        BIGINT NOT NULL,
    modified    BIGINT NOT NULL,
    reboots     BIGINT NOT NULL,
    description TEXT
);

CREATE TABLE jobs (
    id       TEXT   NOT NULL PRIMARY KEY,
    name     TEXT   NOT NULL,
    workload TEXT   NOT NULL REFERENCES workloads (id),
    priority BIGINT NOT NULL,
    position BIGINT NOT NULL,
    state    TEXT   NOT NULL,
    verdict  TEXT,
    reason   TEXT,
    waits    TEXT,
    since    BIGINT NOT NULL
);
CREATE INDEX jobs_state ON jobs (state);

CREATE TABLE runs (
    id              TEXT   NOT NULL PRIMARY KEY,
    job             TEXT   NOT NULL REFERENCES jobs (id),
    host            TEXT   NOT NULL REFERENCES hosts (id),
    workload        TEXT   NOT NULL REFERENCES workloads (id),
    epoch           BIGINT NOT NULL,
    attempt         BIGINT NOT NULL,
    state           TEXT   NOT NULL,
    active          BIGINT NOT NULL,
    verdict         TEXT,
    reason          TEXT,
    created         BIGINT NOT NULL,
    since           BIGINT NOT NULL,
    deadline        BIGINT,
    size            BIGINT NOT NULL,
    transfer        TEXT   NOT NULL,
    transfers       BIGINT NOT NULL,
    sent            BIGINT NOT NULL,
    most_sent       BIGINT NOT NULL,
    broken          BIGINT NOT NULL,
    wholes          BIGINT NOT NULL,
    reboots         BIGINT NOT NULL,
    reboots_allowed BIGINT NOT NULL,
    booted_at       BIGINT,
    reports         BIGINT NOT NULL
);
CREATE INDEX runs_job ON runs (job);
CREATE INDEX runs_host ON runs (host, created);
-- The rules keep to these; the database holds them to it.
CREATE UNIQUE INDEX runs_one_active_per_job ON runs (job) WHERE active = 1;
CREATE UNIQUE INDEX runs_one_active_per_host ON runs (host) WHERE active = 1;

CREATE TABLE leases (
    host       TEXT   NOT NULL PRIMARY KEY REFERENCES hosts (id),
    run        TEXT   NOT NULL UNIQUE,
    epoch      BIGINT NOT NULL,
    held_until BIGINT NOT NULL
);

CREATE TABLE reports (
    id      TEXT   NOT NULL PRIMARY KEY,
    run     TEXT   NOT NULL REFERENCES runs (id),
    at      BIGINT NOT NULL,
    late    BIGINT NOT NULL,
    digest  TEXT   NOT NULL,
    title   TEXT   NOT NULL,
    verdict TEXT   NOT NULL,
    content TEXT   NOT NULL,
    UNIQUE (run, digest)
);

-- One global sequence, given out in commit order: whoever appends holds the counter's row until it commits.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('event', 0);

CREATE TABLE events (
    seq  BIGINT NOT NULL PRIMARY KEY,
    at   BIGINT NOT NULL,
    job  TEXT,
    run  TEXT,
    host TEXT,
    data TEXT   NOT NULL
);
CREATE INDEX events_run ON events (run);

CREATE TABLE outbox (
    idempotency_key TEXT   NOT NULL PRIMARY KEY,
    effect          TEXT   NOT NULL,
    at              BIGINT NOT NULL,
    due             BIGINT NOT NULL,
    attempts        BIGINT NOT NULL,
    error           TEXT,
    done_at         BIGINT
);
CREATE INDEX outbox_due ON outbox (due) WHERE done_at IS NULL;
