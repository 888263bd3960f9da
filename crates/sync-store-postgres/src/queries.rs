//! Every statement that the store sends, in full. The first line of each names the function that sends it.
//!
//! Deltas compare whole rows, `(scope, app_id, position) > (…)`, and sort by the same columns: only the index of live
//! rows yields that order, so that no plan can walk the whole log by position or sort the history of a user.

pub(crate) mod business;
pub(crate) mod import;
pub(crate) mod live;
pub(crate) mod moves;
pub(crate) mod own;
pub(crate) mod replaced;
pub(crate) mod rows;
pub(crate) mod upkeep;
pub(crate) mod whole;

/// What each transaction begins with.
pub(crate) const BEGIN: &str = "\
-- begin
begin isolation level read committed read write";

/// Ends a transaction and keeps what it did.
pub(crate) const COMMIT: &str = "\
-- commit
commit";

/// Ends a transaction and keeps nothing.
pub(crate) const ROLLBACK: &str = "\
-- roll_back
rollback";

/// Says for whom a transaction works, until it ends: $1 user, time limits for $2 a lock, $3 a
/// statement and $4 idleness, $5 role. The
/// planner's choices are fixed, so that a statement has one plan, whatever the tables held when it was first planned.
pub(crate) const OPEN: &str = "\
-- open
select
    set_config('synchronous_commit', 'on', true),
    set_config('lock_timeout', $2, true),
    set_config('statement_timeout', $3, true),
    set_config('idle_in_transaction_session_timeout', $4, true),
    set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true),
    set_config('sync.user', $1, true),
    set_config('role', $5, true)";

/// Locks one scope for writing: $1 its key.
pub(crate) const LOCK_TO_WRITE: &str = "\
-- lock_personal
select pg_advisory_xact_lock($1)";

/// Locks one scope for reading: $1 its key.
pub(crate) const LOCK_TO_READ: &str = "\
-- lock_personal
select pg_advisory_xact_lock_shared($1)";

/// Locks scopes one after the other in the order of the arrays: $1 keys, $2 whether for writing.
pub(crate) const LOCK_OTHERS: &str = "\
-- lock_others
select case
    when lock.exclusive then pg_advisory_xact_lock(lock.key)
    else pg_advisory_xact_lock_shared(lock.key)
end
from (
    select wanted.key, wanted.exclusive
    from unnest($1::bigint[], $2::boolean[]) with ordinality as wanted (key, exclusive, place)
    order by wanted.place
    offset 0
) as lock";

/// Opens the second wall for the scopes that the grants give: $1 those to read, $2 those to write.
pub(crate) const REACH: &str = "\
-- reach
select
    set_config('sync.scopes', $1::text[]::text, true),
    set_config('sync.writable', $2::text[]::text, true)";

/// Records with their live rows: $1 app, $2 scopes, $3 tables, $4 records, $5 bytes of values at most. The state of a record
/// comes with its first row only; a row beyond the bytes comes without its values, counted in whatever order rows are found.
/// The limits keep the planner from turning the joins around: each record and each row is looked up by its key.
pub(crate) const LOAD: &str = "\
-- load
select
    found.place,
    found.state,
    found.version,
    found.position,
    found.user_id,
    found.to_everyone,
    case when found.running <= $5::bigint then found.data end,
    case when found.running <= $5::bigint then found.field_timestamps end
from (
    select
        wanted.place,
        case when coalesce(held.number, 1) = 1 then kept.state end as state,
        kept.version,
        change.*,
        sum(octet_length(change.data)) over (rows unbounded preceding) as running
    from unnest($2::text[], $3::text[], $4::text[]) with ordinality as wanted (scope, table_name, record_id, place)
    cross join lateral (
        select record.version, record.state, record.rows
        from sync_records as record
        where record.scope = wanted.scope
            and record.app_id = $1
            and record.table_name = wanted.table_name
            and record.record_id = wanted.record_id
        limit 1
    ) as kept
    left join lateral unnest(kept.rows) with ordinality as held (position, number) on true
    left join lateral (
        select live.position, live.user_id, live.to_everyone, live.data, live.field_timestamps
        from sync_changes as live
        where live.position = held.position
            and live.scope = wanted.scope
        limit 1
    ) as change on true
) as found";

