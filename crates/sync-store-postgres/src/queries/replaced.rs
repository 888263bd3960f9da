//! The statements on the table of a replaced service, in its own database. Only this module knows its columns.

use std::collections::BTreeMap;

/// Begins to read: one snapshot for everything, and a refusal where row-level security would hide rows.
pub(crate) const OPEN: &str = "\
-- open
begin isolation level repeatable read read only;
set local row_security = off;
set local timezone = 'UTC';
set local datestyle = 'ISO';
set local statement_timeout = '30min';
set local idle_in_transaction_session_timeout = 0;
set local cursor_tuple_fraction = 1";

/// The columns of the table that the search path finds, with their types.
pub(crate) const COLUMNS: &str = "\
-- columns
select column_of.attname::text, column_of.atttypid::regtype::text
from pg_catalog.pg_attribute as column_of
where column_of.attrelid = to_regclass('sync_changes')
    and column_of.attnum > 0
    and not column_of.attisdropped";

/// How many rows there are of each user, app and space, and how many of them have no place in the order: $0 the space.
const OVERVIEW: &str = "\
-- overview
select
    coalesce(user_id::text, ''),
    coalesce(app_id::text, ''),
    $0,
    count(*),
    count(*) filter (where created_at is null or id is null)
from sync_changes
group by 1, 2, 3";

/// Whether a row is there: $1 id, $2 when it was made.
pub(crate) const HAS: &str = "\
-- has
select exists (
    select
    from sync_changes
    where id = $1
        and created_at = $2::text::timestamptz
)";

/// All rows behind a mark in order: $1 when that row was made and $2 its id (null: from the first one on).
const ROWS: &str = "\
-- rows
declare replaced_rows no scroll cursor for
select
    created_at::text,
    id,
    case
        when isfinite(created_at) then (extract(epoch from created_at) * 1000000)::bigint
        when created_at < now() then 0
        else 9223372036854775807
    end,
    coalesce(app_id::text, ''),
    coalesce(user_id::text, ''),
    coalesce(client_id::text, ''),
    $space,
    coalesce(table_name::text, ''),
    coalesce(record_id::text, ''),
    coalesce(op::text, ''),
    data::text,
    $times,
    coalesce($schema_version, 1),
    $actor,
    $origin
from sync_changes
where $1::text is null
    or (created_at, id) > ($1::text::timestamptz, $2::uuid)
order by created_at, id";

/// The next rows: so many.
pub(crate) fn fetch(rows: usize) -> String {
    format!("-- fetch\nfetch {rows} from replaced_rows")
}

/// What to do where the user may not read the table, or not all of it.
pub(crate) const REMEDY: &str = "\
the user must be allowed to select from the table, and row-level security must not hide rows from it. \
Let a superuser say there: create role sync_import login bypassrls password '…'; \
grant usage on schema public to sync_import; grant select on sync_changes to sync_import";

/// What is wrong with a table with so many rows that have no place in the order, for people.
pub(crate) fn unplaced_fault(rows: i64) -> String {
    format!(
        "{rows} rows of the table sync_changes there have no id or no created_at, so that they have no place in the order: \
         give them both, or delete them"
    )
}

/// The columns without which it is not the table.
const NEEDED: [&str; 9] = [
    "id",
    "created_at",
    "app_id",
    "table_name",
    "record_id",
    "user_id",
    "client_id",
    "op",
    "data",
];
/// Columns that our own log has, and no version of that service.
const OURS: [&str; 2] = ["position", "scope"];

/// The columns of a table, with their types.
pub(crate) struct Columns(pub(crate) BTreeMap<String, String>);

impl Columns {
    /// What keeps the table from being read, for people.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.0.is_empty() {
            return Some(
                "there is no table sync_changes in the search path of this user".to_owned(),
            );
        }
        if OURS.iter().all(|name| self.0.contains_key(*name)) {
            return Some(
                "the table sync_changes there is one of this server, not of the service that it replaces"
                    .to_owned(),
            );
        }
        let missing: Vec<&str> = NEEDED
            .into_iter()
            .filter(|name| !self.0.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Some(format!("the table sync_changes there lacks {missing}"));
        }
        let is_of = |name: &str, kind: &str| self.0[name].starts_with(kind);
        (!is_of("id", "uuid") || !is_of("created_at", "timestamp")).then(|| {
            "the table sync_changes there has no uuid as its id, or no time as created_at"
                .to_owned()
        })
    }

    /// How many rows there are of whom.
    pub(crate) fn overview(&self) -> String {
        OVERVIEW.replace("$0", &self.or_null("space_id", "space_id::text"))
    }

    /// All rows in order.
    pub(crate) fn rows(&self) -> String {
        // Later versions of that service know the times of fields as field_meta; a table may have rows of both.
        let times = ["field_timestamps", "field_meta"].map(|name| {
            let object =
                format!("case jsonb_typeof({name}::jsonb) when 'object' then {name}::jsonb end");
            self.has(name)
                .then(|| format!("coalesce({object}, '{{}}')"))
        });
        let times: Vec<String> = times.into_iter().flatten().collect();
        let times = match times.as_slice() {
            [] => "null::text".to_owned(),
            some => format!("({})::text", some.join(" || ")),
        };
        ROWS.replace("$space", &self.or_null("space_id", "space_id::text"))
            .replace("$times", &times)
            .replace(
                "$schema_version",
                &match self.has("schema_version") {
                    true => "schema_version::bigint".to_owned(),
                    false => "null::bigint".to_owned(),
                },
            )
            .replace("$actor", &self.or_null("actor", "actor::text"))
            .replace("$origin", &self.or_null("origin", "to_json(origin)::text"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn or_null(&self, name: &str, expression: &str) -> String {
        let expression = if self.has(name) {
            expression
        } else {
            "null::text"
        };
        expression.to_owned()
    }
}
