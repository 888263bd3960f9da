//! The statements about what a user has beside the log: grants, and what is kept aside.

/// The grants of a user, also those that were taken away: $1 user.
pub(crate) const GRANTS: &str = "\
-- grants
select space_id, role, position, asked, doubted
from sync_grants
where user_id = $1
order by space_id";

/// Keeps changes aside, each once: $1 user, $2 app, $3 time of receipt; arrays: $4 digests, $5 texts, $6 reasons, $7 sizes.
pub(crate) const PARK: &str = "\
-- park
insert into sync_parked (user_id, app_id, created_at, digest, raw, reason, size)
select $1, $2, $3, new.digest, new.raw, new.reason, new.size
from unnest($4::bytea[], $5::text[], $6::text[], $7::integer[])
    with ordinality as new (digest, raw, reason, size, place)
order by new.place
on conflict (user_id, app_id, digest) do nothing";

/// Lets the oldest of what is kept aside for a user go: $1 user, $2 how many stay, $3 how many bytes stay.
pub(crate) const CLEAR_PARKED: &str = "\
-- park
delete from sync_parked
where user_id = $1
    and place <= (
        select max(aside.place)
        from (
            select
                place,
                row_number() over newest_first as number,
                sum(size) over newest_first as bytes
            from sync_parked
            where user_id = $1
            window newest_first as (order by place desc rows unbounded preceding)
        ) as aside
        where aside.number > $2::bigint
            or aside.bytes > $3::bigint
    )";

/// What is kept aside for a user of an app: $1 user, $2 app.
pub(crate) const PARKED: &str = "\
-- parked
select raw, reason
from sync_parked
where user_id = $1
    and app_id = $2
order by place";

/// Writes grants of a user over: $1 user; arrays: $2 spaces, $3 roles, $4 positions, $5 asked, $6 doubted.
pub(crate) const REGRANT: &str = "\
-- regrant
insert into sync_grants (user_id, space_id, role, position, asked, doubted)
select $1, new.*
from unnest($2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[]) as new
on conflict (user_id, space_id) do update
set
    role = excluded.role,
    position = excluded.position,
    asked = excluded.asked,
    doubted = excluded.doubted";
