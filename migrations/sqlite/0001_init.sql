-- The first schema: log, documents, roster pages and their caches. Every key begins with the organisation.
-- Tables that are written in bulk have no foreign key: their writers hold the organisation's head row, which has one.
-- Numbers are 64-bit signed; times are microseconds since 1970; a keyed hash (u64) is mapped to i64 in order.

CREATE TABLE organisation (
    id         BLOB    NOT NULL PRIMARY KEY,
    slug       TEXT    NOT NULL UNIQUE,
    secret     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The row that orders appends: whoever writes to an organisation's log takes it first.
CREATE TABLE head (
    org              BLOB    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    last_seq         INTEGER NOT NULL DEFAULT 0,
    hash             BLOB    NOT NULL,
    last_recorded_at INTEGER NOT NULL,
    roster_version   INTEGER NOT NULL DEFAULT 0,
    next_arrival     INTEGER NOT NULL DEFAULT 1,
    next_member      INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Not WITHOUT ROWID: bodies are large, and belong behind a small key.
CREATE TABLE event (
    org         BLOB    NOT NULL,
    seq         INTEGER NOT NULL,
    id          BLOB    NOT NULL,
    stream      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    meta        BLOB    NOT NULL,
    root        BLOB    NOT NULL,
    hash        BLOB    NOT NULL,
    body        BLOB,
    PRIMARY KEY (org, seq),
    UNIQUE (org, stream, version),
    UNIQUE (org, id)
) STRICT;

CREATE TABLE append_key (
    org       BLOB    NOT NULL REFERENCES organisation (id),
    key       TEXT    NOT NULL,
    content   BLOB    NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    PRIMARY KEY (org, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    org BLOB NOT NULL PRIMARY KEY REFERENCES organisation (id),
    doc BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE feed (
    org  BLOB    NOT NULL REFERENCES organisation (id),
    no   INTEGER NOT NULL,
    name TEXT    NOT NULL,
    doc  BLOB    NOT NULL,
    PRIMARY KEY (org, no),
    UNIQUE (org, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload (
    org             BLOB    NOT NULL REFERENCES organisation (id),
    id              BLOB    NOT NULL,
    arrival         INTEGER NOT NULL,
    feed            INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    idempotency_key TEXT,
    doc             BLOB    NOT NULL,
    PRIMARY KEY (org, id),
    UNIQUE (org, arrival),
    UNIQUE (org, idempotency_key)
) STRICT;
CREATE INDEX upload_by_state ON upload (org, state, arrival);

CREATE TABLE change_set (
    org         BLOB    NOT NULL REFERENCES organisation (id),
    id          BLOB    NOT NULL,
    upload      BLOB,
    feed        INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    created_seq INTEGER NOT NULL,
    doc         BLOB    NOT NULL,
    PRIMARY KEY (org, id)
) STRICT;
CREATE INDEX change_set_by_seq ON change_set (org, created_seq);
CREATE INDEX change_set_by_state ON change_set (org, state, created_seq);
CREATE INDEX change_set_by_upload ON change_set (org, upload);

-- The roster: packed pages of members by number, and newer rows that win over them.
CREATE TABLE roster_page (
    org  BLOB    NOT NULL,
    page INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (org, page)
) STRICT;

CREATE TABLE member_delta (
    org  BLOB    NOT NULL,
    no   INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (org, no)
) STRICT, WITHOUT ROWID;

-- Identifiers: keyed hash -> member number, sorted; and newer words on single pairs.
CREATE TABLE ident_page (
    org        BLOB    NOT NULL,
    page       INTEGER NOT NULL,
    first_hash INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (org, page)
) STRICT;
CREATE INDEX ident_page_by_hash ON ident_page (org, first_hash, page);

CREATE TABLE ident_delta (
    org  BLOB    NOT NULL,
    hash INTEGER NOT NULL,
    no   INTEGER NOT NULL,
    live INTEGER NOT NULL,
    PRIMARY KEY (org, hash, no)
) STRICT, WITHOUT ROWID;

-- Fingerprints and the order of a feed's last payload: caches, which may be deleted at any time.
CREATE TABLE fp_meta (
    org        BLOB    NOT NULL,
    feed       INTEGER NOT NULL,
    layout     BLOB    NOT NULL,
    next_delta INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (org, feed)
) STRICT, WITHOUT ROWID;

CREATE TABLE fp_page (
    org  BLOB    NOT NULL,
    feed INTEGER NOT NULL,
    page INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (org, feed, page)
) STRICT;

CREATE TABLE fp_delta (
    org  BLOB    NOT NULL,
    feed INTEGER NOT NULL,
    id   INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (org, feed, id)
) STRICT;

CREATE TABLE feed_order (
    org  BLOB    NOT NULL,
    feed INTEGER NOT NULL,
    page INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (org, feed, page)
) STRICT;

-- Who works on an organisation now. The row stays after release, so that tokens only grow.
CREATE TABLE lease (
    org        BLOB    NOT NULL PRIMARY KEY REFERENCES organisation (id),
    holder     TEXT    NOT NULL,
    token      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