/// Those of the event ids $1 that the user of the transaction has used.
pub(crate) const TAKEN: &str = "\
-- taken
select sync_taken_event_ids($1)";

/// Where the log stands: $1 scopes, $2 app, $3 the position of the caller's cursor. Dead rows do not
/// count: no answer brings them. The whole database is looked at only for a cursor above the horizon. The last column says where an import has
/// ended, or that one is under way.
pub(crate) const STANDING: &str = "\
-- standing
select
    stands.horizon,
    case
        when $3::bigint > stands.horizon then greatest(sync_greatest_position(), stands.horizon)
        else stands.horizon
    end,
    (
        select import.until
        from sync_import as import
        where import.only_row
    )
from (
    select coalesce(max(newest.position), 0) as horizon
    from unnest($1::text[]) as reach (scope)
    cross join lateral (
        select change.position
        from sync_changes as change
        where (change.scope, change.app_id, change.position) >= (reach.scope, $2::text, 0)
            and (change.scope, change.app_id, change.position) <= (reach.scope, $2::text, 9223372036854775807)
            and change.dead_since is null
        order by change.scope desc, change.app_id desc, change.position desc
        limit 1
    ) as newest
) as stands";

/// A page of stretches: $1 scopes, $2 app, $3 after, $4 until, $5 rows (one more than wanted), $6 bytes, $7 and $8 user and
/// client whose own rows are left out (null: nobody's), $9 tables (null: all), $10 the grants at which stretches are read
/// (null: rows at their own positions). A row that does not fit comes without its values.
///
/// It passes over the rows of other tables, so that it is for all tables, or for many of them.
pub(crate) const PAGE: &str = "\
-- page
select
    page.position,
    room.fits,
    page.scope,
    page.table_name,
    page.record_id,
    page.id,
    page.op,
    case when room.fits then page.data end,
    case when room.fits then page.field_timestamps end,
    page.user_id,
    page.client_id,
    page.space_id,
    page.created_at,
    page.schema_version,
    page.actor,
    page.origin,
    page.opens,
    page.to_everyone,
    page.undated,
    page.source_change_id
from (
    select
        found.*,
        row_number() over in_order as place,
        sum(found.size) over in_order as running
    from (
        select live.*
        from unnest($1::text[], $3::bigint[], $4::bigint[], $10::bigint[]) as reach (scope, after, until, joined)
        cross join lateral (
            select
                change.*,
                coalesce(reach.joined, change.position) as read_at
            from sync_changes as change
            where (change.scope, change.app_id, change.position) > (reach.scope, $2::text, reach.after)
                and (change.scope, change.app_id, change.position) <= (reach.scope, $2::text, reach.until)
                and change.dead_since is null
                and (
                    change.user_id <> $7 or change.client_id <> $8 or change.to_everyone or $7 is null
                    or reach.joined is not null
                )
                and ($9::text[] is null or change.table_name = any($9))
            order by change.scope, change.app_id, change.position
            limit $5::bigint
        ) as live
        order by live.read_at, live.position
        limit $5::bigint
    ) as found
    window in_order as (order by found.read_at, found.position rows unbounded preceding)
) as page
cross join lateral (
    select page.place < $5 and (page.place = 1 or page.running <= $6) as fits
) as room
where page.place <= 2
    or page.running - page.size <= $6::bigint
order by page.read_at, page.position";

/// A page of few tables: as [`PAGE`], but it reads rows of those tables only, and of each as many as the page may have.
pub(crate) const PAGE_OF_FEW_TABLES: &str = "\
-- page
select
    page.position,
    room.fits,
    page.scope,
    page.table_name,
    page.record_id,
    page.id,
    page.op,
    case when room.fits then page.data end,
    case when room.fits then page.field_timestamps end,
    page.user_id,
    page.client_id,
    page.space_id,
    page.created_at,
    page.schema_version,
    page.actor,
    page.origin,
    page.opens,
    page.to_everyone,
    page.undated,
    page.source_change_id
