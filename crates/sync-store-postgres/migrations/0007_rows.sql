-- The rows dialect: which change of a device a row comes from, and what devices have uploaded, so that an upload that is
-- sent again is known.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table sync_changes add column source_change_id bigint;

comment on column sync_changes.source_change_id is 'the number that its device gave an uploaded row; null for all else';

create table sync_uploads (
    user_id text collate "C" not null,
    source_id text collate "C" not null,
    source_change_id bigint not null,
    digest bigint not null,
    version bigint not null,
    created_at timestamptz not null,
    primary key (user_id, source_id, source_change_id)
);

comment on column sync_uploads.digest is 'of operation, row and payload';
comment on column sync_uploads.version is 'the version of the row that it made';

-- What is forgotten first.
create index sync_uploads_created on sync_uploads (created_at);

alter table sync_uploads enable row level security, force row level security;

revoke all on sync_uploads from public;
grant select, insert, update on sync_uploads to sync_app;
grant select, delete on sync_uploads to sync_maintenance;

create policy app_remembers on sync_uploads for all to sync_app
    using (user_id = (select nullif(current_setting('sync.user', true), '')))
    with check (user_id = (select nullif(current_setting('sync.user', true), '')));
create policy maintenance_forgets on sync_uploads for all to sync_maintenance using (true) with check (true);
