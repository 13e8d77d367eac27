-- How far the relay has told what it tells: the last event of each organisation that went out, by what it went to.
CREATE TABLE relay_mark (
    org    BLOB NOT NULL REFERENCES organisation (id),
    target TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (org, target)
) STRICT, WITHOUT ROWID;

-- Who does what only one process at a time is to do for all organisations, by its name; fenced by a token that only grows.
CREATE TABLE duty (
    name       TEXT NOT NULL PRIMARY KEY,
    holder     TEXT NOT NULL,
    token      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
