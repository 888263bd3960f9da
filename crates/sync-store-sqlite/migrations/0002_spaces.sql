-- Grants remember that they were taken away, and when who said so; what was denied a space is found again.

-- A role may be missing now, which no ALTER TABLE allows: the table is made anew.
CREATE TABLE sync_grants_anew (
    user_id  TEXT    NOT NULL,
    space_id TEXT    NOT NULL,
    role     TEXT,
    position INTEGER NOT NULL,
    asked    INTEGER NOT NULL DEFAULT 0,
    doubted  INTEGER,
    PRIMARY KEY (user_id, space_id)
) STRICT, WITHOUT ROWID;

INSERT INTO sync_grants_anew (user_id, space_id, role, position)
SELECT user_id, space_id, role, position
FROM sync_grants;

DROP TABLE sync_grants;

ALTER TABLE sync_grants_anew RENAME TO sync_grants;

-- Live rows of personal scopes (those of spaces begin with `s:`) that are about a space. The last two columns tell which
-- of them stay where they are, without a look at the row.
CREATE INDEX sync_changes_denied
    ON sync_changes (scope, position, space_id, created_at)
    WHERE dead_since IS NULL
      AND space_id IS NOT NULL
      AND scope >= 'u:';
