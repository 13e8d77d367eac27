-- The read models: lanes, which say how far each projection has come, and their rows. Written with PostgreSQL's types;
-- for SQLite they are called by its own. Whoever changes this counts up READ_VERSION in read_model.rs.

CREATE TABLE read_models (
    version   BIGINT NOT NULL,
    next_lane BIGINT NOT NULL
);

-- One projection of one organisation: the live lane is read, a building one takes its place once it has caught up, and
-- the rows of a dropped one are deleted by and by.
CREATE TABLE lane (
    id           BIGINT NOT NULL PRIMARY KEY,
    org          UUID   NOT NULL,
    projection   TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    hash         BYTEA  NOT NULL,
    made_at      BIGINT NOT NULL,
    moved_at     BIGINT NOT NULL,
    parked_seq   BIGINT,
    parked_kind  TEXT,
    parked_error TEXT,
    parked_at    BIGINT
);

CREATE UNIQUE INDEX lane_of_state ON lane (org, projection, state) WHERE state <> 'dropped';

CREATE TABLE entry (
    org  UUID   NOT NULL,
    lane BIGINT NOT NULL,
    part BIGINT NOT NULL,
    key  BYTEA  NOT NULL,
    body BYTEA  NOT NULL,
    PRIMARY KEY (org, lane, part, key)
);
