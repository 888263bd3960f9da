//! The statements by which records move into the spaces that they were meant for.

/// Removes records that have moved elsewhere: $1 app; arrays: $2 scopes, $3 tables, $4 records.
pub(crate) const REMOVE: &str = "\
-- remove
delete from sync_records as record
using unnest($2::text[], $3::text[], $4::text[]) as gone (scope, table_name, record_id)
where record.scope = gone.scope
    and record.app_id = $1
    and record.table_name = gone.table_name
    and record.record_id = gone.record_id";

/// Rows of a personal scope that were denied a space: $1 scope, $2 after, $3 spaces, $4 received since when, $5 how many.
pub(crate) const DENIED: &str = "\
-- denied
select change.position, change.app_id, change.table_name, change.record_id, change.space_id
from sync_changes as change
where change.scope = $1
    and change.scope like 'u:%'
    and change.position > $2::bigint
    and change.dead_since is null
    and change.space_id = any($3::text[])
    and change.space_id is not null
    and change.created_at >= $4
order by change.position
limit $5::bigint";
