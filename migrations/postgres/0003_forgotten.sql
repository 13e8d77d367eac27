-- Keyed hashes of identifiers of people who were forgotten: who has one is not taken from a payload.
CREATE TABLE forgotten (
    org  uuid  NOT NULL REFERENCES organisation (id),
    hash bytea NOT NULL,
    PRIMARY KEY (org, hash)
);
