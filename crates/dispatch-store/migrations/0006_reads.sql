-- What the lists of the API page and filter by.

-- The name by which anybody may know a run. It is made of the identifier by the program: for what is older, when the
-- store is opened.
ALTER TABLE runs ADD COLUMN public_name TEXT;
CREATE UNIQUE INDEX runs_public_name ON runs (public_name);
CREATE INDEX runs_unnamed ON runs (id) WHERE public_name IS NULL;
-- The group of its job.
ALTER TABLE runs ADD COLUMN grp TEXT NOT NULL DEFAULT 'session';
UPDATE runs SET grp = (SELECT jobs.grp FROM jobs WHERE jobs.id = runs.job);
DROP INDEX runs_created;
DROP INDEX runs_job;
CREATE INDEX runs_latest ON runs (created DESC, public_name DESC);
CREATE INDEX runs_latest_of_group ON runs (grp, created DESC, public_name DESC);
CREATE INDEX runs_latest_of_job ON runs (job, created DESC, public_name DESC);
CREATE INDEX runs_latest_of_host ON runs (host, created DESC, public_name DESC);
CREATE INDEX runs_latest_in_state ON runs (state, created DESC, public_name DESC);
CREATE INDEX runs_latest_with_verdict ON runs (verdict, created DESC, public_name DESC);
CREATE INDEX runs_going_on ON runs (grp, state) WHERE active = 1;
-- How a workload last came out on a host.
CREATE INDEX runs_results ON runs (workload, host, created DESC, public_name DESC)
    WHERE active = 0 AND verdict IS NOT NULL;

-- How a job that is over is counted: completed, failed, cancelled.
ALTER TABLE jobs ADD COLUMN ended TEXT;
UPDATE jobs SET ended = CASE
    WHEN state = 'cancelled' THEN 'cancelled'
    WHEN state = 'done' AND verdict IN ('passed', 'unjudged') THEN 'completed'
    WHEN state = 'done' THEN 'failed' END;
CREATE INDEX jobs_ended ON jobs (grp, ended, since DESC, id DESC) WHERE deleted = 0;
CREATE INDEX jobs_results ON jobs (workload, since DESC, id DESC) WHERE state = 'done';
DROP INDEX job_labels_name;
CREATE INDEX job_labels_value ON job_labels (name, value, job);

CREATE INDEX workloads_latest ON workloads (first_seen DESC, id DESC);
CREATE INDEX workloads_latest_of_group ON workloads (grp, first_seen DESC, id DESC);

CREATE INDEX hosts_first_seen ON hosts (first_seen, id);
CREATE INDEX hosts_last_seen ON hosts (last_seen);
CREATE INDEX hosts_uuid ON hosts (uuid);

-- Where the run of a report is.
ALTER TABLE reports ADD COLUMN grp TEXT NOT NULL DEFAULT 'session';
ALTER TABLE reports ADD COLUMN job TEXT;
ALTER TABLE reports ADD COLUMN host TEXT;
UPDATE reports SET
    grp = (SELECT runs.grp FROM runs WHERE runs.id = reports.run),
    job = (SELECT runs.job FROM runs WHERE runs.id = reports.run),
    host = (SELECT runs.host FROM runs WHERE runs.id = reports.run);
CREATE INDEX reports_latest ON reports (at DESC, id DESC);
CREATE INDEX reports_latest_of_group ON reports (grp, at DESC, id DESC);
CREATE INDEX reports_latest_of_job ON reports (job, at DESC, id DESC);
CREATE INDEX reports_latest_of_host ON reports (host, at DESC, id DESC);
CREATE INDEX reports_latest_with_verdict ON reports (verdict, at DESC, id DESC);
CREATE INDEX reports_of_run ON reports (run, at, id);

-- The log of one run, in its order.
DROP INDEX events_run;
CREATE INDEX events_run ON events (run, seq);
