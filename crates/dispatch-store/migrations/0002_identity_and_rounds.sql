-- A host may have a name and several MACs, and each time through the queue is a round.

-- Lower case, as in the host's boot URL.
ALTER TABLE hosts ADD COLUMN name TEXT;
CREATE UNIQUE INDEX hosts_name ON hosts (name);
-- What its processor is.
ALTER TABLE hosts ADD COLUMN arch TEXT;
-- Why what it is known by is no identity.
ALTER TABLE hosts ADD COLUMN shared TEXT;

-- hosts.mac is not used any more: it could hold only one.
CREATE TABLE host_macs (
    host  TEXT   NOT NULL REFERENCES hosts (id),
    mac   TEXT   NOT NULL,
    -- 1: the neighbour table had it. 0: the host's beacon told it.
    seen  BIGINT NOT NULL,
    -- Its place among those of its host and kind.
    place BIGINT NOT NULL,
    PRIMARY KEY (host, mac, seen)
);
CREATE INDEX host_macs_mac ON host_macs (mac);
INSERT INTO host_macs (host, mac, seen, place) SELECT id, mac, 1, 0 FROM hosts WHERE mac IS NOT NULL;
UPDATE hosts SET mac = NULL;

ALTER TABLE workloads ADD COLUMN arch TEXT;

ALTER TABLE jobs ADD COLUMN round BIGINT NOT NULL DEFAULT 1;
-- How many attempts it had when it was last asked for again: these no longer count.
ALTER TABLE jobs ADD COLUMN forgiven BIGINT NOT NULL DEFAULT 0;
-- Cancelled because its file was no longer offered.
ALTER TABLE jobs ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET withdrawn = 1 WHERE state = 'cancelled';
CREATE INDEX jobs_round ON jobs (round);

-- Several hosts took part in it.
ALTER TABLE runs ADD COLUMN disputed BIGINT NOT NULL DEFAULT 0;

CREATE TABLE rounds (
    number  BIGINT NOT NULL PRIMARY KEY,
    begun   BIGINT NOT NULL,
    -- The verdicts that it takes again, as JSON; [] takes everything.
    again   TEXT   NOT NULL,
    is_over BIGINT NOT NULL
);
INSERT INTO rounds (number, begun, again, is_over)
SELECT 1, MIN(since), '[]', 0 FROM jobs HAVING COUNT(*) > 0;
