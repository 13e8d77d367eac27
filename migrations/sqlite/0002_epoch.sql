-- Which life of the database this is: another after a restore, so that whoever followed the log before is told.
CREATE TABLE epoch (
    id       BLOB    NOT NULL PRIMARY KEY,
    began_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO epoch (id, began_at) VALUES (randomblob(16), CAST(unixepoch('subsec') * 1000000 AS INTEGER));
