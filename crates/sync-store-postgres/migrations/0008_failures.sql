-- Rows that could not be written into their business table: of each row the last attempt, until one succeeds.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table sync_failures (
    id bigint generated always as identity primary key,
    user_id text collate "C" not null,
    app_id text collate "C" not null,
    table_name text collate "C" not null,
    record_id text collate "C" not null,
    attempted_version bigint not null,
    op text collate "C" not null,
    payload text collate "C",
    error text collate "C" not null,
    first_seen timestamptz not null,
    retry_count bigint not null,
    unique (user_id, app_id, table_name, record_id)
);

comment on column sync_failures.payload is 'what was to be written; null for a delete';
comment on column sync_failures.retry_count is 'how often this version failed after the first time';

alter table sync_failures enable row level security, force row level security;

revoke all on sync_failures from public;
grant select, insert, update, delete on sync_failures to sync_app;
grant select, delete on sync_failures to sync_maintenance;

create policy app_keeps_failures on sync_failures for all to sync_app
    using (user_id = (select nullif(current_setting('sync.user', true), '')))
    with check (user_id = (select nullif(current_setting('sync.user', true), '')));

create policy maintenance_erases on sync_failures for all to sync_maintenance using (true) with check (true);
