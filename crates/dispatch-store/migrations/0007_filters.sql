-- What is filtered by in lists, and what the loop that fetches images asks, is found by an index. What a person has asked
-- for again is known as such.

-- Why jobs wait is kept short from now on, because an index has it. What is cut is told again when it still holds.
UPDATE jobs SET waits = SUBSTR(waits, 1, 400) WHERE LENGTH(waits) > 400;
-- The jobs that wait for an image, by what they say of it.
CREATE INDEX jobs_waiting ON jobs (workload, waits, priority DESC, position, id) WHERE state = 'queued';

CREATE INDEX workloads_named ON workloads (name, first_seen DESC, id DESC);
CREATE INDEX workloads_named_of_group ON workloads (grp, name, first_seen DESC, id DESC);
CREATE INDEX workloads_offered ON workloads (offered, first_seen DESC, id DESC);
CREATE INDEX workloads_offered_of_group ON workloads (grp, offered, first_seen DESC, id DESC);

CREATE INDEX runs_in_state_of_group ON runs (grp, state, created DESC, public_name DESC);
CREATE INDEX runs_with_verdict_of_group ON runs (grp, verdict, created DESC, public_name DESC);
CREATE INDEX reports_with_verdict_of_group ON reports (grp, verdict, at DESC, id DESC);

-- How many jobs a group's history has, by how they ended: counting them reads all of them.
CREATE TABLE history_counts (
    grp   TEXT   NOT NULL,
    ended TEXT   NOT NULL,
    jobs  BIGINT NOT NULL,
    PRIMARY KEY (grp, ended)
);
INSERT INTO history_counts (grp, ended, jobs)
SELECT grp, ended, COUNT(*) FROM jobs WHERE ended IS NOT NULL AND deleted = 0 GROUP BY grp, ended;

-- A person has asked for a job again since its workload was last seen to be offered. An attempt that was forgiven said so
-- until now.
ALTER TABLE jobs ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET asked = 1 WHERE forgiven > 0 AND state IN ('queued', 'active');
