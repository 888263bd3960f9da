//! The statements by which nodes hear of each other's commits.

/// Hears what nodes tell each other on this database, from now on. Nothing of what this connection commits need be flushed.
pub(crate) const LISTEN: &str = "\
-- listen
listen sync_notices;
set synchronous_commit = off";

/// The number of this connection, by which it knows its own messages.
pub(crate) const OWN_NUMBER: &str = "\
-- own_number
select pg_backend_pid()";

/// Tells the other nodes: $1 messages.
pub(crate) const TELL: &str = "\
-- tell
select pg_notify('sync_notices', message.text)
from unnest($1::text[]) as message (text)";

/// The last position that was drawn. Whoever draws after this was read gets a greater one.
pub(crate) const CLOCK: &str = "\
-- clock
select last
from sync_clock";

/// The transactions that write at this moment: each holds the lock of a scope from before it draws until its rows can be
/// seen. Locks of other programs may be among them.
pub(crate) const WRITING: &str = "\
-- writing
select distinct held.virtualtransaction
from pg_locks as held
where held.locktype = 'advisory'
    and held.mode = 'ExclusiveLock'
    and held.granted
    and held.database = (
        select oid
        from pg_database
        where datname = current_database()
    )";

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