from (
    select
        found.*,
        row_number() over in_order as place,
        sum(found.size) over in_order as running
    from (
        select live.*
        from unnest($1::text[], $3::bigint[], $4::bigint[], $10::bigint[]) as reach (scope, after, until, joined)
        cross join unnest($9::text[]) as wanted (table_name)
        cross join lateral (
            select
                change.*,
                coalesce(reach.joined, change.position) as read_at
            from sync_changes as change
            where (change.scope, change.app_id, change.table_name, change.position)
                    > (reach.scope, $2::text, wanted.table_name, reach.after)
                and (change.scope, change.app_id, change.table_name, change.position)
                    <= (reach.scope, $2::text, wanted.table_name, reach.until)
                and change.dead_since is null
                and (
                    change.user_id <> $7 or change.client_id <> $8 or change.to_everyone or $7 is null
                    or reach.joined is not null
                )
            order by change.scope, change.app_id, change.table_name, change.position
            limit $5::bigint
        ) as live
        order by live.read_at, live.position
        limit $5::bigint
    ) as found
    window in_order as (order by found.read_at, found.position rows unbounded preceding)
) as page
cross join lateral (
    select page.place < $5 and (page.place = 1 or page.running <= $6) as fits
) as room
where page.place <= 2
    or page.running - page.size <= $6::bigint
order by page.read_at, page.position";

/// Draws positions, in a transaction of its own that need not be flushed: whatever commits with them later is flushed
/// behind it. $1 how many, $2 the wall clock in nanoseconds. Returns the first.
pub(crate) const DRAW: &str = "\
-- draw
update sync_clock
set last = greatest(last, $2::bigint - 1) + $1::bigint
returning
    last - $1::bigint + 1,
    set_config('synchronous_commit', 'off', true)";

/// Appends rows, one array per column; $1 app, $2 time of receipt.
pub(crate) const APPEND: &str = "\
-- append
insert into sync_changes (
    app_id,
    created_at,
    position,
    scope,
    table_name,
    record_id,
    id,
    op,
    data,
    field_timestamps,
    user_id,
    client_id,
    space_id,
    schema_version,
    actor,
    origin,
    opens,
    to_everyone,
    undated,
    size,
    source_change_id
)
select
    $1,
    $2,
    new.*
from unnest(
    $3::bigint[],
    $4::text[],
    $5::text[],
    $6::text[],
    $7::uuid[],
    $8::text[],
    $9::text[],
    $10::text[],
    $11::text[],
    $12::text[],
    $13::text[],
    $14::bigint[],
    $15::text[],
    $16::text[],
    $17::boolean[],
    $18::boolean[],
    $19::boolean[],
    $20::integer[],
    $21::bigint[]
) as new";

/// Marks rows dead: $1 since when, $2 positions, $3 the scopes they are in.
pub(crate) const BURY: &str = "\
-- bury
update sync_changes
set dead_since = $1
where position = any($2)
    and scope = any($3)";

/// Writes records over: $1 app, $2 time of receipt; then one array per column, $6 the rows as array literals, $9 whether it
/// is deleted and has values left.
pub(crate) const KEEP: &str = "\
-- keep
insert into sync_records (
    app_id,
    scope,
    table_name,
    record_id,
    rows,
    state,
    version,
    deleted_since
)
select
    $1,
    new.scope,
    new.table_name,
    new.record_id,
    new.rows::bigint[],
    new.state,
    new.version,
    case when new.deleted then $2::timestamptz end
