//! Every query, in full. Those on `sync_changes` and `sync_records` name their scope first; the ones that cannot are
//! listed in `ACROSS_SCOPES`, with the reason.

/// The names of the queries on the log or the records that do not name their scope first.
#[cfg(test)]
const ACROSS_SCOPES: [&str; 10] = [
    // One row that no reader sees: the greatest position, for a cursor from nowhere.
    "greatest",
    // Keyed by the user.
    "event_is_taken",
    // Written with the scope among the values.
    "append",
    "write_record",
    // The server's own housekeeping.
    "count_dead",
    "each_dead",
    "remove",
    "deleted_records",
    // What one user has written, for the operator.
    "written",
    "some_written",
];

pub(super) const HORIZON: &str = "
-- horizon
SELECT max(position)
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND app_id = ?2
  AND dead_since IS NULL
";

pub(super) const GREATEST: &str = "
-- greatest
SELECT max(position)
FROM sync_changes
";

pub(super) const NEXT: &str = "
-- next
SELECT min(position)
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND app_id = ?2
  AND position > ?3
  AND position <= ?4
  AND dead_since IS NULL
";

pub(super) const NEXT_OF_TABLE: &str = "
-- next_of_table
SELECT min(position)
FROM sync_changes INDEXED BY sync_changes_live_table
WHERE scope = ?1
  AND app_id = ?2
  AND table_name = ?5
  AND position > ?3
  AND position <= ?4
  AND dead_since IS NULL
";

pub(super) const RUN: &str = "
-- run
SELECT size, position, table_name, record_id, id, op, data, field_timestamps, user_id, client_id, space_id, created_at,
  schema_version, actor, origin, opens, to_everyone, undated, source_change_id
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND app_id = ?2
  AND position > ?3
  AND position <= ?4
  AND dead_since IS NULL
  AND (?5 IS NULL OR to_everyone = 1 OR user_id <> ?5 OR client_id <> ?6)
ORDER BY position
";

pub(super) const RUN_OF_TABLE: &str = "
-- run_of_table
SELECT size, position, table_name, record_id, id, op, data, field_timestamps, user_id, client_id, space_id, created_at,
  schema_version, actor, origin, opens, to_everyone, undated, source_change_id
FROM sync_changes INDEXED BY sync_changes_live_table
WHERE scope = ?1
  AND app_id = ?2
  AND table_name = ?7
  AND position > ?3
  AND position <= ?4
  AND dead_since IS NULL
  AND (?5 IS NULL OR to_everyone = 1 OR user_id <> ?5 OR client_id <> ?6)
ORDER BY position
";

pub(super) const DENIED: &str = "
-- denied
SELECT position, app_id, table_name, record_id, space_id
FROM sync_changes INDEXED BY sync_changes_denied
WHERE scope = ?1
  AND scope >= 'u:'
  AND position > ?2
  AND dead_since IS NULL
  AND space_id IS NOT NULL
  AND space_id IN (SELECT value FROM json_each(?3))
  AND created_at >= ?4
ORDER BY position
LIMIT ?5
";

pub(super) const ROW: &str = "
-- row
SELECT size, position, table_name, record_id, id, op, data, field_timestamps, user_id, client_id, space_id, created_at,
  schema_version, actor, origin, opens, to_everyone, undated, source_change_id
FROM sync_changes
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const NEXT_APP: &str = "
-- next_app
SELECT min(app_id)
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND app_id > ?2
  AND dead_since IS NULL
";

pub(super) const ROWS: &str = "
-- rows
SELECT position, table_name, record_id, op, client_id, created_at, source_change_id, to_everyone
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND app_id = ?2
  AND position > ?3
  AND position <= ?4
  AND dead_since IS NULL
  AND (?5 IS NULL OR client_id <> ?5 OR source_change_id IS NULL OR to_everyone = 1)
ORDER BY position
";

pub(super) const ROW_HEAD: &str = "
-- row_head
SELECT position, table_name, record_id, op, client_id, created_at, source_change_id, to_everyone
FROM sync_changes
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const DATA: &str = "
-- data
SELECT data
FROM sync_changes
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const UPLOAD: &str = "
-- upload
SELECT digest, version
FROM sync_uploads
WHERE user_id = ?1
  AND source_id = ?2
  AND source_change_id = ?3
";

