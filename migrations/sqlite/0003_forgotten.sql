-- Keyed hashes of identifiers of people who were forgotten: who has one is not taken from a payload.
CREATE TABLE forgotten (
    org  BLOB NOT NULL REFERENCES organisation (id),
    hash BLOB NOT NULL,
    PRIMARY KEY (org, hash)
) STRICT, WITHOUT ROWID;
