//! The statements by which nodes hear of each other's commits.

/// What a connection that listens must know: its own number, by which it knows its own messages, and the number of its
/// schema. Nothing of what it commits need be flushed.
pub(crate) const WHO_LISTENS: &str = "\
-- who_listens
select
    pg_backend_pid(),
    current_schema()::regnamespace::oid::bigint,
    set_config('synchronous_commit', 'off', false)";

/// Tells the other nodes: $1 the channel, $2 messages.
pub(crate) const TELL: &str = "\
-- tell
select pg_notify($1, message.text)
from unnest($2::text[]) as message (text)";

/// Hears what the nodes of one schema tell each other, from now on.
pub(crate) fn listen(channel: &str) -> String {
    format!("-- listen\nlisten {channel}")
}

/// The last position that was drawn, and the wall clock as one. Whoever draws after this was read gets a greater one than
/// the first.
pub(crate) const CLOCK: &str = "\
-- clock
select
    last,
    (extract(epoch from clock_timestamp()) * 1000000000)::bigint
from sync_clock";

/// The transactions that may be writing at this moment, whether they have written to the log and may still commit, and since
/// when they are there, in nanoseconds: each holds the lock of a scope from before it draws until its rows can be seen. Locks
/// of other programs may be among them; those that a session holds outside of any transaction are not. A push is never idle
/// in its transaction for long; what one may not see of another role's session counts against the doubt.
pub(crate) const WRITING: &str = "\
-- writing
select
    held.virtualtransaction,
    bool_or(held.locktype = 'relation') and bool_and(coalesce(session.state = 'active', true)),
    min((extract(epoch from session.xact_start) * 1000000000)::bigint)
from pg_locks as held
left join pg_stat_activity as session on session.pid = held.pid
where held.granted
    and held.virtualtransaction not like '%/0'
    and held.database = (
        select oid
        from pg_database
        where datname = current_database()
    )
    and (
        held.locktype = 'advisory' and held.mode = 'ExclusiveLock' and held.objsubid = 1
        or held.relation = 'sync_changes'::regclass and held.mode = 'RowExclusiveLock'
    )
group by held.virtualtransaction";

/// What was committed behind a position, by who may see it and who wrote it: $1 position, $2 how many rows are looked at.
/// Rows that go out to everyone have no writer.
pub(crate) const COMMITTED: &str = "\
-- committed
select
    behind.scope,
    behind.app_id,
    behind.table_name,
    behind.writer_user,
    behind.writer_client,
    max(behind.position),
    count(*)
from (
    select
        change.position,
        change.scope,
        change.app_id,
        change.table_name,
        case when not change.to_everyone then change.user_id end as writer_user,
        case when not change.to_everyone then change.client_id end as writer_client
    from sync_changes as change
    where change.position > $1::bigint
    order by change.position
    limit $2::bigint
) as behind
group by
    behind.scope,
    behind.app_id,
    behind.table_name,
    behind.writer_user,
    behind.writer_client";

/// The users whose grants have changed behind a position: $1 position.
pub(crate) const REGRANTED: &str = "\
-- regranted
select user_id, max(position)
from sync_grants
where position > $1::bigint
group by user_id";
