-- The rows dialect: which change of a device a row comes from, and what devices have uploaded, so that an upload that is
-- sent again is known.
ALTER TABLE sync_changes ADD COLUMN source_change_id INTEGER;

CREATE TABLE sync_uploads (
    user_id          TEXT    NOT NULL,
    source_id        TEXT    NOT NULL,
    source_change_id INTEGER NOT NULL,
    digest           INTEGER NOT NULL,
    version          INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    PRIMARY KEY (user_id, source_id, source_change_id)
) STRICT, WITHOUT ROWID;

-- What is forgotten first.
CREATE INDEX sync_uploads_created
    ON sync_uploads (created_at);
