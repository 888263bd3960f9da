-- Grants that were taken away stay, so that each device can be told; a grant that an answer lacked is doubted until a second
-- answer agrees. A record that moves into a space is gone from where it was.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table sync_grants
    alter column role drop not null,
    add column asked timestamptz not null default 'epoch',
    add column doubted timestamptz;

comment on column sync_grants.role is 'what the user may do in the space; null since it was taken away';
comment on column sync_grants.position is 'where the space''s range begins for the user, or where it ended';
comment on column sync_grants.asked is 'when the answer was asked for that said so';
comment on column sync_grants.doubted is 'when an answer was asked for that lacks the space, if the last one did';

-- Nodes look for grants that have changed.
create index sync_grants_position on sync_grants (position);

-- What was denied a space: looked for when its author may write there.
create index sync_changes_denied on sync_changes (scope, position)
    where dead_since is null and space_id is not null and scope like 'u:%';

grant delete on sync_records to sync_app;

create policy app_removes on sync_records for delete to sync_app
    using (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]));
