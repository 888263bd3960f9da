-- The log, the winning versions, the grants, what is kept aside, and the clock that positions are drawn from. Names are
-- those of the PostgreSQL schema. Times are milliseconds since 1970, positions nanoseconds; JSON is kept as text, since
-- values leave as the bytes that arrived.

CREATE TABLE sync_changes (
    position         INTEGER PRIMARY KEY,
    scope            TEXT    NOT NULL,
    id               BLOB    NOT NULL CHECK (length(id) = 16),
    app_id           TEXT    NOT NULL,
    table_name       TEXT    NOT NULL,
    record_id        TEXT    NOT NULL,
    user_id          TEXT    NOT NULL,
    space_id         TEXT,
    op               TEXT    NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    data             TEXT    NOT NULL,
    field_timestamps TEXT    NOT NULL,
    client_id        TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    schema_version   INTEGER NOT NULL,
    actor            TEXT,
    origin           TEXT,
    opens            INTEGER NOT NULL CHECK (opens IN (0, 1)),
    to_everyone      INTEGER NOT NULL CHECK (to_everyone IN (0, 1)),
    undated          INTEGER NOT NULL CHECK (undated IN (0, 1)),
    dead_since       INTEGER,
    size             INTEGER NOT NULL
) STRICT;

-- What deltas are read from: live rows alone, so that dead ones cost a reader nothing.
CREATE INDEX sync_changes_live
    ON sync_changes (scope, app_id, position)
    WHERE dead_since IS NULL;

CREATE INDEX sync_changes_live_table
    ON sync_changes (scope, app_id, table_name, position)
    WHERE dead_since IS NULL;

-- An event id is new to its user, or it is not taken.
CREATE UNIQUE INDEX sync_changes_event
    ON sync_changes (user_id, id);

-- What sweeping looks for.
CREATE INDEX sync_changes_dead
    ON sync_changes (dead_since)
    WHERE dead_since IS NOT NULL;

CREATE TABLE sync_records (
    scope         TEXT    NOT NULL,
    app_id        TEXT    NOT NULL,
    table_name    TEXT    NOT NULL,
    record_id     TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    rows          TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    deleted_since INTEGER,
    PRIMARY KEY (scope, app_id, table_name, record_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sync_records_deleted
    ON sync_records (deleted_since)
    WHERE deleted_since IS NOT NULL;

CREATE TABLE sync_grants (
    user_id  TEXT    NOT NULL,
    space_id TEXT    NOT NULL,
    role     TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user_id, space_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sync_parked (
    place      INTEGER PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    app_id     TEXT    NOT NULL,
    digest     INTEGER NOT NULL,
    raw        TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX sync_parked_once
    ON sync_parked (user_id, app_id, digest);

-- What a user has, in the order in which it came, and how much of it is kept.
CREATE INDEX sync_parked_place
    ON sync_parked (user_id, place, size);

CREATE TABLE sync_clock (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    last     INTEGER NOT NULL
) STRICT;

INSERT INTO sync_clock (only_row, last) VALUES (1, 0);
