-- The second wall: row-level security, in force for the owner of the tables, too. Each transaction of the server says
-- for whom it works, in settings that end with it:
--
--   sync.user       whose grants and parked changes may be read and written
--   sync.scopes     the scopes that may be read, as a text[] literal
--   sync.writable   the scopes that may be written, as a text[] literal
--
-- A setting that is missing or empty matches nothing. The sub-selects make each a constant of the statement.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table sync_changes enable row level security, force row level security;
alter table sync_records enable row level security, force row level security;
alter table sync_grants enable row level security, force row level security;
alter table sync_parked enable row level security, force row level security;

revoke all on sync_changes, sync_records, sync_grants, sync_parked, sync_clock from public;

grant select, insert, update on sync_changes, sync_records to sync_app;
grant select on sync_grants to sync_app;
grant select, insert, delete on sync_parked to sync_app;

grant select, update, delete on sync_changes, sync_records to sync_maintenance;
grant select, insert, update, delete on sync_grants to sync_maintenance;
grant select, update on sync_clock to sync_maintenance;

create policy app_reads on sync_changes for select to sync_app
    using (scope = any ((select nullif(current_setting('sync.scopes', true), '')::text[])::text[]));
create policy app_appends on sync_changes for insert to sync_app
    with check (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]));
create policy app_buries on sync_changes for update to sync_app
    using (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]))
    with check (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]));

create policy app_reads on sync_records for select to sync_app
    using (scope = any ((select nullif(current_setting('sync.scopes', true), '')::text[])::text[]));
create policy app_keeps on sync_records for insert to sync_app
    with check (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]));
create policy app_changes on sync_records for update to sync_app
    using (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]))
    with check (scope = any ((select nullif(current_setting('sync.writable', true), '')::text[])::text[]));

create policy app_reads on sync_grants for select to sync_app
    using (user_id = (select nullif(current_setting('sync.user', true), '')));

create policy app_keeps_aside on sync_parked for all to sync_app
    using (user_id = (select nullif(current_setting('sync.user', true), '')))
    with check (user_id = (select nullif(current_setting('sync.user', true), '')));

create policy maintenance_sweeps on sync_changes for all to sync_maintenance using (true) with check (true);
create policy maintenance_strips on sync_records for all to sync_maintenance using (true) with check (true);
create policy maintenance_grants on sync_grants for all to sync_maintenance using (true) with check (true);

-- What a request must know of rows that it may not read: two numbers, no content.

-- The greatest position that is committed, in the whole database.
create function sync_greatest_position() returns bigint
    language plpgsql stable security definer
    set search_path from current
as $$
begin
    return coalesce((select max(position) from sync_changes), 0);
end
$$;

-- Which of these event ids the user of this transaction has used already, in whatever scope.
create function sync_taken_event_ids(wanted uuid[]) returns setof uuid
    language plpgsql stable security definer
    set search_path from current
as $$
begin
    return query
        select change.id
        from sync_changes as change
        where change.user_id = current_setting('sync.user')
            and change.id = any(wanted);
end
$$;

revoke all on function sync_greatest_position(), sync_taken_event_ids(uuid[]) from public;
grant execute on function sync_greatest_position(), sync_taken_event_ids(uuid[]) to sync_app;

-- Their owner is the role that may read all scopes. A new owner must be allowed to create in the schema for a moment.
do $$
begin
    execute format('grant create on schema %I to sync_maintenance', current_schema());
    alter function sync_greatest_position() owner to sync_maintenance;
    alter function sync_taken_event_ids(uuid[]) owner to sync_maintenance;
    execute format('revoke create on schema %I from sync_maintenance', current_schema());
end
$$;