from unnest(
    $3::text[],
    $4::text[],
    $5::text[],
    $6::text[],
    $7::text[],
    $8::bigint[],
    $9::boolean[]
) as new (scope, table_name, record_id, rows, state, version, deleted)
on conflict (scope, app_id, table_name, record_id) do update
set
    rows = excluded.rows,
    state = excluded.state,
    version = excluded.version,
    deleted_since = case
        when excluded.deleted_since is not null
            then coalesce(sync_records.deleted_since, excluded.deleted_since)
    end";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// The statements on the log or the records that have no scope among their conditions, and why.
    const ACROSS_SCOPES: [(&str, &str); 13] = [
        ("APPEND", "the scope is among the values"),
        ("KEEP", "the scope is among the values and in the key"),
        ("STOP_REQUESTS", "locks the log and reads nothing"),
        ("STOP_SWEEPS", "locks both and reads nothing"),
        ("IMPORT_APPEND", "the scope is among the values"),
        (
            "IMPORT_KEEP",
            "the scope is among the values and in the key",
        ),
        ("COMMITTED", "tells nodes that there is something, not what"),
        ("DUE", "finds the scopes that maintenance then locks"),
        (
            "REMOVE_DEAD",
            "nothing refers to a dead row, whoever had it",
        ),
        ("DEAD_ROWS", "counts rows and tells nothing of them"),
        ("HOLD_LOG", "locks the log and reads nothing"),
        ("WRITTEN", "what one user has written, for that user"),
        (
            "FIRST_WRITTEN",
            "finds the scopes that the operator's erasing then locks",
        ),
    ];

    /// The text of each statement, by the name of its constant.
    fn statements() -> Vec<(&'static str, &'static str)> {
        let sources = [
            include_str!("queries.rs"),
            include_str!("queries/import.rs"),
            include_str!("queries/live.rs"),
            include_str!("queries/moves.rs"),
            include_str!("queries/own.rs"),
            include_str!("queries/rows.rs"),
            include_str!("queries/upkeep.rs"),
            include_str!("queries/whole.rs"),
        ];
        let constants = sources
            .into_iter()
            .flat_map(|source| source.split("pub(crate) const ").skip(1));
        constants
            .filter_map(|constant| {
                let (name, text) = constant.split_once(": &str = \"\\\n-- ")?;
                Some((name, text.split_once("\";")?.0))
            })
            .collect()
    }

    /// The table and its alias, if this line of a statement names the log or the records.
    fn target(line: &str) -> Option<(&str, &str)> {
        let mut words = line.split_whitespace();
        let table = words.find(|word| matches!(*word, "sync_changes" | "sync_records"))?;
        let alias = match words.next() {
            Some("as") => words.next()?,
            _ => table,
        };
        Some((table, alias))
    }

    /// Whether a line is a condition by which a table is read in given scopes only.
    fn is_in_scope(line: &str, alias: &str) -> bool {
        let condition = line.trim_start();
        let condition = ["where ", "and "]
            .into_iter()
            .find_map(|word| condition.strip_prefix(word))
            .unwrap_or_default();
        [
            "scope = any($".to_owned(),
            format!("{alias}.scope = "),
            format!("({alias}.scope, "),
        ]
        .iter()
        .any(|beginning| condition.starts_with(beginning))
    }

    /// Whether each mention of the log or the records is followed by its scope, before the next one. `None` if there is none.
    fn is_scoped(text: &str) -> Option<bool> {
        let mut open = None;
        let (mut mentions, mut scoped) = (0, 0);
        for line in text.lines() {
            if let Some((_, alias)) = target(line) {
                mentions += 1;
                open = Some(alias);
            } else if open.is_some_and(|alias| is_in_scope(line, alias)) {
                scoped += 1;
                open = None;
            }
        }
        (mentions > 0).then_some(scoped == mentions)
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the sources are there");
        let paths = entries.map(|entry| entry.expect("the sources are there").path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => sources(&path),
                false => vec![path],
            })
            .collect()
    }

    #[test]
    fn no_statement_on_the_log_or_the_records_is_without_its_scope() {
        let statements = statements();
        assert!(statements.len() > 35, "{}", statements.len());
        let across: Vec<&str> = statements
            .iter()
            .filter(|(_, text)| is_scoped(text) == Some(false))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(across, ACROSS_SCOPES.map(|(name, _)| name));
    }

    #[test]
    fn the_log_and_the_records_are_named_in_statements_only() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for path in sources(&root) {
            let text = fs::read_to_string(&path).expect("a source is text");
            let is_allowed =
                path.ends_with("queries.rs") || path.parent() == Some(&root.join("queries"));
            assert!(
                is_allowed
                    || !["sync_changes", "sync_records"]
                        .iter()
                        .any(|name| text.contains(name)),
                "{} goes around the wall",
                path.display()
            );
        }
    }
}
