-- Who is signed in. A session survives a restart, and holds on all instances of one database.

CREATE TABLE sessions (
    -- SHA-256 of the token, as hexadecimal digits: the token itself is in the browser only.
    token    TEXT   NOT NULL PRIMARY KEY,
    username TEXT   NOT NULL,
    -- SHA-256 over the token and the user's entry in the configuration: who reads this table can make nothing of it,
    -- and a session ends when the entry is another.
    seal     TEXT   NOT NULL,
    created  BIGINT NOT NULL,
    expires  BIGINT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires);
CREATE INDEX sessions_username ON sessions (username, expires);
