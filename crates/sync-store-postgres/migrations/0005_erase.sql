-- Exporting and erasing: maintenance reads and removes what is kept aside, and finds the members of a space and the dead
-- rows of a scope.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create index sync_grants_space on sync_grants (space_id, user_id);
create index sync_changes_buried on sync_changes (scope, position) where dead_since is not null;

grant select, delete on sync_parked to sync_maintenance;

create policy maintenance_erases on sync_parked for all to sync_maintenance using (true) with check (true);
