-- Users, keys, and what was done with them: a database of its own, so that a revocation never waits behind an import.
-- Written with PostgreSQL's types; for SQLite they are called by its own. Times are microseconds since 1970.

-- The log of an organisation's keys and roles, and the installation's of users (org is all zeros): as in the main database.
CREATE TABLE head (
    org              UUID   NOT NULL PRIMARY KEY,
    last_seq         BIGINT NOT NULL DEFAULT 0,
    hash             BYTEA  NOT NULL,
    last_recorded_at BIGINT NOT NULL,
    roster_version   BIGINT NOT NULL DEFAULT 0,
    next_arrival     BIGINT NOT NULL DEFAULT 1,
    next_member      BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE event (
    org         UUID   NOT NULL,
    seq         BIGINT NOT NULL,
    id          UUID   NOT NULL,
    stream      TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    type        TEXT   NOT NULL,
    recorded_at BIGINT NOT NULL,
    meta        BYTEA  NOT NULL,
    root        BYTEA  NOT NULL,
    hash        BYTEA  NOT NULL,
    body        BYTEA,
    PRIMARY KEY (org, seq),
    UNIQUE (org, stream, version),
    UNIQUE (org, id)
);

-- Users are above organisations.
CREATE TABLE account (
    id       UUID  NOT NULL PRIMARY KEY,
    email    TEXT UNIQUE,
    password TEXT,
    doc      BYTEA NOT NULL
);

CREATE TABLE role (
    org     UUID NOT NULL,
    account UUID NOT NULL,
    role    TEXT NOT NULL,
    PRIMARY KEY (org, account)
);
CREATE INDEX role_by_account ON role (account);

-- A key is looked up by its identity alone: that says the organisation.
CREATE TABLE api_key (
    id           TEXT  NOT NULL PRIMARY KEY,
    org          UUID  NOT NULL,
    account      UUID  NOT NULL,
    hash         BYTEA NOT NULL,
    former_hash  BYTEA,
    former_until BIGINT,
    doc          BYTEA NOT NULL
);
CREATE INDEX api_key_by_org ON api_key (org, id);
CREATE INDEX api_key_by_account ON api_key (account);

-- When a key was last used and from where; written by and by.
CREATE TABLE key_use (
    org     UUID   NOT NULL,
    key     TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    address TEXT   NOT NULL,
    PRIMARY KEY (org, key)
);

-- What was read with which key; written by and by, and kept for so many days.
CREATE TABLE access_log (
    org UUID   NOT NULL,
    at  BIGINT NOT NULL,
    id  UUID   NOT NULL,
    key TEXT   NOT NULL,
    doc BYTEA  NOT NULL,
    PRIMARY KEY (org, at, id)
);
CREATE INDEX access_log_by_key ON access_log (org, key, at);

-- Answers to requests with an idempotency key. While the first of them is worked on there is no status.
CREATE TABLE answer (
    org        UUID   NOT NULL,
    key        TEXT   NOT NULL,
    request    TEXT   NOT NULL,
    content    BYTEA  NOT NULL,
    claim      UUID   NOT NULL,
    status     BIGINT,
    body       BYTEA,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org, key, request)
);
CREATE INDEX answer_by_end ON answer (org, expires_at);
