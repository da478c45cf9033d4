-- Images that are fetched, what is said of them, and issues.

ALTER TABLE workloads ADD COLUMN digest TEXT;
-- The URL that it is fetched from.
ALTER TABLE workloads ADD COLUMN origin TEXT;
-- The processor that its bytes are made for, once they have been looked at.
ALTER TABLE workloads ADD COLUMN made_for TEXT;
-- The labels that its host must have, as JSON.
ALTER TABLE workloads ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
-- What differs from the queue's settings.
ALTER TABLE workloads ADD COLUMN retries BIGINT;
ALTER TABLE workloads ADD COLUMN deadlines TEXT NOT NULL DEFAULT '{}';
-- "order" is a word of SQL.
ALTER TABLE workloads ADD COLUMN place BIGINT NOT NULL DEFAULT 0;

-- In which order effects were asked for: clocks are set, and two may be of one moment. Given out as those of events are.
ALTER TABLE outbox ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
INSERT INTO counters (name, value) VALUES ('effect', 0);

-- How far an effect of several steps has come, as JSON.
ALTER TABLE outbox ADD COLUMN progress TEXT;
-- It will never be done; error says why.
ALTER TABLE outbox ADD COLUMN refused BIGINT NOT NULL DEFAULT 0;

CREATE TABLE issues (
    report     TEXT   NOT NULL PRIMARY KEY REFERENCES reports (id),
    repository TEXT   NOT NULL,
    number     BIGINT NOT NULL,
    url        TEXT   NOT NULL
);
