-- The log, the winning versions, the grants, what is kept aside, and the clock.

-- One row per effective change. Values and their times are text, not json: they are opaque, go out digit for digit as
-- they came in (`\u0000`, half surrogate pairs, 1e400, the order of keys), and need no second check.
create table sync_changes (
    position bigint primary key,
    created_at timestamptz not null,
    dead_since timestamptz,
    id uuid not null,
    schema_version bigint not null,
    size integer not null,
    opens boolean not null,
    to_everyone boolean not null,
    undated boolean not null,
    scope text collate "C" not null,
    app_id text collate "C" not null,
    table_name text collate "C" not null,
    record_id text collate "C" not null,
    user_id text collate "C" not null,
    client_id text collate "C" not null,
    space_id text collate "C",
    op text collate "C" not null check (op in ('insert', 'update', 'delete')),
    data text collate "C" not null,
    field_timestamps text collate "C" not null,
    actor text collate "C",
    origin text collate "C"
);

comment on column sync_changes.position is 'place in the log: nanoseconds since 1970, unique, in order of commit within a scope';
comment on column sync_changes.scope is 'who may see it: u: and a user, or s: and a space';
comment on column sync_changes.dead_since is 'since when none of its fields wins any more; no delta depends on it from then on';
comment on column sync_changes.size is 'about how many bytes it takes in an answer';
comment on column sync_changes.opens is 'whether no insert of the record precedes it';
comment on column sync_changes.to_everyone is 'whether it goes out to the client that wrote it, too';
comment on column sync_changes.undated is 'whether it is a delete that came without a time';

-- Deltas walk these in the order (scope, app_id, ..., position); dead rows are not in them.
create index sync_changes_live on sync_changes (scope, app_id, position) where dead_since is null;
create index sync_changes_live_table on sync_changes (scope, app_id, table_name, position) where dead_since is null;
create unique index sync_changes_event on sync_changes (user_id, id);
create index sync_changes_dead on sync_changes (dead_since) where dead_since is not null;

-- The winning version of each field of a record, and the positions of the rows that have the values.
create table sync_records (
    version bigint not null,
    deleted_since timestamptz,
    scope text collate "C" not null,
    app_id text collate "C" not null,
    table_name text collate "C" not null,
    record_id text collate "C" not null,
    rows bigint[] not null,
    state text collate "C" not null,
    primary key (scope, app_id, table_name, record_id)
) with (fillfactor = 85);

comment on column sync_records.state is 'opaque: versions and claims, without values';
comment on column sync_records.deleted_since is 'since when it is deleted, while it still has values to be removed';

create index sync_records_deleted on sync_records (deleted_since) where deleted_since is not null;

-- A user's standing access to a space; position is where the space''s range begins for the user.
create table sync_grants (
    user_id text collate "C" not null,
    space_id text collate "C" not null,
    role text collate "C" not null,
    position bigint not null,
    primary key (user_id, space_id)
);

-- What can never be a row of the log, for its author.
create table sync_parked (
    place bigint generated always as identity,
    user_id text collate "C" not null,
    app_id text collate "C" not null,
    digest bytea not null,
    raw text collate "C" not null,
    reason text collate "C" not null,
    size integer not null,
    created_at timestamptz not null,
    primary key (user_id, app_id, digest)
);

create unique index sync_parked_place on sync_parked (user_id, place);

-- The hybrid clock that positions are drawn from: the last one given out.
create table sync_clock (
    only_row boolean primary key default true check (only_row),
    last bigint not null
) with (fillfactor = 10);

insert into sync_clock (last) values (0);
