-- The first schema: log, documents, roster pages and their caches. Every key begins with the organisation.
-- Tables that are written in bulk have no foreign key: their writers hold the organisation's head row, which has one.
-- Numbers are 64-bit signed; times are microseconds since 1970; a keyed hash (u64) is mapped to i64 in order.

CREATE TABLE organisation (
    id               UUID    NOT NULL PRIMARY KEY,
    slug             TEXT    NOT NULL UNIQUE,
    secret           BYTEA   NOT NULL,
    created_at       BIGINT  NOT NULL
);

-- The row that orders appends: whoever writes to an organisation's log takes it first.
CREATE TABLE head (
    org              UUID    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    last_seq         BIGINT  NOT NULL DEFAULT 0,
    hash             BYTEA   NOT NULL,
    last_recorded_at BIGINT  NOT NULL,
    roster_version   BIGINT  NOT NULL DEFAULT 0,
    next_arrival     BIGINT  NOT NULL DEFAULT 1,
    next_member      BIGINT  NOT NULL DEFAULT 0
);

CREATE TABLE event (
    org              UUID    NOT NULL,
    seq              BIGINT  NOT NULL,
    id               UUID    NOT NULL,
    stream           TEXT    NOT NULL,
    version          BIGINT  NOT NULL,
    type             TEXT    NOT NULL,
    recorded_at      BIGINT  NOT NULL,
    meta             BYTEA   NOT NULL,
    root             BYTEA   NOT NULL,
    hash             BYTEA   NOT NULL,
    body             BYTEA,
    PRIMARY KEY (org, seq),
    UNIQUE (org, stream, version),
    UNIQUE (org, id)
);

CREATE TABLE append_key (
    org              UUID    NOT NULL REFERENCES organisation (id),
    key              TEXT    NOT NULL,
    content          BYTEA   NOT NULL,
    first_seq        BIGINT  NOT NULL,
    last_seq         BIGINT  NOT NULL,
    PRIMARY KEY (org, key)
);

CREATE TABLE settings (
    org              UUID    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    doc              BYTEA   NOT NULL
);

CREATE TABLE feed (
    org              UUID    NOT NULL REFERENCES organisation (id),
    no               BIGINT  NOT NULL,
    name             TEXT    NOT NULL,
    doc              BYTEA   NOT NULL,
    PRIMARY KEY (org, no),
    UNIQUE (org, name)
);

CREATE TABLE upload (
    org              UUID    NOT NULL REFERENCES organisation (id),
    id               UUID    NOT NULL,
    arrival          BIGINT  NOT NULL,
    feed             BIGINT  NOT NULL,
    state            TEXT    NOT NULL,
    idempotency_key  TEXT,
    doc              BYTEA   NOT NULL,
    PRIMARY KEY (org, id),
    UNIQUE (org, arrival),
    UNIQUE (org, idempotency_key)
);
CREATE INDEX upload_by_state ON upload (org, state, arrival);

CREATE TABLE change_set (
    org              UUID    NOT NULL REFERENCES organisation (id),
    id               UUID    NOT NULL,
    upload           UUID,
    feed             BIGINT  NOT NULL,
    state            TEXT    NOT NULL,
    created_seq      BIGINT  NOT NULL,
    doc              BYTEA   NOT NULL,
    PRIMARY KEY (org, id)
);
CREATE INDEX change_set_by_seq ON change_set (org, created_seq);
CREATE INDEX change_set_by_state ON change_set (org, state, created_seq);
CREATE INDEX change_set_by_upload ON change_set (org, upload);

-- The roster: packed pages of members by number, and newer rows that win over them.
CREATE TABLE roster_page (
    org              UUID    NOT NULL,
    page             BIGINT  NOT NULL,
    body             BYTEA   NOT NULL,
    PRIMARY KEY (org, page)
);

CREATE TABLE member_delta (
    org              UUID    NOT NULL,
    no               BIGINT  NOT NULL,
    body             BYTEA   NOT NULL,
    PRIMARY KEY (org, no)
);

-- Identifiers: keyed hash -> member number, sorted; and newer words on single pairs.
CREATE TABLE ident_page (
    org              UUID    NOT NULL,
    page             BIGINT  NOT NULL,
    first_hash       BIGINT  NOT NULL,
    body             BYTEA   NOT NULL,
    PRIMARY KEY (org, page)
);
CREATE INDEX ident_page_by_hash ON ident_page (org, first_hash, page);

CREATE TABLE ident_delta (
    org              UUID    NOT NULL,
    hash             BIGINT  NOT NULL,
    no               BIGINT  NOT NULL,
    live             BOOLEAN NOT NULL,
    PRIMARY KEY (org, hash, no)
);

-- Fingerprints and the order of a feed's last payload: caches, which may be deleted at any time.
CREATE TABLE fp_meta (
    org              UUID    NOT NULL,
    feed             BIGINT  NOT NULL,
    layout           BYTEA   NOT NULL,
    next_delta       BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (org, feed)
);

CREATE TABLE fp_page (
    org              UUID    NOT NULL,
    feed             BIGINT  NOT NULL,
    page             BIGINT  NOT NULL,
    body             BYTEA   NOT NULL,
    PRIMARY KEY (org, feed, page)
);

CREATE TABLE fp_delta (
    org              UUID    NOT NULL,
    feed             BIGINT  NOT NULL,
    id               BIGINT  NOT NULL,
    body             BYTEA   NOT NULL,
    PRIMARY KEY (org, feed, id)
);

CREATE TABLE feed_order (
    org              UUID    NOT NULL,
    feed             BIGINT  NOT NULL,
    page             BIGINT  NOT NULL,
    body             BYTEA   NOT NULL,
    PRIMARY KEY (org, feed, page)
);

-- Who works on an organisation now. The row stays after release, so that tokens only grow.
CREATE TABLE lease (
    org              UUID    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    holder           TEXT    NOT NULL,
    token            BIGINT  NOT NULL,
    expires_at       BIGINT  NOT NULL
);

-- Bodies are compressed already or packed: kept out of line as they are.
ALTER TABLE event ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE roster_page ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE roster_page SET (toast_tuple_target = 8160);
ALTER TABLE ident_page ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE fp_page ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE fp_delta ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE feed_order ALTER COLUMN body SET STORAGE EXTERNAL;