pub(super) const KEEP_UPLOAD: &str = "
-- keep_upload
INSERT INTO sync_uploads (user_id, source_id, source_change_id, digest, version, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (user_id, source_id, source_change_id) DO UPDATE
SET digest = excluded.digest, version = excluded.version, created_at = excluded.created_at
";

pub(super) const FORGET_UPLOADS: &str = "
-- forget_uploads
DELETE FROM sync_uploads
WHERE (user_id, source_id, source_change_id) IN (
    SELECT user_id, source_id, source_change_id
    FROM sync_uploads INDEXED BY sync_uploads_created
    WHERE created_at <= ?1
    LIMIT ?2
  )
";

pub(super) const ERASE_UPLOADS: &str = "
-- erase_uploads
DELETE FROM sync_uploads
WHERE user_id = ?1
";

pub(super) const SIZE_OF: &str = "
-- size_of
SELECT size
FROM sync_changes
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const FIELDS: &str = "
-- fields
SELECT user_id, to_everyone, data, field_timestamps
FROM sync_changes
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const EVENT_IS_TAKEN: &str = "
-- event_is_taken
SELECT 1
FROM sync_changes
WHERE user_id = ?1
  AND id = ?2
";

pub(super) const APPEND: &str = "
-- append
INSERT INTO sync_changes (position, scope, id, app_id, table_name, record_id, user_id, space_id, op, data,
  field_timestamps, client_id, created_at, schema_version, actor, origin, opens, to_everyone, undated, size,
  source_change_id)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
  ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
";

pub(super) const BURY: &str = "
-- bury
UPDATE sync_changes
SET dead_since = ?4
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const KEEP_DELETE: &str = "
-- keep_delete
UPDATE sync_changes
SET data = ?4, field_timestamps = ?5, size = ?6
WHERE scope = ?1
  AND app_id = ?2
  AND position = ?3
";

pub(super) const RECORD: &str = "
-- record
SELECT state, version, rows
FROM sync_records
WHERE scope = ?1
  AND app_id = ?2
  AND table_name = ?3
  AND record_id = ?4
";

pub(super) const WRITE_RECORD: &str = "
-- write_record
INSERT INTO sync_records (scope, app_id, table_name, record_id, state, rows, version, deleted_since)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (scope, app_id, table_name, record_id) DO UPDATE
SET state = excluded.state,
  rows = excluded.rows,
  version = excluded.version,
  deleted_since = CASE
    WHEN excluded.deleted_since IS NULL THEN NULL
    ELSE coalesce(sync_records.deleted_since, excluded.deleted_since)
  END
";

pub(super) const FORGET_RECORD: &str = "
-- forget_record
DELETE FROM sync_records
WHERE scope = ?1
  AND app_id = ?2
  AND table_name = ?3
  AND record_id = ?4
";

pub(super) const DRAW: &str = "
-- draw
UPDATE sync_clock
SET last = max(last + 1, ?1) + ?2 - 1
WHERE only_row = 1
RETURNING last - ?2 + 1
";

pub(super) const ADVANCE: &str = "
-- advance
UPDATE sync_clock
SET last = max(last, ?1)
WHERE only_row = 1
";

pub(super) const IMPORTED: &str = "
-- imported
SELECT until
FROM sync_import
WHERE only_row = 1
";

pub(super) const IMPORT_STATE: &str = "
-- import_state
SELECT until, last, mark, tally
FROM sync_import
WHERE only_row = 1
";

pub(super) const KEEP_IMPORT: &str = "
-- keep_import
UPDATE sync_import
SET until = ?1, last = ?2, mark = ?3, tally = ?4
WHERE only_row = 1
";

pub(super) const CLOCK: &str = "
-- clock
SELECT last
FROM sync_clock
WHERE only_row = 1
";

pub(super) const GRANTS: &str = "
-- grants
SELECT space_id, role, position, asked, doubted
FROM sync_grants
WHERE user_id = ?1
ORDER BY space_id
";

pub(super) const WRITE_GRANT: &str = "
-- write_grant
INSERT INTO sync_grants (user_id, space_id, role, position, asked, doubted)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (user_id, space_id) DO UPDATE
SET role = excluded.role,
  position = excluded.position,
  asked = excluded.asked,
  doubted = excluded.doubted
";

pub(super) const KEEP_ASIDE: &str = "
-- keep_aside
INSERT INTO sync_parked (user_id, app_id, digest, raw, reason, size, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (user_id, app_id, digest) DO NOTHING
";

pub(super) const FORGET_OLDEST_PARKED: &str = "
-- forget_oldest_parked
DELETE FROM sync_parked
WHERE user_id = ?1
  AND place <= (
    SELECT max(place)
    FROM (
      SELECT place,
        row_number() OVER newest_first AS number,
        sum(size) OVER newest_first AS bytes
      FROM sync_parked INDEXED BY sync_parked_place
      WHERE user_id = ?1
      WINDOW newest_first AS (ORDER BY place DESC ROWS UNBOUNDED PRECEDING)
    )
    WHERE number > ?2
      OR bytes > ?3
  )
";

pub(super) const PARKED: &str = "
-- parked
SELECT raw, reason
FROM sync_parked INDEXED BY sync_parked_place
WHERE user_id = ?1
  AND app_id = ?2
ORDER BY place
";

pub(super) const COUNT_DEAD: &str = "
-- count_dead
SELECT count(*)
FROM (
  SELECT 1
  FROM sync_changes INDEXED BY sync_changes_dead
  WHERE dead_since IS NOT NULL
  LIMIT ?1
)
";

pub(super) const EACH_DEAD: &str = "
-- each_dead
SELECT position, size
FROM sync_changes INDEXED BY sync_changes_dead
WHERE dead_since <= ?1
ORDER BY dead_since
";

pub(super) const REMOVE: &str = "
-- remove
DELETE FROM sync_changes
WHERE position = ?1
";

pub(super) const DELETED_RECORDS: &str = "
-- deleted_records
SELECT scope, app_id, table_name, record_id, deleted_since
FROM sync_records INDEXED BY sync_records_deleted
WHERE deleted_since <= ?1
ORDER BY deleted_since, scope, app_id, table_name, record_id
LIMIT ?3
OFFSET ?2
";

pub(super) const GRANTS_BEHIND: &str = "
-- grants_behind
SELECT space_id, role, position, asked, doubted, user_id
FROM sync_grants
WHERE user_id = ?1
  AND space_id > ?2
ORDER BY space_id
LIMIT ?3
";

pub(super) const MEMBERS_BEHIND: &str = "
-- members_behind
SELECT space_id, role, position, asked, doubted, user_id
FROM sync_grants INDEXED BY sync_grants_space
WHERE space_id = ?1
  AND user_id > ?2
ORDER BY user_id
LIMIT ?3
";

pub(super) const PARKED_BEHIND: &str = "
-- parked_behind
SELECT raw, reason, app_id, place
FROM sync_parked INDEXED BY sync_parked_place
WHERE user_id = ?1
  AND place > ?2
ORDER BY place
LIMIT ?3
";

pub(super) const WRITTEN: &str = "
-- written
SELECT size, position, table_name, record_id, id, op, data, field_timestamps, user_id, client_id, space_id, created_at,
  schema_version, actor, origin, opens, to_everyone, undated, source_change_id, scope, app_id, dead_since
FROM sync_changes INDEXED BY sync_changes_event
WHERE user_id = ?1
  AND id >= ?2
ORDER BY id
LIMIT ?3
";

pub(super) const LIVE_BEHIND: &str = "
-- live_behind
SELECT size, position, table_name, record_id, id, op, data, field_timestamps, user_id, client_id, space_id, created_at,
  schema_version, actor, origin, opens, to_everyone, undated, source_change_id, scope, app_id, dead_since
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND (app_id, position) > (?2, ?3)
  AND dead_since IS NULL
ORDER BY app_id, position
LIMIT ?4
";

pub(super) const DEAD_BEHIND: &str = "
-- dead_behind
SELECT size, position, table_name, record_id, id, op, data, field_timestamps, user_id, client_id, space_id, created_at,
  schema_version, actor, origin, opens, to_everyone, undated, source_change_id, scope, app_id, dead_since
FROM sync_changes INDEXED BY sync_changes_buried
WHERE scope = ?1
  AND position > ?2
  AND dead_since IS NOT NULL
ORDER BY position
LIMIT ?3
";

pub(super) const A_MEMBER: &str = "
-- a_member
SELECT user_id
FROM sync_grants INDEXED BY sync_grants_space
WHERE space_id = ?1
  AND role IS NOT NULL
LIMIT 1
";

pub(super) const SOME_RECORDS: &str = "
-- some_records
SELECT app_id, table_name, record_id, rows
FROM sync_records
WHERE scope = ?1
ORDER BY app_id, table_name, record_id
LIMIT ?2
";

pub(super) const SOME_WRITTEN: &str = "
-- some_written
SELECT position, scope, app_id, table_name, record_id
FROM sync_changes INDEXED BY sync_changes_event
WHERE user_id = ?1
ORDER BY id
LIMIT ?2
";

pub(super) const SOME_DEAD: &str = "
-- some_dead
SELECT position
FROM sync_changes INDEXED BY sync_changes_buried
WHERE scope = ?1
  AND dead_since IS NOT NULL
LIMIT ?2
";

pub(super) const SOME_LIVE: &str = "
-- some_live
SELECT position
FROM sync_changes INDEXED BY sync_changes_live
WHERE scope = ?1
  AND dead_since IS NULL
LIMIT ?2
";

pub(super) const ERASE_ROW: &str = "
-- erase_row
DELETE FROM sync_changes
WHERE scope = ?1
  AND position = ?2
";

pub(super) const RENAME: &str = "
-- rename
UPDATE sync_changes
SET user_id = ?3, client_id = '', actor = NULL
WHERE scope = ?1
  AND position = ?2
";

pub(super) const ERASE_PARKED: &str = "
-- erase_parked
DELETE FROM sync_parked
WHERE user_id = ?1
";

pub(super) const ERASE_GRANT: &str = "
-- erase_grant
DELETE FROM sync_grants
WHERE user_id = ?1
  AND space_id = ?2
  AND role IS NULL
";

pub(super) const CLAIMS: &str = "
-- claims
SELECT app_id, table_name, record_id, CASE WHEN instr(state, ?5) > 0 THEN state END
FROM sync_records
WHERE scope = ?1
  AND (app_id, table_name, record_id) > (?2, ?3, ?4)
ORDER BY app_id, table_name, record_id
LIMIT ?6
";

pub(super) const RESTATE: &str = "
-- restate
UPDATE sync_records
SET state = ?5
WHERE scope = ?1
  AND app_id = ?2
  AND table_name = ?3
  AND record_id = ?4
";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use rusqlite::Connection;

    use super::*;

    /// The text of each query, by the name in its first line.
    fn queries() -> Vec<(&'static str, &'static str)> {
        let own = include_str!("queries.rs");
        own.split(" = \"\n-- ")
            .skip(1)
            .filter_map(|rest| rest.split_once("\";"))
            .map(|(query, _)| query.split_once('\n').unwrap())
            .collect()
    }

    fn schema() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::migrations::bring_up_to_date(&mut connection).unwrap();
        connection
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => sources(&path),
                false => vec![path],
            })
            .collect()
    }

    #[test]
    fn no_query_on_the_log_or_the_records_is_without_its_scope() {
        let queries = queries();
        assert!(queries.len() > 20, "{}", queries.len());
        for (name, text) in queries {
            let first = text
                .split_once("WHERE ")
                .map(|(_, condition)| condition.lines().next());
            let is_scoped = first == Some(Some("scope = ?1"));
            let is_about_them = text.contains("sync_changes") || text.contains("sync_records");
            assert!(
                is_scoped || !is_about_them || ACROSS_SCOPES.contains(&name),
                "{name} looks across scopes"
            );
            assert!(
                !(is_scoped && ACROSS_SCOPES.contains(&name)),
                "{name} is scoped after all"
            );
        }
    }

    #[test]
    fn the_tables_are_named_in_this_file_only() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for path in sources(&root) {
            let text = fs::read_to_string(&path).unwrap();
            let names = ["sync_changes", "sync_records"];
            let is_allowed = path.ends_with("tables/queries.rs");
            assert!(
                is_allowed || !names.iter().any(|name| text.contains(name)),
                "{} goes around the wall",
                path.display()
            );
        }
    }

    fn plan(connection: &Connection, text: &str) -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}"))?;
        (1..=statement.parameter_count())
            .try_for_each(|place| statement.raw_bind_parameter(place, 1))?;
        let steps = statement.raw_query().mapped(|row| row.get("detail"));
        steps.collect()
    }

    #[test]
    fn every_query_finds_its_rows_by_an_index_and_sorts_nothing() {
        let connection = schema();
        for (name, text) in queries() {
            let plan = plan(&connection, text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_costly =
                |step: &String| step.starts_with("SCAN sync_") || step.contains("TEMP B-TREE");
            assert!(!plan.iter().any(is_costly), "{name}: {plan:?}");
        }
    }

    #[test]
    fn what_was_denied_is_found_behind_a_position() {
        let plan = plan(&schema(), DENIED).unwrap();
        let step = "SEARCH sync_changes USING INDEX sync_changes_denied (scope=? AND position>?)";
        assert_eq!(plan[0], step, "{plan:?}");
    }
}
